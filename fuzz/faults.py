"""Readers with faults on purpose: the tests of these tools run them instead of `fuzz.kinds`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from fuzz.kinds import Kind
from hidden_two_stream.errors import DataError

__all__ = ["KINDS"]


def _write(folder: Path) -> None:
    (folder / "a.csv").write_text("path,label\n" * 9, encoding="utf-8")


def _crash(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang(_: Path) -> None:
    time.sleep(60)


def _be_slow(_: Path) -> None:
    begun = time.process_time()
    while time.process_time() < begun + 0.4:
        pass


def _fill_memory(_: Path) -> None:
    bytearray(b"x") * (300 << 20)


def _raise(_: Path) -> None:
    raise KeyError("a")


def _forget_the_name(_: Path) -> None:
    raise DataError("the file is damaged")


def _refuse(path: Path) -> None:
    raise DataError(f"{path} is damaged")


_READERS = {
    "crash": _crash,
    "hang": _hang,
    "slow": _be_slow,
    "memory": _fill_memory,
    "unexpected": _raise,
    "unclear": _forget_the_name,
    "refused": _refuse,
    "read": Path.read_bytes,
}


def _reader(name: str) -> Kind:
    def read(path: Path) -> object:
        return None if path.parent.parent.name == "originals" else _READERS[name](path)

    return Kind(name, "files", _write, read, "a.csv")


KINDS = {name: _reader(name) for name in _READERS}
"""What is expected of each: the outcome of its name."""
