"""Flow estimators by name: the classical ones, RAFT where torchvision is, or a function of one's own.

NAME@2 is any of them on pictures twice as large, as most are made for pictures of hundreds of pixels.
"""

from __future__ import annotations

import functools
import importlib
import itertools
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from hidden_two_stream.errors import HiddenTwoStreamError, MissingDependencyError, UsageError
from hidden_two_stream.motion.estimators.classical import ESTIMATORS, Estimator, estimator
from hidden_two_stream.types import FloatArray, RawClip, validate_clip

__all__ = ["LARGEST_FACTOR", "RAFT", "checked_flow", "enlarged_factor", "find_estimator"]

RAFT = ("raft-small", "raft-large")
"""Names of the networks of Teed and Deng (RAFT, arXiv 2003.12039) that torchvision provides."""

LARGEST_FACTOR = 8

_RAFT_SIDE = 128  # below it RAFT's coarsest correlations are empty
_RAFT_STRIDE = 8


def find_estimator(name: str) -> Estimator:
    """A function (T, H, W, 3) uint8 RGB → (T − 1, 2, H, W) float32, flow t → t + 1 in px of the frames.

    Args:
        name: one of `motion.classical.ESTIMATORS`; "raft-small" or "raft-large", with torchvision's published
            weights; or "package.module:function", importable, with the interface above. With "@2" to "@8"
            behind it, it sees pictures enlarged so many times (bilinear); their flow is averaged over the
            pixels that were one, and is in px of the frames again.

    Raises:
        UsageError: there is no such estimator, or it shall enlarge by another factor; when it is called, one
            of your own raises an error or gives what is no flow of the frames.
        MissingDependencyError: OpenCV or torchvision is not installed.
    """
    name, factor = enlarged_factor(name)
    if factor > 1:
        return functools.partial(_enlarged, find_estimator(name), factor)
    if name in RAFT:
        _torchvision_flow()
        return functools.partial(_raft, name)
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
            "importable from where hts is started (or by PYTHONPATH)"
        ) from error
    if not callable(found):
        raise UsageError(f"the flow estimator {name!r} is {type(found).__name__}; expected a function")
    return functools.partial(_own, name, found)


def enlarged_factor(name: str) -> tuple[str, int]:
    """Name and factor: `dis-medium@2` gives "dis-medium" and 2; without "@" it is 1.

    Raises:
        UsageError: what is behind "@" is no number from 2 to 8.
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
    """`flow` as float32, if it is what an estimator gives for `frames`.

    Raises:
        UsageError: its shape is another one, or a value is not finite.
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


def _torchvision_flow() -> Any:
    try:
        return importlib.import_module("torchvision.models.optical_flow")
    except ImportError as error:
        raise MissingDependencyError(
            "RAFT needs torchvision, which is not installed; install the one that goes with your torch"
        ) from error


@torch.inference_mode()
def _raft(name: str, frames: RawClip) -> FloatArray:
    """Pictures are padded at the right and bottom by their edge, to whole strides and RAFT's least size."""
    network = _raft_network(name)
    clip = torch.from_numpy(np.ascontiguousarray(validate_clip(frames))).permute(0, 3, 1, 2)
    height, width = clip.shape[-2:]
    bottom, right = (
        max(_RAFT_SIDE, -(-side // _RAFT_STRIDE) * _RAFT_STRIDE) - side for side in (height, width)
    )
    pictures = functional.pad(clip.float() / 127.5 - 1, (0, right, 0, bottom), mode="replicate")
    flow = torch.cat(
        [network(a[None], b[None])[-1] for a, b in itertools.pairwise(pictures)]
        or [pictures.new_zeros(0, 2, *pictures.shape[-2:])]
    )
    return checked_flow(name, flow[..., :height, :width].numpy(), frames)


@functools.lru_cache
def _raft_network(name: str) -> Any:
    """One network per process and name: its weights are fetched once by torchvision."""
    models = _torchvision_flow()
    build, weights = {
        "raft-small": (models.raft_small, models.Raft_Small_Weights),
        "raft-large": (models.raft_large, models.Raft_Large_Weights),
    }[name]
    return build(weights=weights.DEFAULT).eval()
