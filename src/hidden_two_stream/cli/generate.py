"""`hts generate`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import Parser, path, show, workers

if TYPE_CHECKING:
    from hidden_two_stream.synthetic.benchmarks import Benchmark

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "write a generated benchmark: videos with exact motion, always the same"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts generate`."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="motions-v1: twelve motions in three grades of difficulty; untrimmed-v1: clips of ten actions, "
        "and recordings of three minutes in which they come one after the other",
    )
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="new or empty folder, "
                          "or one where the command was interrupted; gets labels.csv "
                          "(path,label,split, and grade or times) for --data")  # fmt: skip
    parser.add_argument("--workers", type=int, help="worker processes (default: one per core, at most 8)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.progress import with_progress
    from hidden_two_stream.synthetic.benchmarks import num_clips, write_benchmark

    processes = workers(arguments)
    benchmark = with_progress(
        "generate",
        num_clips(arguments.name),
        arguments.quiet,
        lambda progress: write_benchmark(arguments.out, arguments.name, workers=processes, progress=progress),
    )
    show(arguments, benchmark.to_dict(), _text(benchmark))
    return 0


def _text(benchmark: Benchmark) -> str:
    splits = ", ".join(f"{count} {split}" for split, count in benchmark.splits.items())
    lines = [
        f"{benchmark.name}: {benchmark.num_videos} videos of {len(benchmark.classes)} classes ({splits})"
    ]
    if benchmark.grades:
        grades = ", ".join(f"{count} of grade {grade}" for grade, count in benchmark.grades.items())
        lines.append(f"grades: {grades}")
    return "\n".join([*lines, f"use it with --data {benchmark.data}"])
