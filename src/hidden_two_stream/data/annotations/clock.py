"""Times of day as files write them: hh:mm:ss.mmm."""

from __future__ import annotations

import re

__all__ = ["clock_seconds", "clock_text"]

_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")


def clock_seconds(text: str) -> float | None:
    """Return the seconds of hh:mm:ss.mmm or mm:ss.mmm, with a point or a comma; None for another text."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None or int(found[2]) > 59 or float(found[3].replace(",", ".")) >= 60:
        return None
    # In milliseconds first, since sums of fractions are inexact: 62.1 s is the float nearest to it.
    whole, _, fraction = found[3].replace(",", ".").partition(".")
    seconds = int(found[1] or 0) * 3600 + int(found[2]) * 60 + int(whole)
    return float(f"{seconds}.{fraction or 0}")


def clock_text(seconds: float, decimals: int = 3, mark: str = ".") -> str:
    """Return hh:mm:ss.mmm, rounded."""
    units = round(seconds * 10**decimals)
    whole, fraction = divmod(units, 10**decimals)
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}{mark}{fraction:0{decimals}d}"
