"""Files behind an address: object stores (s3, gs, az), web servers and what else fsspec opens.

fsspec finds the account and its secrets by itself, in the environment and the files of each store's tools.
Nothing here takes or keeps them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from hidden_two_stream.errors import (
    HiddenTwoStreamError,
    MissingDependencyError,
    OutputError,
    StoreError,
    UsageError,
)
from hidden_two_stream.watchdog import progressed

__all__ = [
    "STORES",
    "copy_file",
    "file_size",
    "is_pattern",
    "is_remote",
    "is_stored",
    "join",
    "list_files",
    "list_sizes",
    "local_path",
    "open_file",
    "read_part",
    "reading",
    "scheme_of",
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_WILD = re.compile(r"[*\[]|(?<!^)\?")
_SPOOLED_BYTES = 16 << 20
_STORES = "abfs adl az file gcs gs hdfs hf local memory oci oss s3 s3a sftp smb ssh webdav webhdfs"
STORES = frozenset(_STORES.split())
"""Schemes of addresses whose videos fsspec reads. FFmpeg itself reads the others: http, rtsp, …"""

_PACKAGES = {
    "abfs": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "http": '"hidden-two-stream[remote]"',
    "https": '"hidden-two-stream[remote]"',
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
}
"""What `pip install` adds for a scheme whose library is missing."""


def is_remote(text: str) -> bool:
    """Whether a text is an address (scheme://…) and not a path."""
    return _SCHEME.match(text) is not None


def scheme_of(address: str) -> str:
    """Return the scheme of an address, such as "s3", in lower case; "" for a path."""
    found = _SCHEME.match(address)
    return "" if found is None else found[1].lower()


def is_stored(text: str) -> bool:
    """Whether a text is an address in a store, whose scheme is one of `STORES`."""
    return scheme_of(text) in STORES


def is_pattern(address: str) -> bool:
    """Whether an address holds wildcards, as in s3://bucket/*.mp4. In a web address, "?" is none."""
    wild = _WILD.search(address)
    return wild is not None and not (wild[0] == "?" and scheme_of(address) in ("http", "https"))


def join(address: str, *names: str) -> str:
    """Return the address of a file below another address."""
    return "/".join([address.rstrip("/"), *(name.strip("/") for name in names)])


def local_path(address: str) -> Path | None:
    """Return the path that an address such as file:///a.mp4 names; None: it is not on this machine.

    Raises:
        MissingDependencyError: fsspec is not installed.
    """
    if scheme_of(address) not in ("file", "local"):
        return None
    return Path(_file_system(address)[1])


def list_files(address: str) -> list[str]:
    """Return the addresses of the files that match a pattern, or lie at or below an address, sorted.

    Args:
        address: a file, a prefix such as s3://bucket/videos/, or a pattern such as s3://bucket/**/*.mp4.

    Raises:
        UsageError: the scheme is unknown, or nothing is there.
        MissingDependencyError: the library of the scheme is not installed.
        StoreError: the store cannot be reached, or refuses.
    """
    system, path = _file_system(address)
    with reading(address):
        found = system.glob(path, detail=True) if is_pattern(address) else system.find(path, detail=True)
        names = sorted(name for name, facts in found.items() if facts["type"] == "file")
        listed = [address if name == path else str(system.unstrip_protocol(name)) for name in names]
        if not listed and not is_pattern(address) and system.isfile(path):  # a web page that links to nothing
            listed = [address]
    if not listed:
        raise UsageError(f"no file at or below {address!r}; check the address")
    return listed


def list_sizes(address: str) -> dict[str, int]:
    """Return the address and the size in bytes of each file directly at an address, in one request.

    Raises:
        UsageError, MissingDependencyError, StoreError: as `list_files`.
    """
    system, path = _file_system(address)
    with reading(address):
        found = system.ls(path, detail=True)
        return {
            str(system.unstrip_protocol(facts["name"])): int(facts["size"])
            for facts in found
            if facts["type"] == "file" and facts["size"] is not None
        }


def file_size(address: str) -> int:
    """Return the size of a file, bytes.

    Raises:
        UsageError, MissingDependencyError: as `list_files`.
        StoreError: as `list_files`, or the server does not say.
    """
    system, path = _file_system(address)
    with reading(address):
        size = system.size(path)
    if size is None:
        raise StoreError(address, "the server does not say how large it is")
    return int(size)


def open_file(address: str) -> IO[bytes]:
    """Open a file for reading, with `seek`. Close it, or use it in a `with` statement.

    A file of a server that only sends whole files is copied first: into memory, or if it is large, onto disk.
    Errors while it is read are those of fsspec; `reading` turns them into the package's own.

    Raises:
        UsageError, MissingDependencyError, StoreError: as `list_files`.
    """
    system, path = _file_system(address)
    with reading(address):
        options = {} if _gives_parts(system, path) else {"block_size": 0}
        opened: IO[bytes] = system.open(path, "rb", **options)
        if opened.seekable() and not options:
            return opened
        with opened:
            copy = tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES)  # noqa: SIM115 - the caller closes it
            shutil.copyfileobj(opened, copy, 1 << 20)
        copy.seek(0)
        return copy


def read_part(address: str, start: int, size: int) -> bytes:
    """Return `size` bytes of a file from byte `start` on, or fewer where it ends before; in one request.

    Raises:
        UsageError, MissingDependencyError: as `list_files`.
        StoreError: as `list_files`, or the server sends only whole files.
    """
    system, path = _file_system(address)
    with reading(address):
        content: bytes = system.cat_file(path, start=start, end=start + size)
    if len(content) > size:
        raise StoreError(address, "the server sends only whole files, not parts of them")
    return content


def copy_file(address: str, target: str | os.PathLike[str]) -> None:
    """Copy a file to a path on this machine.

    Raises:
        UsageError, MissingDependencyError, StoreError: as `list_files`.
        OutputError: the copy cannot be written.
    """
    system, path = _file_system(address)
    try:
        file = open(target, "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror or error}") from error
    callback = import_module("fsspec.callbacks").Callback(hooks={"watch": lambda *_, **__: progressed()})
    with file, reading(address):
        system.get_file(path, file, callback=callback)


@contextmanager
def reading(address: str) -> Iterator[None]:
    """Turn errors in the block into the package's own, which name the address.

    Raises:
        UsageError: there is no such file.
        StoreError: the store cannot be reached, refuses, or breaks off.
    """
    try:
        yield
    except HiddenTwoStreamError:
        raise
    except Exception as error:  # each store's library has errors of its own
        cause = error.__cause__ or error
        # fsspec says that there is no such file also where a web server does not answer.
        is_missing = isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == 404
        if isinstance(error, FileNotFoundError) and is_missing:
            raise UsageError(f"nothing found at {address!r}; check the address") from error
        raise StoreError(address, _reason(cause)) from error


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _gives_parts(system: Any, path: str) -> bool:
    """Whether parts of a file can be read. A web server need not be able to."""
    if "http" not in system.protocol:
        return True
    size = system.info(path).get("size")
    if not size:
        return False
    with system.open(path, "rb", cache_type="none") as file:
        file.seek(size - 1)
        try:
            file.read(1)
        except ValueError:  # the server sent the whole file instead
            return False
    return True


def _file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the path in it."""
    try:
        core = import_module("fsspec.core")
    except ImportError as error:
        raise MissingDependencyError(
            f'{address!r} needs fsspec; install it with: pip install "hidden-two-stream[remote]"'
        ) from error
    scheme = scheme_of(address)
    try:
        system, path = core.url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        advice = f"install it with: pip install {package}" if package else str(error)
        raise MissingDependencyError(
            f"{address!r} needs the library for {scheme}://, which is not installed; {advice}"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"cannot use the address {address!r}: {error}; expected file://, http://, s3://, gs:// or "
            "another scheme that fsspec opens"
        ) from error
    except Exception as error:  # a store that looks for its account at once
        raise StoreError(address, _reason(error)) from error
    return system, path
