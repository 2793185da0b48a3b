"""MotionNets that are trained already: weights that come with the package, by name, or files of your own.

One safetensors file holds one MotionNet in half precision. Its header says, as JSON, which member of the
family it is, for how many frames, and where the weights come from. A network that takes any number of frames
has one file (nano); one whose first layer counts its frames has a file for each number (tiny: 11, tiny-2: 2).
A file may leave out layers that it has in common with shipped weights: its header names those, and their
SHA-256. So tiny-2 shares inner layers of tiny, which do not depend on the number of frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.motion.networks.build import MOTION_NETWORKS, build_motion
from hidden_two_stream.tensors import (
    mismatches,
    parse_description,
    read_metadata,
    read_tensors,
    write_tensors,
)

__all__ = [
    "FORMAT_VERSION",
    "MotionWeights",
    "find_motion_weights",
    "load_motion_weights",
    "motion_weights_info",
    "save_motion_weights",
    "share_layers",
    "shipped_motion",
]

FORMAT_VERSION = 1
SHIPPED = Path(__file__).parent / "shipped"
KEY = "hidden_two_stream_motion"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class MotionWeights:
    """What a weights' file says of itself.

    Attributes:
        file: where it lies.
        network: member of the MotionNet family, a name in `motion.networks.build.MOTION_NETWORKS`.
        num_frames: frames that the network takes at once; 0: any number.
        provenance: data, training, licence: whatever was known when it was written.
        shares: name and SHA-256 of the shipped weights that have the tensors which this file leaves out;
            None: it has all.
    """

    file: Path
    network: str
    num_frames: int
    provenance: Mapping[str, Any]
    shares: tuple[str, str] | None = None

    def build(self) -> nn.Module:
        """The network with these weights, float32 on the CPU, in evaluation mode.

        Raises:
            UsageError, CheckpointError: as `load_motion_weights`.
        """
        network = build_motion(self.network, self.num_frames or 2)
        load_motion_weights(network, self.file)
        return network.eval()

    def to_dict(self) -> dict[str, Any]:
        """For the record of a run: file name, SHA-256, network and provenance."""
        return {
            "file": self.file.name,
            "sha256": _digest(self.file),
            "network": self.network,
            "num_frames": self.num_frames,
            "provenance": dict(self.provenance),
            **({"shares": list(self.shares)} if self.shares else {}),
        }


def shipped_motion() -> tuple[str, ...]:
    """Names of the weights that come with the package, in alphabetical order."""
    return tuple(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))


def motion_weights_info(source: str | Path) -> MotionWeights:
    """What the weights `source` are; only the header of the file is read.

    Args:
        source: a name from `shipped_motion()`, or a file that `save_motion_weights` wrote.

    Raises:
        UsageError: no such name or file.
        CheckpointError: the file is damaged, holds something else, or is of another format version.
    """
    path = _file_of(source)
    metadata = read_metadata(path)
    if KEY not in metadata:
        raise CheckpointError(
            f"{str(path)!r} holds no motion weights: its metadata does not say so; a run's MotionNet is "
            "had with hts flow RUN VIDEO, or hts train --motion-from RUN"
        )
    data = parse_description(metadata[KEY], path, FORMAT_VERSION)
    network, num_frames, provenance = (data.get(name) for name in ("network", "num_frames", "provenance"))
    if type(num_frames) is not int or num_frames < 0 or num_frames == 1 or not isinstance(provenance, dict):
        raise CheckpointError(
            f"the description in {str(path)!r} is damaged: num_frames {num_frames!r}, provenance "
            f"{provenance!r}; get the file once more"
        )
    if not isinstance(network, str) or network not in MOTION_NETWORKS:
        raise CheckpointError(
            f"{str(path)!r} is for the network {network!r}, which this package lacks; it has "
            f"{', '.join(MOTION_NETWORKS)}"
        )
    return MotionWeights(path, network, num_frames, provenance, _shares(data, path))


def load_motion_weights(network: nn.Module, source: str | Path) -> MotionWeights:
    """Load weights into `network`, in place; nothing is changed after an error.

    Args:
        network: a MotionNet of the member and the number of frames that the weights are for.
        source: a name from `shipped_motion()`, or a file that `save_motion_weights` wrote.

    Returns:
        What was loaded.

    Raises:
        UsageError: no such name or file, or the weights are for another network or number of frames.
        CheckpointError: the file is damaged, holds something else, or is of another format version.
    """
    info = motion_weights_info(source)
    network.load_state_dict(_fitting(network, info))
    return info


def find_motion_weights(network: str, num_frames: int, source: str | Path = "shipped") -> MotionWeights:
    """The weights for a network to start from, checked against it whole.

    Args:
        network: member of the MotionNet family.
        num_frames: frames that it takes at once.
        source: "shipped": those of this network that come with the package; or a name or file.

    Raises:
        UsageError: none come with the package for this network and number of frames, there is no such name
            or file, or it is for another network or number of frames.
        CheckpointError: the file is damaged, holds something else, or is of another format version.
    """
    info = _shipped_for(network, num_frames) if source == "shipped" else motion_weights_info(source)
    if info.network != network or info.num_frames not in (0, num_frames):
        raise UsageError(
            f"{str(source)!r} is for {_described(info.network, info.num_frames)}; expected weights for "
            f"{_described(network, num_frames)}"
        )
    with torch.device("meta"):  # shapes are enough
        wanted = build_motion(network, num_frames)
    _fitting(wanted, info)
    return info


def share_layers(network: nn.Module, source: str, but: Collection[str] = ()) -> list[str]:
    """Give layers of `network` the weights of `source` for good: as buffers, which no training moves.

    Args:
        network: a MotionNet; changed in place.
        source: a name from `shipped_motion()`, of the same member for another number of frames, or of another
            member with the same layers.
        but: names of layers that are left as they are.

    Returns:
        Names of the layers, those whose own tensors all have the shapes that they have in `source`; "" is the
        network itself.

    Raises:
        UsageError, CheckpointError: as `motion_weights_info`.
    """
    theirs = motion_weights_info(source).build().state_dict()
    shared = []
    for name, layer in network.named_modules():
        ours = {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False))}
        prefix = f"{name}." if name else ""
        found = {key: theirs[prefix + key] for key in ours if prefix + key in theirs}
        if (
            name in but
            or not ours
            or any(key not in found or found[key].shape != ours[key].shape for key in ours)
        ):
            continue
        for key, tensor in found.items():
            layer._parameters.pop(key, None)
            layer.register_buffer(key, tensor)
        shared.append(name)
    return shared


def save_motion_weights(
    path: str | Path,
    network: nn.Module,
    name: str,
    num_frames: int,
    provenance: Mapping[str, Any],
    shares: str | None = None,
) -> None:
    """Write the weights of a MotionNet, floating point ones in half precision.

    Args:
        path: a .safetensors file; its folder must exist.
        network: whose weights are written.
        name: of the network, in `motion.networks.build.MOTION_NETWORKS`.
        num_frames: frames that it takes at once; 0: any number.
        provenance: data, training, licence; must fit into JSON.
        shares: a name from `shipped_motion()`: tensors that are the same there are left out.

    Raises:
        UsageError: the name or the number is unknown, `network` is another one, a weight is not finite in
            half precision, or there are no weights `shares`.
        OutputError: the file cannot be written.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise UsageError(f"cannot write motion weights as {str(path)!r}; give a name that ends in {SUFFIX}")
    if num_frames < 0 or num_frames == 1:
        raise UsageError(f"num_frames is {num_frames}; expected 0 (any number) or at least 2")
    state = network.state_dict()
    # A network that takes any number of frames is the same for 2 and for 3.
    with torch.device("meta"):
        wanted = [build_motion(name, number) for number in ((num_frames,) if num_frames else (2, 3))]
    wrong = [line for other in wanted for line in mismatches(other.state_dict(), state)]
    if wrong:
        raise UsageError(
            f"this network is not {_described(name, num_frames)}: {'; '.join(wrong[:3])}; give its own name"
        )
    halved = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    beyond = [key for key, tensor in halved.items() if not tensor.isfinite().all()]
    if beyond:
        raise UsageError(
            f"{beyond[0]} is not finite in half precision; expected weights below 65504; train them again"
        )
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "network": name,
        "num_frames": num_frames,
        "provenance": dict(provenance),
    }
    if shares is not None:
        shared, _ = read_tensors(_shipped_file(shares))
        halved = {key: t for key, t in halved.items() if key not in shared or not torch.equal(t, shared[key])}
        description["shares"] = [shares, _digest(_shipped_file(shares))]
    write_tensors(target, halved, {KEY: json.dumps(description)})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shipped_file(name: str) -> Path:
    if name not in shipped_motion():
        known = ", ".join(shipped_motion()) or "none in this version"
        raise UsageError(f"no motion weights {name!r} come with the package, only: {known}; name one of them")
    return SHIPPED / f"{name}{SUFFIX}"


def _shares(description: Mapping[str, Any], path: Path) -> tuple[str, str] | None:
    """What a header says of shared tensors, checked."""
    if "shares" not in description:
        return None
    match description["shares"]:
        case [str(name), str(digest)]:
            if name in shipped_motion() and _digest(_shipped_file(name)) == digest:
                return name, digest
            raise CheckpointError(
                f"{str(path)!r} shares layers with the weights {name!r} of another version of this package; "
                "get both of the same version"
            )
    raise CheckpointError(
        f"the description in {str(path)!r} is damaged: shares {description['shares']!r}; get it once more"
    )


def _file_of(source: str | Path) -> Path:
    if str(source) in shipped_motion():
        return SHIPPED / f"{source}{SUFFIX}"
    path = Path(source)
    with suppress(OSError):  # a name that is too long for the file system
        if path.is_file():
            return path
    known = ", ".join(shipped_motion()) or "none in this version"
    if str(source) in MOTION_NETWORKS:
        raise UsageError(
            f"no weights of the network {str(source)!r} come with the package, only: {known}; train it with "
            "`hts train --set model.motion=...`, or give a weights file"
        )
    raise UsageError(
        f"no motion weights {str(source)!r}; give a {SUFFIX} file or a name that comes with the package: "
        f"{known}"
    )


def _shipped_for(network: str, num_frames: int) -> MotionWeights:
    known = [motion_weights_info(name) for name in shipped_motion()]
    for info in known:
        if info.network == network and info.num_frames in (0, num_frames):
            return info
    there = ", ".join(_described(info.network, info.num_frames) for info in known) or "none in this version"
    raise UsageError(
        f"no weights for {_described(network, num_frames)} come with the package, only: {there}; start "
        "without them: --from-scratch, or motion_init none in the recipe"
    )


def _described(network: str, num_frames: int) -> str:
    return f"{network} on {num_frames or 'any number of'} frames"


def _fitting(network: nn.Module, info: MotionWeights) -> dict[str, Tensor]:
    """The tensors of a file, if they are those of `network` in name and shape."""
    tensors, _ = read_tensors(info.file)
    if info.shares:
        shared, _ = read_tensors(_shipped_file(info.shares[0]))
        names = network.state_dict().keys()
        tensors = {key: tensor for key, tensor in shared.items() if key in names} | tensors
    wrong = mismatches(network.state_dict(), tensors)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UsageError(
            f"{str(info.file)!r} is for {_described(info.network, info.num_frames)} and does not fit this "
            f"network: {'; '.join(wrong[:3])}{more}; give weights of the same network and number of frames"
        )
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"{str(info.file)!r} is damaged: {broken[0]} is not finite; get it once more")
    return tensors
