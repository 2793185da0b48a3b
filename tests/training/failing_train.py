"""`hts train` in which the process of a given rank fails at a given step: argv[1] is WHAT:RANK:STEP.

"nan" makes its loss not finite, "error" raises one of the package's errors, "exit" ends it without a word,
"freeze" stops it, "kill" and "term" send it signals, "none" does nothing. The file FAILED_AT gets the time.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import VideoError
from hidden_two_stream.training.stages import StageObjective

SIGNALS = {"freeze": "SIGSTOP", "kill": "SIGKILL", "term": "SIGTERM"}


def failing(forward: Callable[..., dict[str, Tensor]], what: str, step: int) -> Callable[..., Any]:
    """Return a forward method that fails at its call number `step`."""
    calls = 0

    def call(objective: StageObjective, *arguments: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        scalars = forward(objective, *arguments)
        if calls != step:
            return scalars
        if "FAILED_AT" in os.environ:
            Path(os.environ["FAILED_AT"]).write_text(str(time.time()))
        if what == "nan":
            return {name: value * float("nan") for name, value in scalars.items()}
        if what == "error":
            raise VideoError("walk.mp4", "it is gone")
        if what == "exit":
            os._exit(3)
        if what in SIGNALS:
            os.kill(os.getpid(), getattr(signal, SIGNALS[what]))
        return scalars

    return call


if __name__ == "__main__":
    failure, rank, at = sys.argv[1].split(":")
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == rank:
        StageObjective.forward = failing(StageObjective.forward, failure, int(at))  # type: ignore[method-assign]
    raise SystemExit(main(sys.argv[2:]))
