"""Classical flow estimators from OpenCV: TV-L1, DIS and Farneback.

All have the interface `Estimator`: (T, H, W, 3) uint8 frames → (T−1, 2, H, W) float32 flow. Code that takes
an `Estimator` also takes MotionNet or a function of your own. These estimators see the frames in gray.

References:
    tvl1: Zach, Pock, Bischof, A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007.
    dis-*: Kroeger, Timofte, Dai, Van Gool, Fast Optical Flow using Dense Inverse Search, ECCV 2016.
    farneback: Farnebäck, Two-Frame Motion Estimation Based on Polynomial Expansion, SCIA 2003.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.types import FloatArray, RawClip, validate_clip

__all__ = ["ESTIMATORS", "Estimator", "estimator"]

Estimator = Callable[[RawClip], FloatArray]
"""(T, H, W, 3) uint8 RGB → (T−1, 2, H, W) float32, frame t → t+1, px of the frames' own grid."""

ESTIMATORS = ("tvl1", "dis-medium", "dis-fast", "farneback")
"""The names that `estimator` accepts."""

_Gray = npt.NDArray[np.uint8]
_PairEstimator = Callable[[_Gray, _Gray], FloatArray]
_INSTALL = 'pip install "hidden-two-stream[classical]"'
_DIS_SIDE = 16


def estimator(name: str) -> Estimator:
    """The classical estimator `name`, with OpenCV's default parameters.

    Farneback has the parameters of OpenCV's sample program. The estimator takes any frame size and at least
    one frame; a single frame gives an empty result. It keeps no state between calls and can be pickled for
    worker processes. It uses OpenCV's thread pool, see `cv2.setNumThreads`.

    Args:
        name: one of `ESTIMATORS`.

    Returns:
        A function from frames to flow. It raises a UsageError for anything but (T, H, W, 3) uint8 frames.

    Raises:
        UsageError: the name is unknown.
        MissingDependencyError: OpenCV, or its contrib modules for "tvl1", are not installed.
    """
    if name not in ESTIMATORS:
        valid = ", ".join(ESTIMATORS)
        raise UsageError(f"unknown flow estimator {name!r}; expected one of {valid}; choose one of them")
    _pair_estimator(name)
    return partial(_estimate, name)


def _estimate(name: str, clip: RawClip) -> FloatArray:
    frames = validate_clip(clip)
    cv2 = _import_opencv()
    pair = _pair_estimator(name)
    flow = np.empty((len(frames) - 1, 2, *frames.shape[1:3]), dtype=np.float32)
    current = cv2.cvtColor(np.ascontiguousarray(frames[0]), cv2.COLOR_RGB2GRAY)
    for t in range(len(flow)):
        following = cv2.cvtColor(np.ascontiguousarray(frames[t + 1]), cv2.COLOR_RGB2GRAY)
        flow[t] = np.moveaxis(pair(current, following), -1, 0)
        current = following
    return flow


def _pair_estimator(name: str) -> _PairEstimator:
    """A new estimator (h, w), (h, w) → (h, w, 2).

    OpenCV's objects hold buffers, so calls don't share them.
    """
    cv2 = _import_opencv()
    if name == "tvl1":
        create = getattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create", None)
        if create is None:
            raise MissingDependencyError(
                f"flow estimator 'tvl1' is not in the installed OpenCV {cv2.__version__}; "
                f"expected a build with the contrib modules; remove that OpenCV and run {_INSTALL}"
            )
        algorithm = create()
        return lambda first, second: algorithm.calc(first, second, None)
    if name == "farneback":
        return partial(_farneback, cv2)
    preset = cv2.DISOPTICAL_FLOW_PRESET_FAST if name == "dis-fast" else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    return partial(_dis, cv2, preset)


def _farneback(cv2: Any, first: _Gray, second: _Gray) -> FloatArray:
    settings = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2}
    flow: FloatArray = cv2.calcOpticalFlowFarneback(first, second, None, **settings, flags=0)
    return flow


def _dis(cv2: Any, preset: int, first: _Gray, second: _Gray) -> FloatArray:
    """DIS on frames of any size, with workarounds for three problems of OpenCV's.

    - OpenCV rejects sides below 12 px. Here the last row and column repeat up to 16 px, and the flow is
      cropped.
    - If its pyramid doesn't fit, OpenCV chooses another by the width alone. On wide, short frames the
      coarsest level is then lower than a patch (8 px): OpenCV reads outside its memory, and returns NaN or
      crashes. With the finest scale at full resolution its usual pyramid always fits.
    - OpenCV keeps that other pyramid for later calls, so the flow of a pair would depend on the pairs before
      it. Here each pair gets a new object.
    """
    algorithm = cv2.DISOpticalFlow_create(preset)
    height, width = first.shape
    margins = ((0, max(0, _DIS_SIDE - height)), (0, max(0, _DIS_SIDE - width)))
    first, second = (np.pad(image, margins, mode="edge") for image in (first, second))
    # The coarsest level is floor(log2(width / 20)), so a patch fits if the width is at most 2.5 heights.
    if first.shape[0] < 32 and first.shape[1] > 2 * first.shape[0]:
        algorithm.setFinestScale(0)
    flow: FloatArray = algorithm.calc(first, second, None)[:height, :width]
    return flow


def _import_opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingDependencyError(
            f"classical flow needs OpenCV, which cannot be imported ({error}); "
            f"expected its contrib build; run {_INSTALL}"
        ) from error
