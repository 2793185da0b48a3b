"""Files of published weights: found or downloaded, checked by their hash, read without running code."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file
from torch import Tensor

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import make_folder

__all__ = ["download", "locate", "read_state_dict"]

_BY_HAND = "try again, or get the file by other means and give it with --init FILE"


def locate(source: str, quiet: bool = False) -> tuple[Path, str]:
    """The file on this machine and its SHA-256.

    Args:
        source: a file, or an http, https or file URL as `download` takes it.
        quiet: no progress of a download on stderr.

    Raises:
        UsageError: there is no such file.
        CheckpointError: it is not readable; or as `download`.
    """
    if source.startswith(("http://", "https://", "file://")):
        return download(source, quiet)
    path = Path(source)
    if not path.is_file():
        raise UsageError(
            f"no weights at {source!r}; give none, imagenet, a URL, or a .pth or .safetensors file"
        )
    return path, _sha256(path)


def download(url: str, quiet: bool = False) -> tuple[Path, str]:
    """The file behind `url` and its SHA-256, from torch hub's folder, where it is kept.

    The hash is checked also for a file that is there; a broken one is downloaded once more.

    Args:
        url: with the beginning of the SHA-256, at least 8 digits, in its name (name-1a2b3c4d.pth) or
            behind it (#sha256=...).
        quiet: no progress on stderr.

    Raises:
        UsageError: the URL has no hash.
        CheckpointError: the download fails, or has another hash; then nothing is kept of it.
        OutputError: torch hub's folder is not writable.
    """
    address, name, prefix = _parse_url(url)
    cached = make_folder(Path(torch.hub.get_dir()) / "checkpoints") / name
    if cached.is_file():
        digest = _sha256(cached)
        if digest.startswith(prefix):
            return cached, digest
    try:
        cached.unlink(missing_ok=True)
        torch.hub.download_url_to_file(address, str(cached), prefix, progress=not quiet)
    except RuntimeError as error:
        raise CheckpointError(
            f"the download of {address} was thrown away: {_first_line(error)}; {_BY_HAND}"
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        raise CheckpointError(f"cannot download {address}: {_first_line(error)}; {_BY_HAND}") from error
    return cached, _sha256(cached)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, floating point ones as float32. Code in a pickle is refused, never run.

    Raises:
        CheckpointError: the file is damaged, or holds anything but tensors.
    """
    try:
        found = _load(path)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{str(path)!r} holds more than tensors, or is no weights' file; expected a state dict as "
            "torchvision publishes it. What could run code is not opened"
        ) from error
    except Exception as error:  # on a damaged file the readers raise errors of any kind
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise CheckpointError(
            f"cannot read weights from {str(path)!r} ({reason}); expected a state dict as torchvision "
            "publishes it, .pth or .safetensors; get it once more"
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{str(path)!r} holds a {type(found).__name__}; expected tensors by name")
    tensors: dict[str, Tensor] = {}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{str(path)!r} holds a {type(value).__name__} (key {name!r}); expected tensors by name, "
                "nothing else: of a training checkpoint, save the weights alone"
            )
        tensors[str(name)] = value.float() if value.is_floating_point() else value
    return tensors


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():  # about odd pickles, just before refusing them
        warnings.simplefilter("ignore")
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def _parse_url(url: str) -> tuple[str, str, str]:
    """Address, file name in torch hub's folder, beginning of the SHA-256."""
    address, _, fragment = url.partition("#")
    try:
        name = PurePosixPath(urlsplit(address).path)
    except ValueError as error:
        raise UsageError(f"cannot read the URL {url!r} ({error}); give one as a browser takes it") from error
    behind = re.fullmatch(r"sha256=([0-9a-fA-F]{8,64})", fragment)
    if behind:
        # Other files may have the same name.
        return address, f"{name.stem}-{behind[1][:16].lower()}{name.suffix}", behind[1].lower()
    inside = re.search(r"-([0-9a-f]{8,64})\.", name.name)
    if inside and not fragment:
        return address, name.name, inside[1]
    raise UsageError(
        f"the URL {url!r} doesn't say its file's hash; give a name such as resnet18-f37072fd.pth, or "
        "append #sha256= and at least 8 digits of the hash"
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror}; give a readable file") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
