"""RAFT (Teed and Deng, arXiv 2003.12039), with torchvision's published weights."""

from __future__ import annotations

import functools
import importlib
import itertools
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from hidden_two_stream.errors import MissingDependencyError
from hidden_two_stream.motion.estimators.classical import Estimator
from hidden_two_stream.types import FloatArray, RawClip, validate_clip

__all__ = ["RAFT", "raft_estimator", "raft_network"]

RAFT = ("raft-small", "raft-large")
"""Names of the networks that torchvision provides."""

_SMALLEST_SIDE = 128  # on smaller images RAFT's coarsest correlations are empty
_STRIDE = 8


def raft_estimator(name: str) -> Estimator:
    """The flow estimator `name`, one of `RAFT`.

    torchvision downloads the weights at the first call.

    Raises:
        MissingDependencyError: torchvision is not installed.
    """
    _torchvision_flow()
    return functools.partial(_estimate, name)


@functools.lru_cache
def raft_network(name: str) -> Any:
    """The network `name` in evaluation mode, one per process."""
    models = _torchvision_flow()
    build, weights = {
        "raft-small": (models.raft_small, models.Raft_Small_Weights),
        "raft-large": (models.raft_large, models.Raft_Large_Weights),
    }[name]
    return build(weights=weights.DEFAULT).eval()


@torch.inference_mode()
def _estimate(name: str, frames: RawClip) -> FloatArray:
    """Flow of `frames`, padded for the network.

    Edge pixels repeat at the right and bottom, up to whole strides and the smallest side.
    """
    network = raft_network(name)
    clip = torch.from_numpy(np.ascontiguousarray(validate_clip(frames))).permute(0, 3, 1, 2)
    height, width = clip.shape[-2:]
    bottom, right = (max(_SMALLEST_SIDE, -(-side // _STRIDE) * _STRIDE) - side for side in (height, width))
    images = functional.pad(clip.float() / 127.5 - 1, (0, right, 0, bottom), mode="replicate")
    flow = torch.cat(
        [network(first[None], second[None])[-1] for first, second in itertools.pairwise(images)]
        or [images.new_zeros(0, 2, *images.shape[-2:])]
    )
    found: FloatArray = flow[..., :height, :width].numpy()
    return found


def _torchvision_flow() -> Any:
    try:
        return importlib.import_module("torchvision.models.optical_flow")
    except ImportError as error:
        raise MissingDependencyError(
            "RAFT needs torchvision, which is not installed; install the version that matches your torch"
        ) from error
