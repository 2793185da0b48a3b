"""Classical estimators: known shifts at awkward sizes, and the measured errors on real pairs."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.motion.estimators.classical import ESTIMATORS, estimator
from hidden_two_stream.motion.flo import read_flo
from hidden_two_stream.motion.metrics import endpoint_error


@pytest.fixture
def cv2() -> ModuleType:
    module: ModuleType = pytest.importorskip("cv2")
    return module


def shifting_clip(cv2: Any, height: int, width: int, dx: int, dy: int, frames: int = 3) -> np.ndarray:
    """A window on a smooth random image, whose content moves by (dx, dy) px from each frame to the next."""
    margin = 16
    noise = np.random.default_rng(1).integers(
        0, 256, (height + 2 * margin, width + 2 * margin, 3), dtype=np.uint8
    )
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    corners = [(margin - t * dy, margin - t * dx) for t in range(frames)]
    return np.stack([image[y : y + height, x : x + width] for y, x in corners])


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 33), (48, 64), (65, 64)])
@pytest.mark.parametrize(("dx", "dy"), [(2, -1), (-1, 2)])
def test_known_shift(cv2: ModuleType, name: str, height: int, width: int, dx: int, dy: int) -> None:
    flow = estimator(name)(shifting_clip(cv2, height, width, dx, dy))
    assert flow.shape == (2, 2, height, width)
    assert flow.dtype == np.float32
    inner = flow[..., 3:-3, 3:-3]
    errors = np.hypot(inner[:, 0] - dx, inner[:, 1] - dy).mean(axis=(1, 2))
    assert errors.max() < 0.15


@pytest.mark.parametrize("name", ["dis-medium", "dis-fast"])
@pytest.mark.parametrize(
    "size", [(8, 64), (16, 200), (16, 500), (1, 1), (1, 300), (300, 1), (11, 12), (31, 400)]
)
def test_dis_takes_sizes_that_opencv_does_not(cv2: ModuleType, name: str, size: tuple[int, int]) -> None:
    """Without padding OpenCV rejects some of these sizes, returns NaN or crashes."""
    flow = estimator(name)(shifting_clip(cv2, *size, dx=1, dy=0))
    assert flow.shape == (2, 2, *size)
    assert np.isfinite(flow).all()
    assert np.abs(flow).max() < 16


@pytest.mark.parametrize("name", ["dis-medium", "dis-fast"])
def test_wide_short_frames_still_find_the_shift(cv2: ModuleType, name: str) -> None:
    flow = estimator(name)(shifting_clip(cv2, 16, 200, dx=2, dy=0))
    assert np.median(flow[:, 0]) == pytest.approx(2, abs=0.1)
    assert np.median(flow[:, 1]) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_still_frames_have_no_flow_and_one_frame_has_none_at_all(cv2: ModuleType, name: str) -> None:
    clip = shifting_clip(cv2, 33, 40, 0, 0, frames=2)
    assert np.abs(estimator(name)(clip)).mean() < 0.02
    assert estimator(name)(clip[:1]).shape == (0, 2, 33, 40)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_pairs_do_not_influence_each_other(cv2: ModuleType, name: str) -> None:
    clip = shifting_clip(cv2, 32, 40, 2, 1, frames=4)[::-1, :, ::-1]
    estimate = pickle.loads(pickle.dumps(estimator(name)))
    pairs = [estimator(name)(clip[t : t + 2])[0] for t in range(3)]
    np.testing.assert_array_equal(estimate(clip), np.stack(pairs))


def read_pair(cv2: Any, first: Path, second: Path, truth: Path) -> tuple[np.ndarray, torch.Tensor]:
    clip = np.stack([cv2.imread(str(path))[..., ::-1] for path in (first, second)])
    return clip, torch.from_numpy(read_flo(truth))


def error_on_sintel(cv2: ModuleType, data_root: Path, name: str) -> float:
    folder = data_root / "flow" / "sintel_alley_1"
    names = ("frame_0001.png", "frame_0002.png", "frame_0001.flo")
    clip, truth = read_pair(cv2, *(folder / file for file in names))
    return endpoint_error(torch.from_numpy(estimator(name)(clip)[0]), truth).item()


@pytest.mark.parametrize(
    ("name", "expected"), [("dis-medium", 0.29), ("dis-fast", 0.46), ("farneback", 0.87)]
)
def test_measured_error_on_sintel(cv2: ModuleType, data_root: Path, name: str, expected: float) -> None:
    assert error_on_sintel(cv2, data_root, name) == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
def test_measured_error_of_tvl1_on_sintel(cv2: ModuleType, data_root: Path) -> None:
    assert error_on_sintel(cv2, data_root, "tvl1") == pytest.approx(0.37, abs=0.02)


# On large motion, DIS gives different flow in OpenCV 4 and 5.
DIS_ON_CHAIRS = {"4": (8.10, 1.59, 3.51, 1.30), "5": (8.22, 1.59, 3.45, 1.32)}


@pytest.mark.parametrize("pair", [0, 1, 2, 3])
def test_measured_error_of_dis_on_flying_chairs(cv2: ModuleType, data_root: Path, pair: int) -> None:
    expected = DIS_ON_CHAIRS[cv2.__version__.split(".")[0]][pair]
    stem = data_root / "flow" / "flyingchairs" / f"{pair:07d}"
    clip, truth = read_pair(cv2, *(Path(f"{stem}-{end}") for end in ("img0.ppm", "img1.ppm", "gt.flo")))
    flow = torch.from_numpy(estimator("dis-medium")(clip)[0])
    assert endpoint_error(flow, truth).item() == pytest.approx(expected, abs=0.02)


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UsageError) as caught:
        estimator("tv-l1")
    assert all(name in str(caught.value) for name in (*ESTIMATORS, "'tv-l1'"))


@pytest.mark.parametrize("clip", [np.zeros((2, 16, 16), np.uint8), np.zeros((2, 16, 16, 3), np.float32)])
def test_other_arrays_are_rejected(cv2: ModuleType, clip: Any) -> None:
    with pytest.raises(UsageError, match="uint8"):
        estimator("dis-fast")(clip)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_without_opencv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError) as caught:
        estimator(name)
    assert 'pip install "hidden-two-stream[classical]"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tvl1_without_contrib_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__="4.9.0"))
    with pytest.raises(MissingDependencyError, match=r"contrib.*hidden-two-stream\[classical\]"):
        estimator("tvl1")
