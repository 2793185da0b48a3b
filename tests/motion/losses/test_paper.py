"""Each term of the paper's loss, and its gradient, against NumPy code written from the definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hidden_two_stream.motion.losses.paper import border_mask
from hidden_two_stream.motion.losses.presets import loss_preset
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss

Array = npt.NDArray[np.float64]
TERMS = ("photometric", "smoothness", "ssim")
RISING = {2: 0.01, 3: 0.02, 4: 0.04}
# Height and width of the flow, and factor to the size of the frames; level 2 is half the size.
SIZES = [(8, 8, 2), (9, 13, 2), (16, 24, 2), (23, 17, 2), (8, 11, 4), (10, 8, 4), (17, 12, 4), (8, 9, 8)]
LEVELS = {2: 2, 4: 3, 8: 4}
# A tenth of the shorter side, rounded, by hand.
EDGES = {7: 1, 8: 1, 9: 1, 10: 1, 12: 1, 14: 1, 16: 2, 17: 2, 20: 2, 28: 3, 56: 6, 112: 11}


def normalized(frame: Array) -> Array:
    """Local response normalization over nine channels, alpha 1, beta 0.7; a frame has three: (3, h, w)."""
    red, green, blue = frame
    result: Array = frame * (1 + (red**2 + green**2 + blue**2) * (1 / 9)) ** -0.7
    return result


def smaller(frame: Array, factor: int) -> Array:
    """Means of factor x factor blocks."""
    return sum(
        (frame[:, top::factor, left::factor] for top, left in itertools.product(range(factor), repeat=2)),
        start=np.zeros((3, frame.shape[1] // factor, frame.shape[2] // factor)),
    ) / (factor * factor)


def reconstructed(following: Array, flow: Array) -> Array:
    """Frame t+1 at (x + u, y + v): bilinear from the four pixels around; edges repeat."""
    _, height, width = following.shape
    y, x = np.mgrid[:height, :width]
    u, v = np.clip(x + flow[0], 0, width - 1), np.clip(y + flow[1], 0, height - 1)
    left, top = np.floor(u).astype(int), np.floor(v).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = u - left, v - top
    upper = following[:, top, left] + across * (following[:, top, right] - following[:, top, left])
    lower = following[:, bottom, left] + across * (following[:, bottom, right] - following[:, bottom, left])
    result: Array = upper + down * (lower - upper)
    return result


def counted(height: int, width: int) -> npt.NDArray[np.bool_]:
    edge = EDGES[min(height, width)]
    inside = np.zeros((height, width), np.bool_)
    inside[edge : height - edge, edge : width - edge] = True
    return inside


def photometric(frame: Array, warped: Array) -> float:
    """Mean of ((255 d)^2 + 0.001^2)^0.4 over the pixels and colors that count."""
    inside = counted(*frame.shape[1:])
    values = [((255 * d) ** 2 + 1e-6) ** 0.4 for d in (frame - warped)[:, inside].ravel().tolist()]
    return math.fsum(values) / len(values)


def smoothness(flow: Array) -> float:
    """(d^2 + 0.001^2)^0.3, d the next pixel minus this one, of u and v, right and down."""
    _, height, width = flow.shape
    inside = counted(height, width)
    values = []
    for y, x in zip(*np.nonzero(inside), strict=True):
        for channel in flow:
            if x < width - 1:
                values.append(((channel[y, x + 1] - channel[y, x]) ** 2 + 1e-6) ** 0.3)
            if y < height - 1:
                values.append(((channel[y + 1, x] - channel[y, x]) ** 2 + 1e-6) ** 0.3)
    return math.fsum(values) / (2 * int(inside.sum()))


def dissimilarity(frame: Array, warped: Array) -> list[float]:
    """1 - SSIM of each 8 x 8 window, 8 apart, and each color; the border is 0 in both images."""
    inside = counted(*frame.shape[1:])
    profile = [math.exp(-0.5 * ((n - 3.5) / (16 / 12)) ** 2) for n in range(8)]
    weights = np.array([a * b for a in profile for b in profile]) / sum(profile) ** 2
    values = []
    for color, top, left in itertools.product(
        range(3), range(0, frame.shape[1] - 7, 8), range(0, frame.shape[2] - 7, 8)
    ):
        box = (slice(top, top + 8), slice(left, left + 8))
        a, b = ((image[color] * inside)[box].ravel() for image in (frame, warped))
        mean_a, mean_b = np.average(a, weights=weights), np.average(b, weights=weights)
        covariance = np.cov(a, b, aweights=weights, ddof=0)
        likeness = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        likeness *= (2 * covariance[0, 1] + 1e-3) / (covariance[0, 0] + covariance[1, 1] + 1e-3)
        values.append(float(1 - likeness))
    return values


def defined(name: str, frames: Array, flows: Array, factor: int) -> dict[str, float]:
    """The three terms of one level. frames (B, T, 3, H, W), flows (B, T-1, 2, h, w)."""
    batch, pairs = flows.shape[:2]
    pixel, smooth, structure = [], [], []
    for b, t in itertools.product(range(batch), range(pairs)):
        frame, following = (smaller(normalized(image), factor) for image in frames[b, t : t + 2])
        warped = reconstructed(following, flows[b, t])
        pixel.append(photometric(frame, warped))
        smooth.append(smoothness(flows[b, t]))
        structure.extend(dissimilarity(frame, warped))
    rising = RISING[LEVELS[factor]]
    if name == "paper":  # means, and the rising weights on smoothness
        return {
            "photometric": float(np.mean(pixel)),
            "smoothness": rising * float(np.mean(smooth)),
            "ssim": float(np.mean(structure)),
        }
    # Charbonnier terms divided by the batch once more; SSIM summed, divided by the batch, rising weights.
    return {
        "photometric": float(np.mean(pixel)) / batch,
        "smoothness": float(np.mean(smooth)) / batch,
        "ssim": rising * math.fsum(structure) / batch,
    }


def example(height: int, width: int, factor: int, batch: int = 2) -> tuple[Array, Array]:
    """Noise of two scales; flows of a few pixels, away from whole ones, where sampling has a kink."""
    rng = np.random.default_rng(100 * height + width)
    coarse = rng.normal(scale=0.3, size=(batch, 3, 3, height, width))
    frames = coarse.repeat(factor, axis=3).repeat(factor, axis=4)
    frames += rng.normal(scale=0.1, size=frames.shape)
    flows = rng.integers(-2, 3, size=(batch, 2, 2, height, width)) + rng.uniform(
        0.1, 0.9, (batch, 2, 2, 1, 1)
    )
    return frames, flows + rng.uniform(-0.05, 0.05, flows.shape)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("name", ["paper", "caffe"])
@pytest.mark.parametrize(("height", "width", "factor"), SIZES)
def test_a_term_agrees_with_its_definition(
    name: str, term: str, height: int, width: int, factor: int
) -> None:
    frames, flows = example(height, width, factor)
    terms = unsupervised_loss(torch.from_numpy(frames), [torch.from_numpy(flows)], loss_preset(name))
    expected = defined(name, frames, flows, factor)[term]
    assert expected > 0
    assert terms[term].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("name", ["paper", "caffe"])
@pytest.mark.parametrize(("height", "width", "factor"), [(9, 13, 2), (16, 8, 4)])
def test_the_gradient_of_a_term_agrees_with_differences_of_its_definition(
    name: str, term: str, height: int, width: int, factor: int
) -> None:
    """The gradient against central differences of the NumPy version, at some pixels of the flow."""
    frames, flows = example(height, width, factor)
    flow = torch.from_numpy(flows).requires_grad_()
    unsupervised_loss(torch.from_numpy(frames), [flow], loss_preset(name))[term].backward()
    assert flow.grad is not None
    found, step = flow.grad.numpy(), 1e-6
    rng = np.random.default_rng(0)
    places = [tuple(int(rng.integers(side)) for side in flows.shape) for _ in range(12)]
    places.append((0, 1, 0, height // 2, width // 2))
    places.append((1, 0, 1, 0, 0))  # in the border
    strengths = []
    for place in places:
        values = []
        for sign in (1, -1):
            moved = flows.copy()
            moved[place] += sign * step
            values.append(defined(name, frames, moved, factor)[term])
        slope = (values[0] - values[1]) / (2 * step)
        scale = float(np.abs(found).max())
        assert found[place] == pytest.approx(slope, rel=1e-4, abs=1e-5 * scale)
        strengths.append(abs(slope))
    assert max(strengths) > 0.05 * float(np.abs(found).max())
    if term != "smoothness":
        assert found[1, 0, 1, 0, 0] == 0


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("name", ["paper", "caffe"])
def test_the_whole_gradient_of_a_term_agrees_with_finite_differences(name: str, term: str) -> None:
    frames, flows = example(8, 9, 2, batch=1)
    images = torch.from_numpy(frames[:, :2])

    def loss(flow: torch.Tensor) -> torch.Tensor:
        return unsupervised_loss(images, [flow], loss_preset(name))[term]

    flow = torch.from_numpy(flows[:, :1]).requires_grad_()
    assert torch.autograd.gradcheck(loss, (flow,), eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("side", "edge"), EDGES.items())
def test_a_tenth_of_the_shorter_side_is_left_out(side: int, edge: int) -> None:
    for height, width in ((side, side), (side, side + 11), (2 * side, side)):
        mask = border_mask(torch.zeros(height, width), 0.1)
        assert mask.sum().item() == (height - 2 * edge) * (width - 2 * edge)
        np.testing.assert_array_equal(mask.numpy() == 1, counted(height, width))
