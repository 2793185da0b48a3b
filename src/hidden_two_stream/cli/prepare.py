"""`hts prepare`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import Parser, add_workers, path, path_text, show, workers
from hidden_two_stream.printing import one_line

if TYPE_CHECKING:
    from hidden_two_stream.data.benchmarks.check import BenchmarkCheck

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "check a copy of a research dataset for missing or unreadable videos and wrong lists"

_SHOWN = 10


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts prepare`."""
    parser.add_argument("name", metavar="NAME", help="ucf101, hmdb51, thumos14, activitynet, kinetics or tsn")
    parser.add_argument("root", type=path_text, metavar="ROOT", help="folder of the dataset; for "
                        "kinetics also a CSV; for tsn TRAIN.txt or TRAIN.txt:TEST.txt")  # fmt: skip
    parser.add_argument(
        "--splits", metavar="1..3", help="split or range of splits of ucf101 or hmdb51 (default: all)"
    )
    parser.add_argument("--decode", action="store_true", help="decode every video completely (default: "
                         "only the first frame)")  # fmt: skip
    parser.add_argument(
        "--out",
        type=path,
        metavar="FILE",
        help="write the names of all missing and unreadable videos to FILE",
    )
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.data.benchmarks.check import check_benchmark

    result = check_benchmark(
        arguments.name,
        arguments.root,
        splits=arguments.splits,
        decode_all=arguments.decode,
        workers=workers(arguments),
        out=arguments.out,
        quiet=arguments.quiet,
    )
    show(arguments, result.to_dict(), _text(result))
    return 0 if result.complete else 1


def _text(result: BenchmarkCheck) -> str:
    lists = list(result.lists)
    if len(lists) > 3:
        lists = list(dict.fromkeys(str(Path(path).parent) for path in lists))
    lines = [f"lists: {path}" for path in lists]
    lines += [f"videos: {count:,} in {folder}" for folder, count in result.video_folders.items()]
    lines.append(f"{len(result.classes)} classes")
    for row in result.splits:
        counts = ", ".join(f"{part} {c.found:,} of {c.listed:,}" for part, c in row.parts.items())
        lines.append(f"{'all' if row.split is None else f'split {row.split}'}: {counts} found")
    elsewhere = f"all are in {result.listed_in}" if result.listed_in else "--json lists all"
    lines += _first_of("missing", result.missing, elsewhere)
    lines += _first_of("unreadable", [f"{p}: {reason}" for p, reason in result.unreadable.items()], elsewhere)
    lines += _first_of("warning", result.warnings, elsewhere)
    lines += _first_of("different", result.different, "--json lists all")
    return "\n".join([*map(one_line, lines), _verdict(result)])


def _first_of(title: str, items: Sequence[str], elsewhere: str) -> list[str]:
    """Return a line for each of the first items, and a line that says where the others are listed."""
    lines = [f"{title}: {item}" for item in items[:_SHOWN]]
    if len(items) > _SHOWN:
        lines.append(f"{title}: {len(items) - _SHOWN:,} more; {elsewhere}")
    return lines


def _verdict(result: BenchmarkCheck) -> str:
    from hidden_two_stream.data.benchmarks.official import OFFICIAL_COUNTS

    found = f"{result.num_found:,} of {result.num_videos:,} videos are present"
    if result.complete:
        official = " and the lists have the official counts" if result.name in OFFICIAL_COUNTS else ""
        return f"complete: {found}, all were read ({result.checked}){official}"
    problems = []
    if result.missing:
        problems.append(f"{len(result.missing):,} missing")
    if result.unreadable:
        problems.append(f"{len(result.unreadable):,} unreadable")
    if result.different:
        problems.append(f"{len(result.different):,} differences from the lists")
    used = [count for row in result.splits for part, count in row.parts.items() if part != "unused"]
    if result.missing and all(count.found == count.listed for count in used):
        problems.append("all training and test videos are present")
    return f"not complete: {found}; {', '.join(problems)}"
