"""Warns of what became slower: compares `hts bench` with a committed table.

    python benchmarks/guard.py docs/bench-epyc.json [--groups decoding stream] [--rounds 5] [--factor 1.5]
    python benchmarks/guard.py docs/bench-epyc.json --measured build/bench.json     # measures nothing

Compared are the ratios to the matrix product of the same round, so that a slower or busier machine changes
little. Machines differ all the same, so this only warns: the exit code is 0.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hidden_two_stream.experiments.machine_speed import measure_machine

Ratios = dict[str, float]
"""Name of a work → its time over that of the matrix product of the same round."""


def ratios(table: dict[str, Any]) -> Ratios:
    """Return the ratios of a table of `hts bench`, as JSON."""
    return {f"{row['group']}: {row['name']}": row["to_reference"] for row in table["rows"]}


def slower(measured: Ratios, committed: Ratios, factor: float) -> list[str]:
    """Return a line for each work whose ratio grew by more than a factor, and for each new one."""
    lines = []
    for name, ratio in measured.items():
        before = committed.get(name)
        if before is None:
            lines.append(f"{name}: not in the committed table")
        elif ratio > factor * before:
            lines.append(f"{name}: {ratio / before:.1f}× the committed ratio")
    return lines


def main() -> None:
    """Measure, compare, and print what became slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--groups", nargs="+", default=["decoding", "stream"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--factor", type=float, default=1.5)
    parser.add_argument("--measured", type=Path, help="a table that was just measured")
    arguments = parser.parse_args()
    committed = json.loads(arguments.table.read_text(encoding="utf-8"))
    if arguments.measured is None:
        measured = measure_machine(
            tuple(arguments.groups), arguments.rounds, committed["num_threads"]
        ).to_dict()
    else:
        measured = json.loads(arguments.measured.read_text(encoding="utf-8"))
    found = ratios(measured)
    lines = slower(found, ratios(committed), arguments.factor)
    print("\n".join(f"warning: {line}" for line in lines) or f"none of {len(found)} works became slower")


if __name__ == "__main__":
    main()
