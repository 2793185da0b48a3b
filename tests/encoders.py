"""Tiny image encoders with random weights, saved as transformers saves them. Nothing is downloaded."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
_DINO = {name: value for name, value in _TRANSFORMER.items() if name != "intermediate_size"} | {
    "mlp_ratio": 2
}
_CONVNEXT = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
_SWIN = {
    "image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4
}  # fmt: skip

TINY: dict[str, dict[str, Any]] = {
    "resnet": _RESNET | {"layer_type": "basic"},
    "convnext": _CONVNEXT,
    "vit": _TRANSFORMER,
    "dinov2": _DINO,
    "beit": _TRANSFORMER,
    "clip_vision_model": _TRANSFORMER,
    "convnextv2": _CONVNEXT,
    "deit": _TRANSFORMER,
    "dinov2_with_registers": _DINO,
    "dinov3_convnext": {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]},
    "dinov3_vit": _TRANSFORMER,
    "hiera": {
        "image_size": [32, 32], "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "query_stride": [2, 2],
        "num_query_pool": 1, "masked_unit_size": [4, 4],
    },
    "ijepa": _TRANSFORMER,
    "regnet": _RESNET | {"groups_width": 4},
    "siglip_vision_model": _TRANSFORMER,
    "swin": _SWIN,
    "swinv2": _SWIN,
    "vit_msn": _TRANSFORMER,
}  # fmt: skip
"""Fields of a small configuration of each family, for 32×32 px."""

PREPROCESSING: dict[str, Any] = {
    "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.3],
}  # fmt: skip


def require_transformers() -> Any:
    """The module; without it the test is skipped, except under CI, where nothing may go untested."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        reason = f"transformers cannot be imported: {error}; install the extra hf"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def tiny_model(family: str, seed: int = 0, **changes: Any) -> Any:
    """A model of transformers with random weights and, as after training, other statistics than 0 and 1."""
    transformers = require_transformers()
    config = transformers.CONFIG_MAPPING[family](**TINY[family] | changes)
    torch.manual_seed(seed)
    model = transformers.MODEL_MAPPING[type(config)](config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand_like(tensor)
                tensor.copy_(0.5 + noise if name.endswith("running_var") else tensor + 0.1 * (noise - 0.4))
    return model


def save_encoder(
    folder: Path, family: str, preprocessing: Mapping[str, Any] | None = PREPROCESSING, **changes: Any
) -> Path:
    """Save a tiny encoder into a folder, as on the hub, and return the folder."""
    logs = importlib.import_module("transformers.utils.logging")
    logs.disable_progress_bar()  # the tests count the lines on stderr
    tiny_model(family, **changes).save_pretrained(folder)
    logs.enable_progress_bar()
    if preprocessing is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(dict(preprocessing)), encoding="utf-8")
    return folder
