"""Fetches weights files: finds or downloads them, checks their SHA-256, reads them without running code."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from urllib.parse import urlsplit

import torch
from torch import Tensor

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import file_sha256, make_folder
from hidden_two_stream.tensors import read_tensors

__all__ = ["download_weights", "fetch_weights", "read_state_dict"]

_ADVICE = "try again, or download the file by other means and give it with --init FILE"


def fetch_weights(source: str, quiet: bool = False) -> tuple[Path, str]:
    """Return the local path of a weights file and its SHA-256, after a download if `source` is a URL.

    Args:
        source: a file, or an http, https or file URL as `download_weights` takes it.
        quiet: do not show download progress on stderr.

    Raises:
        UsageError: the file does not exist, or the URL has no hash.
        CheckpointError: the file is unreadable, or the download fails or has another hash.
        OutputError: the folder of PyTorch Hub is not writable.
    """
    if source.startswith(("http://", "https://", "file://")):
        return download_weights(source, quiet)
    path = Path(source)
    if not os.path.isfile(path):
        raise UsageError(
            f"no weights at {source!r}; give none, imagenet, a URL, or a .pth or .safetensors file"
        )
    return path, file_sha256(path)


def download_weights(url: str, quiet: bool = False) -> tuple[Path, str]:
    """Download a file into the folder of PyTorch Hub and return its path and SHA-256.

    A file that is already there is used if its hash is right, and downloaded again if not.

    Args:
        url: an http, https or file URL that contains the first 8 or more digits of the SHA-256, either in the
            file name (name-1a2b3c4d.pth) or behind it (#sha256=...).
        quiet: do not show progress on stderr.

    Raises:
        UsageError: the URL has no hash.
        CheckpointError: the download fails or has another hash; no file is kept.
        OutputError: the folder of PyTorch Hub is not writable.
    """
    address, name, prefix = _parse_url(url)
    cached = make_folder(Path(torch.hub.get_dir()) / "checkpoints") / name
    if cached.is_file():
        digest = file_sha256(cached)
        if digest.startswith(prefix):
            return cached, digest
    try:
        cached.unlink(missing_ok=True)
        torch.hub.download_url_to_file(address, str(cached), prefix, progress=not quiet)
    except RuntimeError as error:
        raise CheckpointError(
            f"the download of {address} is invalid: {_first_line(error)}; {_ADVICE}"
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        raise CheckpointError(f"cannot download {address}: {_first_line(error)}; {_ADVICE}") from error
    return cached, file_sha256(cached)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors or PyTorch file, without running code of a pickle.

    Returns:
        Tensors by name; floating-point tensors are float32.

    Raises:
        CheckpointError: the file is damaged, or holds anything except tensors by name.
    """
    try:
        found = _load(path)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{str(path)!r} holds more than tensors, or is not a weights file; expected a state dict as "
            "torchvision publishes it. Files that could run code are not loaded"
        ) from error
    except Exception as error:  # the readers raise errors of any type on damaged files
        kind = "" if isinstance(error, CheckpointError) else f"{type(error).__name__}: "
        reason = f"{kind}{_first_line(error)}"
        raise CheckpointError(
            f"cannot read weights from {str(path)!r} ({reason}); expected a state dict as torchvision "
            "publishes it, .pth or .safetensors; download it again"
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{str(path)!r} holds a {type(found).__name__}; expected tensors by name")
    tensors: dict[str, Tensor] = {}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{str(path)!r} holds a {type(value).__name__} (key {name!r}); expected tensors by name, "
                "nothing else; of a training checkpoint, save the weights alone"
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(
                f"{str(path)!r} holds {name!r} as a repeated view of fewer numbers; expected whole tensors"
            )
        tensors[str(name)] = value.float() if value.is_floating_point() else value
    return tensors


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    _require_stored(path)
    with warnings.catch_warnings():  # PyTorch warns about odd pickles and then rejects them
        warnings.simplefilter("ignore")
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def _require_stored(path: Path) -> None:
    """Raise an error about a zip archive that would take far more memory than its size on disk.

    PyTorch stores tensors without compression.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > 2 * path.stat().st_size + (1 << 20):
        raise ValueError(f"it unpacks to {unpacked:,} bytes, far more than its size; save it uncompressed")


def _parse_url(url: str) -> tuple[str, str, str]:
    """Return the address, the file name in the folder of PyTorch Hub, and the start of the SHA-256."""
    address, _, fragment = url.partition("#")
    try:
        name = PurePosixPath(urlsplit(address).path)
    except ValueError as error:
        raise UsageError(f"cannot parse the URL {url!r} ({error}); expected a valid URL") from error
    behind = re.fullmatch(r"sha256=([0-9a-fA-F]{8,64})", fragment)
    if behind:
        # The hash keeps files of equal names apart.
        return address, f"{name.stem}-{behind[1][:16].lower()}{name.suffix}", behind[1].lower()
    inside = re.search(r"-([0-9a-f]{8,64})\.", name.name)
    if inside and not fragment:
        return address, name.name, inside[1]
    raise UsageError(
        f"the URL {url!r} has no hash of its file; give a name such as resnet18-f37072fd.pth, or append "
        "#sha256= and at least 8 digits of the hash"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
