"""Writing files so that nothing half-written is ever taken for whole."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import OutputError

__all__ = ["atomic_write", "make_folder", "write_json", "write_text"]


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, make_parents: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` at the end, delete it after an error.

    The temporary name keeps the suffix, from which some writers choose a format. An older file at `path`
    stays as it was until the new one is whole. Any OSError in the block is taken for one of writing.

    Args:
        path: the file to write.
        make_parents: make missing folders above it.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, or something that is no file,
            such as a folder or a device, is in the way.
    """
    target = Path(path)
    part = target.parent / f".{target.stem[:40]}.{secrets.token_hex(4)}.part{target.suffix}"
    try:
        if make_parents:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            raise OSError("what is there is no file")
        part.touch()
        mode = part.stat().st_mode
        part.unlink()
        yield part
        part.chmod(mode)  # some writers make files that only their owner can read
        part.replace(target)
    except OSError as error:
        raise OutputError(
            f"cannot write {str(target)!r}: {error.strerror or error}; expected a writable folder with room "
            "on its disk; choose another path"
        ) from error
    finally:
        # Below something that is no folder even deleting fails, which must not hide the error above.
        with suppress(OSError):
            part.unlink()


def write_text(path: str | os.PathLike[str], text: str, *, make_parents: bool = False) -> None:
    r"""Write UTF-8 text, with the same bytes on every system.

    File names may hold bytes that are no text (lone surrogates in Python); they are written as escapes
    such as `\udcff`, which JSON reads back as they were.

    Raises:
        OutputError: as `atomic_write`.
    """
    with atomic_write(path, make_parents=make_parents) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write JSON, indented.

    Raises:
        OutputError: as `atomic_write`.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder with its parents, or take the one that is there.

    Raises:
        OutputError: it cannot be created or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"cannot create the folder {str(folder)!r}: it is a file") from error
    except OSError as error:
        raise OutputError(f"cannot create the folder {str(folder)!r}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write into the folder {str(folder)!r}: permission denied")
    return folder
