"""Warns of what became slower: compares `hts bench` with a committed table.

    python benchmarks/guard.py docs/bench.json [--groups decoding stream] [--rounds 5] [--factor 1.5]

Compared are the ratios to the matrix product of the same round, so that a slower or busier machine changes
little. Machines differ all the same, so this only warns: the exit code is 0.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hidden_two_stream.experiments.machine_speed import SpeedTable, measure_machine


def slower(table: SpeedTable, earlier: dict[str, float], factor: float) -> list[str]:
    """Return a line for each work whose ratio grew by more than a factor, and for each new one.

    Args:
        table: the measurement.
        earlier: ratio to the matrix product by name, from the committed table.
        factor: growth that is let pass.
    """
    lines = []
    for row in table.rows:
        before = earlier.get(row.name)
        if before is None:
            lines.append(f"{row.name}: not in the committed table")
        elif row.to_reference > factor * before:
            lines.append(f"{row.name}: {row.to_reference / before:.1f}× the committed ratio")
    return lines


def main() -> None:
    """Measure, compare, and print what became slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--groups", nargs="+", default=["decoding", "stream"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--factor", type=float, default=1.5)
    arguments = parser.parse_args()
    committed = json.loads(arguments.table.read_text(encoding="utf-8"))
    earlier = {row["name"]: row["to_reference"] for row in committed["rows"]}
    table = measure_machine(tuple(arguments.groups), arguments.rounds, committed["num_threads"])
    lines = slower(table, earlier, arguments.factor)
    print("\n".join(f"warning: {line}" for line in lines) or "nothing became slower")


if __name__ == "__main__":
    main()
