"""Networks for few frames on longer clips: against one window at a time, and numbers that don't fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.motion.networks.frames import check_num_frames, flow_in_windows


def lively_tiny(num_frames: int) -> nn.Module:
    torch.manual_seed(0)
    return build_motion("tiny", num_frames)


def in_a_loop(network: nn.Module, frames: Tensor, length: int) -> list[Tensor]:
    """The flow of each clip and each window by itself."""
    clips = []
    for clip in frames:
        windows = []
        for start in range(0, len(clip) - 1, length - 1):
            windows.append(network(clip[None, start : start + length]))
        clips.append([torch.cat(levels, dim=1) for levels in zip(*windows, strict=True)])
    return [torch.cat(levels) for levels in zip(*clips, strict=True)]


@pytest.mark.parametrize(("length", "total"), [(2, 5), (3, 5), (2, 3), (3, 7), (2, 2)])
def test_windows_equal_the_network_on_each_of_them(length: int, total: int) -> None:
    network = lively_tiny(length)
    frames = torch.randn(3, total, 3, 16, 24)
    with torch.no_grad():
        found = flow_in_windows(network, frames, length)
        expected = in_a_loop(network, frames, length)
    assert [flow.shape for flow in found] == [
        (3, total - 1, 2, 16 // stride, 24 // stride) for stride in (2, 4, 8)
    ]
    for flow, other in zip(found, expected, strict=True):
        torch.testing.assert_close(flow, other, atol=1e-4, rtol=1e-4)
    pairs = found[0].flatten(0, 1)
    distances = torch.cdist(pairs.flatten(1), pairs.flatten(1)) + 1e9 * torch.eye(len(pairs))
    assert distances.min() > 1  # no two pairs look alike, so their order was seen


def test_windows_share_one_frame_and_run_as_one_batch() -> None:
    seen: list[Tensor] = []

    def network(windows: Tensor) -> list[Tensor]:
        seen.append(windows)
        return [windows[:, :-1, :2]]

    frames = torch.arange(10.0).view(2, 5, 1, 1, 1).expand(2, 5, 3, 4, 4)
    (flow,) = flow_in_windows(network, frames, 3)
    assert len(seen) == 1
    assert seen[0][:, :, 0, 0, 0].tolist() == [[0, 1, 2], [2, 3, 4], [5, 6, 7], [7, 8, 9]]
    assert flow[:, :, 0, 0, 0].tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("total", "length"), [(5, 4), (11, 5), (4, 3), (2, 11), (5, 1), (5, 0), (5, -1), (1, 2)]
)
def test_windows_that_do_not_fit(total: int, length: int) -> None:
    with pytest.raises(UsageError, match=f"{total} frames.*windows of {length}"):
        flow_in_windows(lambda windows: [windows], torch.zeros(1, total, 3, 8, 8), length)


@pytest.mark.parametrize(("total", "length"), [(2, None), (11, None), (2, 2), (11, 2), (11, 6), (5, 3)])
def test_numbers_of_frames_that_fit(total: int, length: int | None) -> None:
    check_num_frames(total, length)


@pytest.mark.parametrize("total", [1, 0, -3])
def test_a_clip_needs_a_pair_of_frames(total: int) -> None:
    with pytest.raises(UsageError, match=f"at least 2 frames, got {total}; give more"):
        check_num_frames(total)
    with pytest.raises(UsageError, match=f"clips of {total} frames .* expected at least 2 frames"):
        check_num_frames(total, 2)
