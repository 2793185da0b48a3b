"""The unsupervised loss against slow loops written from the definitions, and by analysis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.losses.paper import (
    border_mask,
    charbonnier,
    local_response_normalize,
    photometric_loss,
    smoothness_loss,
    ssim,
    ssim_loss,
)
from hidden_two_stream.motion.losses.presets import LOSS_PRESETS, LossPreset, loss_preset
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss

Array = npt.NDArray[np.float64]
NAMES = ("photometric", "smoothness", "ssim")
RISING = {2: 0.01, 3: 0.02, 4: 0.04, 5: 0.08, 6: 0.16}


@dataclass(frozen=True)
class Definition:
    """A preset, as written by hand from the definitions."""

    pixel_epsilon: float
    smooth_epsilon: float
    smooth_exponent: float
    stride: int
    smooth_weight: Callable[[int], float]
    ssim_weight: Callable[[int], float]
    batch_quirks: bool = False
    full_size: bool = False
    coarse_factor: float = 1.0


DEFINITIONS = {
    "paper": Definition(1e-3, 1e-3, 0.3, 8, RISING.__getitem__, lambda level: 1.0),
    "caffe": Definition(1e-3, 1e-3, 0.3, 8, lambda level: 1.0, RISING.__getitem__, batch_quirks=True),
    "robust": Definition(
        5.0, 0.1, 0.5, 4, lambda level: 0.1, lambda level: 1.0, full_size=True, coarse_factor=0.5
    ),
}


def slow_response_norm(image: Array) -> Array:
    """(3, h, w): every color divided by (1 + Σ x² / 9)^0.7 of its pixel."""
    result = np.zeros_like(image)
    for y, x in itertools.product(range(image.shape[1]), range(image.shape[2])):
        energy = sum(float(value) ** 2 for value in image[:, y, x])
        result[:, y, x] = image[:, y, x] / (1 + energy / 9) ** 0.7
    return result


def slow_shrink(image: Array, height: int, width: int) -> Array:
    """Means of blocks; the sizes must be multiples."""
    rows, columns = image.shape[1] // height, image.shape[2] // width
    result = np.zeros((len(image), height, width))
    for y, x in itertools.product(range(height), range(width)):
        block = image[:, y * rows : (y + 1) * rows, x * columns : (x + 1) * columns]
        result[:, y, x] = block.mean(axis=(1, 2))
    return result


def sample(image: Array, y: float, x: float) -> Array:
    """Bilinear, pixel centers on whole numbers, edges repeated."""
    y, x = min(max(y, 0.0), image.shape[1] - 1.0), min(max(x, 0.0), image.shape[2] - 1.0)
    top, left = math.floor(y), math.floor(x)
    value = np.zeros(len(image))
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        weight = (1 - abs(y - row)) * (1 - abs(x - column))
        if weight > 0:
            value += weight * image[:, row, column]
    return value


def slow_warp(image: Array, flow: Array) -> Array:
    result = np.zeros_like(image)
    for y, x in itertools.product(range(image.shape[1]), range(image.shape[2])):
        result[:, y, x] = sample(image, y + float(flow[1, y, x]), x + float(flow[0, y, x]))
    return result


def slow_enlarge_flow(flow: Array, factor: int) -> Array:
    """Pixel x of the large grid lies at (x + 0.5) / factor − 0.5 of the small one; values scale too."""
    height, width = flow.shape[1] * factor, flow.shape[2] * factor
    result = np.zeros((2, height, width))
    for y, x in itertools.product(range(height), range(width)):
        result[:, y, x] = factor * sample(flow, (y + 0.5) / factor - 0.5, (x + 0.5) / factor - 0.5)
    return result


def inside(height: int, width: int) -> list[tuple[int, int]]:
    """The pixels that count: 10 % of the shorter side is left out at each edge."""
    edge = int(0.1 * min(height, width) + 0.5)
    return list(itertools.product(range(edge, height - edge), range(edge, width - edge)))


def penalty(x: float, epsilon: float, exponent: float) -> float:
    return float((x**2 + epsilon**2) ** exponent)


def slow_pixel(first: Array, second: Array, epsilon: float) -> float:
    values = [
        penalty(255 * float(first[c, y, x] - second[c, y, x]), epsilon, 0.4)
        for y, x in inside(*first.shape[1:])
        for c in range(3)
    ]
    return sum(values) / len(values)


def slow_smoothness(flow: Array, epsilon: float, exponent: float) -> float:
    """Both directions; a pixel without a next neighbor adds nothing but counts in the mean."""
    _, height, width = flow.shape
    total = 0.0
    for y, x in inside(height, width):
        for c in range(2):
            if x + 1 < width:
                total += penalty(float(flow[c, y, x + 1] - flow[c, y, x]), epsilon, exponent)
            if y + 1 < height:
                total += penalty(float(flow[c, y + 1, x] - flow[c, y, x]), epsilon, exponent)
    return total / (2 * len(inside(height, width)))


def slow_ssim(first: Array, second: Array, stride: int) -> Array:
    """(3, windows_y, windows_x) of weighted moments about the weighted means."""
    offsets = np.arange(8) - 3.5
    gauss = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (16 / 12) ** 2))
    gauss /= gauss.sum()
    tops = range(0, first.shape[1] - 7, stride)
    lefts = range(0, first.shape[2] - 7, stride)
    result = np.zeros((len(first), len(tops), len(lefts)))
    for c, (i, top), (j, left) in itertools.product(range(len(first)), enumerate(tops), enumerate(lefts)):
        a, b = (image[c, top : top + 8, left : left + 8] for image in (first, second))
        mean_a, mean_b = float((gauss * a).sum()), float((gauss * b).sum())
        variance_a = float((gauss * (a - mean_a) ** 2).sum())
        variance_b = float((gauss * (b - mean_b) ** 2).sum())
        covariance = float((gauss * (a - mean_a) * (b - mean_b)).sum())
        result[c, i, j] = (
            (2 * mean_a * mean_b + 1e-4)
            * (2 * covariance + 1e-3)
            / ((mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 1e-3))
        )
    return result


def masked(image: Array) -> Array:
    result = np.zeros_like(image)
    for y, x in inside(*image.shape[1:]):
        result[:, y, x] = image[:, y, x]
    return result


def slow_level(frames: Array, flows: Array, level: int, kind: Definition) -> dict[str, float]:
    """One level, before `coarse_factor`. frames (B, T, 3, H, W), flows (B, T−1, 2, h, w)."""
    batch, pairs = flows.shape[:2]
    smooth, pixel, structure = [], [], []
    for b, t in itertools.product(range(batch), range(pairs)):
        flow = flows[b, t]
        smooth.append(slow_smoothness(flow, kind.smooth_epsilon, kind.smooth_exponent))
        if kind.full_size:
            flow = slow_enlarge_flow(flow, frames.shape[-1] // flow.shape[-1])
        first, second = (
            slow_shrink(slow_response_norm(frame), *flow.shape[1:]) for frame in frames[b, t : t + 2]
        )
        warped = slow_warp(second, flow)
        pixel.append(slow_pixel(first, warped, kind.pixel_epsilon))
        if min(flow.shape[1:]) >= 8:
            structure.append(1 - slow_ssim(masked(first), masked(warped), kind.stride))
    per_batch = 1 / batch if kind.batch_quirks else 1.0
    similarity = 0.0
    if structure:
        similarity = float(np.sum(structure)) / batch if kind.batch_quirks else float(np.mean(structure))
    return {
        "photometric": per_batch * float(np.mean(pixel)),
        "smoothness": per_batch * kind.smooth_weight(level) * float(np.mean(smooth)),
        "ssim": kind.ssim_weight(level) * similarity,
    }


def slow_loss(frames: Array, pyramid: list[Array], levels: list[int], kind: Definition) -> dict[str, float]:
    terms = dict.fromkeys(NAMES, 0.0)
    for position, (flows, level) in enumerate(zip(pyramid, levels, strict=True)):
        for name, value in slow_level(frames, flows, level, kind).items():
            terms[name] += kind.coarse_factor**position * value
    return terms


def example(
    batch: int, num_frames: int, height: int, width: int, levels: list[int]
) -> tuple[Array, list[Array]]:
    """Noise as frames (coarse and fine) and random flows, at the grids of `levels` (k: 2^(k−1) coarser)."""
    rng = np.random.default_rng(batch + 10 * num_frames + 100 * height + width)
    coarse = rng.normal(scale=0.3, size=(batch, num_frames, 3, height // 4, width // 4))
    frames = coarse.repeat(4, axis=3).repeat(4, axis=4)
    frames += rng.normal(scale=0.1, size=frames.shape)
    pyramid = [
        rng.normal(scale=1.5, size=(batch, num_frames - 1, 2, height >> (k - 1), width >> (k - 1)))
        for k in levels
    ]
    return frames, pyramid


def evaluate(
    frames: Array, pyramid: list[Array], preset: LossPreset, ssim_factor: float = 1.0
) -> dict[str, float]:
    tensors = [torch.from_numpy(flow) for flow in pyramid]
    terms = unsupervised_loss(torch.from_numpy(frames), tensors, preset, ssim_factor)
    assert set(terms) == {*NAMES, "total"}
    assert all(value.shape == () for value in terms.values())
    return {name: value.item() for name, value in terms.items()}


CASES = [
    (1, 2, 24, 40, [2, 3, 4]),  # the coarsest, 3 × 5, is smaller than an SSIM window and has no border
    (2, 3, 32, 24, [2, 3]),
    (3, 2, 16, 48, [2]),
    (1, 2, 64, 64, [2, 3, 4, 5, 6]),  # MotionNet's levels
    (2, 2, 32, 48, [3, 4, 5]),  # nano's levels
]


@pytest.mark.parametrize("name", ["paper", "caffe", "robust"])
@pytest.mark.parametrize(("batch", "num_frames", "height", "width", "levels"), CASES)
def test_whole_loss_agrees_with_slow_loops(
    name: str, batch: int, num_frames: int, height: int, width: int, levels: list[int]
) -> None:
    frames, pyramid = example(batch, num_frames, height, width, levels)
    expected = slow_loss(frames, pyramid, levels, DEFINITIONS[name])
    terms = evaluate(frames, pyramid, loss_preset(name))
    total = terms.pop("total")
    assert terms == pytest.approx(expected, rel=1e-9)
    assert total == pytest.approx(sum(expected.values()), rel=1e-9)
    assert all(value > 0 for value in expected.values())


@pytest.mark.parametrize("name", ["paper", "caffe", "robust"])
def test_float32_agrees_with_float64(name: str) -> None:
    frames, pyramid = example(2, 3, 64, 64, [2, 3, 4, 5, 6])
    exact = evaluate(frames, pyramid, loss_preset(name))
    tensors = [torch.from_numpy(flow).float() for flow in pyramid]
    terms = unsupervised_loss(torch.from_numpy(frames).float(), tensors, loss_preset(name))
    assert all(value.dtype == torch.float32 for value in terms.values())
    assert {key: value.item() for key, value in terms.items()} == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("name", ["paper", "caffe", "robust"])
def test_ssim_factor_scales_that_term_alone(name: str) -> None:
    frames, pyramid = example(2, 2, 32, 32, [2, 3])
    full = evaluate(frames, pyramid, loss_preset(name))
    tenth = evaluate(frames, pyramid, loss_preset(name), ssim_factor=0.1)
    assert tenth["ssim"] == pytest.approx(0.1 * full["ssim"])
    assert tenth["photometric"] == full["photometric"]
    assert tenth["smoothness"] == full["smoothness"]
    assert tenth["total"] == pytest.approx(full["total"] - 0.9 * full["ssim"])


def test_the_same_clip_twice_in_a_batch() -> None:
    """Means don't change; the reference's layer halves its Charbonnier terms; its SSIM sum is per clip."""
    frames, pyramid = example(1, 3, 32, 32, [2, 3])
    twice = np.concatenate((frames, frames)), [np.concatenate((flow, flow)) for flow in pyramid]
    for name in ("paper", "robust"):
        assert evaluate(*twice, loss_preset(name)) == pytest.approx(
            evaluate(frames, pyramid, loss_preset(name))
        )
    one, two = (evaluate(*clips, loss_preset("caffe")) for clips in ((frames, pyramid), twice))
    assert two["photometric"] == pytest.approx(one["photometric"] / 2)
    assert two["smoothness"] == pytest.approx(one["smoothness"] / 2)
    assert two["ssim"] == pytest.approx(one["ssim"])


def test_coarser_levels_of_robust_count_half_of_the_one_before() -> None:
    frames, pyramid = example(1, 2, 32, 32, [2, 3, 4])
    robust = loss_preset("robust")
    alone = [evaluate(frames, [flow], robust) for flow in pyramid]
    together = evaluate(frames, pyramid, robust)
    for name in together:
        expected = alone[0][name] + alone[1][name] / 2 + alone[2][name] / 4
        assert together[name] == pytest.approx(expected)
    even = evaluate(frames, pyramid, replace(robust, coarse_factor=1.0))
    assert even["total"] == pytest.approx(sum(terms["total"] for terms in alone))


def test_weights_of_the_presets() -> None:
    paper, caffe, robust = (loss_preset(name) for name in ("paper", "caffe", "robust"))
    for level, weight in RISING.items():
        assert isinstance(paper.smooth_weights, dict)
        assert isinstance(caffe.ssim_weights, dict)
        assert paper.smooth_weights[level] == caffe.ssim_weights[level] == weight
    assert paper.ssim_weights == caffe.smooth_weights == 1.0
    assert (paper.divide_by_batch, paper.ssim_sum) == (False, False)
    assert (caffe.divide_by_batch, caffe.ssim_sum) == (True, True)
    for preset in (paper, caffe):
        assert (preset.pixel_epsilon, preset.pixel_exponent) == (1e-3, 0.4)
        assert (preset.smooth_epsilon, preset.smooth_exponent) == (1e-3, 0.3)
        assert (preset.ssim_stride, preset.border, preset.coarse_factor) == (8, 0.1, 1.0)
    assert robust.pixel_epsilon == 5.0
    assert robust.smooth_epsilon == 0.1


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=rf"'papper'.*{', '.join(LOSS_PRESETS)}"):
        loss_preset("papper")


@pytest.mark.parametrize("name", ["paper", "caffe", "robust"])
def test_gradients_of_the_whole_loss_agree_with_finite_differences(name: str) -> None:
    frames = torch.from_numpy(example(2, 2, 16, 20, [])[0])
    generator = torch.Generator().manual_seed(5)

    def flow(height: int, width: int) -> Tensor:
        """Away from whole pixels, where bilinear sampling has a kink."""
        whole = torch.randint(-2, 3, (2, 1, 2, height, width), generator=generator)
        part = torch.rand(whole.shape, dtype=torch.float64, generator=generator)
        return (whole + 0.1 + 0.8 * part).requires_grad_()

    def total(*pyramid: Tensor) -> Tensor:
        return unsupervised_loss(frames, list(pyramid), loss_preset(name))["total"]

    assert torch.autograd.gradcheck(total, (flow(8, 10), flow(4, 5)), eps=1e-7, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["paper", "caffe", "robust"])
def test_gradient_is_finite_where_nothing_moves(name: str) -> None:
    """With equal frames and zero flow all differences are 0, where a power may have no derivative."""
    frames = torch.full((1, 3, 3, 32, 32), 0.25)
    flow = torch.zeros(1, 2, 2, 16, 16, requires_grad=True)
    terms = unsupervised_loss(frames, [flow], loss_preset(name))
    terms["total"].backward()
    assert flow.grad is not None
    assert flow.grad.abs().max() == 0
    assert terms["ssim"].item() == pytest.approx(0, abs=1e-5)


def moving_clip() -> Tensor:
    """(1, 3, 3, 32, 32): a smooth texture moves 2 px right and 4 px up each frame."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    frames = []
    for t in range(3):
        a, b = x - 2 * t, y + 4 * t
        waves = (
            torch.sin(0.5 * a + 0.2 * b),
            torch.cos(0.4 * b - 0.2 * a),
            torch.sin(0.3 * a) * torch.cos(0.45 * b),
        )
        frames.append(0.4 * torch.stack(waves))
    return torch.stack(frames)[None]


@pytest.mark.parametrize("name", ["paper", "caffe", "robust"])
def test_the_true_motion_is_best(name: str) -> None:
    """u = 1, v = −2 on the half-size grid is better than zero, reversed, swapped or input-size flow."""
    frames = moving_clip()

    def total(u: float, v: float) -> float:
        flow = torch.tensor([u, v], dtype=torch.float32).view(1, 1, 2, 1, 1).expand(1, 2, 2, 16, 16)
        return unsupervised_loss(frames, [flow], loss_preset(name))["total"].item()

    best = total(1, -2)
    for u, v in ((0, 0), (-1, 2), (-2, 1), (2, -4), (1, 0), (0, -2), (1.5, -2), (1, -2.5)):
        assert best < 0.7 * total(u, v)


def test_inputs_are_left_alone() -> None:
    frames, pyramid = example(1, 2, 32, 32, [2, 3])
    before = frames.copy(), [flow.copy() for flow in pyramid]
    evaluate(frames, pyramid, loss_preset("robust"))
    np.testing.assert_array_equal(frames, before[0])
    for flow, kept in zip(pyramid, before[1], strict=True):
        np.testing.assert_array_equal(flow, kept)


# --- the terms, one by one


def test_charbonnier_values() -> None:
    x = torch.tensor([0.0, 3.0, -3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(charbonnier(x, 4.0, 0.5), torch.tensor([4.0, 5.0, 5.0, 32**0.5]).double())
    expected = [penalty(value, 1e-3, 0.4) for value in x.tolist()]
    torch.testing.assert_close(charbonnier(x, 1e-3, 0.4), torch.tensor(expected).double())
    assert charbonnier(torch.zeros(()), 1e-3, 0.4).item() == pytest.approx(10**-2.4)


def test_response_norm_is_that_of_window_nine() -> None:
    frames = torch.randn(2, 4, 3, 5, 6, dtype=torch.float64)
    normalized = local_response_normalize(frames)
    other = functional.local_response_norm(frames.flatten(0, 1), size=9, alpha=1.0, beta=0.7, k=1.0)
    torch.testing.assert_close(normalized.flatten(0, 1), other)
    np.testing.assert_allclose(normalized[1, 2].numpy(), slow_response_norm(frames[1, 2].numpy()), rtol=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "edge"),
    [(112, 112, 11), (7, 7, 1), (14, 20, 1), (56, 28, 3), (4, 90, 0), (3, 5, 0), (1, 1, 0), (6, 30, 1)],
)
def test_border_mask_leaves_a_tenth_of_the_shorter_side(height: int, width: int, edge: int) -> None:
    mask = border_mask(torch.zeros(2, 2, height, width, dtype=torch.float64), 0.1)
    assert mask.shape == (height, width)
    assert mask.dtype == torch.float64
    for y, x in itertools.product(range(height), range(width)):
        kept = edge <= y < height - edge and edge <= x < width - edge
        assert mask[y, x].item() == float(kept)


def test_photometric_of_a_constant_difference() -> None:
    frame = torch.rand(3, 3, 9, 11, dtype=torch.float64)
    mask = border_mask(frame, 0.1)
    loss = photometric_loss(frame, frame + 0.02, mask, 1e-3, 0.4)
    assert loss.item() == pytest.approx((5.1**2 + 1e-6) ** 0.4)
    assert photometric_loss(frame, frame, mask, 5.0, 0.4).item() == pytest.approx(5**0.8)


def test_photometric_agrees_with_slow_loops_and_ignores_the_border() -> None:
    rng = np.random.default_rng(0)
    frame, warped = rng.normal(size=(2, 4, 3, 13, 9))
    mask = border_mask(torch.from_numpy(frame), 0.1)
    expected = np.mean([slow_pixel(a, b, 0.5) for a, b in zip(frame, warped, strict=True)])
    loss = photometric_loss(torch.from_numpy(frame), torch.from_numpy(warped), mask, 0.5, 0.4).item()
    assert loss == pytest.approx(expected)
    frame[..., 0, :] += 9
    frame[..., :, -1] -= 9
    assert photometric_loss(torch.from_numpy(frame), torch.from_numpy(warped), mask, 0.5, 0.4).item() == loss
    frame[..., 1, 1] += 9
    assert photometric_loss(torch.from_numpy(frame), torch.from_numpy(warped), mask, 0.5, 0.4).item() != loss


def test_smoothness_of_a_linear_flow() -> None:
    """u = 0.3 x − 0.1 y, v = 0.2 x + 0.4 y: the same difference everywhere."""
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(17.0), indexing="ij")
    flow = torch.stack((0.3 * x - 0.1 * y, 0.2 * x + 0.4 * y))[None].repeat(3, 1, 1, 1).double()
    loss = smoothness_loss(flow, border_mask(flow, 0.1), 0.05, 0.3)
    along_x = (penalty(0.3, 0.05, 0.3) + penalty(0.2, 0.05, 0.3)) / 2
    along_y = (penalty(0.1, 0.05, 0.3) + penalty(0.4, 0.05, 0.3)) / 2
    assert loss.item() == pytest.approx(along_x + along_y, rel=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (3, 1), (4, 4), (7, 12), (20, 11)])
def test_smoothness_agrees_with_slow_loops(height: int, width: int) -> None:
    flow = np.random.default_rng(1).normal(size=(3, 2, height, width))
    tensor = torch.from_numpy(flow)
    loss = smoothness_loss(tensor, border_mask(tensor, 0.1), 1e-3, 0.3)
    assert loss.item() == pytest.approx(np.mean([slow_smoothness(one, 1e-3, 0.3) for one in flow]))


@pytest.mark.parametrize("stride", [1, 3, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 15), (16, 24), (23, 8)])
def test_ssim_agrees_with_slow_loops(height: int, width: int, stride: int) -> None:
    rng = np.random.default_rng(height + width)
    first = rng.normal(size=(2, 3, height, width))
    second = 0.5 * first + 0.2 * rng.normal(size=first.shape) + 0.1
    result = ssim(torch.from_numpy(first), torch.from_numpy(second), stride).numpy()
    expected = np.stack([slow_ssim(a, b, stride) for a, b in zip(first, second, strict=True)])
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)


def test_ssim_of_equal_and_of_constant_images() -> None:
    image = torch.randn(2, 3, 24, 17, dtype=torch.float64)
    equal = ssim(image, image)
    torch.testing.assert_close(equal, torch.ones(2, 3, 3, 2, dtype=torch.float64))
    assert ssim(9 + image, 9 - image).max() < 0
    flat = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    expected = (2 * 0.3 * 0.5 + 1e-4) / (0.3**2 + 0.5**2 + 1e-4)
    assert ssim(0.3 * flat, 0.5 * flat).item() == pytest.approx(expected)


def test_terms_of_the_finest_level_at_224() -> None:
    """14 × 14 windows × 30 channels: 5,880 terms, each 1 if the images have nothing in common."""
    frame = torch.rand(10, 3, 112, 112)
    mask = border_mask(frame, 0.1)
    windows = ssim_loss(frame, frame, mask)
    assert windows.shape == (10, 3, 14, 14)
    assert windows.numel() == 5880
    assert windows.abs().max() < 1e-4
    # Equal except for the border, which does not count.
    changed = frame.clone()
    changed[..., :11, :] = 0.9
    changed[..., -11:] = 0.1
    assert ssim_loss(frame, changed, mask).abs().max() < 1e-4
    changed[..., 11, 11] += 5
    assert ssim_loss(frame, changed, mask).abs().max() > 0.01


def test_the_reference_sums_over_windows_and_channels() -> None:
    frames, pyramid = example(2, 3, 64, 32, [2])
    caffe = loss_preset("caffe")
    summed = evaluate(frames, pyramid, caffe)["ssim"]
    mean = evaluate(frames, pyramid, replace(caffe, ssim_sum=False))["ssim"]
    terms = 4 * 2 * 6  # windows of 32 × 16, channels of two pairs
    assert summed == pytest.approx(terms * mean)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (7, 30), (30, 7), (1, 1)])
def test_images_smaller_than_a_window_have_no_structure(height: int, width: int) -> None:
    frames = torch.rand(1, 2, 3, height, width)
    flow = torch.rand(1, 1, 2, height, width, requires_grad=True)
    image = frames[:, 0]
    assert ssim_loss(image, image, border_mask(image, 0.1)).numel() == 0
    for name in ("paper", "caffe", "robust"):
        terms = unsupervised_loss(frames, [flow], loss_preset(name))
        assert terms["ssim"].item() == 0
        assert terms["photometric"].item() > 0
        assert torch.isfinite(terms["total"])
        terms["total"].backward()
    assert flow.grad is not None
    assert flow.grad.isfinite().all()


def test_mixed_precision_does_not_reach_the_losses() -> None:
    """In bf16 the variances of SSIM would cancel and warps be off; autocast must not change the loss."""
    generator = torch.Generator().manual_seed(3)
    frames = torch.rand(1, 3, 3, 64, 64, generator=generator) * 0.05
    pyramid = [torch.randn(1, 2, 2, 32, 32, generator=generator)]
    preset = loss_preset("robust")
    expected = unsupervised_loss(frames, pyramid, preset)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = unsupervised_loss(frames, pyramid, preset)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize(
    ("size", "strides", "levels"), [(33, (2, 4, 8, 16, 32), (2, 3, 4, 5, 6)), (45, (4, 8, 16), (3, 4, 5))]
)
def test_levels_are_told_apart_at_sizes_that_no_stride_divides(
    size: int, strides: tuple[int, ...], levels: tuple[int, ...]
) -> None:
    """Each level alone gets its own smoothness weight, against the weight by hand."""
    generator = torch.Generator().manual_seed(4)
    frames = torch.rand(1, 2, 3, size, size, generator=generator)
    for stride, level in zip(strides, levels, strict=True):
        grid = -(-size // stride)
        flow = torch.randn(1, 1, 2, grid, grid, generator=generator)
        weights = {number: 10.0**number for number in range(1, 8)}
        one, weighted = (
            unsupervised_loss(frames, [flow], LossPreset(smooth_weights=chosen))["smoothness"].item()
            for chosen in (1.0, weights)
        )
        assert weighted == pytest.approx(10.0**level * one, rel=1e-5)
