"""The census term against slow loops and finite differences, and under changes of light."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hidden_two_stream.motion.losses import census
from hidden_two_stream.motion.losses.census import census_distance, census_loss, gray
from hidden_two_stream.motion.losses.paper import border_mask

Array = npt.NDArray[np.float64]


def slow_distance(first: Array, second: Array, radius: int) -> Array:
    """Pixel by pixel, over all neighbors of the patch that lie inside the image."""
    height, width = first.shape
    result = np.zeros((height, width))
    reach = range(-radius, radius + 1)
    for y, x, down, right in itertools.product(range(height), range(width), reach, reach):
        row, column = y + down, x + right
        if (down or right) and 0 <= row < height and 0 <= column < width:
            changes = [image[row, column] - image[y, x] for image in (first, second)]
            signs = [change / np.sqrt(0.81 + change**2) for change in changes]
            unlike = (signs[0] - signs[1]) ** 2
            result[y, x] += unlike / (0.1 + unlike)
    return result


def pair(count: int, height: int, width: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height + width)
    shape = (count, height, width)
    first = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
    return first, first + torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(
    ("height", "width", "radius"), [(9, 12, 3), (7, 6, 1), (8, 8, 2), (3, 10, 3), (10, 2, 3), (1, 1, 3)]
)
def test_distance_agrees_with_slow_loops(height: int, width: int, radius: int) -> None:
    first, second = pair(2, height, width)
    found = census_distance(first, second, radius)
    for n in range(2):
        expected = slow_distance(first[n].numpy(), second[n].numpy(), radius)
        np.testing.assert_allclose(found[n].numpy(), expected, rtol=1e-10, atol=1e-12)


def test_parts_of_a_batch_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pair(5, 8, 9)
    weights = torch.rand(5, 8, 9, dtype=torch.float64)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        moved = second.clone().requires_grad_()
        distance = census_distance(first, moved)
        (distance * weights).sum().backward()
        assert moved.grad is not None
        return distance.detach(), moved.grad

    whole = both()
    monkeypatch.setattr(census, "CHUNK_PIXELS", 2 * 8 * 9)
    for part, together in zip(both(), whole, strict=True):
        torch.testing.assert_close(part, together, rtol=0, atol=0)


@pytest.mark.parametrize("radius", [1, 3])
def test_gradients_agree_with_finite_differences(radius: int) -> None:
    first, second = pair(2, 6, 7, scale=1.0)
    inputs = (first.requires_grad_(), second.requires_grad_())
    weights = torch.rand(2, 6, 7, dtype=torch.float64)

    def weighted(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (census_distance(a, b, radius) * weights).sum()

    assert torch.autograd.gradcheck(weighted, inputs, eps=1e-6, atol=1e-6)


def textured(seed: int, height: int = 40, width: int = 48) -> torch.Tensor:
    """(1, 1, h, w), gray, with large differences between neighbors."""
    generator = torch.Generator().manual_seed(seed)
    return 60 * torch.randn(1, 1, height, width, dtype=torch.float64, generator=generator)


def test_gain_and_offset_hardly_count_but_another_image_does() -> None:
    frame, other = textured(1), textured(2)
    mask = border_mask(frame, 0.1)

    def loss(warped: torch.Tensor) -> float:
        return census_loss(frame, warped, mask, 3, 0.1).item()

    same, brighter, unlike = loss(frame), loss(1.3 * frame + 40), loss(other)
    assert loss(frame + 40) == pytest.approx(same, rel=1e-6)
    assert same == pytest.approx(1e-3**0.9)  # ε² to the exponent 0.45
    assert brighter < 0.03 * unlike


@pytest.mark.parametrize(("height", "width"), [(40, 48), (31, 20), (12, 9), (5, 5)])
def test_leaving_the_border_uncomputed_changes_nothing(height: int, width: int) -> None:
    frame, warped = textured(1, height, width), textured(2, height, width)
    mask = border_mask(frame, 0.1)
    distance = census_distance(frame[:, 0], warped[:, 0], 3)
    expected = (((distance**2 + 1e-6) ** 0.45) * mask).sum() / mask.sum()
    assert census_loss(frame, warped, mask, 3, 0.1).item() == pytest.approx(expected.item(), rel=1e-10)


def test_pixels_that_are_hidden_do_not_count() -> None:
    frame, warped = textured(1), textured(1)
    warped[..., 20, 24] += 100
    seen = torch.ones(1, 1, 40, 48, dtype=torch.float64)
    seen[..., 17:24, 21:28] = 0  # every patch that contains the changed pixel
    still = census_loss(frame, frame, seen, 3, 0.1)
    assert census_loss(frame, warped, torch.ones_like(seen), 3, 0.1) > 1.5 * still
    torch.testing.assert_close(census_loss(frame, warped, seen, 3, 0.1), still)


def test_gray_of_frames() -> None:
    frames = torch.rand(2, 3, 3, 4, 5, dtype=torch.float64)
    expected = 255 * np.tensordot([0.299, 0.587, 0.114], frames.numpy(), axes=([0], [2]))
    np.testing.assert_allclose(gray(frames)[:, :, 0].numpy(), expected, rtol=1e-12)
    assert gray(torch.ones(1, 3, 2, 2)).max().item() == pytest.approx(255)
