"""Atomic file writes, and names of folders."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import CheckpointError, OutputError

__all__ = [
    "atomic_folder",
    "atomic_write",
    "delete_temporary",
    "file_sha256",
    "folder_name",
    "folder_names",
    "holds_nothing",
    "is_temporary",
    "make_folder",
    "parse_description",
    "parse_json",
    "read_json",
    "read_limited",
    "write_json",
    "write_text",
]

MAX_JSON_BYTES = 64 << 20
_MOST_DIGITS = 300  # of a whole number; a float can take its value
_MANY_DIGITS = re.compile(f"[0-9]{{{_MOST_DIGITS}}}")
_LONGEST_NAME = 240  # bytes in UTF-8; file systems allow 255
_RESERVED = frozenset(
    ("", "con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10)))
)
"""Names that Windows keeps for devices, with any suffix."""


_TEMPORARY = re.compile(
    r"\.[\w-]{1,40}\.[0-9a-f]{8}\.part(\.(safetensors|json|jsonl|txt|html|md|svg|npz|npy|csv|mp4))?"
    r"|\.tmp[0-9A-Za-z]{6}"  # the writer of safetensors files has temporary files of its own
)


def is_temporary(name: str) -> bool:
    """Return whether a file in a run folder is one that a killed process had not finished writing."""
    return _TEMPORARY.fullmatch(name) is not None


def delete_temporary(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder that no other process uses now."""
    for path in folder.glob(".*"):
        if is_temporary(path.name) and path.is_file():
            with suppress(OSError):
                path.unlink()


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, make_parents: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to; rename the file to `path` at the end, or delete it on an error.

    The temporary file is in the same folder and has the same suffix, from which some writers choose a format.
    An existing file at `path` is replaced only when the new one is complete and on the disk, so that neither
    a kill nor a power failure leaves half a file. Every OSError in the block is reported as a failure to
    write `path`.

    Args:
        path: the file to write.
        make_parents: make missing folders above it.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, or `path` is a folder or a
            device.
    """
    target = Path(path)
    _require_nameable(target)
    part = target.parent / f".{target.stem[:40]}.{secrets.token_hex(4)}.part{target.suffix}"
    try:
        if make_parents:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            raise OSError("it exists and is not a regular file")
        part.touch()
        mode = part.stat().st_mode
        part.unlink()
        yield part
        part.chmod(mode)  # some writers create files that only their owner can read
        _sync(part)
        part.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        # If the parent is not a folder, even deleting fails; that must not hide the error above.
        with suppress(OSError):
            part.unlink()


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder to fill; rename it to `path` at the end, or delete it on an error.

    Args:
        path: a new folder, or one for which `holds_nothing`.

    Raises:
        OutputError: the folder cannot be made.
    """
    target = Path(path)
    _require_nameable(target)
    make_folder(target.parent)
    part = make_folder(target.parent / f".{target.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        yield part
        if target.is_dir():
            delete_temporary(target)
            target.rmdir()
        part.rename(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def holds_nothing(folder: Path) -> bool:
    """Return whether a folder is missing, or holds nothing but files that killed processes left.

    Raises:
        OutputError: it is a file, or cannot be read.
    """
    try:
        return all(is_temporary(path.name) for path in folder.iterdir())
    except FileNotFoundError:
        return True
    except OSError as error:
        raise OutputError(
            f"cannot write into {str(folder)!r}: {error.strerror}; "
            "expected a new or empty folder; choose another"
        ) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {str(path)!r}: {error.strerror or error}; expected a writable folder with free disk "
        "space; choose another path"
    )


def _sync(path: Path) -> None:
    """Wait until a file is on the disk: some file systems would keep its new name before its content."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _require_nameable(path: Path) -> None:
    """Raise an OutputError about a path that no system can open, as a name in a damaged file may give it."""
    try:
        is_nameable = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_nameable = False
    if not is_nameable:
        raise OutputError(f"cannot write {str(path)!r}: no file can have this name; choose another path")


def write_text(path: str | os.PathLike[str], text: str, *, make_parents: bool = False) -> None:
    r"""Write UTF-8 text atomically, with the same bytes on every system.

    File names can hold bytes that are not text (lone surrogates in Python). They are written as escapes such
    as `\udcff`, which JSON parsers turn back into the same surrogates.

    Raises:
        OutputError: as `atomic_write`.
    """
    with atomic_write(path, make_parents=make_parents) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write indented JSON atomically.

    Raises:
        OutputError: as `atomic_write`.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def parse_json(text: str) -> Any:
    """Return the data of a JSON text.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or holds a whole number of more than 300
            digits, which no float can take.
    """
    try:
        return json.loads(text, parse_int=_whole_number if _MANY_DIGITS.search(text) else None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds a whole number of {len(digits)} digits; expected at most {_MOST_DIGITS}")
    return int(digits)


def parse_description(text: str, file: Path, version: int) -> dict[str, Any]:
    """Parse a JSON description and check its format version.

    Args:
        text: the JSON, as found in the metadata.
        file: file that holds it, for error messages.
        version: the `format_version` that the description must have.

    Raises:
        CheckpointError: `text` is not a JSON object, or has another format version.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"the description in {str(file)!r} is damaged: {error}") from error
    data = data if isinstance(data, dict) else {}
    found = data.get("format_version")
    if found != version:
        raise CheckpointError(
            f"{str(file)!r} has format version {found}, this package reads {version}; "
            "use the version of hidden-two-stream that wrote it"
        )
    return data


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the data of a JSON file of at most 64 MiB.

    Raises:
        OSError: the file is missing or unreadable.
        ValueError: as `read_limited` and `parse_json`.
    """
    return parse_json(read_limited(path))


def read_limited(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """Return the text of a regular UTF-8 file of at most 64 MiB.

    Args:
        path: the file; not a pipe or a device, whose text may have no end.
        errors: what to do with bytes that are not UTF-8, as for `open`.

    Raises:
        OSError: the file is missing or unreadable.
        ValueError: it is too large, no regular file, or no UTF-8 text.
    """
    file = Path(path)
    facts = file.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("it is no regular file")
    if facts.st_size > MAX_JSON_BYTES:
        raise ValueError(f"it has {facts.st_size:,} bytes; expected at most {MAX_JSON_BYTES:,}")
    return file.read_text(encoding="utf-8", errors=errors)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and its parents unless it exists, and return its path.

    Raises:
        OutputError: the folder cannot be created or written to.
    """
    folder = Path(path)
    _require_nameable(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"cannot create the folder {str(folder)!r}: it is a file") from error
    except OSError as error:
        raise OutputError(f"cannot create the folder {str(folder)!r}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write into the folder {str(folder)!r}: permission denied")
    return folder


def folder_name(text: str, prefix: str = "", allowed: str = "-_.") -> str:
    """Return `prefix` and `text`, with "_" for each character that is no letter, digit or `allowed`."""
    return prefix + "".join(c if c.isalnum() or c in allowed else "_" for c in text)


def folder_names(texts: Iterable[str], prefix: str = "", allowed: str = "-_.") -> dict[str, str]:
    """Return a name of a folder for each text: the names differ on every file system.

    The name is that of `folder_name` where it can be. A hash of the text is appended to names that are equal
    but for case or Unicode form, are too long, or are reserved on Windows.
    """
    names = {text: folder_name(text, prefix, allowed) for text in texts}
    hashed: set[str] = set()
    while True:
        count = Counter(_same_on_disk(name) for name in names.values())
        wrong = {
            text
            for text, name in names.items()
            if text not in hashed and (count[_same_on_disk(name)] > 1 or not _portable(name))
        }
        if not wrong:
            return names
        names |= {text: _with_hash(names[text], text) for text in wrong}
        hashed |= wrong


def _same_on_disk(name: str) -> str:
    """Return a text that is equal for names that some file system does not tell apart."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).rstrip(". ")


def _portable(name: str) -> bool:
    return (
        len(name.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME
        and name.rstrip(".").partition(".")[0].casefold() not in _RESERVED
    )


def _with_hash(name: str, text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{name[:40].replace('.', '_')}-{digest}"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        CheckpointError: the file is unreadable.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror}; give a readable file") from error
