"""`docs/labels.md` has the table of label formats as the code has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hidden_two_stream.data.annotations.format import Format
from hidden_two_stream.data.annotations.table import FORMATS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "labels.md"
STEPS = {"frame": "frames", "second": "whole seconds", 0: "s", 0.001: "ms", 0.01: "0.01 s", 1e-6: "µs"}


def row(item: Format) -> str:
    """The row of a format: its name, tool, suffixes, and what it holds."""
    holds = item.holds
    times = STEPS[holds.step] + (f", {item.fps:g} per second" if item.fps else "")
    marks = [holds.points, holds.overlap, holds.subjects, holds.scores != "no", holds.unlabeled, holds.videos]
    cells = [
        "needed" if holds.scores == "only" and n == 3 else "yes" if m else "" for n, m in enumerate(marks)
    ]
    where = "folder" if item.folder else " ".join(f"`{suffix}`" for suffix in item.suffixes)
    return "| " + " | ".join([f"`{item.name}`", item.title, where, times, *cells]) + " |"


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_on_the_page_as_it_is(name: str) -> None:
    lines = [" ".join(line.split()) for line in PAGE.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line.startswith(f"| `{name}` |")]
    assert " ".join(row(FORMATS[name]).split()) in found
    assert len(found) == 2  # what it can hold, and what is read from it
