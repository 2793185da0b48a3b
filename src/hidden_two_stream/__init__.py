"""Hidden Two-Stream: action recognition from raw video, with motion learned inside the network, unlabelled.

    import hidden_two_stream as hts

    recognizer = hts.load("runs/mine")
    print(recognizer.predict("video.mp4"))

    flow = hts.motion_estimator("nano").flow("video.mp4")  # (T-1, 2, h, w) px, with no training

Importing the package is cheap: what needs PyTorch or a video decoder is imported at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hidden_two_stream._version import __version__

if TYPE_CHECKING:
    from hidden_two_stream.inference.motion_estimator import MotionEstimator, motion_estimator
    from hidden_two_stream.inference.predictor import load

__all__ = ["MotionEstimator", "__version__", "load", "motion_estimator"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from hidden_two_stream.inference.predictor import load

        return load
    if name in ("MotionEstimator", "motion_estimator"):
        from hidden_two_stream.inference import motion_estimator as motion

        return getattr(motion, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "MotionEstimator", "load", "motion_estimator"]
