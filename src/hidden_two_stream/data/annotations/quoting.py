"""Values of label files in messages: short, however long they are."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

__all__ = ["listed", "shown"]

_LONGEST = 60  # characters
_MOST = 20  # names


def shown(value: object) -> str:
    """Return a value in quotes, as `repr` writes it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def listed(names: Collection[str]) -> str:
    """Return names separated by commas, "none" if there are none, the first of them if they are many."""
    found = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in islice(names, _MOST)]
    more = [f"and {len(names) - _MOST} more"] if len(names) > _MOST else []
    return ", ".join([*found, *more]) or "none"
