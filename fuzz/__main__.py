"""Reads thousands of damaged files: `python -m fuzz`, or `make fuzz`. Exit code 1: there are findings."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fuzz.kinds import KINDS, Kind, of_group
from fuzz.ledger import add_sitting, require_new_seed, totals
from fuzz.sandbox import Limits, Result, Task, run_tasks
from fuzz.worker import make_variant

__all__ = ["main", "tasks_of", "write_originals"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    if options.totals:
        print(totals(options.ledger))
        return 0
    if options.ledger is not None:
        require_new_seed(options.ledger, options.seed)
    chosen = [KINDS[name] for name in options.only]
    groups = {"files": options.files, "videos": options.videos}
    tasks = [
        task
        for group, count in groups.items()
        for task in tasks_of(
            [k for k in chosen if k.group == group] if chosen else of_group(group), count, options.seed
        )
    ]
    kinds = [KINDS[name] for name in dict.fromkeys(task.kind for task in tasks)]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        originals, scratch = Path(folder) / "originals", Path(folder) / "scratch"
        write_originals(kinds, originals)
        scratch.mkdir()
        results = []
        for result in run_tasks(tasks, originals, scratch, options.workers, Limits(seconds=options.seconds)):
            results.append(result)
            if result.is_finding:
                print(_line(result), flush=True)
                if options.keep is not None and result.outcome != "fuzzer":
                    _keep(result.task, originals, options.keep)
    summary = _summary(results, options.seed, time.monotonic() - begun)
    if options.ledger is not None:
        add_sitting(options.ledger, summary)
    print(json.dumps(summary, indent=2) if options.json else _text(summary))
    return 1 if summary["findings"] else 0


def tasks_of(kinds: Sequence[Kind], count: int, seed: int) -> Iterator[Task]:
    """Yield `count` variants, spread over the kinds; all of one kind follow each other."""
    for place, kind in enumerate(kinds):
        share = count // len(kinds) + (place < count % len(kinds))
        yield from (Task(kind.name, seed, number) for number in range(share))


def write_originals(kinds: Iterable[Kind], folder: Path) -> None:
    """Write the whole files of each kind into a folder of its own."""
    for kind in kinds:
        (folder / kind.name).mkdir(parents=True)
        kind.write(folder / kind.name)
        if not kind.targets(folder / kind.name):
            raise RuntimeError(f"{kind.name}: no file to damage")


def _keep(task: Task, originals: Path, folder: Path) -> None:
    target = folder / f"{task.kind}-{task.seed}-{task.number}"
    folder.mkdir(parents=True, exist_ok=True)
    make_variant(KINDS[task.kind], originals, target, task.seed, task.number)


def _line(result: Result) -> str:
    task = result.task
    where = f" ({result.where})" if result.where else ""
    return f"{result.outcome:10} {task.kind} {task.seed} {task.number}: {result.error[:200]!r}{where}"


def _summary(results: Sequence[Result], seed: int, seconds: float) -> dict[str, object]:
    groups = {}
    for group in ("files", "videos"):
        some = [result for result in results if KINDS[result.task.kind].group == group]
        if some:
            groups[group] = {
                "variants": len(some),
                "kinds": len({result.task.kind for result in some}),
                "outcomes": dict(Counter(result.outcome for result in some)),
                "longest_cpu_seconds": max(result.cpu_seconds for result in some),
                "largest_peak_mb": round(max(result.peak_bytes for result in some) / 1e6),
                "largest_resident_mb": round(max(result.resident_bytes for result in some) / 1e6),
            }
    return {
        "seed": seed,
        "python": platform.python_version(),
        "system": platform.platform(),
        "seconds": round(seconds),
        "findings": sum(result.is_finding for result in results),
        **groups,
    }


def _text(summary: dict[str, object]) -> str:
    lines = [f"seed {summary['seed']}, {summary['seconds']} s, {summary['findings']} findings"]
    for group in ("files", "videos"):
        found = summary.get(group)
        if isinstance(found, dict):
            outcomes = ", ".join(f"{number} {name}" for name, number in sorted(found["outcomes"].items()))
            lines.append(
                f"{group}: {found['variants']} variants of {found['kinds']} kinds: {outcomes}; at most "
                f"{found['longest_cpu_seconds']:g} s and {found['largest_peak_mb']} MB for one"
            )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=5000, help="variants of the package's own files")
    parser.add_argument("--videos", type=int, default=2000, help="variants of videos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="computing time that a variant may take")
    parser.add_argument("--only", nargs="*", default=[], choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--keep", type=Path, help="folder for the variants that are findings")
    parser.add_argument(
        "--ledger", type=Path, metavar="FILE", help="also add the summary to FILE; a seed counts once"
    )
    parser.add_argument("--totals", action="store_true", help="print what FILE adds up to, and read nothing")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
