"""`hts generate`: a generated benchmark as a folder of videos, with the exact motion beside each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import write_text
from hidden_two_stream.progress import with_progress
from hidden_two_stream.synthetic.benchmarks import num_clips, write_benchmark

__all__ = ["generate_command", "generate_text"]

UNFINISHED_FILE = "unfinished.txt"
"""Lies in the folder until the set is whole; what was stopped there may be made again."""


def generate_command(name: str, folder: Path, workers: int = 0, quiet: bool = False) -> dict[str, Any]:
    """Write a fixed set of generated clips.

    Args:
        name: of the set.
        folder: where to; new or empty, or one where this was stopped before, which is made anew.
        workers: processes that share the work; 0 does it in this one.
        quiet: no progress.

    Returns:
        JSON-ready facts; `data` is what --data takes.

    Raises:
        UsageError: no set has that name, or something lies in the folder.
        OutputError: a file cannot be written.
    """
    total = num_clips(name)
    unfinished = folder / UNFINISHED_FILE
    if _holds_something(folder) and not unfinished.is_file():
        raise UsageError(f"{str(folder)!r} is not empty; expected a new or empty folder, name another one")
    write_text(unfinished, f"hts generate {name} was stopped here; run it again\n", make_parents=True)
    listing = with_progress(
        "generate",
        total,
        quiet,
        lambda progress: write_benchmark(folder, name, workers=workers, progress=progress),
    )
    for part in (*folder.glob("videos/*/.*.part*"), unfinished):
        part.unlink()
    samples = read_dataset_index(listing).samples
    return {
        "name": name,
        "data": str(listing),
        "num_videos": len(samples),
        "splits": dict(Counter(str(sample.split) for sample in samples)),
        "grades": dict(sorted(Counter(sample.columns["grade"] for sample in samples).items())),
        "classes": list(dict.fromkeys(sample.label for sample in samples)),
    }


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        what = f"cannot write into {str(folder)!r}: {error.strerror}"
        raise OutputError(f"{what}; expected a new or empty folder, name another one") from error


def generate_text(result: dict[str, Any]) -> str:
    """The result for people."""
    splits = ", ".join(f"{count} {split}" for split, count in result["splits"].items())
    grades = ", ".join(f"{count} of grade {grade}" for grade, count in result["grades"].items())
    return "\n".join(
        [
            f"{result['name']}: {result['num_videos']} videos of {len(result['classes'])} classes ({splits})",
            f"grades: {grades}",
            f"use it with --data {result['data']}",
        ]
    )
