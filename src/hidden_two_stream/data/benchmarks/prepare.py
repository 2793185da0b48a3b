"""`hts prepare`: is this copy of a research data set whole? Before a night of training finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hidden_two_stream.data.benchmarks.catalog import Catalog
from hidden_two_stream.data.benchmarks.clips import OFFICIAL_COUNTS
from hidden_two_stream.data.benchmarks.reading import read_catalog
from hidden_two_stream.data.benchmarks.reference import (
    NAMES,
    NUM_SPLITS,
    Reference,
    parse_reference,
    parse_splits,
)
from hidden_two_stream.data.benchmarks.untrimmed import OFFICIAL_CLASSES
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError, VideoError
from hidden_two_stream.files import write_text
from hidden_two_stream.parallel import WorkerPool
from hidden_two_stream.progress import with_progress
from hidden_two_stream.video.finding import IMAGE_SUFFIXES
from hidden_two_stream.video.reader import VideoReader, probe

__all__ = ["prepare_command", "prepare_text"]

_SHOWN = 10
_CLASSES = {"ucf101": 101, "hmdb51": 51, **OFFICIAL_CLASSES}
_PARTS = ("train", "test", "unused")


def prepare_command(
    name: str,
    root: str,
    *,
    splits: str | None = None,
    decode_all: bool = False,
    workers: int = 0,
    out: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Compare a copy of a data set with its lists, and the lists with the official counts.

    Every listed video is looked up, and opened up to its first frame.

    Args:
        name: of the data set.
        root: its folder or file; for "tsn" TRAIN.txt or TRAIN.txt:TEST.txt.
        splits: such as "1..3" or "2"; None: all.
        decode_all: decode the videos to their ends.
        workers: processes that open videos.
        out: gets one line for each video that is missing, unreadable or damaged in the middle.
        quiet: no progress.

    Returns:
        JSON-ready facts; `complete` says whether nothing is missing, unreadable or different.

    Raises:
        UsageError: the name, the folder or a split is unknown.
        DataError: a list is missing or broken.
        OutputError: `out` cannot be written; said before any video is opened.
    """
    reference = _reference(name, root, splits)
    if out is not None:
        write_text(out, "")
    parts = [reference.of_split(number) for number in reference.splits] or [reference]
    catalogs = [read_catalog(part) for part in parts]
    paths = list(dict.fromkeys(s.path for catalog in catalogs for s in catalog.samples + catalog.unused))
    there = {path for path in paths if Path(path).exists()}
    found = [path for path in paths if path in there]
    opened = _opened(found, decode_all, workers, quiet)
    unreadable = {path: outcome.reason for path, outcome in opened.items() if not outcome.readable}
    damaged = {path: outcome.reason for path, outcome in opened.items() if outcome.readable}
    missing = [path for path in paths if path not in there]
    counts = [_counts(part, catalog, there) for part, catalog in zip(parts, catalogs, strict=True)]
    different = [*_differences(reference, catalogs[0], counts), *_frame_counts(catalogs, there)]
    if out is not None:
        lines = [f"missing: {path}" for path in missing]
        lines += [f"unreadable: {path}: {reason}" for path, reason in unreadable.items()]
        lines += [f"warning: {path}: {reason}" for path, reason in damaged.items()]
        write_text(out, "".join(f"{line}\n" for line in lines))
    return {
        "name": reference.name,
        "data": [str(part) for part in parts],
        "lists": list(dict.fromkeys(path for catalog in catalogs for path in catalog.lists)),
        "video_folders": _folders(catalogs[0], found),
        "classes": list(catalogs[0].classes),
        "splits": counts,
        "num_videos": len(paths),
        "num_found": len(found),
        "checked": "all frames" if decode_all else "first frame",
        "missing": missing,
        "unreadable": [{"video": path, "reason": reason} for path, reason in unreadable.items()],
        "warnings": [f"{path}: {reason}" for path, reason in damaged.items()],
        "different": different,
        "complete": not (missing or unreadable or different),
        "listed_in": None if out is None else str(out),
    }


def _reference(name: str, root: str, splits: str | None) -> Reference:
    if name.lower() not in NAMES:
        raise UsageError(f"unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    name = name.lower()
    if splits is None and name in NUM_SPLITS:
        splits = f"1..{NUM_SPLITS[name]}"
    parsed = parse_reference(f"{name}:{root}") if name == "tsn" else None
    paths = (root,) if parsed is None else parsed.paths
    return Reference(name, paths, () if splits is None else parse_splits(splits, name)).absolute()


def _counts(reference: Reference, catalog: Catalog, there: set[str]) -> dict[str, Any]:
    """Samples and samples whose video is there, for each part; samples may be segments of one video."""
    listed: dict[str, list[Sample]] = {part: [] for part in _PARTS}
    for sample in catalog.samples:
        listed.setdefault(sample.split or "no split", []).append(sample)
    listed["unused"] = list(catalog.unused)
    return {
        "split": reference.splits[0] if reference.splits else None,
        **{
            part: {"listed": len(samples), "found": sum(sample.path in there for sample in samples)}
            for part, samples in listed.items()
            if samples or part != "unused"
        },
    }


def _differences(reference: Reference, catalog: Catalog, counts: Sequence[dict[str, Any]]) -> list[str]:
    """Where the lists themselves are not the official ones."""
    found = []
    wanted = _CLASSES.get(reference.name, len(catalog.classes))
    if len(catalog.classes) != wanted:
        found.append(f"the lists have {len(catalog.classes)} classes; the official ones have {wanted}")
    for row in counts:
        official = OFFICIAL_COUNTS.get(reference.name, {}).get(row["split"], ())
        for part, count in zip(_PARTS, official, strict=False):
            listed = row.get(part, {"listed": 0})["listed"]
            if listed != count:
                found.append(
                    f"split {row['split']}, {part}: {listed:,} videos are listed; officially {count:,}"
                )
    return found


def _frame_counts(catalogs: Sequence[Catalog], there: set[str]) -> list[str]:
    """Frame folders that hold another number of images than their list says."""
    found = []
    for sample in (sample for catalog in catalogs for sample in catalog.samples):
        folder = Path(sample.path)
        if "frames" not in sample.columns or sample.path not in there or not folder.is_dir():
            continue
        images = sum(entry.suffix.lower() in IMAGE_SUFFIXES for entry in folder.iterdir())
        if images != int(sample.columns["frames"]):
            found.append(f"{sample.path}: the list says {sample.columns['frames']} frames, it holds {images}")
    return found


def _folders(catalog: Catalog, found: Sequence[str]) -> dict[str, int]:
    """How many of the videos that are there lie in each folder; the first that fits counts."""
    counts: dict[str, int] = {}
    for path in found:
        base = next((base for base in catalog.videos if Path(path).is_relative_to(base)), None)
        if base is not None:
            counts[base] = counts.get(base, 0) + 1
    return counts


@dataclass(frozen=True)
class _Trouble:
    """What is wrong with a video; one that breaks in the middle is readable."""

    readable: bool
    reason: str


def _opened(paths: Sequence[str], decode_all: bool, workers: int, quiet: bool) -> dict[str, _Trouble]:
    """What is wrong with videos, by path."""

    def work(progress: Callable[[int, int], None]) -> dict[str, _Trouble]:
        found = {}
        for done, (path, trouble) in enumerate(_outcomes(paths, decode_all, workers), start=1):
            if trouble is not None:
                found[path] = trouble
            progress(done, len(paths))
        return found

    return with_progress("decode" if decode_all else "open", len(paths), quiet, work)


def _outcomes(paths: Sequence[str], decode_all: bool, workers: int) -> Iterator[tuple[str, _Trouble | None]]:
    check = partial(_trouble, decode_all=decode_all)
    if workers < 1 or len(paths) < 32:
        yield from zip(paths, map(check, paths), strict=True)
        return
    path = paths[0]
    with WorkerPool(workers) as pool:
        try:
            results = pool.map(check, paths, chunksize=1 if decode_all else 16)
            for path, trouble in zip(paths, results, strict=True):
                yield path, trouble
        except BrokenProcessPool as error:
            raise VideoError(path, "the decoder crashed a little behind this file") from error


def _trouble(path: str, decode_all: bool) -> _Trouble | None:
    try:
        if decode_all:
            warning = probe(path).warning
            return None if warning is None else _Trouble(True, warning)
        VideoReader(path).close()
    except HiddenTwoStreamError as error:
        return _Trouble(False, str(getattr(error, "reason", error)))
    return None


def prepare_text(result: dict[str, Any]) -> str:
    """The result for people."""
    lists = result["lists"]
    if len(lists) > 3:
        lists = list(dict.fromkeys(str(Path(path).parent) for path in lists))
    lines = [f"lists: {path}" for path in lists]
    lines += [f"videos: {count:,} in {folder}" for folder, count in result["video_folders"].items()]
    lines.append(f"{len(result['classes'])} classes")
    for row in result["splits"]:
        parts = ((part, row[part]) for part in row if part != "split")
        figures = ", ".join(f"{part} {c['found']:,} of {c['listed']:,}" for part, c in parts)
        lines.append(f"{'all' if row['split'] is None else 'split ' + str(row['split'])}: {figures} found")
    unreadable = [f"{row['video']}: {row['reason']}" for row in result["unreadable"]]
    for title, found in (
        ("missing", result["missing"]),
        ("unreadable", unreadable),
        ("warning", result["warnings"]),
        ("different", result["different"]),
    ):
        lines += [f"{title}: {line}" for line in found[:_SHOWN]]
        if len(found) > _SHOWN:
            place = result["listed_in"] if title != "different" else None
            lines.append(f"{title}: {len(found) - _SHOWN:,} more; {_where(place)}")
    return "\n".join([*lines, _verdict(result)])


def _where(listed_in: str | None) -> str:
    return f"all are in {listed_in}" if listed_in else "--json lists all"


def _verdict(result: dict[str, Any]) -> str:
    checked = f"{result['num_found']:,} of {result['num_videos']:,} videos are there"
    if result["complete"]:
        known = " and the lists have the official counts" if result["name"] in OFFICIAL_COUNTS else ""
        return f"complete: {checked}, all were read ({result['checked']}){known}"
    counts = [f"{len(result[key]):,} {key}" for key in ("missing", "unreadable") if result[key]]
    counts += [f"{len(result['different']):,} differences to the lists"] if result["different"] else []
    parts = [row[part] for row in result["splits"] for part in row if part not in ("split", "unused")]
    if result["missing"] and all(part["found"] == part["listed"] for part in parts):
        counts.append("all that trains or tests is there")
    return f"not complete: {checked}; {', '.join(counts)}"
