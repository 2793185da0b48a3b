"""Flow estimators by name: classical ones, RAFT, or a function of your own.

NAME@2 runs the estimator NAME on images enlarged by 2, because most estimators are made for sides of hundreds
of pixels.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.motion.estimators.classical import ESTIMATORS, Estimator, estimator
from hidden_two_stream.motion.estimators.raft import RAFT, raft_estimator
from hidden_two_stream.types import FloatArray, RawClip, validate_clip

__all__ = ["LARGEST_FACTOR", "checked_flow", "enlarged_factor", "find_estimator"]

LARGEST_FACTOR = 8


def find_estimator(name: str) -> Estimator:
    """The flow estimator `name`; see `classical.Estimator` for the interface.

    Args:
        name: one of `classical.ESTIMATORS`; "raft-small" or "raft-large", with torchvision's published
            weights; or "package.module:function" for an importable function with the same interface. A suffix
            "@2" to "@8" enlarges the frames by that factor first (bilinear). The flow is then averaged over
            the pixels that were one, and is in px of the frames again.

    Raises:
        UsageError: there is no such estimator, or the factor is another one. When called: a function of your
            own raises an error, or its result is not the flow of the frames.
        MissingDependencyError: OpenCV or torchvision is not installed.
    """
    name, factor = enlarged_factor(name)
    if factor > 1:
        return functools.partial(_enlarged, find_estimator(name), factor)
    if name in RAFT:
        return functools.partial(_checked, name, raft_estimator(name))
    module, colon, function = name.partition(":")
    if not colon:
        if name not in ESTIMATORS:
            known = ", ".join((*ESTIMATORS, *RAFT))
            raise UsageError(
                f"unknown flow estimator {name!r}; expected one of {known}, or your own as "
                "package.module:function"
            )
        return estimator(name)
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"cannot import the flow estimator {name!r}: {error}; expected package.module:function, "
            "importable from the folder where hts starts (or by PYTHONPATH)"
        ) from error
    if not callable(found):
        raise UsageError(f"the flow estimator {name!r} is {type(found).__name__}; expected a function")
    return functools.partial(_own, name, found)


def enlarged_factor(name: str) -> tuple[str, int]:
    """Name and enlargement factor: "dis-medium@2" → ("dis-medium", 2).

    Without "@" the factor is 1.

    Raises:
        UsageError: the suffix after "@" is not a number from 2 to 8.
    """
    known, at, factor = name.partition("@")
    if not at:
        return name, 1
    if factor not in {str(number) for number in range(2, LARGEST_FACTOR + 1)}:
        raise UsageError(
            f"flow estimator {name!r} cannot enlarge by {factor!r}; expected 2 to {LARGEST_FACTOR}, as in "
            f"{known}@2"
        )
    return known, int(factor)


def checked_flow(name: str, flow: Any, frames: RawClip) -> FloatArray:
    """`flow` as float32, after a check that it is a possible flow of `frames`.

    Raises:
        UsageError: the shape is another one, or a value is not finite.
    """
    array = np.asarray(flow, dtype=np.float32)
    expected = (len(frames) - 1, 2, *frames.shape[1:3])
    if array.shape != expected:
        raise UsageError(f"flow estimator {name!r} gave the shape {array.shape}; expected {expected}")
    if not np.isfinite(array).all():
        raise UsageError(f"flow estimator {name!r} gave values that are not finite; expected px")
    return array


def _enlarged(estimate: Estimator, factor: int, frames: RawClip) -> FloatArray:
    clip = torch.from_numpy(np.ascontiguousarray(validate_clip(frames))).permute(0, 3, 1, 2)
    large = functional.interpolate(clip.float(), scale_factor=factor, mode="bilinear", align_corners=False)
    flow = estimate(large.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())
    small: FloatArray = (functional.avg_pool2d(torch.from_numpy(flow), factor) / factor).numpy()
    return small


def _checked(name: str, estimate: Estimator, frames: RawClip) -> FloatArray:
    return checked_flow(name, estimate(frames), frames)


def _own(name: str, function: Any, frames: RawClip) -> FloatArray:
    clip = validate_clip(frames)
    try:
        flow = function(clip)
    except HiddenTwoStreamError:
        raise
    except Exception as error:
        raise UsageError(
            f"flow estimator {name!r} failed on frames of shape {clip.shape}: {type(error).__name__}: {error}"
        ) from error
    return checked_flow(name, flow, frames)
