"""Label files of datasets in JSON: ActivityNet (truth and results), CalMS21, FERAL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions, collect_frames, to_frames
from hidden_two_stream.data.annotations.frame_labels import FrameLabels
from hidden_two_stream.data.annotations.label_file import LabelFile, expect, named, number, whole_number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector, video_id
from hidden_two_stream.data.annotations.quoting import listed, shown
from hidden_two_stream.data.annotations.words import background_words, word_rows
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_json

__all__ = [
    "is_activitynet",
    "is_activitynet_results",
    "is_calms21",
    "is_feral",
    "read_activitynet",
    "read_activitynet_results",
    "read_calms21",
    "read_feral",
    "write_activitynet",
    "write_activitynet_results",
    "write_calms21",
    "write_feral",
]

_VERSION = "VERSION 1.3"
_ANNOTATOR = "annotator-id_0"


# -- ActivityNet -----------------------------------------------------------------------------------


def is_activitynet(file: LabelFile) -> bool:
    """Whether there is a database of videos."""
    return isinstance(file.json, dict) and isinstance(file.json.get("database"), dict)


def is_activitynet_results(file: LabelFile) -> bool:
    """Whether there are results by video, as for ActivityNet's evaluation."""
    return isinstance(file.json, dict) and isinstance(file.json.get("results"), dict)


def read_activitynet(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the segments of all videos of the database."""
    found = []
    for name, value in named(file.json, "database", dict, file, "the file").items():
        row = expect(value, dict, file, f"the video {shown(name)}")
        collector = options.collector(file, name)
        if "duration" in row and collector.duration_seconds is None:
            duration = number(row["duration"], file, f"the video {shown(name)}", "duration")
            collector.duration_seconds = duration or None
        if row.get("subset"):
            collector.notes.append("the subset of each video (training, validation, testing) is not read")
        _take_list(file, row.get("annotations", []), collector)
        found.append(collector.result())
    return found


def read_activitynet_results(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the scored segments of all videos."""
    found = []
    for name, rows in named(file.json, "results", dict, file, "the file").items():
        collector = options.collector(file, name)
        _take_list(file, rows, collector)
        found.append(collector.result())
    return found


def _take_list(file: LabelFile, rows: Any, collector: SegmentCollector) -> None:
    for count, value in enumerate(expect(rows, list, file, f"the segments of {shown(collector.video)}")):
        where = f"segment {count} of {shown(collector.video)}"
        row = expect(value, dict, file, where)
        times = named(row, "segment", list, file, where)
        if len(times) != 2:
            raise DataError(f"{file}, {where} has {len(times)} times; expected start and end")
        start, end = (number(time, file, where) for time in times)
        score = number(row["score"], file, where, "score") if "score" in row else None
        collector.add(start, end, named(row, "label", str, file, where), where=where, score=score)


def write_activitynet(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a database; all videos are in the subset `training`."""
    database = {}
    for item in annotations:
        last = max((segment.end_seconds for segment in item.segments), default=0.0)
        database[video_id(item.video)] = {
            "duration": last if item.duration_seconds is None else item.duration_seconds,
            "subset": "training",
            "resolution": "",
            "url": "",
            "annotations": [_row(segment) for segment in item.segments],
        }
    write_json(path, {"version": _VERSION, "taxonomy": [], "database": database})


def write_activitynet_results(
    path: Path,
    annotations: Sequence[Annotations],
    options: WriteOptions,  # noqa: ARG001
) -> None:
    """Write scored segments."""
    results = {
        video_id(item.video): [{**_row(segment), "score": segment.score} for segment in item.segments]
        for item in annotations
    }
    write_json(
        path, {"version": _VERSION, "results": results, "external_data": {"used": False, "details": ""}}
    )


def _row(segment: Any) -> dict[str, Any]:
    return {"label": segment.label, "segment": [segment.start_seconds, segment.end_seconds]}


# -- CalMS21 ---------------------------------------------------------------------------------------


def is_calms21(file: LabelFile) -> bool:
    """Whether there are annotators with sequences that have annotations and a vocabulary."""
    data = file.json
    if not isinstance(data, dict) or not data:
        return False
    group = next(iter(data.values()))
    row = next(iter(group.values()), None) if isinstance(group, dict) else None
    return isinstance(row, dict) and "annotations" in row and "metadata" in row


def read_calms21(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the class number of each frame of each sequence of each annotator."""
    found = []
    for group in expect(file.json, dict, file, "the file").values():
        for name, value in expect(group, dict, file, "an annotator").items():
            place = f"the sequence {shown(name)}"
            row = expect(value, dict, file, place)
            metadata = named(row, "metadata", dict, file, place)
            vocabulary = named(metadata, "vocab", dict, file, f"the metadata of {place}")
            numbers = {
                whole_number(number, file, "'vocab'", "class number"): word
                for word, number in vocabulary.items()
            }
            words = _named_frames(file, named(row, "annotations", list, file, place), numbers, place)
            labels = word_rows(words, [numbers[n] for n in sorted(numbers)], background_words(options))
            notes = ["keypoints are not read"] * ("keypoints" in row)
            found.append(collect_frames(file, labels, name, options, notes=notes))
    return found


def _named_frames(file: LabelFile, values: Sequence[Any], names: Mapping[int, str], place: str) -> list[str]:
    words = []
    for frame, value in enumerate(values):
        if not isinstance(value, int) or value not in names:
            raise DataError(
                f"{file}: frame {frame} of {place} has the class {shown(value)}; expected one of "
                f"{listed([f'{n} ({word})' for n, word in sorted(names.items())])}"
            )
        words.append(names[value])
    return words


def write_calms21(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a class number per frame, without keypoints."""
    sequences = {}
    for item in annotations:
        numbers, vocabulary = _numbered(item, options, "calms21", first=False)
        sequences[item.video] = {"annotations": numbers, "metadata": {"vocab": vocabulary}}
    write_json(path, {_ANNOTATOR: sequences})


def _numbered(
    item: Annotations, options: WriteOptions, format_name: str, *, first: bool
) -> tuple[list[int], dict[str, int]]:
    """Class number of each frame, and the numbers of all words; the background is the first or the last."""
    background = options.background or "other"
    names = [background, *item.labels] if first else [*item.labels, background]
    values = to_frames(item, options, format_name).values == 1
    classes = np.argmax(values, axis=1) if item.labels else np.zeros(len(values), np.int64)
    numbers = np.where(values.any(axis=1), classes + first, names.index(background))
    return numbers.tolist(), {name: number for number, name in enumerate(names)}


# -- FERAL -----------------------------------------------------------------------------------------


def is_feral(file: LabelFile) -> bool:
    """Whether there are names of classes and labels by video."""
    return isinstance(file.json, dict) and {"class_names", "labels"} <= set(file.json)


def read_feral(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the class number of each frame, or 0 and 1 for each class."""
    data = expect(file.json, dict, file, "the file")
    names = {
        whole_number(key, file, "'class_names'", "class number"): str(name)
        for key, name in named(data, "class_names", dict, file, "the file").items()
    }
    ordered = [names[n] for n in sorted(names)]
    notes = ["the splits are not read"] * bool(data.get("splits"))
    found = []
    for video, rows in named(data, "labels", dict, file, "the file").items():
        rows = expect(rows, list, file, f"the labels of {shown(video)}")
        place = f"the video {shown(video)}"
        if data.get("is_multilabel"):
            labels = _several(file, rows, ordered, place)
        else:
            words = _named_frames(file, rows, names, place)
            labels = word_rows(words, ordered, background_words(options))
        found.append(collect_frames(file, labels, video, options, notes=notes))
    return found


def _several(file: LabelFile, rows: Sequence[Any], names: Sequence[str], place: str) -> FrameLabels:
    for frame, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names) or not all(value in (0, 1) for value in row):
            raise DataError(
                f"{file}: frame {frame} of {place} is {row!r:.60}; expected {len(names)} times 0 or 1, as "
                "is_multilabel says"
            )
    return FrameLabels(np.array(rows, np.int8).reshape(len(rows), len(names)), tuple(names))


def write_feral(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write class numbers, or 0 and 1 for each class if behaviors overlap; all videos are for training.

    All videos have the classes of all.
    """
    names = tuple(dict.fromkeys(label for item in annotations for label in item.labels))
    frames = {
        item.video: to_frames(_with_labels(item, names), options, "feral").values for item in annotations
    }
    is_multilabel = any((values.sum(axis=1) > 1).any() for values in frames.values())
    labels: dict[str, list[Any]] = {}
    if is_multilabel:
        labels = {video: values.tolist() for video, values in frames.items()}
        classes: Sequence[str] = names
    else:
        for item in annotations:
            labels[item.video], _ = _numbered(_with_labels(item, names), options, "feral", first=True)
        classes = [options.background or "other", *names]
    data = {
        "class_names": {str(number): name for number, name in enumerate(classes)},
        "is_multilabel": is_multilabel,
        "labels": labels,
        "splits": {"train": list(frames), "val": [], "test": []},
    }
    write_json(path, data)


def _with_labels(item: Annotations, labels: tuple[str, ...]) -> Annotations:
    return Annotations(
        item.video, item.segments, labels, item.subjects, item.labeled, item.duration_seconds, item.fps
    )
