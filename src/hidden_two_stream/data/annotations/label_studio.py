"""Label Studio's JSON export of timeline labels: ranges of frames, both ends included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.frame_labels import frame_range
from hidden_two_stream.data.annotations.label_file import LabelFile, expect, named, number, whole_number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_json

__all__ = ["is_label_studio", "read_label_studio", "write_label_studio"]

_TYPE = "timelinelabels"
_FPS_ADVICE = (
    ": the frameRate of the Video tag in the labeling interface, 25 if it has none, even if the video's own "
    "rate is another"
)


def is_label_studio(file: LabelFile) -> bool:
    """Whether the file is a list of tasks with annotations."""
    data = file.json
    return isinstance(data, list) and all(
        isinstance(task, dict) and {"data", "annotations"} <= set(task) for task in data
    )


def read_label_studio(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the timeline labels of all tasks; `options.base` is the number of the first frame, 0 or 1."""
    fps = options.need_fps(file, _FPS_ADVICE)
    found = []
    for count, value in enumerate(expect(file.json, list, file, "the file")):
        task = expect(value, dict, file, f"task {count}")
        collector = options.collector(file, _video(file, task, count))
        for n, region in enumerate(_regions(file, task, count)):
            _take(file, region, options.base, fps, collector, f"task {count}, region {n}")
        found.append(collector.result())
    return found


def _video(file: LabelFile, task: Mapping[str, Any], count: int) -> str:
    data = named(task, "data", dict, file, f"task {count}")
    texts = [value for value in data.values() if isinstance(value, str)]
    video = data.get("video", texts[0] if len(texts) == 1 else None)
    return str(expect(video, str, file, f"'video' of task {count}"))


def _regions(file: LabelFile, task: Mapping[str, Any], count: int) -> list[Any]:
    """The regions of the only annotation of a task that was not canceled."""
    values = named(task, "annotations", list, file, f"task {count}")
    annotations = [expect(value, dict, file, f"an annotation of task {count}") for value in values]
    kept = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    if len(kept) > 1:
        raise DataError(
            f"{file}: task {count} has {len(kept)} annotations of different people or times; keep one of them"
        )
    return named(kept[0], "result", list, file, f"the annotation of task {count}") if kept else []


def _take(
    file: LabelFile, region: Any, base: int, fps: float, collector: SegmentCollector, where: str
) -> None:
    region = expect(region, dict, file, where)
    if region.get("type") != _TYPE:
        collector.notes.append(f"regions of type {shown(region.get('type'))} are not read")
        return
    value = named(region, "value", dict, file, where)
    score = region.get("score")
    for part in named(value, "ranges", list, file, f"the value of {where}"):
        part = expect(part, dict, file, f"a range of {where}")
        first, last = (whole_number(part.get(key), file, where, f"{key} frame") for key in ("start", "end"))
        if first < base:
            raise DataError(
                f"{file}, {where}: it starts at frame {first}; expected {base} or more: if the first frame "
                "has the number 0, say so with --base 0 (base=0)"
            )
        if last < first:
            raise DataError(f"{file}, {where}: it ends at frame {last}, before it starts at frame {first}")
        for label in named(value, _TYPE, list, file, f"the value of {where}"):
            collector.add(
                (first - base) / fps,
                (last - base + 1) / fps,
                str(label),
                where=where,
                score=None if score is None else number(score, file, where, "score"),
            )


def write_label_studio(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a task per video."""
    tasks = []
    for task, item in enumerate(annotations, start=1):
        fps = options.need_fps(item, "label-studio")
        regions = []
        for count, segment in enumerate(item.segments):
            first, stop = frame_range(segment.start_seconds, segment.end_seconds, fps)
            frames = {"start": first + options.base, "end": stop - 1 + options.base}
            region: dict[str, object] = {
                "id": f"r{count}",
                "type": _TYPE,
                "from_name": "labels",
                "to_name": "video",
                "origin": "manual",
                "value": {"ranges": [frames], _TYPE: [segment.label]},
            }
            regions.append(region | ({} if segment.score is None else {"score": segment.score}))
        annotation = {"id": task, "was_cancelled": False, "result": regions}
        tasks.append({"id": task, "data": {"video": item.video}, "annotations": [annotation]})
    write_json(path, tasks)
