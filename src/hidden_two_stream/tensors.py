"""Weights: named tensors in safetensors files (never pickle) with a JSON description, and their device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.tensor_files import metadata_of, read_file

__all__ = [
    "in_half_precision",
    "mismatches",
    "not_finite",
    "on_device",
    "read_tensors",
    "shapes_only",
    "write_tensors",
]

Module = TypeVar("Module", bound=nn.Module)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors and metadata to a safetensors file, atomically.

    Raises:
        OutputError: the folder is not writable, or the disk is full.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as part:
        try:
            save_file(plain, part, dict(metadata))
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    The tensors are copies with memory of their own. The tensors that safetensors returns are views of the
    mapped file: they change if the file is overwritten, and they can start at any address, where the same
    computation can round differently.

    Raises:
        CheckpointError: the file is missing or damaged, or is not a safetensors file.
    """
    return read_file(path, lambda file: (_copies(file), metadata_of(file)))


def _copies(file: Any) -> dict[str, Tensor]:
    return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Differences in names, shapes and kinds of number, one line each; empty: none.

    Whether numbers are whole or not must agree; their precision may differ.
    """
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        ours, theirs = expected[name], found[name]
        if ours.shape != theirs.shape:
            wrong.append(f"{name} has shape {tuple(theirs.shape)}, not {tuple(ours.shape)}")
        elif ours.is_floating_point() != theirs.is_floating_point() or theirs.is_complex():
            wrong.append(f"{name} has the type {_type(theirs)}, not {_type(ours)}")
    return sorted(wrong)


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the floating-point tensors that hold NaN or infinity, in the order of `tensors`."""
    return [
        name
        for name, tensor in tensors.items()
        if (tensor.is_floating_point() or tensor.is_complex()) and not tensor.isfinite().all()
    ]


def in_half_precision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, floating-point ones as float16, for a file of weights.

    Raises:
        UsageError: a weight is not finite in half precision.
    """
    halved = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
    overflow = not_finite(halved)
    if overflow:
        raise UsageError(
            f"{overflow[0]} is not finite in half precision; expected weights below 65504; train them again"
        )
    return halved


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build modules on the meta device in the block: with names, shapes and types, but without numbers."""
    with torch.device("meta"), _NoDraws():
        yield


class _NoDraws(TorchFunctionMode):
    """Leaves out initial values.

    On the meta device they have no effect, but `normal_` would import torch's compiler, which takes longer
    than all else.
    """

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init" or func in (Tensor.normal_, Tensor.uniform_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def on_device(module: Module, device: str | torch.device) -> Module:
    """Return `module` on `device`, on a CUDA GPU with channels last in memory.

    Raises:
        UsageError: there is no such device.
    """
    try:
        moved = module.to(device)
        if torch.device(device).type == "cuda":  # channels last makes convolutions faster there
            moved = moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"cannot compute on {str(device)!r}: this machine has no such device, or torch cannot use it; "
            "expected cpu, or a GPU such as cuda, cuda:1 or mps"
        ) from error
    return moved


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
