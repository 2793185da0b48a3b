"""Nano-MotionNet: measured motion, independent pairs, and training that leaves zero flow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import median_filter, resize_flow
from hidden_two_stream.motion.losses.presets import loss_preset
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss
from hidden_two_stream.motion.networks.nano import NanoMotionNet, block_sums, lucas_kanade, pixel_shuffle

Array = npt.NDArray[np.float64]


# --- the Lucas-Kanade step


def waves(u: float, v: float, height: int = 16, width: int = 24, k: float = 0.35) -> Tensor:
    """(2, 1, height, width): an image of waves in x and one of waves in y, moved by (u, v) px."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    return torch.stack((torch.sin(k * (x - u)), torch.cos(k * (y - v))))[:, None]


def slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Twice the central differences in x and y; beyond the border the edge repeats."""
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    dx = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    dy = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return dx, dy


def measure(first: Tensor, second: Tensor, share: float = 0.0, contrast: float = 1e-8) -> Tensor:
    """One Lucas-Kanade step from the first image to the second."""
    constants = (torch.tensor(value, dtype=first.dtype) for value in (share, contrast))
    return lucas_kanade(*slopes(first), second - first, *constants)


@pytest.mark.parametrize(("u", "v"), [(0.1, 0.0), (0.0, 0.1), (-0.1, 0.05), (0.08, -0.12)])
def test_lucas_kanade_finds_the_shift_of_waves(u: float, v: float) -> None:
    """It finds half the shift, since a block is two pixels wide, and no motion along the waves.

    To first order in the shift d the difference of the images is −d k cos(kx), and central differences make
    a slope of sin(k) cos(kx), so the step finds d k / sin k.
    """
    k = 0.35
    measured = measure(waves(0, 0), waves(u, v))
    assert measured.shape == (2, 4, 8, 12)
    for axis, shift in enumerate((u, v)):
        inside = measured[axis, :2, 2:-2, 2:-2]
        assert inside[axis].mean().item() == pytest.approx(shift * k / math.sin(k) / 2, abs=0.004)
        assert inside[1 - axis].abs().max() < 1e-9


def slow_lucas_kanade(first: Array, second: Array, share: float, contrast: float) -> Array:
    """(2h, 2w) → (2, h, w): a 2 × 2 system for each block, from the 36 pixels of it and the blocks around it.

    Pixels beyond the border count as 0, and the divisor stays 36.
    """
    height, width = first.shape
    result = np.zeros((2, height // 2, width // 2))
    for by, bx in itertools.product(range(height // 2), range(width // 2)):
        matrix, vector, unlike = np.zeros((2, 2)), np.zeros(2), 0.0
        rows = range(max(0, 2 * by - 2), min(height, 2 * by + 4))
        columns = range(max(0, 2 * bx - 2), min(width, 2 * bx + 4))
        for y, x in itertools.product(rows, columns):
            right, left = first[y, min(x + 1, width - 1)], first[y, max(x - 1, 0)]
            below, above = first[min(y + 1, height - 1), x], first[max(y - 1, 0), x]
            slope, change = np.array([right - left, below - above]) / 2, second[y, x] - first[y, x]
            matrix += np.outer(slope, slope) / 36
            vector -= slope * change / 36
            unlike += change**2 / 36
        matrix += (share * unlike + 1e-5 * contrast) * np.eye(2)
        result[:, by, bx] = np.clip(np.linalg.solve(matrix, vector) / 2, -1, 1)
    return result


@pytest.mark.parametrize(("share", "contrast"), [(0.0, 1.0), (0.05, 2.0), (2.0, 1e4)])
def test_lucas_kanade_agrees_with_slow_least_squares(share: float, contrast: float) -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 3, 1, 6, 10))
    measured = measure(torch.from_numpy(first), torch.from_numpy(second), share, contrast)
    pairs = zip(first[:, 0], second[:, 0], strict=True)
    expected = np.stack([slow_lucas_kanade(a, b, share, contrast) for a, b in pairs])
    np.testing.assert_allclose(measured[:, :2].numpy(), expected, rtol=1e-6, atol=1e-7)


def test_lucas_kanade_of_identical_images_is_zero() -> None:
    image = torch.randn(2, 1, 8, 10)
    measured = measure(image, image, 1.0)
    assert measured[:, :2].abs().max() == 0
    assert measured.isfinite().all()


def test_lucas_kanade_is_damped_and_limited() -> None:
    first = waves(0, 0)[:1]
    firm = measure(first, waves(0.5, 0)[:1], 0.01)[0, 0, 2:-2, 2:-2]
    soft = measure(first, waves(0.5, 0)[:1], 20.0)[0, 0, 2:-2, 2:-2]
    assert 0 < soft.mean() < 0.3 * firm.mean()
    assert measure(first, waves(5, 0)[:1])[:, :2].abs().max() == 1
    flat = torch.full((1, 1, 4, 4), 0.3)
    measured = measure(flat, flat + 0.1, 1.0)
    assert measured[:, :2].abs().max() == 0
    assert measured.isfinite().all()


def test_noise_moves_little_and_texture_much_at_any_contrast() -> None:
    """The damping separates a shift by 0.3 px from independent noise with the same gradients."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 64, 64, dtype=torch.float64, generator=generator)
    for contrast in (1e-3, 1.0, 1e3):
        other = torch.randn(1, 1, 64, 64, dtype=torch.float64, generator=generator)
        still = measure(contrast * noise, contrast * other, 0.5)[:, :2].abs().mean()
        smooth = contrast * functional.avg_pool2d(noise, 5, 1, 2)
        moved = 0.7 * smooth + 0.3 * smooth.roll(1, dims=-1)
        shift = measure(smooth, moved, 0.5)[0, 0, 4:-4, 4:-4]
        assert still < 0.06
        assert shift.mean().item() == pytest.approx(0.15, abs=0.03)


def test_texture_and_residue_have_closed_forms_on_a_ramp() -> None:
    """A slope of 0.3 that moves by one pixel."""
    ramp = 0.3 * torch.arange(12, dtype=torch.float64).expand(1, 1, 6, 12)
    texture, residue = measure(ramp, ramp - 0.3, 0.2, 0.5)[0, 2:, 1:-1, 2:-2]
    damping = 0.2 * 0.3**2 + 1e-5 * 0.5
    torch.testing.assert_close(texture, torch.full_like(texture, math.log(1 + 0.3**2 / (2 * damping)) / 4))
    torch.testing.assert_close(residue, torch.full_like(residue, 1 + math.log(0.3**2 / 0.5 + 1e-4) / 4))


@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_a_sharp_diagonal_edge_in_a_flat_image_is_finite(moved: float) -> None:
    """Its M has no inverse, and the damping may be too small to change its entries in float32."""
    slope = torch.full((1, 1, 8, 8), 0.6, requires_grad=True)
    difference = torch.full((1, 1, 8, 8), moved, requires_grad=True)
    measured = lucas_kanade(slope, slope, difference, torch.tensor(1e-6), torch.tensor(1e-7))
    assert measured.isfinite().all()
    assert moved or measured[:, :2].abs().max() == 0
    measured.sum().backward()
    for leaf in (slope, difference):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("k", range(6))
def test_still_strokes_on_black_have_finite_flow(k: int) -> None:
    """Like titles: few pixels, exactly diagonal, which the samples of the contrast may miss."""
    image = torch.zeros(128, 128)
    for i in range(3):
        image[50 + k + i, 52 + k + i : 54 + k + i] = 1
    torch.manual_seed(0)
    for flow in flows(NanoMotionNet(), image.expand(1, 2, 3, 128, 128)):
        assert flow.isfinite().all()


def test_lucas_kanade_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    dx, dy = (
        torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=generator).requires_grad_() for _ in "xy"
    )
    second = 0.2 * torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=generator)
    share, contrast = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.5, 2.0))
    assert torch.autograd.gradcheck(lucas_kanade, (dx, dy, second.requires_grad_(), share, contrast))


# --- the network


def trained_alike(num_frames: int = 11) -> NanoMotionNet:
    """A network with weights that give large flow, like trained ones."""
    torch.manual_seed(0)
    network = NanoMotionNet(num_frames).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "predict" in name:
                parameter.normal_(std=0.1)
            elif name.endswith("step_gain"):
                parameter.fill_(0.8)
    return network


def textured_clip(height: int, width: int) -> Tensor:
    """(1, 3, 3, height, width): smooth noise and its shifts by (1, −2) px a frame."""
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        noise = functional.avg_pool2d(functional.pad(noise, (3, 3, 3, 3), mode="circular"), 7, 1)
    return torch.stack([noise.roll((-2 * t, t), dims=(2, 3)) for t in range(3)], dim=1)


@torch.no_grad()
def flows(network: NanoMotionNet, frames: Tensor) -> list[Tensor]:
    pyramid: list[Tensor] = network(frames)
    return pyramid


@pytest.mark.parametrize("num_frames", [2, 3, 7, 12])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (1, 1), (40, 63), (64, 70), (130, 143), (128, 127)])
def test_any_number_of_frames_and_any_size(num_frames: int, height: int, width: int) -> None:
    pyramid = flows(trained_alike(), torch.rand(2, num_frames, 3, height, width))
    factor = 4 if min(height, width) < 64 else 2 if min(height, width) < 128 else 1
    for flow, stride in zip(pyramid, (4, 8, 16), strict=True):
        expected = (2, num_frames - 1, 2, -(-height * factor // stride), -(-width * factor // stride))
        assert flow.shape == expected
        assert flow.isfinite().all()


@pytest.mark.parametrize(("height", "width", "factor"), [(70, 90, 2), (35, 45, 4)])
def test_small_images_are_enlarged(height: int, width: int, factor: int) -> None:
    """The flow of 70 × 90 px equals that of the same clip at 140 × 180 px, which is not enlarged."""
    network, small = trained_alike(), torch.rand(1, 3, 3, height, width)
    large = functional.interpolate(small[0], scale_factor=factor, mode="bilinear")[None]
    for flow, other, side in zip(flows(network, small), flows(network, large), (35, 18, 9), strict=True):
        assert flow.shape[-2] == side
        torch.testing.assert_close(flow, other)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_flat_images_give_finite_flow_and_gradients(value: float) -> None:
    network = trained_alike()
    pyramid = network(torch.full((1, 3, 3, 32, 32), value))
    sum(flow.square().sum() for flow in pyramid).backward()
    assert all(flow.isfinite().all() for flow in pyramid)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_passes_of_the_finest_level_go_on_from_each_other() -> None:
    """Each pass starts from the flow of the one before; the coarser levels are independent of them."""
    once = trained_alike()
    network = NanoMotionNet(finest_passes=3)
    network.load_state_dict(once.state_dict())
    calls: list[tuple[Tensor, Tensor, Tensor]] = []
    network.refine2.register_forward_hook(lambda _, seen, made: calls.append((seen[-1], *made)))
    frames = textured_clip(128, 160)
    finest, *coarser = flows(network, frames)
    first, *others = flows(once, frames)
    assert len(calls) == 3
    for flow, other in zip(coarser, others, strict=True):
        torch.testing.assert_close(flow, other, atol=0, rtol=0)
    torch.testing.assert_close(calls[0][1], first[0], atol=0, rtol=0)
    for before, after in itertools.pairwise(calls):
        torch.testing.assert_close(after[0], before[1], atol=0, rtol=0)
        assert (after[1] - before[1]).abs().max() > 0.01
    torch.testing.assert_close(finest[0], calls[-1][1], atol=0, rtol=0)
    torch.testing.assert_close(network.features(frames)[1][0], calls[-1][2], atol=0, rtol=0)
    with pytest.raises(UsageError, match="finest_passes is 0"):
        NanoMotionNet(finest_passes=0)


def test_every_parameter_learns() -> None:
    network = NanoMotionNet()
    sum(flow.square().sum() for flow in network(textured_clip(64, 64))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_pairs_are_independent() -> None:
    """The flow of pair k depends on frames k and k + 1 only, and not on k."""
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


@pytest.mark.parametrize(("height", "width"), [(128, 128), (144, 208)])
@pytest.mark.parametrize(("u", "v"), [(2.0, -1.0), (0.5, 0.25), (-6.0, 2.0), (4.0, 3.0)])
def test_measured_motion_adds_up_over_levels(u: float, v: float, height: int, width: int) -> None:
    """With zero predictions and a step gain of 1, waves give their motion without training.

    So the order of the frames, the direction of the warps and the units of all levels agree.
    The coarsest level sees waves of few pixels and overshoots; the next ones correct that. At 144 × 208 px
    the two coarsest grids have odd sides, 9 × 13 and 5 × 7, and do not double.
    """

    def scene(u: float, v: float) -> Tensor:
        y, x = torch.meshgrid(torch.arange(float(height)) - v, torch.arange(float(width)) - u, indexing="ij")
        return (torch.sin(0.15 * x) + torch.sin(0.15 * y) + torch.sin(0.1 * (x + y))).expand(3, -1, -1)

    network = NanoMotionNet()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "predict" in name:
                parameter.zero_()
            elif name.endswith("step_gain"):
                parameter.fill_(1)
            elif name.endswith("log_share.bias"):
                parameter.fill_(-3)
    clip = torch.stack((scene(0, 0), scene(u, v), scene(2 * u, 2 * v)))[None]
    finest, middle, _ = flows(network, clip)
    for flow, stride in ((finest, 4), (middle, 8)):
        inside = stride * flow[0, :, :, 2:-2, 2:-2].mean(dim=(2, 3))
        torch.testing.assert_close(inside, torch.tensor([[u, v], [u, v]]), atol=0.1, rtol=0.03)


def with_coarse_flow(u: float, v: float) -> NanoMotionNet:
    """A network whose coarsest level always predicts (u, v), in its pixels, and whose others add nothing."""
    torch.manual_seed(0)
    network = NanoMotionNet()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "predict" in name or name.endswith("step_gain"):
                parameter.zero_()
        bias = network.refine4.predict.bias
        assert bias is not None
        # Each pass adds it to 2×2 points: four outputs for u, four for v.
        bias.copy_(torch.tensor([u, v]).repeat_interleave(4))
    return network


def test_coarse_flow_doubles_from_level_to_level() -> None:
    pyramid = flows(with_coarse_flow(0.5, -1.25), torch.rand(2, 3, 3, 24, 40))
    for flow, factor in zip(pyramid, (4, 2, 1), strict=True):
        expected = factor * torch.tensor([0.5, -1.25]).view(1, 1, 2, 1, 1)
        torch.testing.assert_close(flow, expected.expand_as(flow))


@pytest.mark.parametrize(("u", "v"), [(1, -1), (0, 1), (-1, 0)])
def test_motion_is_measured_behind_the_flow_so_far(u: int, v: int) -> None:
    """Noise moves by the coarsest flow exactly, so the residual is zero."""
    network = with_coarse_flow(u, v)
    first = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    clip = torch.stack((first, first.roll((4 * v, 4 * u), dims=(2, 3))), dim=1)
    seen: list[Tensor] = []
    for refine in (network.refine3, network.refine2):
        refine.look.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    flows(network, clip)
    assert [x.shape for x in seen] == [(1, 24, 6, 6), (1, 24, 12, 12)]
    for x, factor in zip(seen, (2, 4), strict=True):
        so_far, left = functional.pixel_shuffle(x, 2)[:, :4].split(2, dim=1)
        expected = factor * torch.tensor([u, v]).float().view(1, 2, 1, 1)
        torch.testing.assert_close(so_far, expected.expand_as(so_far))
        edge = left.shape[-1] // 3
        assert left[..., edge:-edge, edge:-edge].abs().max() < 1e-3


def test_direction_of_time_matters() -> None:
    network = trained_alike()
    frames = torch.rand(1, 2, 3, 32, 32)
    forth, back = flows(network, frames)[0], flows(network, frames.flip(1))[0]
    assert (forth - back).abs().max() > 0.01


def test_learning_starts_from_what_is_measured() -> None:
    """Without motion the first flow is close to zero, but not exactly, as zero has no gradient."""
    frames = torch.randn(2, 1, 3, 64, 64)
    for seed in range(3):
        torch.manual_seed(seed)
        network = NanoMotionNet()
        for flow in flows(network, frames.expand(2, 3, 3, 64, 64)):
            assert 0 < flow.abs().max() < 0.2


def test_features_have_the_shapes_of_their_levels() -> None:
    """Two of 24 channels at 1/8, flow at 1/4, 1/8 and 1/16; small frames are enlarged, odd ones padded."""
    network = NanoMotionNet()
    for size, (height, width) in {
        (32, 64): (16, 32),
        (64, 80): (16, 20),
        (128, 160): (16, 20),
        (129, 161): (18, 22),
    }.items():
        features = network.features(torch.rand(2, 3, 3, *size))
        assert [x.shape[2:] for x in features[:2]] == [(24, height, width)] * 2
        grids = [(2 * height, 2 * width), (height, width), (height // 2, width // 2)]
        assert [x.shape[2:] for x in features[2:]] == [(2, *grid) for grid in grids]
        assert {x.shape[:2] for x in features} == {(2, 2)}
        assert network.action_features(features).shape == (2, 2 * 2 * 24, height, width)


@torch.no_grad()
def test_action_features_contain_content_and_motion() -> None:
    """First the content of the frames, in a still clip as well; then the hidden state of the finest flow."""
    network, frames = trained_alike(), textured_clip(64, 64)
    features = network.features(frames)
    action = network.action_features(features).unflatten(1, (2, 2, 24))  # kind, pair, channel
    torch.testing.assert_close(action[:, 0], features[0])
    known: list[Tensor] = []
    network.refine2.predict.register_forward_pre_hook(lambda module, args: known.append(args[0]))
    features = network.features(frames)
    torch.testing.assert_close(action[0, 1], known[0])
    still = network.action_features(network.features(frames[:, :1].expand_as(frames)))
    changed = (still.unflatten(1, (2, 2, 24)) - action).abs().amax(dim=(0, 3, 4, 5))
    assert changed[0, 0] == 0  # the first image of the pair is the same
    assert changed[1, 0] > 0.01  # its motion is not


@torch.no_grad()
def test_context_is_of_the_first_frame_of_each_pair() -> None:
    network, frames = trained_alike(), torch.rand(1, 4, 3, 32, 32)
    before = network.features(frames)[0]
    for changed, expected in ((0, [True, False, False]), (2, [False, False, True]), (3, [False] * 3)):
        others = frames.clone()
        others[:, changed] = torch.rand(1, 3, 32, 32)
        difference = (before - network.features(others)[0]).abs()
        assert (difference.amax(dim=(0, 2, 3, 4)) > 1e-4).tolist() == expected


@torch.no_grad()
def test_images_are_luma_of_two_by_two_pixels() -> None:
    frames = torch.rand(2, 3, 3, 128, 144, generator=torch.Generator().manual_seed(0))
    images = NanoMotionNet().gray_frames(frames)[:, :, 0].numpy()
    luma = np.einsum("btchw,c->bthw", frames.numpy(), [0.299, 0.587, 0.114])
    blocks = luma.reshape(2, 3, 64, 2, 72, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(images, blocks, atol=1e-6)


# --- what is learned, for 2×2 points of the flow at once


def finest_alone() -> NanoMotionNet:
    """A network whose coarser levels give zero flow to the finest one."""
    network = with_coarse_flow(0, 0)
    with torch.no_grad():
        network.refine2.step_gain.fill_(1)
    return network


@pytest.mark.parametrize(("height", "width"), [(40, 48), (64, 100), (130, 128)])
def test_without_gradients_images_are_grayed_before_they_are_enlarged(height: int, width: int) -> None:
    """The order changes the time, and the images only by rounding."""
    network, frames = NanoMotionNet(), torch.rand(2, 3, 3, height, width)
    expected = network.gray_frames(frames).detach()
    with torch.no_grad():
        torch.testing.assert_close(network.gray_frames(frames), expected, rtol=0, atol=1e-6)


def test_predictions_go_to_their_points() -> None:
    """Four outputs for u, then four for v: top left, top right, bottom left, bottom right."""
    network = finest_alone()
    with torch.no_grad():
        bias = network.refine2.predict.bias
        assert bias is not None
        bias.copy_(torch.arange(8.0))
    frames = torch.rand(1, 1, 3, 128, 160).expand(1, 3, 3, 128, 160)  # nothing to measure
    expected = torch.tensor([[[0.0, 1], [2, 3]], [[4, 5], [6, 7]]]).repeat(1, 16, 20)
    expected = median_filter(expected[None])[0]
    torch.testing.assert_close(flows(network, frames)[0], expected.expand(1, 2, 2, 32, 40))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def testpixel_shuffle_is_pixel_shuffle(layout: torch.memory_format) -> None:
    x = torch.randn(2, 12, 3, 5).contiguous(memory_format=layout)
    assert torch.equal(pixel_shuffle(x), functional.pixel_shuffle(x, 2))


@torch.no_grad()
def test_each_point_has_its_own_share_of_the_damping() -> None:
    """The finest level measures one step, with the shares that the weights predict.

    The contrast, here different between frames, is the mean of the pair's.
    """
    network = finest_alone()
    context = network.refine2.log_share
    context.weight.normal_(std=0.3)
    assert context.bias is not None
    context.bias.copy_(torch.tensor([-3.0, -1, 1, 3]))
    frames = textured_clip(128, 144) * torch.tensor([1.0, 0.5, 0.8]).view(3, 1, 1, 1)
    images, known = network.gray_frames(frames), network.features(frames)[0]
    logs = functional.conv2d(known.flatten(0, 1), context.weight, context.bias)
    share = torch.zeros(2, 1, 32, 36)
    for place, (row, column) in enumerate(itertools.product(range(2), range(2))):
        share[:, 0, row::2, column::2] = logs[:, place].clamp(-14, 4).exp()
    first, second = images[0, :-1], images[0, 1:]
    variance = images[0, ..., ::4, ::4].var(dim=(-2, -1), correction=0, keepdim=True)
    contrast = (variance[:-1] + variance[1:]) / 2
    expected = lucas_kanade(*slopes(first), second - first, share, contrast)
    assert expected[:, :2].abs().max() > 0.2
    seen: list[Tensor] = []
    network.refine2.look.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    finest = flows(network, frames)[0][0]
    torch.testing.assert_close(functional.pixel_shuffle(seen[0], 2)[:, 2:], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(finest, median_filter(expected[:, :2]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("log_share", "limit"), [(1000.0, 4.0), (-1000.0, -14.0)])
def test_damping_has_limits(log_share: float, limit: float) -> None:
    frames, found = textured_clip(64, 64), []
    for value in (log_share, limit):
        network = finest_alone()
        with torch.no_grad():
            bias = network.refine2.log_share.bias
            assert bias is not None
            bias.fill_(value)
        found.append(flows(network, frames)[0])
    torch.testing.assert_close(found[0], found[1])
    assert found[0].isfinite().all()


def test_odd_grids_repeat_their_edge_for_the_learned_layers() -> None:
    """144 × 208 px have grids of 9 × 13 and 5 × 7 points at the levels of the coarsest weights."""
    network, seen = trained_alike(), list[Tensor]()
    network.refine4.look.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    flows(network, textured_clip(144, 208))
    grids = [functional.pixel_shuffle(x, 2) for x in seen]
    assert [grid.shape for grid in grids] == [(2, 6, 6, 8), (2, 6, 10, 14)]
    for grid in grids:
        torch.testing.assert_close(grid[..., -1, :], grid[..., -2, :])
        torch.testing.assert_close(grid[..., -1], grid[..., -2])
        assert (grid[..., -2] - grid[..., -3]).abs().max() > 0.01


@pytest.mark.parametrize(("gain", "offset"), [(0.1, 0.0), (0.5, -0.3), (2.0, 0.4)])
def test_flow_does_not_depend_on_brightness_and_contrast(gain: float, offset: float) -> None:
    network = trained_alike()
    frames = torch.rand(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    for flow, changed in zip(flows(network, frames), flows(network, gain * frames + offset), strict=True):
        assert flow.abs().max() > 0.05
        torch.testing.assert_close(changed, flow, atol=5e-3, rtol=0)


def test_large_images_get_further_levels_with_the_weights_of_the_coarsest() -> None:
    """Below 1/16, with 16 px on the shorter side, come levels of 8 and 4 px, which double it twice."""
    network = with_coarse_flow(0.125, 0.0)
    finest = flows(network, torch.rand(1, 2, 3, 256, 256))[0]
    # 1/64: 0.125; each finer level of these weights doubles that and adds its own; 1/8 and 1/4 only double.
    expected = 4 * (0.125 * 4 + 0.125 * 2 + 0.125)
    torch.testing.assert_close(finest[:, :, 0], torch.full_like(finest[:, :, 0], expected))


# --- the zero-flow trap


def textures(rng: np.random.Generator, count: int, size: int) -> Array:
    """(count, 3, size, size): periodic smooth noise of standard deviation 0.25."""
    frequency = np.fft.fftfreq(size)
    envelope = np.exp(-(frequency[:, None] ** 2 + frequency**2) / 0.12**2)
    spectrum = np.fft.fft2(rng.normal(size=(count, 3, size, size))) * envelope
    image = np.asarray(np.fft.ifft2(spectrum).real)
    return np.asarray(0.25 * image / image.std(axis=(-2, -1), keepdims=True))


def shifted(image: Array, u: float, v: float) -> Array:
    """The image moved by exactly (u, v) px: a phase of the spectrum."""
    frequency = np.fft.fftfreq(image.shape[-1])
    phase = np.exp(-2j * np.pi * (frequency[:, None] * v + frequency * u))
    return np.asarray(np.fft.ifft2(np.fft.fft2(image) * phase).real)


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
    """Without labels, from zero flow, training beats the untrained measurement on unseen clips.

    The step gain is 0 at first. Errors of moving pixels, relative to those of zero flow, with the
    seeds 0, 1 and 2 (s; clips of 10 s + 1, unseen ones of 10 s + 2): untrained, with a step gain of 1,
    0.22, 0.21, 0.23; at the start 1.00; after 20 steps 0.41, 0.41, 0.67; after 80 steps 0.17, 0.18, 0.17.
    With the smoothness loss alone, which ignores the images, 1.00 after 80 steps.
    """
    torch.manual_seed(0)
    clips, _ = moving_squares(1, 32)
    unseen, truth = moving_squares(2, 8)
    network = NanoMotionNet(num_frames=3)
    measured, _ = errors(network, unseen, truth)
    with torch.no_grad():
        for refine in (network.refine2, network.refine3, network.refine4):
            refine.step_gain.zero_()
    start, _ = errors(network, unseen, truth)
    assert start == pytest.approx(1, abs=0.01)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    for step in range(80):
        batch = clips[8 * (step % 4) :][:8]
        loss = unsupervised_loss(batch, network(batch), loss_preset("census"))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moving, still = errors(network, unseen, truth)
    assert moving < 0.93 * measured < 0.25
    assert still < 0.3


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7)])
def test_sums_of_blocks_keep_a_constant(size: tuple[int, int]) -> None:
    """Odd sides are interpolated: the sum over a block is still four times the mean."""
    sums = block_sums(torch.full((1, 1, *size), 0.5))
    assert sums.shape == (1, 1, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert torch.allclose(sums, torch.full_like(sums, 2.0))
