"""Weights of trained MotionNets: shipped with the package, by name, or in files of your own.

One safetensors file holds one MotionNet in half precision. The JSON in its header gives the network, its
number of frames, and the provenance of the weights. A network for any number of frames has one file (nano). A
network whose first layer depends on the number of frames has one file for each number (tiny: 11, tiny-2: 2).

A file may leave out layers that it shares with shipped weights; its header names those weights and their
SHA-256. For example, tiny-2 shares the inner layers of tiny, which do not depend on the number of frames.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hidden_two_stream.config.validation import LIMITS
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import file_sha256, parse_description
from hidden_two_stream.motion.networks.build import MOTION_NETWORKS, build_motion
from hidden_two_stream.tensor_files import read_metadata
from hidden_two_stream.tensors import (
    in_half_precision,
    mismatches,
    not_finite,
    read_tensors,
    shapes_only,
    write_tensors,
)

__all__ = [
    "FORMAT_VERSION",
    "MotionWeights",
    "check_motion_weights",
    "find_motion_weights",
    "load_motion_weights",
    "motion_weights_info",
    "save_motion_weights",
    "share_layers",
    "shipped_motion_weights",
]

FORMAT_VERSION = 1
SHIPPED = Path(__file__).parent / "shipped"
KEY = "hidden_two_stream_motion"
SUFFIX = ".safetensors"
MAX_FRAMES = LIMITS["model.num_frames"][1]


@dataclass(frozen=True)
class MotionWeights:
    """Description of a file of motion weights, from its header.

    Attributes:
        file: path of the file.
        network: a name in `motion.networks.build.MOTION_NETWORKS`.
        num_frames: frames that the network takes at once; 0: any number.
        provenance: data, training, license.
        shares: name and SHA-256 of the shipped weights that hold the tensors missing in this file; None: the
            file holds all tensors.
    """

    file: Path
    network: str
    num_frames: int
    provenance: Mapping[str, Any]
    shares: tuple[str, str] | None = None

    def build(self) -> nn.Module:
        """Return the network with these weights, float32 on the CPU, in evaluation mode.

        Raises:
            UsageError, CheckpointError: as `load_motion_weights`.
        """
        network = build_motion(self.network, self.num_frames or 2)
        load_motion_weights(network, self.file)
        return network.eval()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form, with the SHA-256 of the file, for the provenance of a run."""
        return {
            "file": self.file.name,
            "sha256": file_sha256(self.file),
            "network": self.network,
            "num_frames": self.num_frames,
            "provenance": dict(self.provenance),
            **({"shares": list(self.shares)} if self.shares else {}),
        }


def shipped_motion_weights() -> tuple[str, ...]:
    """Return the names of the weights that come with the package, in alphabetical order."""
    return tuple(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))


def motion_weights_info(source: str | Path) -> MotionWeights:
    """Read the description of motion weights, from the header of their file alone.

    Args:
        source: a name from `shipped_motion_weights()`, or a file that `save_motion_weights` wrote.

    Raises:
        UsageError: the name or file does not exist.
        CheckpointError: the file is damaged, holds something else, or has another format version.
    """
    path = _find_file(source)
    metadata = read_metadata(path)
    if KEY not in metadata:
        raise CheckpointError(
            f"{str(path)!r} holds no motion weights: its metadata lacks {KEY!r}; to use the MotionNet of a "
            "run, give the run: hts flow RUN VIDEO, or hts train --motion-from RUN"
        )
    data = parse_description(metadata[KEY], path, FORMAT_VERSION)
    network, num_frames, provenance = (data.get(name) for name in ("network", "num_frames", "provenance"))
    if (
        type(num_frames) is not int
        or not (num_frames == 0 or 2 <= num_frames <= MAX_FRAMES)
        or not isinstance(provenance, dict)
    ):
        raise CheckpointError(
            f"the description in {str(path)!r} is damaged: num_frames {repr(num_frames)[:60]}, provenance "
            f"{repr(provenance)[:60]}; download or copy the file again"
        )
    if not isinstance(network, str) or network not in MOTION_NETWORKS:
        raise CheckpointError(
            f"{str(path)!r} is for the unknown network {network!r}; this version has "
            f"{', '.join(MOTION_NETWORKS)}"
        )
    return MotionWeights(path, network, num_frames, provenance, _shares(data, path))


def load_motion_weights(network: nn.Module, source: str | Path) -> MotionWeights:
    """Load weights into `network`, in place; the network does not change if an error occurs.

    Args:
        network: a MotionNet of the same kind and number of frames as the weights.
        source: a name from `shipped_motion_weights()`, or a file that `save_motion_weights` wrote.

    Returns:
        The description of the weights.

    Raises:
        UsageError: the name or file does not exist, or the weights are for another network or number of
            frames.
        CheckpointError: the file is damaged, holds something else, or has another format version.
    """
    info = motion_weights_info(source)
    network.load_state_dict(_read_checked(network, info))
    return info


def find_motion_weights(network: str, num_frames: int, source: str | Path = "shipped") -> MotionWeights:
    """Return the description of weights for a network, after a check of all its tensors.

    Args:
        network: a name in `motion.networks.build.MOTION_NETWORKS`.
        num_frames: frames that the network takes at once.
        source: "shipped", for the shipped weights of this network; or a name or file, as for
            `motion_weights_info`.

    Raises:
        UsageError: the package has no weights for this network and number of frames, the name or file does
            not exist, or the weights are for another network or number of frames.
        CheckpointError: the file is damaged, holds something else, or has another format version.
    """
    info = _shipped_for(network, num_frames) if source == "shipped" else motion_weights_info(source)
    if info.network != network or info.num_frames not in (0, num_frames):
        raise UsageError(
            f"{str(source)!r} is for {_describe(info.network, info.num_frames)}; expected weights for "
            f"{_describe(network, num_frames)}"
        )
    check_motion_weights(info, num_frames)
    return info


def check_motion_weights(info: MotionWeights, num_frames: int = 0) -> None:
    """Check all tensors of a file of motion weights.

    Args:
        info: the description of the file.
        num_frames: frames that the network takes at once; 0: as in the description.

    Raises:
        UsageError: the tensors are of another network.
        CheckpointError: the file is damaged.
    """
    with shapes_only():  # the check needs shapes only
        wanted = build_motion(info.network, num_frames or info.num_frames or 2)
    _read_checked(wanted, info)


def share_layers(network: nn.Module, source: str, excluded: Collection[str] = ()) -> list[str]:
    """Fix layers of `network` to the weights of `source`, as buffers, which training does not change.

    A layer is shared if all its own tensors have the same shapes in `source`.

    Args:
        network: a MotionNet; changed in place.
        source: a name from `shipped_motion_weights()`: the same kind of network for another number of frames,
            or a network with the same layers.
        excluded: names of layers that are not shared.

    Returns:
        Names of the shared layers; "" is the network itself.

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
            name in excluded
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
    """Write the weights of a MotionNet, floating-point tensors in half precision.

    Args:
        path: a .safetensors file; its folder must exist.
        network: the MotionNet.
        name: the network's name in `motion.networks.build.MOTION_NETWORKS`.
        num_frames: frames that the network takes at once; 0: any number.
        provenance: data, training, license; must be JSON-ready.
        shares: a name from `shipped_motion_weights()`; tensors that are equal there are left out of the file.

    Raises:
        UsageError: the name, the number of frames or `shares` is unknown, `network` is of another kind, or a
            weight is not finite in half precision.
        OutputError: the file cannot be written.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise UsageError(
            f"cannot write motion weights as {str(path)!r}; expected a name that ends in {SUFFIX}"
        )
    if num_frames < 0 or num_frames == 1:
        raise UsageError(f"num_frames is {num_frames}; expected 0 (any number) or at least 2")
    state = network.state_dict()
    # A network for any number of frames has the same parameters for 2 and for 3 frames.
    with shapes_only():
        wanted = [build_motion(name, number) for number in ((num_frames,) if num_frames else (2, 3))]
    wrong = [line for other in wanted for line in mismatches(other.state_dict(), state)]
    if wrong:
        raise UsageError(
            f"this network is not {_describe(name, num_frames)}: {'; '.join(wrong[:3])}; give its own name"
        )
    halved = in_half_precision(state)
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "network": name,
        "num_frames": num_frames,
        "provenance": dict(provenance),
    }
    if shares is not None:
        shared, _ = read_tensors(_shipped_file(shares))
        halved = {key: t for key, t in halved.items() if key not in shared or not torch.equal(t, shared[key])}
        description["shares"] = [shares, file_sha256(_shipped_file(shares))]
    write_tensors(target, halved, {KEY: json.dumps(description)})


def _shipped_file(name: str) -> Path:
    if name not in shipped_motion_weights():
        known = ", ".join(shipped_motion_weights()) or "none in this version"
        raise UsageError(f"the package has no motion weights {name!r}, only: {known}; choose one of these")
    return SHIPPED / f"{name}{SUFFIX}"


def _shares(description: Mapping[str, Any], path: Path) -> tuple[str, str] | None:
    """Return the checked name and SHA-256 of the shipped weights that a file shares tensors with."""
    if "shares" not in description:
        return None
    match description["shares"]:
        case [str(name), str(digest)]:
            if name in shipped_motion_weights() and file_sha256(_shipped_file(name)) == digest:
                return name, digest
            raise CheckpointError(
                f"{str(path)!r} shares layers with the weights {name!r} of another version of this package; "
                "use both from the same version"
            )
    raise CheckpointError(
        f"the description in {str(path)!r} is damaged: shares {description['shares']!r}; download or copy "
        "the file again"
    )


def _find_file(source: str | Path) -> Path:
    if str(source) in shipped_motion_weights():
        return SHIPPED / f"{source}{SUFFIX}"
    path = Path(source)
    with suppress(OSError):  # the name may be too long for the file system
        if path.is_file():
            return path
    known = ", ".join(shipped_motion_weights()) or "none in this version"
    if str(source) in MOTION_NETWORKS:
        raise UsageError(
            f"the package has no weights of the network {str(source)!r}, only: {known}; train the network "
            "with `hts train --set model.motion=...`, or give a weights file"
        )
    raise UsageError(
        f"no motion weights {str(source)!r}; give a {SUFFIX} file or a name that the package has: {known}"
    )


def _shipped_for(network: str, num_frames: int) -> MotionWeights:
    known = [motion_weights_info(name) for name in shipped_motion_weights()]
    for info in known:
        if info.network == network and info.num_frames in (0, num_frames):
            return info
    there = ", ".join(_describe(info.network, info.num_frames) for info in known) or "none in this version"
    raise UsageError(
        f"the package has no weights for {_describe(network, num_frames)}, only for: {there}; start with "
        "random weights: --from-scratch, or motion_init none in the recipe"
    )


def _describe(network: str, num_frames: int) -> str:
    return f"{network} on {num_frames or 'any number of'} frames"


def _read_checked(network: nn.Module, info: MotionWeights) -> dict[str, Tensor]:
    """Read the tensors of a file and check that `network` has the same names and shapes."""
    tensors, _ = read_tensors(info.file)
    if info.shares:
        shared, _ = read_tensors(_shipped_file(info.shares[0]))
        names = network.state_dict().keys()
        tensors = {key: tensor for key, tensor in shared.items() if key in names} | tensors
    wrong = mismatches(network.state_dict(), tensors)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UsageError(
            f"{str(info.file)!r} is for {_describe(info.network, info.num_frames)} and does not fit this "
            f"network: {'; '.join(wrong[:3])}{more}; give weights of the same network and number of frames"
        )
    broken = not_finite(tensors)
    if broken:
        raise CheckpointError(
            f"{str(info.file)!r} is damaged: {broken[0]} is not finite; download or copy it again"
        )
    return tensors
