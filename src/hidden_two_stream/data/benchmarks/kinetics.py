"""Reads the lists of Kinetics: ten-second clips, with the id of the video that each was cut from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.data.benchmarks.catalog import Catalog, VideoFinder, broken, unique
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.text_files import open_table
from hidden_two_stream.errors import DataError, UsageError

__all__ = ["read_kinetics"]

_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "validate", "validation"), "validate"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_VIDEOS = (
    *("train", "val", "validate", "validation", "test", "videos_train", "videos_val", "videos_test"),
    *("videos", ""),
)


@dataclass(frozen=True)
class _Row:
    """One row of a list.

    Attributes:
        part: "train", "validate" or "test"; None: unknown.
        label: class; empty: none.
        names: possible names of the video file, without suffix.
    """

    part: str | None
    label: str
    names: tuple[str, ...]


def read_kinetics(source: Path) -> Catalog:
    """Read Kinetics (Kay et al., arXiv 1705.06950): a CSV, or a folder with train.csv, val.csv, test.csv.

    The columns are label, youtube_id, time_start, time_end, split. Videos must already be cut; they are named
    LABEL/ID_000010_000020.mp4 or ID.mp4, with spaces or underscores in the label, and can be in a folder for
    their part. The validation part is for the test; if there is none, the test part is. Rows without a label
    are unused, and so is the test part if there is a validation part. Classes are in alphabetical order.

    Raises:
        UsageError: there is nothing at `source`.
        DataError: there is no list, or a line is broken.
    """
    files = _files(source)
    rows = [row for path in files for row in _rows(path)]
    tested = "validate" if any(row.part == "validate" for row in rows) else "test"
    root = source if source.is_dir() else source.parent
    finder = VideoFinder([root / name for name in _VIDEOS])
    samples: list[Sample] = []
    unused: list[Sample] = []
    for row in rows:
        folders = (row.label, row.label.replace(" ", "_"), "") if row.label else ("",)
        path = finder.find(row.names, folders)
        if not row.label or row.part not in ("train", tested, None):
            unused.append(Sample(path, row.label))
        else:
            samples.append(Sample(path, row.label, "test" if row.part == tested else row.part))
    classes = tuple(sorted({sample.label for sample in samples}))
    bases = tuple(str(base) for base in finder.bases)
    return Catalog(classes, unique(samples, source), tuple(map(str, files)), bases, unique(unused, source))


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UsageError(f"nothing at {str(source)!r}; expected a CSV of Kinetics, or the folder of its CSVs")
    for folder in (source, source / "annotations"):
        files = sorted(path for path in folder.glob("*.csv") if _part_of(path) is not None)
        parts = [_part_of(path) for path in files]
        if len(set(parts)) < len(parts):
            names = ", ".join(path.name for path in files)
            raise DataError(
                f"{str(folder)!r} holds several lists of the same part: {names}; name the file to read"
            )
        if files:
            return files
    raise DataError(
        f"no train.csv, val.csv or test.csv in {str(source)!r} nor in its folder annotations; get the "
        f"annotations of Kinetics, published by Google DeepMind, and put them into {str(source)!r}"
    )


def _part_of(path: Path) -> str | None:
    """The part that a file's name stands for: "train", "validate" or "test"; None: none."""
    return _PARTS.get(re.split(r"[_-]", path.stem.lower())[-1])


def _rows(path: Path) -> Iterator[_Row]:
    known = ("label", "time_start", "time_end", "split")
    for line, cells in open_table(path, ("youtube_id",), known).rows():
        yield _row(path, line, cells)


def _row(path: Path, number: int, cells: Mapping[str, str]) -> _Row:
    given, video, label = cells.get("split", ""), cells["youtube_id"], cells.get("label", "")
    part = _PARTS.get(given.lower()) if given else _part_of(path)
    if given and part is None:
        raise broken(path, number, given, "the split train, val or test")
    if not video or (not label and part != "test"):
        raise broken(path, number, ",".join(cells.values()), "a label and a youtube_id")
    if "time_start" not in cells:
        return _Row(part, label, (video,))
    times = [cells["time_start"], cells.get("time_end", "")]
    try:
        start, end = (int(float(time)) for time in times)
    except (ValueError, OverflowError):
        raise broken(path, number, " and ".join(times), "the seconds time_start and time_end") from None
    return _Row(part, label, (f"{video}_{start:06d}_{end:06d}", video))
