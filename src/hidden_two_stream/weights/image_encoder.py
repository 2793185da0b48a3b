"""Finds image encoders on the Hugging Face Hub or in a folder, and loads their weights from safetensors.

Only JSON and safetensors files are read. No code of an encoder's author is run, and no pickle is opened.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import CheckpointError, HiddenTwoStreamError, UsageError
from hidden_two_stream.files import read_json
from hidden_two_stream.progress import note
from hidden_two_stream.recognition.image_encoder import (
    FAMILIES,
    UNUSED,
    EncoderBackbone,
    EncoderConfig,
    as_encoder,
    import_transformers,
    plain_config,
    quiet_transformers,
)
from hidden_two_stream.tensors import not_finite
from hidden_two_stream.weights.imagenet import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["absolute_name", "describe_encoder", "load_encoder"]

_CONFIG = "config.json"
_PREPROCESSING = "preprocessor_config.json"
_WEIGHTS = "model.safetensors"
_SHARDS = "model.safetensors.index.json"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_VISION_PARTS = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}
"""Image-text models → the family of their image encoder."""

_RESAMPLING = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""Pillow's number of a filter → our name."""

_REFUSED = ("do_flip_channel_order", "rescale_offset", "do_color_quantize")
"""Steps of a preprocessing that are not implemented here."""

_DEFAULT_SIDE = 224


def absolute_name(name: str) -> str:
    """Return the absolute path of a local folder, or the name of the hub unchanged."""
    folder = os.path.expanduser(name)
    return os.path.realpath(folder) if os.path.isdir(folder) else name


def describe_encoder(name: str) -> EncoderConfig:
    """Return architecture and preprocessing of an image encoder. Its weights are not read.

    Args:
        name: an id of the Hugging Face Hub such as "facebook/dinov2-small", or a folder with `config.json`
            and, if the frames are not to be normalized as for ImageNet, `preprocessor_config.json`.

    Raises:
        MissingDependencyError: transformers is not installed.
        UsageError: there is no such encoder, it is not of one of `FAMILIES`, or its preprocessing is not
            supported.
        CheckpointError: the download fails, or a file is damaged.
    """
    transformers = import_transformers()
    data = _read(name, _CONFIG)
    if data is None:
        raise UsageError(f"the image encoder {name!r} has no {_CONFIG}; give the folder or id of a model")
    model_type = data.get("model_type")
    if not isinstance(model_type, str | None):
        raise UsageError(
            f"{_CONFIG} of {name!r} has the model_type {str(model_type)[:60]!r}; expected a text"
        )
    if model_type in _VISION_PARTS:
        model_type, data = _VISION_PARTS[model_type], data.get("vision_config") or {}
    if model_type not in FAMILIES or model_type not in transformers.CONFIG_MAPPING:
        raise UsageError(
            f"{name!r} is a model of the type {model_type!r}; expected an image encoder: "
            f"{', '.join(FAMILIES)}"
        )
    config = plain_config(model_type, data)
    preprocessing = _read(name, _PREPROCESSING)
    if preprocessing is None:
        note(
            f"the image encoder {name!r} has no {_PREPROCESSING}; its input is normalized by the mean and "
            "standard deviation of ImageNet"
        )
    try:
        found = _described(model_type, config, preprocessing or {})
        return EncoderConfig.from_json(found.to_json())  # checks all values
    except (KeyError, OverflowError, TypeError, UsageError, ValueError) as error:
        raise UsageError(f"{_CONFIG} or {_PREPROCESSING} of {name!r} cannot be used: {error}") from error


def _described(model_type: str, config: Mapping[str, Any], steps: Mapping[str, Any]) -> EncoderConfig:
    """Return the description of an encoder with the preprocessing `steps`; ValueError: they are unknown."""
    refused = [name for name in _REFUSED if steps.get(name)]
    if refused:
        raise ValueError(f"{refused[0]} is not supported")
    number = steps.get("resample", 2)
    if number not in _RESAMPLING:
        raise ValueError(f"its resample is {number!r}; expected one of {', '.join(map(str, _RESAMPLING))}")
    height, width = _input_size(config, steps)
    normalizes = steps.get("do_normalize", True)
    return EncoderConfig(
        model_type=model_type,
        config=config,
        height=height,
        width=width,
        scale=steps.get("rescale_factor", 1 / 255) if steps.get("do_rescale", True) else 1.0,
        mean=tuple(steps.get("image_mean", IMAGENET_MEAN)) if normalizes else (0.0, 0.0, 0.0),
        std=tuple(steps.get("image_std", IMAGENET_STD)) if normalizes else (1.0, 1.0, 1.0),
        interpolation=_RESAMPLING[number],
    )


def _input_size(config: Mapping[str, Any], steps: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of an encoder's input, px: what is left after its own resizing and crop."""
    size = steps.get("crop_size") if steps.get("do_center_crop") else None
    size = size or steps.get("size") or config.get("image_size") or _DEFAULT_SIDE
    if isinstance(size, Mapping):
        size = size.get("shortest_edge") or (size["height"], size["width"])
    if isinstance(size, int | float):
        return int(size), int(size)
    height, width = size
    return int(height), int(width)


def load_encoder(backbone: EncoderBackbone, name: str) -> None:
    """Load the weights of an image encoder into `backbone`, in place; its last layers do not change.

    Args:
        backbone: the backbone, built from the description of this encoder.
        name: as for `describe_encoder`.

    Raises:
        UsageError: there is no such encoder, or it has no weights in safetensors.
        CheckpointError: the download fails, or the weights are damaged, incomplete or of another network.
    """
    folder = _weights_folder(name)
    transformers: Any = import_transformers()
    kind = transformers.CONFIG_MAPPING[backbone.config.model_type]
    try:
        with quiet_transformers():
            found, report = transformers.MODEL_MAPPING[kind].from_pretrained(
                str(folder),
                config=kind(**backbone.config.config),
                dtype="float32",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # a damaged file can fail anywhere inside the library
        raise CheckpointError(f"cannot load the weights of {name!r}: {_first_line(error)}") from error
    encoder = as_encoder(found)
    needed = encoder.state_dict().keys()
    missing = sorted(key for key in report["missing_keys"] if key in needed and not key.endswith(UNUSED))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(
            f"the weights of {name!r} lack {missing[0]}{more}; give an encoder of the type "
            f"{backbone.config.model_type} with all its weights"
        )
    broken = not_finite(encoder.state_dict())
    if broken:
        raise CheckpointError(f"the weights of {name!r} cannot be used: {broken[0]} is not finite")
    backbone.image_encoder.load_state_dict(encoder.state_dict())


def _weights_folder(name: str) -> Path:
    """Return the local folder of an encoder's weights, after a download if `name` is of the hub."""
    whole = _find(name, _WEIGHTS)
    if whole is not None:
        return whole.parent
    index = _find(name, _SHARDS)
    if index is None:
        raise UsageError(
            f"the image encoder {name!r} has no {_WEIGHTS}; other formats are not read, because pickles can "
            "run code: load it with transformers and save it with save_pretrained"
        )
    shards = (_read(name, _SHARDS) or {}).get("weight_map", {})
    for shard in sorted({str(file) for file in shards.values()}):
        if Path(shard).name != shard or _find(name, shard) is None:
            raise CheckpointError(f"the image encoder {name!r} has no file {shard!r}, which {_SHARDS} names")
    return index.parent


def _read(name: str, file: str) -> dict[str, Any] | None:
    """Return the table in a JSON file of an encoder; None if there is no such file."""
    path = _find(name, file)
    if path is None:
        return None
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} of {name!r} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{file} of {name!r} is damaged: it is not a table")
    return data


def _find(name: str, file: str) -> Path | None:
    """Return the local path of a file of an encoder, after a download if needed; None if there is none."""
    folder = Path(os.path.expanduser(name))  # `Path.expanduser` raises an error of its own about "~nobody"
    if os.path.isdir(folder):
        return folder / file if os.path.isfile(folder / file) else None
    if not _HUB_ID.fullmatch(name):
        raise UsageError(
            f"no image encoder in a folder {name!r}; give a folder with {_CONFIG}, or an id of the Hugging "
            "Face Hub such as hf:facebook/dinov2-small"
        )
    try:
        return _download(name, file)
    except HiddenTwoStreamError:
        raise
    except Exception as error:  # the network fails in many ways
        raise CheckpointError(
            f"cannot get {file} of the image encoder {name!r} from the Hugging Face Hub: "
            f"{_first_line(error)}; try again, or download the model by other means and give its folder with "
            "hf:FOLDER"
        ) from error


def _download(name: str, file: str) -> Path | None:
    """Return the path of a file of the hub in the local cache; None if the repository does not have it."""
    hub: Any = importlib.import_module("huggingface_hub")
    errors: Any = importlib.import_module("huggingface_hub.errors")
    if hub.try_to_load_from_cache(name, file) is hub._CACHED_NO_EXIST:
        return None
    verbosity = hub.logging.get_verbosity()
    hub.logging.set_verbosity_error()  # the error says what five warnings about attempts would
    try:
        return Path(hub.hf_hub_download(name, file))
    except errors.GatedRepoError as error:
        raise UsageError(
            f"the image encoder {name!r} is for registered users: accept its license on its page of the "
            "Hugging Face Hub, and log in with: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"no image encoder {name!r} on the Hugging Face Hub, and no such folder; check the name"
        ) from error
    except errors.LocalEntryNotFoundError:
        raise  # not reachable: this says nothing about the file
    except errors.EntryNotFoundError:
        return None
    finally:
        hub.logging.set_verbosity(verbosity)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else type(error).__name__
