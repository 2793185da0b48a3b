"""Checks a copy of a research dataset: missing and unreadable videos, and differences from official lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hidden_two_stream.data.benchmarks.catalog import Catalog
from hidden_two_stream.data.benchmarks.official import OFFICIAL_CLASSES, OFFICIAL_COUNTS
from hidden_two_stream.data.benchmarks.reading import read_catalog
from hidden_two_stream.data.benchmarks.reference import (
    NAMES,
    NUM_SPLITS,
    Reference,
    parse_reference,
    parse_splits,
)
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.files import write_text
from hidden_two_stream.parallel import LOST_WORKER, run_in_processes
from hidden_two_stream.progress import kept_on_output_error, with_progress
from hidden_two_stream.video.finding import frame_images
from hidden_two_stream.video.reader import VideoReader, probe
from hidden_two_stream.watchdog import ended_when_stuck

__all__ = ["BenchmarkCheck", "PartCount", "SplitCount", "check_benchmark"]

_PARTS = ("train", "test", "unused")


@dataclass(frozen=True)
class PartCount:
    """Samples of a part of a split: those in the lists, and those of them whose video is there."""

    listed: int
    found: int


@dataclass(frozen=True)
class SplitCount:
    """Sample counts of one split.

    Attributes:
        split: number of the split; None: the dataset has only one division.
        parts: counts of "train" and "test", of "unused" if there are any, and of "no split" for samples that
            belong to neither part.
    """

    split: int | None
    parts: Mapping[str, PartCount]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form: the number of the split, and the counts by part."""
        return {"split": self.split, **{part: asdict(count) for part, count in self.parts.items()}}


@dataclass(frozen=True)
class BenchmarkCheck:
    """What a copy of a research dataset holds, and what is wrong with it.

    Attributes:
        name: of the dataset.
        data: the dataset by name, with absolute paths, once for each split.
        lists: files or folders that the lists were read from.
        video_folders: number of the videos found in each folder.
        classes: all classes, in the dataset's own order.
        splits: counts of each split.
        num_videos: videos in the lists; one video can hold several samples.
        num_found: those that are there.
        checked: how much of each video was decoded: "first frame" or "all frames".
        missing: paths of videos that are not there.
        unreadable: reasons why videos cannot be read, by path.
        warnings: readable videos in which decoding stopped early, with reasons.
        different: how the lists differ from the official ones, or frame folders from their list.
        listed_in: file that names all missing and unreadable videos; None: it was not asked for.
    """

    name: str
    data: tuple[str, ...]
    lists: tuple[str, ...]
    video_folders: Mapping[str, int]
    classes: tuple[str, ...]
    splits: tuple[SplitCount, ...]
    num_videos: int
    num_found: int
    checked: str
    missing: tuple[str, ...]
    unreadable: Mapping[str, str]
    warnings: tuple[str, ...]
    different: tuple[str, ...]
    listed_in: str | None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, unreadable or different."""
        return not (self.missing or self.unreadable or self.different)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form: the attributes by name, and `complete`."""
        return {
            "name": self.name,
            "data": list(self.data),
            "lists": list(self.lists),
            "video_folders": dict(self.video_folders),
            "classes": list(self.classes),
            "splits": [split.to_dict() for split in self.splits],
            "num_videos": self.num_videos,
            "num_found": self.num_found,
            "checked": self.checked,
            "missing": list(self.missing),
            "unreadable": [{"video": path, "reason": reason} for path, reason in self.unreadable.items()],
            "warnings": list(self.warnings),
            "different": list(self.different),
            "complete": self.complete,
            "listed_in": self.listed_in,
        }


def check_benchmark(
    name: str,
    root: str,
    *,
    splits: str | None = None,
    decode_all: bool = False,
    workers: int = 0,
    out: Path | None = None,
    quiet: bool = False,
) -> BenchmarkCheck:
    """Look up and open every listed video, and compare the lists with the official counts.

    Args:
        name: of the dataset, such as "ucf101".
        root: its folder or file; for "tsn" TRAIN.txt or TRAIN.txt:TEST.txt.
        splits: such as "1..3" or "2"; None: all.
        decode_all: decode the videos to their ends; otherwise only their first frames.
        workers: processes that open videos; 0 opens them in this one.
        out: text file to write, with one line for each missing or unreadable video and each warning.
        quiet: show no progress.

    Raises:
        UsageError: the name, the folder or a split is unknown.
        DataError: a list is missing or broken.
        OutputError: `out` cannot be written; raised before any video is opened.
    """
    reference = _reference(name, root, splits)
    if out is not None:
        write_text(out, "")
    parts = [reference.of_split(number) for number in reference.splits] or [reference]
    catalogs = [read_catalog(part) for part in parts]
    paths = list(dict.fromkeys(s.path for catalog in catalogs for s in catalog.samples + catalog.unused))
    existing = {path for path in paths if os.path.exists(path)}
    found = [path for path in paths if path in existing]
    problems = _problems(found, decode_all, workers, quiet)
    counts = [_counts(part, catalog, existing) for part, catalog in zip(parts, catalogs, strict=True)]
    result = BenchmarkCheck(
        name=reference.name,
        data=tuple(str(part) for part in parts),
        lists=tuple(dict.fromkeys(path for catalog in catalogs for path in catalog.lists)),
        video_folders=_folders(catalogs[0], found),
        classes=catalogs[0].classes,
        splits=tuple(counts),
        num_videos=len(paths),
        num_found=len(found),
        checked="all frames" if decode_all else "first frame",
        missing=tuple(path for path in paths if path not in existing),
        unreadable={path: problem.reason for path, problem in problems.items() if not problem.readable},
        warnings=tuple(f"{path}: {problem.reason}" for path, problem in problems.items() if problem.readable),
        different=(*_differences(reference, catalogs[0], counts), *_frame_counts(catalogs, existing)),
        listed_in=None if out is None else str(out),
    )
    if out is not None:
        lines = [f"missing: {path}" for path in result.missing]
        lines += [f"unreadable: {path}: {reason}" for path, reason in result.unreadable.items()]
        lines += [f"warning: {warning}" for warning in result.warnings]
        with kept_on_output_error(lambda: "\n".join(lines)):
            write_text(out, "".join(f"{line}\n" for line in lines))
    return result


def _reference(name: str, root: str, splits: str | None) -> Reference:
    if name.lower() not in NAMES:
        raise UsageError(f"unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    name = name.lower()
    if splits is None and name in NUM_SPLITS:
        splits = f"1..{NUM_SPLITS[name]}"
    parsed = parse_reference(f"{name}:{root}") if name == "tsn" else None
    paths = (root,) if parsed is None else parsed.paths
    return Reference(name, paths, () if splits is None else parse_splits(splits, name)).absolute()


def _counts(reference: Reference, catalog: Catalog, existing: set[str]) -> SplitCount:
    """Sample counts of one split; several samples can be segments of one video."""
    listed: dict[str, list[Sample]] = {part: [] for part in _PARTS}
    for sample in catalog.samples:
        listed.setdefault(sample.split or "no split", []).append(sample)
    listed["unused"] = list(catalog.unused)
    return SplitCount(
        reference.splits[0] if reference.splits else None,
        {
            part: PartCount(len(samples), sum(sample.path in existing for sample in samples))
            for part, samples in listed.items()
            if samples or part != "unused"
        },
    )


def _differences(reference: Reference, catalog: Catalog, counts: Sequence[SplitCount]) -> list[str]:
    """How the lists differ from the official ones."""
    found = []
    official_classes = OFFICIAL_CLASSES.get(reference.name, len(catalog.classes))
    if len(catalog.classes) != official_classes:
        found.append(
            f"the lists have {len(catalog.classes)} classes; the official ones have {official_classes}"
        )
    for count in counts:
        if count.split is None:
            continue
        official = OFFICIAL_COUNTS.get(reference.name, {}).get(count.split, ())
        for part, expected in zip(_PARTS, official, strict=False):
            listed = count.parts[part].listed if part in count.parts else 0
            if listed != expected:
                found.append(
                    f"split {count.split}, {part}: {listed:,} videos are listed; officially {expected:,}"
                )
    return found


def _frame_counts(catalogs: Sequence[Catalog], existing: set[str]) -> list[str]:
    """Frame folders whose number of images differs from the number in their list."""
    found = []
    for sample in (sample for catalog in catalogs for sample in catalog.samples):
        folder = Path(sample.path)
        if "frames" not in sample.columns or sample.path not in existing or not folder.is_dir():
            continue
        images = len(frame_images(folder))
        if images != int(sample.columns["frames"]):
            found.append(f"{sample.path}: the list says {sample.columns['frames']} frames, it holds {images}")
    return found


def _folders(catalog: Catalog, found: Sequence[str]) -> dict[str, int]:
    """Number of the found videos in each folder; of nested folders, the first in the catalog counts."""
    counts: dict[str, int] = {}
    for path in found:
        base = next((base for base in catalog.videos if Path(path).is_relative_to(base)), None)
        if base is not None:
            counts[base] = counts.get(base, 0) + 1
    return counts


@dataclass(frozen=True)
class _Problem:
    """What is wrong with a video; a video that is damaged in the middle is readable."""

    readable: bool
    reason: str


def _problems(paths: Sequence[str], decode_all: bool, workers: int, quiet: bool) -> dict[str, _Problem]:
    """Open videos and return what is wrong with them, by path; videos without a problem are left out."""

    def work(progress: Callable[[int, int], None]) -> dict[str, _Problem]:
        found = {}
        for done, (path, problem) in enumerate(_outcomes(paths, decode_all, workers), start=1):
            if problem is not None:
                found[path] = problem
            progress(done, len(paths))
        return found

    return with_progress("decode" if decode_all else "open", len(paths), quiet, work)


def _outcomes(paths: Sequence[str], decode_all: bool, workers: int) -> Iterator[tuple[str, _Problem | None]]:
    check = partial(_problem, decode_all=decode_all)
    if workers < 1 or len(paths) < 32:
        yield from zip(paths, map(check, paths), strict=True)
        return
    watched = partial(_problem_watched, decode_all=decode_all)
    yield from zip(paths, run_in_processes(watched, paths, workers, _lost), strict=True)


def _lost(_: str) -> _Problem:
    return _Problem(False, LOST_WORKER)


def _problem_watched(path: str, decode_all: bool) -> _Problem | None:
    """Return `_problem` in a worker process, which ends if it makes no progress."""
    with ended_when_stuck():
        return _problem(path, decode_all)


def _problem(path: str, decode_all: bool) -> _Problem | None:
    try:
        if decode_all:
            warning = probe(path).warning
            return None if warning is None else _Problem(True, warning)
        VideoReader(path).close()
    except HiddenTwoStreamError as error:
        return _Problem(False, str(getattr(error, "reason", error)))
    return None
