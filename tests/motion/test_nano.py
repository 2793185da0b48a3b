"""Nano-MotionNet: its measurement of motion, its independence of pairs, and that it leaves zero flow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses import loss_preset, unsupervised_loss
from hidden_two_stream.motion.nano import NanoMotionNet, lucas_kanade

Array = npt.NDArray[np.float64]
TINY_DAMPING = torch.tensor(1e-12, dtype=torch.float64)


# --- the Lucas-Kanade step


def waves(u: float, v: float, height: int = 16, width: int = 24, k: float = 0.35) -> Tensor:
    """(1, 3, height, width): waves in x (red), in y (green), and nothing (blue), moved by (u, v) px."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    return torch.stack((torch.sin(k * (x - u)), torch.cos(k * (y - v)), torch.zeros_like(x)))[None]


@pytest.mark.parametrize(("u", "v"), [(0.5, 0.0), (0.0, 0.5), (-0.5, 0.25), (0.3, -0.8), (1.0, 1.0)])
def test_lucas_kanade_finds_the_shift_of_waves(u: float, v: float) -> None:
    """Half the shift, since a block is two pixels wide.

    For waves the step has a closed form: the mean picture is cos(kd / 2) sin(kx − kd / 2), of which central
    differences make a slope with sin k for k, and so d is estimated as 2 tan(kd / 2) / sin k.
    """
    k = 0.35
    measured = lucas_kanade(waves(0, 0), waves(u, v), TINY_DAMPING)
    assert measured.shape == (1, 3, 8, 12)
    inside = measured[0, :2, 1:-1, 1:-1]
    for channel, shift in enumerate((u, v)):
        closed = 2 * math.tan(k * shift / 2) / math.sin(k)
        torch.testing.assert_close(inside[channel], torch.full_like(inside[channel], closed / 2))
        assert inside[channel].mean().item() == pytest.approx(shift / 2, abs=0.03)


def slow_lucas_kanade(first: Array, second: Array, damping: float) -> Array:
    """(3, 2h, 2w) → (2, h, w): a 2 × 2 system for each block, from the means over its pixels."""
    _, height, width = first.shape
    mean = (first + second) / 2
    result = np.zeros((2, height // 2, width // 2))
    for by, bx in itertools.product(range(height // 2), range(width // 2)):
        matrix, vector = damping * np.eye(2), np.zeros(2)
        for y, x, c in itertools.product((2 * by, 2 * by + 1), (2 * bx, 2 * bx + 1), range(3)):
            right, left = mean[c, y, min(x + 1, width - 1)], mean[c, y, max(x - 1, 0)]
            below, above = mean[c, min(y + 1, height - 1), x], mean[c, max(y - 1, 0), x]
            slope = np.array([right - left, below - above]) / 2
            matrix += np.outer(slope, slope) / 4
            vector -= slope * (second[c, y, x] - first[c, y, x]) / 4
        result[:, by, bx] = np.clip(np.linalg.solve(matrix, vector) / 2, -1, 1)
    return result


@pytest.mark.parametrize("damping", [1e-4, 0.05, 2.0])
def test_lucas_kanade_agrees_with_slow_least_squares(damping: float) -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 3, 3, 6, 10))
    measured = lucas_kanade(torch.from_numpy(first), torch.from_numpy(second), torch.tensor(damping).double())
    expected = np.stack([slow_lucas_kanade(a, b, damping) for a, b in zip(first, second, strict=True)])
    np.testing.assert_allclose(measured[:, :2].numpy(), expected, rtol=1e-6, atol=1e-7)


def test_lucas_kanade_of_identical_pictures_is_zero() -> None:
    picture = torch.randn(2, 3, 8, 10)
    measured = lucas_kanade(picture, picture, torch.tensor(1e-3))
    assert measured[:, :2].abs().max() == 0
    assert measured.isfinite().all()


def test_lucas_kanade_is_damped_and_limited() -> None:
    slow, fast = waves(0.5, 0), waves(5, 0)
    firm = lucas_kanade(waves(0, 0), slow, TINY_DAMPING)[0, 0, 1:-1, 1:-1]
    soft = lucas_kanade(waves(0, 0), slow, torch.tensor(10.0).double())[0, 0, 1:-1, 1:-1]
    assert soft.max() < 0.1 * firm.min()
    assert (soft > 0).all()
    assert lucas_kanade(waves(0, 0), fast, TINY_DAMPING)[:, :2].abs().max() == 1
    flat = torch.full((1, 3, 4, 4), 0.3)
    measured = lucas_kanade(flat, flat + 0.1, torch.tensor(1e-3))
    assert measured[:, :2].abs().max() == 0
    assert measured.isfinite().all()


def test_third_channel_grows_with_contrast() -> None:
    """Gradient energy times 16: the logarithm, of which a quarter is given, grows by log 16."""
    faint, strong = (lucas_kanade(c * waves(0, 0), c * waves(0.2, 0), TINY_DAMPING)[:, 2] for c in (1, 4))
    torch.testing.assert_close(strong - faint, torch.full_like(faint, math.log(16) / 4))


def test_lucas_kanade_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    second = first.detach() + 0.2 * torch.randn(first.shape, dtype=torch.float64, generator=generator)
    damping = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lucas_kanade, (first, second.requires_grad_(), damping))


# --- the network


def trained_alike(num_frames: int = 11) -> NanoMotionNet:
    """With weights that give sizeable flow, as training would."""
    torch.manual_seed(0)
    network = NanoMotionNet(num_frames).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "predict" in name:
                parameter.normal_(std=0.1)
            elif name.endswith("step_gain"):
                parameter.fill_(0.8)
    return network


@torch.no_grad()
def flows(network: NanoMotionNet, frames: Tensor) -> list[Tensor]:
    pyramid: list[Tensor] = network(frames)
    return pyramid


@pytest.mark.parametrize("num_frames", [2, 3, 7, 12])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (1, 1), (40, 23)])
def test_any_number_of_frames_and_any_size(num_frames: int, height: int, width: int) -> None:
    pyramid = flows(trained_alike(), torch.rand(2, num_frames, 3, height, width))
    for flow, stride in zip(pyramid, (4, 8, 16), strict=True):
        expected = (2, num_frames - 1, 2, math.ceil(height / stride), math.ceil(width / stride))
        assert flow.shape == expected
        assert flow.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_flat_pictures_give_finite_flow_and_gradients(value: float) -> None:
    network = trained_alike()
    pyramid = network(torch.full((1, 3, 3, 32, 32), value))
    sum(flow.square().sum() for flow in pyramid).backward()
    assert all(flow.isfinite().all() for flow in pyramid)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_pairs_are_independent() -> None:
    """The flow of pair k depends on frames k and k + 1 alone, and not on their place."""
    network = trained_alike()
    generator = torch.Generator().manual_seed(1)
    frames = torch.rand(2, 5, 3, 32, 48, generator=generator)
    whole = flows(network, frames)
    assert all(flow.abs().max() > 0.05 for flow in whole)
    for pair in range(4):
        others = torch.rand(frames.shape, generator=generator)
        others[:, pair : pair + 2] = frames[:, pair : pair + 2]
        alone = flows(network, frames[:, pair : pair + 2])
        for flow, changed, single in zip(whole, flows(network, others), alone, strict=True):
            torch.testing.assert_close(changed[:, pair], flow[:, pair], atol=1e-5, rtol=0)
            torch.testing.assert_close(single[:, 0], flow[:, pair], atol=1e-5, rtol=0)
            unlike = (changed - flow).abs().amax(dim=(0, 2, 3, 4))
            assert (unlike[[k for k in range(4) if k != pair]] > 1e-3).all()


@pytest.mark.parametrize(("u", "v"), [(2.0, -1.0), (0.5, 0.25), (-6.0, 2.0), (4.0, 3.0)])
def test_measured_motion_adds_up_over_levels_and_passes(u: float, v: float) -> None:
    """With nothing predicted and all that is measured taken, waves give their motion without any training.

    So the order of the frames, the direction of the warps between passes and the units of all levels agree.
    The coarsest level sees waves of few pixels, and overshoots; the next ones correct it.
    """

    def scene(u: float, v: float) -> Tensor:
        y, x = torch.meshgrid(torch.arange(64.0) - v, torch.arange(64.0) - u, indexing="ij")
        return torch.stack((torch.sin(0.15 * x), torch.sin(0.15 * y), torch.sin(0.1 * (x + y))))

    network = NanoMotionNet()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "predict" in name:
                parameter.zero_()
            elif name.endswith("step_gain"):
                parameter.fill_(1)
            elif name.endswith("log_damping"):
                parameter.fill_(-12)
    clip = torch.stack((scene(0, 0), scene(u, v), scene(2 * u, 2 * v)))[None]
    finest, middle, _ = flows(network, clip)
    for flow, stride in ((finest, 4), (middle, 8)):
        inside = stride * flow[0, :, :, 2:-2, 2:-2].mean(dim=(2, 3))
        torch.testing.assert_close(inside, torch.tensor([[u, v], [u, v]]), atol=0.1, rtol=0.03)


def with_coarse_flow(u: float, v: float) -> NanoMotionNet:
    """A network whose coarsest level always says (u, v), in its pixels, and whose others add nothing."""
    torch.manual_seed(0)
    network = NanoMotionNet()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "predict" in name:
                parameter.zero_()
        bias = network.refine4.predict.bias
        assert bias is not None
        bias.copy_(torch.tensor([u, v]))
    return network


def test_coarse_flow_doubles_from_level_to_level() -> None:
    pyramid = flows(with_coarse_flow(0.5, -1.25), torch.rand(2, 3, 3, 48, 80))
    for flow, factor in zip(pyramid, (4, 2, 1), strict=True):
        expected = factor * torch.tensor([0.5, -1.25]).view(1, 1, 2, 1, 1)
        torch.testing.assert_close(flow, expected.expand_as(flow))


@pytest.mark.parametrize(("u", "v"), [(1, -1), (0, 1), (-1, 0)])
def test_motion_is_measured_behind_the_flow_so_far(u: int, v: int) -> None:
    """Noise moves by 16 px for each pixel of the coarsest level: so nothing is left to measure."""
    network = with_coarse_flow(u, v)
    first = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    clip = torch.stack((first, first.roll((16 * v, 16 * u), dims=(2, 3))), dim=1)
    seen: list[Tensor] = []
    for refine in (network.refine3, network.refine2):
        refine.layers.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, -3:-1]))
    flows(network, clip)
    assert len(seen) == 4
    for left in seen:
        edge = left.shape[-1] // 4
        assert left[..., edge:-edge, edge:-edge].abs().max() < 1e-3


def test_direction_of_time_matters() -> None:
    network = trained_alike()
    frames = torch.rand(1, 2, 3, 32, 32)
    forth, back = flows(network, frames)[0], flows(network, frames.flip(1))[0]
    assert (forth - back).abs().max() > 0.01


def test_first_predictions_are_close_to_zero() -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        for flow in flows(NanoMotionNet(), torch.randn(2, 3, 3, 64, 64)):
            assert flow.abs().max() < 0.1
            assert flow.abs().max() > 0


def test_features_are_standardised_per_picture() -> None:
    features = NanoMotionNet().features(torch.rand(2, 4, 3, 64, 32))
    assert [level.shape for level in features] == [(2, 3, 16, 16, 8), (2, 3, 32, 8, 4), (2, 3, 48, 4, 2)]
    for level in features:
        assert level.mean(dim=(-2, -1)).abs().max() < 1e-4
        assert level.var(dim=(-2, -1), correction=0).max() < 1.0001
    deviation = features[0].std(dim=(-2, -1), correction=0)
    torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=0.02, rtol=0)


# --- the zero-flow trap


def textures(rng: np.random.Generator, count: int, size: int) -> Array:
    """(count, 3, size, size): periodic smooth noise of standard deviation 0.25."""
    frequency = np.fft.fftfreq(size)
    envelope = np.exp(-(frequency[:, None] ** 2 + frequency**2) / 0.12**2)
    spectrum = np.fft.fft2(rng.normal(size=(count, 3, size, size))) * envelope
    picture = np.asarray(np.fft.ifft2(spectrum).real)
    return np.asarray(0.25 * picture / picture.std(axis=(-2, -1), keepdims=True))


def shifted(picture: Array, u: float, v: float) -> Array:
    """Moved by (u, v) px, exactly: a phase of the spectrum."""
    frequency = np.fft.fftfreq(picture.shape[-1])
    phase = np.exp(-2j * np.pi * (frequency[:, None] * v + frequency * u))
    return np.asarray(np.fft.ifft2(np.fft.fft2(picture) * phase).real)


def moving_squares(seed: int, count: int, size: int = 48) -> tuple[Tensor, Tensor]:
    """Textured squares move 1 to 2 px a frame over a still texture; sensor noise 0.02.

    Returns frames (count, 3, 3, size, size) and their true flow (count, 2, 2, size, size), px.
    """
    rng = np.random.default_rng(seed)
    still, moving = textures(rng, count, size), textures(rng, count, size)
    frames, flow = np.zeros((count, 3, 3, size, size)), np.zeros((count, 2, 2, size, size))
    y, x = np.mgrid[:size, :size]
    for clip in range(count):
        angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(1, 2)
        u, v = speed * math.cos(angle), speed * math.sin(angle)
        middle = rng.uniform(0.4 * size, 0.6 * size, size=2)
        for t in range(3):
            inside = abs(x - middle[0] - u * (t - 1)) < size / 4
            inside &= abs(y - middle[1] - v * (t - 1)) < size / 4
            frames[clip, t] = np.where(inside, shifted(moving[clip], u * t, v * t), still[clip])
            if t < 2:
                flow[clip, t] = inside * np.array([u, v])[:, None, None]
    frames += rng.normal(scale=0.02, size=frames.shape)
    return torch.from_numpy(frames).float(), torch.from_numpy(flow).float()


def errors(network: NanoMotionNet, frames: Tensor, flow: Tensor) -> tuple[float, float]:
    """End-point error of moving pixels relative to that of zero flow; mean flow where nothing moves, px."""
    found = resize_flow(flows(network, frames)[0], *frames.shape[-2:])
    speed = flow.square().sum(dim=2).sqrt()
    error = (found - flow).square().sum(dim=2).sqrt()
    moving = speed > 0
    return (error[moving].mean() / speed[moving].mean()).item(), error[~moving].mean().item()


def test_zero_flow_is_left() -> None:
    """Without labels, in 60 steps: on unseen clips at most half the error of zero flow is left.

    About 0.25 with other seeds; the threshold leaves room for other versions and machines.
    """
    torch.manual_seed(0)
    clips, _ = moving_squares(1, 32)
    unseen, truth = moving_squares(2, 8)
    network = NanoMotionNet(num_frames=3)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    assert errors(network, unseen, truth)[0] == pytest.approx(1, abs=0.1)
    for step in range(60):
        batch = clips[8 * (step % 4) :][:8]
        loss = unsupervised_loss(batch, network(batch), loss_preset("robust"))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moving, still = errors(network, unseen, truth)
    assert moving < 0.5
    assert still < 0.5
