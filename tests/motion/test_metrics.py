"""End-point error: right triangles, masks, and the zero flow on real ground truth."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flo import read_flo
from hidden_two_stream.motion.metrics import endpoint_error, endpoint_error_map


def triangle() -> tuple[torch.Tensor, torch.Tensor]:
    """Errors 5, 13, 0 and 17 px."""
    target = torch.tensor([[[1.0, 1.0], [2.0, -1.0]], [[0.0, 7.0], [-2.0, 0.0]]])
    return target + torch.tensor([[[3.0, -5.0], [0.0, 8.0]], [[4.0, 12.0], [0.0, -15.0]]]), target


def test_map_and_mean_of_right_triangles() -> None:
    flow, target = triangle()
    torch.testing.assert_close(endpoint_error_map(flow, target), torch.tensor([[5.0, 13.0], [0.0, 17.0]]))
    assert endpoint_error(flow, target).shape == ()
    assert endpoint_error(flow, target).item() == pytest.approx(35 / 4)


def test_mask_counts_only_what_it_keeps() -> None:
    flow, target = triangle()
    target[:, 1, 1] = float("nan")
    assert endpoint_error(flow, target).isnan()
    mask = torch.tensor([[True, True], [True, False]])
    assert endpoint_error(flow, target, mask).item() == pytest.approx(18 / 3)


def test_mask_is_broadcast_over_leading_dimensions() -> None:
    flow, target = (x.expand(3, 4, 2, 2, 2) for x in triangle())
    assert endpoint_error_map(flow, target).shape == (3, 4, 2, 2)
    mask = torch.tensor([[True, False], [True, False]])
    assert endpoint_error(flow, target, mask).item() == pytest.approx(2.5)


def test_no_counted_pixel_gives_nan() -> None:
    flow, target = triangle()
    assert endpoint_error(flow, target, torch.zeros(2, 2, dtype=torch.bool)).isnan()


def test_half_precision_is_compared_in_float32() -> None:
    flow = torch.tensor([100.0, 0.0], dtype=torch.bfloat16).view(2, 1, 1)
    target = torch.tensor([0.25, 0.0], dtype=torch.bfloat16).view(2, 1, 1)
    assert endpoint_error(flow, target).dtype == torch.float32
    assert endpoint_error(flow, target).item() == 99.75


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sintel_alley_1/frame_0001.flo", 2.80),
        ("flyingchairs/0000000-gt.flo", 6.05),
        ("flyingchairs/0000001-gt.flo", 4.51),
        ("flyingchairs/0000002-gt.flo", 4.35),
        ("flyingchairs/0000003-gt.flo", 6.00),
    ],
)
def test_zero_flow_on_real_ground_truth(data_root: Path, name: str, expected: float) -> None:
    target = torch.from_numpy(read_flo(data_root / "flow" / name))
    assert endpoint_error(torch.zeros_like(target), target).item() == pytest.approx(expected, abs=0.02)


def test_what_does_not_fit_is_refused() -> None:
    flow = torch.zeros(2, 4, 4)
    with pytest.raises(UsageError, match="resize_flow"):
        endpoint_error(flow, torch.zeros(2, 4, 5))
    with pytest.raises(UsageError, match="equal shapes"):
        endpoint_error(flow, torch.zeros(1, 2, 4, 4))
    with pytest.raises(UsageError, match=r"expected \(\.\.\., 2, h, w\)"):
        endpoint_error(torch.zeros(4, 4, 2), torch.zeros(4, 4, 2))
    with pytest.raises(UsageError, match=r"torch\.bool"):
        endpoint_error(flow, flow, torch.ones(4, 4))
    with pytest.raises(UsageError, match="broadcasts"):
        endpoint_error(flow, flow, torch.ones(2, 4, 4, dtype=torch.bool))
