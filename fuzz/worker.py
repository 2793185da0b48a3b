"""One worker process: makes a variant, reads it, and says how that ended.

It takes a task on standard input, a line of JSON, answers "ready", waits for a line more, and answers how it
went. What libraries print goes nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from fuzz.mutations import mutated
from fuzz.sandbox import READY
from hidden_two_stream.errors import HiddenTwoStreamError

if TYPE_CHECKING:
    from fuzz.kinds import Kind

__all__ = ["make_variant"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_LONGEST_MESSAGE = 2000


def make_variant(kind: Kind, originals: Path, scratch: Path, seed: int, number: int) -> Path:
    """Write one variant into the empty folder `scratch`, and return what is to be read."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(originals / kind.name, scratch)
    random = Random(f"{seed} {kind.name} {number}")
    files = kind.targets(scratch)
    chosen = random.choice(files)
    other = random.choice(files).read_bytes()
    chosen.write_bytes(mutated(chosen.read_bytes(), chosen.suffix.lower(), random, other))
    return scratch / kind.entry


def _outcome(kind: Kind, path: Path) -> dict[str, Any]:
    """Return how reading ended: "read", "refused" (with one clear line) or "unexpected"."""
    try:
        kind.read(path)
    except HiddenTwoStreamError as error:
        message = str(error)
        wrong = _unclear(message, path, kind)
        if wrong:
            return {"outcome": "unclear", "error": f"{wrong}: {message[:300]!r}", "where": _place(error)}
        return {"outcome": "refused", "error": message[:300], "where": ""}
    except Exception as error:
        return {
            "outcome": "unexpected",
            "error": f"{type(error).__name__}: {str(error)[:300]}",
            "where": _place(error),
        }
    return {"outcome": "read", "error": "", "where": ""}


def _unclear(message: str, path: Path, kind: Kind) -> str:
    """Return what is wrong with the message of a refusal; empty: nothing."""
    if len(message.splitlines()) > 1:
        return "several lines"
    if len(message) > _LONGEST_MESSAGE:
        return f"{len(message)} characters"
    names = {path.name, *(target.name for target in kind.targets(path.parent))}
    return "" if any(name in message for name in names) else "the file is not named"


def _place(error: BaseException) -> str:
    """Return the line of the package in which an exception was raised or passed last."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "hidden_two_stream" in frame.filename]
    last = (own or list(frames) or [None])[-1]
    return "" if last is None else f"{Path(last.filename).name}:{last.lineno} {last.name}"


def _memory(name: str) -> int:
    """Return "VmHWM" (peak), "VmRSS" or "VmSize" of this process, bytes; 0 where there is no /proc."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)


def _measured(kind: Kind, path: Path) -> dict[str, Any]:
    """Return the outcome with seconds of computing and bytes of memory that reading took."""
    if _RESET.exists():
        _RESET.write_text("5")  # the peak begins anew
    before, begun = _memory("VmRSS"), time.process_time()
    found = _outcome(kind, path)
    return found | {
        "cpu_seconds": round(time.process_time() - begun, 3),
        "peak_bytes": max(0, _memory("VmHWM") - before),
        "resident_bytes": _memory("VmRSS"),
    }


def _limit_memory(spare: int) -> None:
    """Let allocations fail that would take more than `spare` bytes of address space beyond today's."""
    try:
        import resource
    except ImportError:  # Windows
        return
    now = _memory("VmSize")
    if now:
        resource.setrlimit(resource.RLIMIT_AS, (now + spare, now + spare))


def main() -> None:
    """Answer tasks until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
    import torch

    torch.set_num_threads(1)
    originals, scratch, spare = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    kinds: dict[str, Kind] = import_module(sys.argv[4]).KINDS
    warm: set[str] = set()
    while line := sys.stdin.readline():
        task = json.loads(line)
        kind = kinds[task["kind"]]
        if kind.name not in warm:  # imports count for no variant
            warm.add(kind.name)
            with contextlib.suppress(HiddenTwoStreamError):  # a kind that is always refused, with a reason
                kind.read(originals / kind.name / kind.entry)
            if spare and len(warm) == 1:
                _limit_memory(spare)
        try:
            path = make_variant(kind, originals, scratch, task["seed"], task["number"])
        except Exception as error:  # a fault of these tools, not of the package
            found = {"outcome": "fuzzer", "error": f"{type(error).__name__}: {error}", "where": _place(error)}
        else:
            print(READY, file=answers, flush=True)
            sys.stdin.readline()
            found = _measured(kind, path)
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
