"""Weights of pre-trained temporal streams: shipped with the package, or in files of your own.

One safetensors file holds one temporal stream of the form "sequence" in half precision. The JSON in its
header gives the motion network whose features the stream takes, the classes that it was trained to tell
apart, and the provenance of the weights. A new stream takes over everything but the last layer, whose classes
are others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import file_sha256, parse_description
from hidden_two_stream.tensor_files import read_metadata
from hidden_two_stream.tensors import (
    in_half_precision,
    mismatches,
    not_finite,
    read_tensors,
    write_tensors,
)

__all__ = [
    "TemporalWeights",
    "find_temporal_weights",
    "load_temporal_weights",
    "save_temporal_weights",
    "shipped_temporal_weights",
]

FORMAT_VERSION = 1
SHIPPED = Path(__file__).parent / "shipped" / "temporal"
KEY = "hidden_two_stream_temporal"
SUFFIX = ".safetensors"
LAST_LAYER = "fc."


@dataclass(frozen=True)
class TemporalWeights:
    """Description of a file of temporal weights, from its header.

    Attributes:
        file: path of the file.
        network: the motion network whose features the stream takes.
        classes: the classes that the stream was trained to tell apart.
        provenance: data, training, license.
    """

    file: Path
    network: str
    classes: tuple[str, ...]
    provenance: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form, with the SHA-256 of the file, for the provenance of a run."""
        return {
            "file": self.file.name,
            "sha256": file_sha256(self.file),
            "network": self.network,
            "num_classes": len(self.classes),
            "provenance": dict(self.provenance),
        }


def shipped_temporal_weights() -> tuple[str, ...]:
    """Return the motion networks for which the package has a pre-trained temporal stream, sorted."""
    return tuple(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))


def find_temporal_weights(network: str, form: str, source: str | Path = "shipped") -> TemporalWeights:
    """Return the description of the weights that a temporal stream begins with.

    Args:
        network: the motion network of the recipe.
        form: form of the temporal stream.
        source: "shipped", for the shipped weights for this motion network; or a file that
            `save_temporal_weights` wrote.

    Raises:
        UsageError: the form is not "sequence", the package has no weights for this motion network, the file
            does not exist, or it is for another motion network.
        CheckpointError: the file is damaged, holds something else, or has another format version.
    """
    if form != "sequence":
        raise UsageError(
            f"temporal_init {str(source)!r} is for temporal streams of the form 'sequence', but "
            f"model.temporal is {form!r}; set temporal_init=none"
        )
    if source == "shipped":
        known = shipped_temporal_weights()
        if network not in known:
            raise UsageError(
                f"the package has no temporal weights for the motion network {network!r}, only for: "
                f"{', '.join(known) or 'none in this version'}; set temporal_init=none"
            )
        return _read_info(SHIPPED / f"{network}{SUFFIX}")
    path = Path(source)
    if not os.path.isfile(path):
        raise UsageError(f"no temporal weights {str(source)!r}; give a {SUFFIX} file, shipped or none")
    info = _read_info(path)
    if info.network != network:
        raise UsageError(
            f"{str(path)!r} takes the features of the motion network {info.network!r}, but model.motion is "
            f"{network!r}; set temporal_init=none"
        )
    return info


def load_temporal_weights(stream: nn.Module, source: TemporalWeights, *, last_layer: bool = False) -> None:
    """Load weights into a temporal stream, in place; it does not change if an error occurs.

    Args:
        stream: a `SequenceStream`.
        source: the weights.
        last_layer: load the last layer, too; the stream must have the classes of the weights.

    Raises:
        UsageError: the weights are for another stream.
        CheckpointError: the file is damaged.
    """
    tensors, _ = read_tensors(source.file)
    own = stream.state_dict()
    if not last_layer:
        kept = {name: tensor for name, tensor in own.items() if name.startswith(LAST_LAYER)}
        tensors = {name: t for name, t in tensors.items() if not name.startswith(LAST_LAYER)} | kept
    wrong = mismatches(own, tensors)
    if wrong:
        raise UsageError(f"{str(source.file)!r} does not fit this temporal stream: {'; '.join(wrong[:3])}")
    broken = not_finite(tensors)
    if broken:
        raise CheckpointError(
            f"{str(source.file)!r} is damaged: {broken[0]} is not finite; download or copy it again"
        )
    stream.load_state_dict(tensors)


def save_temporal_weights(
    path: str | Path, stream: nn.Module, network: str, classes: Sequence[str], provenance: Mapping[str, Any]
) -> None:
    """Write the weights of a temporal stream, floating-point tensors in half precision.

    Args:
        path: a .safetensors file; its folder must exist.
        stream: a `SequenceStream`.
        network: the motion network whose features it takes.
        classes: its classes.
        provenance: data, training, license; must be JSON-ready.

    Raises:
        UsageError: the name has another suffix, or a weight is not finite in half precision.
        OutputError: the file cannot be written.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise UsageError(
            f"cannot write temporal weights as {str(path)!r}; expected a name that ends in {SUFFIX}"
        )
    halved = in_half_precision(stream.state_dict())
    description = {
        "format_version": FORMAT_VERSION,
        "network": network,
        "classes": list(classes),
        "provenance": dict(provenance),
    }
    write_tensors(target, halved, {KEY: json.dumps(description)})


def _read_info(path: Path) -> TemporalWeights:
    metadata = read_metadata(path)
    if KEY not in metadata:
        raise CheckpointError(
            f"{str(path)!r} holds no temporal weights: its metadata lacks {KEY!r}; to begin with the stream "
            "of a run, use hts train --temporal-from RUN"
        )
    data = parse_description(metadata[KEY], path, FORMAT_VERSION)
    network, classes, provenance = (data.get(name) for name in ("network", "classes", "provenance"))
    names: list[Any] = classes if isinstance(classes, list) else [None]
    if not (
        isinstance(network, str)
        and all(isinstance(name, str) for name in names)
        and isinstance(provenance, dict)
    ):
        raise CheckpointError(
            f"the description in {str(path)!r} is damaged: network {str(network)[:60]!r}, classes "
            f"{str(classes)[:60]}; download or copy the file again"
        )
    return TemporalWeights(path, network, tuple(names), provenance)
