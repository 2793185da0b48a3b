"""Sittings of the fuzzer that add up: a JSON file with the summary of each, one per seed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["add_sitting", "require_new_seed", "totals"]


def require_new_seed(file: Path, seed: int) -> None:
    """End the command if variants of this seed are in the ledger already: they are the same ones."""
    if any(sitting["seed"] == seed for sitting in _sittings(file)):
        raise SystemExit(f"seed {seed} is in {file} already; choose another --seed")


def add_sitting(file: Path, summary: dict[str, Any]) -> None:
    """Add the summary of a run of `python -m fuzz`."""
    sittings = [*_sittings(file), summary]
    file.write_text(json.dumps({"sittings": sittings}, indent=2) + "\n", encoding="utf-8")


def totals(file: Path) -> str:
    """Return a table of all sittings together, as docs/robustness.md has it."""
    sittings = _sittings(file)
    lines = [
        "| group | variants | kinds | read | refused in one line | findings | longest, computing | "
        "most memory beyond that of before |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for group, name in (("files", "the package's own files"), ("videos", "videos")):
        parts = [sitting[group] for sitting in sittings if group in sitting]
        if not parts:
            continue
        outcomes: Counter[str] = Counter()
        for part in parts:
            outcomes.update(part["outcomes"])
        variants = sum(part["variants"] for part in parts)
        others = variants - outcomes["read"] - outcomes["refused"]
        kinds, longest, most = (
            max(part[key] for part in parts) for key in ("kinds", "longest_cpu_seconds", "largest_peak_mb")
        )
        lines.append(
            f"| {name} | {variants:,} | {kinds} | {outcomes['read']:,} | {outcomes['refused']:,} | {others} "
            f"| {longest:.2f} s | {most} MB |"
        )
    groups = [sitting[name] for sitting in sittings for name in ("files", "videos") if name in sitting]
    resident = max(part["largest_resident_mb"] for part in groups)
    seconds = sum(sitting["seconds"] for sitting in sittings)
    seeds = ", ".join(str(sitting["seed"]) for sitting in sittings)
    return "\n".join([*lines, "", f"seeds {seeds}; {seconds} s; a worker process held at most {resident} MB"])


def _sittings(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["sittings"]
    return found
