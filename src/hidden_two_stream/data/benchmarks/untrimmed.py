"""Reads the annotations of THUMOS14 and ActivityNet: untrimmed videos with labeled segments."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.benchmarks.catalog import (
    Catalog,
    VideoFinder,
    broken,
    read_lines,
    require_folder,
    unique,
)
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import parse_json

__all__ = ["read_activitynet", "read_thumos14", "thumos14_ambiguous"]

_THUMOS_FOLDERS = (
    "annotations",
    "TH14_Temporal_annotations_validation/annotation",
    "TH14_Temporal_annotations_test/annotation",
)
_THUMOS_VIDEOS = ("validation", "test", "videos", "TH14_validation_set_mp4", "TH14_test_set_mp4", "")
_ACTIVITYNET_VIDEOS = (
    *("videos", "train", "val", "test", "training", "validation", "testing"),
    *("v1-2/train", "v1-2/val", "v1-2/test", ""),
)
_PARTS = {"val": "train", "test": "test"}
_SUBSETS = {"training": "train", "validation": "test", "testing": None}


@dataclass(frozen=True)
class _Segment:
    video: str
    start_seconds: float
    end_seconds: float
    label: str
    part: str


def read_thumos14(root: Path) -> Catalog:
    """Read THUMOS14 (thumos.info): CLASS_val.txt is for training, CLASS_test.txt for the test.

    Each line "video start end" is a sample. The files Ambiguous_val.txt and Ambiguous_test.txt are ignored. A
    segment with several labels is one sample: the label with the fewest segments is its class, and the column
    `other_labels` names the others.

    Raises:
        UsageError: `root` is not a folder.
        DataError: there are no annotations, or a line is broken.
    """
    require_folder(root, "THUMOS14")
    files = _thumos_files(root, r"(?!Ambiguous_)[A-Za-z]+_(val|test)\.txt")
    if not files:
        raise DataError(
            f"no annotations CLASS_val.txt and CLASS_test.txt in {str(root)!r} nor in its folders "
            f"{', '.join(_THUMOS_FOLDERS)}; get the temporal annotations of THUMOS14, published on its page "
            f"at crcv.ucf.edu, and put their files into {str(root / 'annotations')!r}"
        )
    segments = [segment for name in sorted(files) for segment in _thumos_segments(files[name])]
    finder = VideoFinder([root / name for name in _THUMOS_VIDEOS])
    classes = tuple(sorted({name.rpartition("_")[0] for name in files}))
    folders = dict.fromkeys(str(path.parent) for path in files.values())
    return _catalog(root, classes, segments, finder, tuple(folders))


def thumos14_ambiguous(root: Path) -> list[tuple[str, tuple[float, float]]]:
    """Return the path of a video, and a start and end in seconds, of each ambiguous time of THUMOS14.

    These are the lines of Ambiguous_val.txt and Ambiguous_test.txt, where it is unclear what happens.

    Raises:
        DataError: a line is broken.
    """
    finder = VideoFinder([root / name for name in _THUMOS_VIDEOS])
    return [
        (finder.find((segment.video, f"v_{segment.video}")), (segment.start_seconds, segment.end_seconds))
        for path in _thumos_files(root, r"Ambiguous_(val|test)\.txt").values()
        for segment in _thumos_segments(path)
    ]


def _thumos_files(root: Path, pattern: str) -> dict[str, Path]:
    """Return the annotation files whose names match, by name."""
    files: dict[str, Path] = {}
    for folder in (root, *_annotation_folders(root), *(root / name for name in _THUMOS_FOLDERS)):
        for path in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
            if re.fullmatch(pattern, path.name):
                files.setdefault(path.name, path)
    return files


def _annotation_folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.name.startswith("annotation") and entry.is_dir())


def _thumos_segments(path: Path) -> Iterable[_Segment]:
    label, _, part = path.stem.rpartition("_")
    for number, line in read_lines(path):
        video, *times = line.split()
        try:
            start, end = map(float, times)
        except ValueError:
            start = end = -1.0
        if not 0 <= start <= end < float("inf"):
            raise broken(path, number, line, "a video's name, and the start and end of the action in seconds")
        yield _Segment(video, start, end, label, _PARTS[part])


def read_activitynet(root: Path) -> Catalog:
    """Read ActivityNet (Caba Heilbron et al., CVPR 2015); the test uses the validation subset.

    The videos of the subset "testing" have no published labels and are unused. Classes are in the order of
    the annotation's taxonomy. Segments with several labels are treated as in `read_thumos14`.

    Raises:
        UsageError: `root` is not a folder.
        DataError: there is no annotation file or more than one, or it is broken or names an unknown class.
    """
    require_folder(root, "ActivityNet")
    path = _activitynet_file(root)
    try:
        content = parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DataError(f"{path} has no 'database'; expected an annotation file of ActivityNet")
    segments: list[_Segment] = []
    unused = []
    for video, entry in database.items():
        part = _subset(path, video, entry)
        if part is None:
            unused.append(video)
        else:
            segments += [_activitynet_segment(path, video, part, item) for item in entry["annotations"]]
    finder = VideoFinder([root / name for name in _ACTIVITYNET_VIDEOS])
    classes = _taxonomy(path, content.get("taxonomy"), segments)
    return _catalog(root, classes, segments, finder, (str(path),), unused)


def _activitynet_file(root: Path) -> Path:
    folders = [folder for folder in (root, root / "annotations") if folder.is_dir()]
    files = sorted(path for folder in folders for path in folder.glob("activity_net*.json"))
    chosen = [path for path in files if "v1-2" in path.name] or files
    if not files:
        raise DataError(
            f"no activity_net.v1-2.min.json in {str(root)!r} nor in its folder annotations; get it from the "
            f"download page of activity-net.org and put it into {str(root)!r}"
        )
    if len(chosen) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in chosen)
        raise DataError(f"{str(root)!r} holds several annotations: {names}; keep one")
    return chosen[0]


def _subset(path: Path, video: str, entry: Any) -> str | None:
    subset = entry.get("subset") if isinstance(entry, dict) else None
    if not isinstance(subset, str) or subset not in _SUBSETS:
        raise DataError(f"{path}: {video!r} has subset {str(subset)[:60]!r}; expected {', '.join(_SUBSETS)}")
    if _SUBSETS[subset] and not isinstance(entry.get("annotations"), list):
        raise DataError(f"{path}: {video!r} has no list of annotations; expected one in subset {subset}")
    return _SUBSETS[subset]


def _activitynet_segment(path: Path, video: str, part: str, item: Any) -> _Segment:
    try:
        start, end = map(float, item["segment"])
        label = item["label"]
    except (KeyError, TypeError, ValueError):
        start, end, label = -1.0, -1.0, None
    if not (isinstance(label, str) and label and 0 <= start <= end < float("inf")):
        what = f"{path}: {video!r} has the annotation {json.dumps(item)[:200]}"
        raise DataError(f"{what}; expected a label, and a segment with its start and end in seconds")
    return _Segment(video, start, end, label, part)


def _taxonomy(path: Path, nodes: Any, segments: Sequence[_Segment]) -> tuple[str, ...]:
    """Classes that have segments, in the order of the taxonomy, or alphabetically if there is none."""
    labels = {segment.label: segment.video for segment in segments}
    if not nodes:
        return tuple(sorted(labels))
    if not isinstance(nodes, list):
        raise DataError(f"{path}: the taxonomy is {str(nodes)[:60]!r}; expected a list of its nodes")
    names = [node.get("nodeName") if isinstance(node, dict) else None for node in nodes]
    unknown = next((label for label in labels if label not in names), None)
    if unknown is not None:
        raise DataError(
            f"{path}: {labels[unknown]!r} has the unknown class {unknown!r}; expected a class of its taxonomy"
        )
    return tuple(dict.fromkeys(name for name in names if name in labels))


def _catalog(
    root: Path,
    classes: tuple[str, ...],
    segments: Sequence[_Segment],
    finder: VideoFinder,
    lists: tuple[str, ...],
    unused: Sequence[str] = (),
) -> Catalog:
    def path_of(video: str) -> str:
        return finder.find((video, f"v_{video}"))

    samples = unique(_one_sample_each(segments, path_of), root)
    without_label = tuple(Sample(path_of(video), "") for video in unused)
    return Catalog(classes, samples, lists, tuple(map(str, finder.bases)), without_label)


def _one_sample_each(segments: Sequence[_Segment], path_of: Any) -> list[Sample]:
    """One sample for each segment of a video, in the order of videos and times.

    A classifier gives one label, and video and time identify a sample. So if a segment has several
    labels (CliffDiving is also listed as Diving), the sample has the narrowest one, which has the fewest
    segments, and its column `other_labels` names the others.
    """
    labels: dict[tuple[str, float, float, str], dict[str, None]] = {}
    for s in segments:
        labels.setdefault((s.video, s.start_seconds, s.end_seconds, s.part), {})[s.label] = None
    sizes = Counter(label for found in labels.values() for label in found)
    samples = []
    for (video, start, end, part), found in sorted(labels.items()):
        narrow, *others = sorted(found, key=lambda label: (sizes[label], label))
        columns = {"other_labels": ", ".join(others)} if others else {}
        samples.append(Sample(path_of(video), narrow, part, start, end, columns))
    return samples
