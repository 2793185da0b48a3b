"""`hts train` in which the process of a given rank fails at a given step: argv[1] is WHAT:RANK:STEP.

"nan" makes its loss not finite, "error" raises one of the package's errors, "exit" ends it without a word,
"freeze" stops it, "term" sends it SIGTERM, "none" does nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor

from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import VideoError
from hidden_two_stream.training.stages import StageObjective


def failing(forward: Callable[..., dict[str, Tensor]], what: str, step: int) -> Callable[..., Any]:
    """Return a forward method that fails at its call number `step`."""
    calls = 0

    def call(objective: StageObjective, *arguments: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        scalars = forward(objective, *arguments)
        if calls != step:
            return scalars
        if what == "nan":
            return {name: value * float("nan") for name, value in scalars.items()}
        if what == "error":
            raise VideoError("walk.mp4", "it is gone")
        if what == "exit":
            os._exit(3)
        if what in ("freeze", "term"):
            os.kill(os.getpid(), signal.SIGSTOP if what == "freeze" else signal.SIGTERM)
        return scalars

    return call


if __name__ == "__main__":
    failure, rank, at = sys.argv[1].split(":")
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == rank:
        StageObjective.forward = failing(StageObjective.forward, failure, int(at))  # type: ignore[method-assign]
    raise SystemExit(main(sys.argv[2:]))
