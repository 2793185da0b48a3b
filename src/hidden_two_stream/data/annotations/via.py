"""VIA 3 (VGG Image Annotator): projects as JSON, and its CSV export of temporal segments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.label_file import LabelFile, csv_rows, expect, named, number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.own import csv_text
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import parse_json, write_text

__all__ = ["is_via", "is_via_csv", "read_via", "read_via_csv", "write_via", "write_via_csv"]

_ATTRIBUTE = "TEMPORAL-SEGMENTS"
_CREATOR = "VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)"
_HEADER = re.compile(r"#\s*CSV_HEADER\s*=\s*(.+)")
_TEMPORAL_ANCHOR = "FILE1_Z2_XY0"
_VIDEO_TYPE, _SELECT_TYPE, _LOCAL_FILE = 4, 4, 1


# -- projects --------------------------------------------------------------------------------------


def is_via(file: LabelFile) -> bool:
    """Whether the file is a project of VIA 3."""
    return isinstance(file.json, dict) and {"metadata", "attribute", "file", "view"} <= set(file.json)


def read_via(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the temporal segments and points of all views."""
    data = expect(file.json, dict, file, "the file")
    attributes = named(data, "attribute", dict, file, "the project")
    metadata = named(data, "metadata", dict, file, "the project")
    labels = _option_names(attributes)
    videos: dict[str, SegmentCollector] = {}
    for view, value in named(data, "view", dict, file, "the project").items():
        name, note = _file_of(file, data, view, expect(value, dict, file, f"the view {shown(view)}"))
        videos[view] = options.collector(file, name, labels)
        videos[view].notes += [note] * bool(note)
    for key, value in metadata.items():
        where = f"metadata {shown(key)}"
        row = expect(value, dict, file, where)
        view = str(row.get("vid"))
        if view not in videos:
            raise DataError(f"{file}, {where}: the view {shown(view)} doesn't exist")
        _take(file, row, attributes, videos[view], where)
    return [collector.result() for collector in videos.values()]


def _option_names(attributes: Mapping[str, Any]) -> list[str]:
    options = [value.get("options") for value in attributes.values() if isinstance(value, dict)]
    found = [name for choice in options if isinstance(choice, dict) for name in choice.values()]
    return [name for name in dict.fromkeys(found) if isinstance(name, str) and name.strip()]


def _file_of(file: LabelFile, data: Mapping[str, Any], view: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """Name of a view's first file, and a note if there are others."""
    names = named(row, "fid_list", list, file, f"the view {shown(view)}")
    files = named(data, "file", dict, file, "the project")
    if not names or str(names[0]) not in files:
        raise DataError(f"{file}: the view {shown(view)} has no file")
    first = expect(files[str(names[0])], dict, file, f"the file {shown(names[0])}")
    note = f"of {len(names)} files of a view, the first names the video" if len(names) > 1 else ""
    return named(first, "fname", str, file, f"the file {shown(names[0])}"), note


def _take(
    file: LabelFile,
    row: Mapping[str, Any],
    attributes: Mapping[str, Any],
    collector: SegmentCollector,
    where: str,
) -> None:
    times = row.get("z")
    if row.get("xy") or times == []:
        collector.notes.append("regions in images and labels of whole files are not read")
        return
    times = expect(times, list, file, f"'z' of {where}")
    if len(times) > 2:
        raise DataError(f"{file}, {where}: {len(times)} times; expected start and end, or one for a point")
    start, end = (number(time, file, where) for time in (times[0], times[-1]))
    values = expect(row.get("av"), dict, file, f"'av' of {where}")
    found = [_label(attributes.get(key), value) for key, value in values.items()]
    if not any(found):
        collector.notes.append("segments without a label are not read")
    for label in filter(None, found):
        collector.add(start, end, label, where=where)


def _label(attribute: Any, value: Any) -> str:
    """The text of an option if the value is the id of one, else the value itself."""
    options = attribute.get("options") if isinstance(attribute, dict) else None
    text = options.get(str(value), value) if isinstance(options, dict) else value
    return str(text).strip()


def write_via(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a project with a view per video."""
    labels = list(dict.fromkeys(label for item in annotations for label in item.labels))
    project = {
        "pid": "__VIA_PROJECT_ID__",
        "rev": "__VIA_PROJECT_REV_ID__",
        "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
        "pname": path.stem,
        "creator": _CREATOR,
        "created": 0,
        "vid_list": [str(n) for n in range(1, len(annotations) + 1)],
    }
    attribute = {
        "aname": _ATTRIBUTE,
        "anchor_id": _TEMPORAL_ANCHOR,
        "type": _SELECT_TYPE,
        "desc": "",
        "options": {label: label for label in labels},
        "default_option_id": "",
    }
    files, views, metadata = {}, {}, {}
    for count, item in enumerate(annotations, start=1):
        key = str(count)
        files[key] = {"fid": key, "fname": item.video, "type": _VIDEO_TYPE, "loc": _LOCAL_FILE, "src": ""}
        views[key] = {"fid_list": [key]}
        for number_, segment in enumerate(item.segments):
            times = [segment.start_seconds, segment.end_seconds][: 1 if segment.is_point else 2]
            row = {"vid": key, "flg": 0, "z": times, "xy": [], "av": {"1": segment.label}}
            metadata[f"{key}_{number_:08x}"] = row
    config = {"file": {"loc_prefix": dict.fromkeys("1234", "")}, "ui": {}}
    data = {"project": project, "config": config, "attribute": {"1": attribute}}
    data |= {"file": files, "metadata": metadata, "view": views}
    write_text(path, json.dumps(data, ensure_ascii=False) + "\n")


# -- CSV -------------------------------------------------------------------------------------------


def is_via_csv(file: LabelFile) -> bool:
    """Whether a comment names the columns of VIA's export."""
    return any(_HEADER.match(line) for line in file.lines[:20])


def read_via_csv(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a row per segment; times are in two columns or in `temporal_coordinates`."""
    heads = [(line, found) for line, text in enumerate(file.lines) if (found := _HEADER.match(text))]
    if not heads:
        raise DataError(f"{file}: no comment with CSV_HEADER names the columns; export it from VIA again")
    line, head = heads[-1]
    columns = [name.strip() for name in head[1].split(",")]
    videos: dict[str, SegmentCollector] = {}
    for number_, cells in csv_rows(file, file.lines[line + 1 :], line + 2):
        where = f"line {number_}"
        if not any(cells) or cells[0].startswith("#"):
            continue
        if len(cells) != len(columns):
            raise DataError(f"{file}, {where}: {len(cells)} values for {len(columns)} columns")
        row = dict(zip(columns, cells, strict=True))
        names = expect(_json(row, "file_list", file, where), list, file, f"file_list in {where}")
        if not names:
            raise DataError(f"{file}, {where}: file_list names no file")
        video = videos.setdefault(str(names[0]), options.collector(file, str(names[0])))
        _take_row(file, row, video, where)
    return [collector.result() for collector in videos.values()]


def _take_row(file: LabelFile, row: Mapping[str, str], collector: SegmentCollector, where: str) -> None:
    if "temporal_coordinates" in row:
        times = expect(_json(row, "temporal_coordinates", file, where), list, file, f"the times in {where}")
    else:
        times = [row.get("temporal_segment_start"), row.get("temporal_segment_end")]
        times = times[:1] if times[1] == "" else times
    if not 1 <= len(times) <= 2 or row.get("spatial_coordinates", "[]") != "[]":
        collector.notes.append("regions in images and labels of whole files are not read")
        return
    values = expect(_json(row, "metadata", file, where), dict, file, f"the metadata in {where}")
    if not values:
        collector.notes.append("segments without a label are not read")
    for value in values.values():
        start, end = (number(time, file, where) for time in (times[0], times[-1]))
        collector.add(start, end, str(value), where=where)


def _json(row: Mapping[str, str], column: str, file: LabelFile, where: str) -> Any:
    try:
        return parse_json(row[column])
    except (KeyError, ValueError) as error:
        raise DataError(f"{file}, {where}: the column {column} is missing or not JSON") from error


def write_via_csv(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a row per segment; a point has equal start and end."""
    rows: list[Sequence[object]] = []
    for count, item in enumerate(annotations, start=1):
        for n, segment in enumerate(item.segments):
            values = json.dumps({_ATTRIBUTE: segment.label}, ensure_ascii=False)
            files = json.dumps([item.video], ensure_ascii=False)
            rows.append((f"{count}_{n:08x}", files, segment.start_seconds, segment.end_seconds, values))
    columns = "metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata"
    head = f"# Exported in the layout of {_CREATOR}\n# CSV_HEADER = {columns}\n"
    write_text(path, head + csv_text(rows))
