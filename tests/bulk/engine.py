"""An engine of bulk work in the test's own process, and the rows of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.bulk import work as works
from hidden_two_stream.inference import many


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


class Here:
    """An engine in this process, last video first; `seen` are the videos that it was given."""

    def __init__(self, stop_after: int = 1_000_000) -> None:
        self.seen: list[str] = []
        self.stop_after = stop_after

    def __call__(self, work: works.Work, sources: Sequence[str], workers: int) -> works.Outcomes:
        for source in reversed(sources):
            if len(self.seen) == self.stop_after:
                raise KeyboardInterrupt
            self.seen.append(source)
            yield source, many.done_here(work.run, work.device, source, work.job)
