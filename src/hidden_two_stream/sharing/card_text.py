"""Markdown of the model card: escaped names, tables, percentages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import number_of

__all__ = ["STREAM_NAMES", "escaped", "joined", "percent", "table", "times"]

STREAM_NAMES = {
    "fused": "both streams together",
    "spatial": "spatial stream (frames)",
    "temporal": "temporal stream (motion)",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$&])")


def escaped(text: object) -> str:
    """Return a text in which Markdown and HTML have no effect, on one line."""
    return _SPECIAL.sub(r"\\\1", one_line(str(text)).replace("\t", " "))


def joined(names: Sequence[str], more: int = 0) -> str:
    """Return "a, b and c"; with `more`, "a, b and 3 more"."""
    parts = [*names, *([f"{more} more"] if more > 0 else [])]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def percent(value: float) -> str:
    """Return a fraction as a percentage."""
    return f"{value:.1%}"


def times(count: int, noun: str) -> str:
    """Return a number and its noun, bold."""
    return f"**{number_of(count, noun)}**"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; a column whose title ends with ":" is right-aligned."""
    ruler = ["---:" if title.endswith(":") else "---" for title in head]
    titles = [title.removesuffix(":") for title in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ruler, *rows))
