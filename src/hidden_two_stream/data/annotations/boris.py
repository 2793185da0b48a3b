"""BORIS projects (.boris): observations with events, which alternate between start and stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.frame_labels import frame_of
from hidden_two_stream.data.annotations.label_file import LabelFile, expect, frame_rate, named, number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.quoting import listed, shown
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import write_json

__all__ = ["NOBODY", "Event", "is_project", "pair_events", "read_project", "write_project"]

NOBODY = "No focal subject"
"""What exported tables name where an event has no subject."""

_NO_DATE = "1970-01-01T00:00:00"
_PLAYERS = range(1, 9)


def is_project(file: LabelFile) -> bool:
    """Whether the file is a BORIS project."""
    return isinstance(file.json, dict) and {"observations", "behaviors_conf"} <= set(file.json)


@dataclass(frozen=True)
class Event:
    """One event of an observation.

    Attributes:
        seconds: when.
        subject: "" for nobody in particular.
        label: code of the behavior.
        modifiers: text; a state with other modifiers is another state.
        kind: "POINT", "START", "STOP", or "STATE" for the next of start and stop.
        where: its place in the file.
    """

    seconds: float
    subject: str
    label: str
    modifiers: str
    kind: str
    where: str


def pair_events(events: Sequence[Event], collector: SegmentCollector) -> None:
    """Add a segment for each point and each pair of start and stop.

    Raises:
        DataError: a start without a stop, a stop without a start, or a start in a running state.
    """
    running: dict[tuple[str, str, str], Event] = {}
    # At one time a stop comes first: it ends what ran before.
    for event in sorted(events, key=lambda event: (event.seconds, event.kind != "STOP")):
        key = (event.subject, event.label, event.modifiers)
        start = running.get(key)
        if event.kind == "POINT":
            collector.add(event.seconds, event.seconds, event.label, where=event.where, subject=event.subject)
        elif start is None and event.kind == "STOP":
            raise DataError(
                f"{collector.source}, {event.where}: a STOP of {shown(event.label)}{_of(event)} at "
                f"{event.seconds:g} s without a START before it; correct it in BORIS"
            )
        elif start is None:
            running[key] = event
        elif event.kind == "START":
            raise DataError(
                f"{collector.source}, {event.where}: a START of {shown(event.label)}{_of(event)} at "
                f"{event.seconds:g} s, but it runs since {start.seconds:g} s ({start.where}); add the STOP"
            )
        else:
            del running[key]
            collector.add(start.seconds, event.seconds, event.label, where=start.where, subject=event.subject)
    for event in running.values():
        raise DataError(
            f"{collector.source}, {event.where}: a START of {shown(event.label)}{_of(event)} at "
            f"{event.seconds:g} s without a STOP after it; correct it in BORIS"
        )
    if any(event.modifiers for event in events):
        collector.notes.append("modifiers of behaviors are not read")


def _of(event: Event) -> str:
    return f" of {shown(event.subject)}" if event.subject else ""


# -- reading ---------------------------------------------------------------------------------------


def read_project(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read all observations. The files of one player follow each other: each is a video of its own."""
    data = expect(file.json, dict, file, "the file")
    kinds: dict[str, str] = {}
    for row in named(data, "behaviors_conf", dict, file, "the project").values():
        behavior = expect(row, dict, file, "a behavior")
        code = named(behavior, "code", str, file, "a behavior")
        kinds[code] = "POINT" if "point" in str(behavior.get("type", "")).lower() else "STATE"
    found: list[Annotations] = []
    for name, value in named(data, "observations", dict, file, "the project").items():
        observation = expect(value, dict, file, f"the observation {shown(name)}")
        reader = _ObservationReader(file, name, observation, kinds)
        found += reader.read(options)
    return found


@dataclass
class _ObservationReader:
    file: LabelFile
    name: str
    data: Mapping[str, Any]
    kinds: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"observation {shown(self.name)}"

    def read(self, options: ReadOptions) -> list[Annotations]:
        """One result per media file of player 1."""
        media = self._media()
        info = self._object(self.data, "media_info")
        rates, lengths = self._object(info, "fps"), self._object(info, "length")
        whole = SegmentCollector(str(self.file), self.name, list(self.kinds))
        pair_events(self._events(), whole)
        if offset := self.data.get("time offset"):
            self.notes.append(f"the time offset of {offset} s is not applied")
        everything = whole.result()
        found, begin = [], 0.0
        for count, name in enumerate(media):
            collector = options.collector(self.file, name, list(self.kinds))
            collector.notes += [*everything.notes, *self.notes]
            if name in rates and not options.fps:
                collector.fps = frame_rate(rates[name], self.file, self.place)
            length = number(lengths[name], self.file, self.place, "length") if name in lengths else None
            if collector.duration_seconds is None:
                collector.duration_seconds = length or None
            is_last = count == len(media) - 1
            if length is None and not is_last:
                raise DataError(
                    f"{self.file}, {self.place}: the length of {shown(name)} is unknown, and so are the "
                    "times of the files after it; open the project in BORIS and save it"
                )
            _add_part(everything, collector, begin, None if is_last else begin + (length or 0.0))
            begin += length or 0.0
            found.append(collector.result())
        return found

    def _object(self, data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = expect(data.get(key) or {}, dict, self.file, f"{key!r} of {self.place}")
        return found

    def _media(self) -> list[str]:
        if self.data.get("type") == "IMAGES":
            raise DataError(f"{self.file}, {self.place} is of images, which have no times; expected videos")
        players = self._object(self.data, "file")
        first = players.get("1")
        if not first:
            return [self.name]  # a live observation
        others = [
            name
            for key, names in players.items()
            if key != "1"
            for name in expect(names or [], list, self.file, f"player {key} of {self.place}")
        ]
        if others:
            self.notes.append(f"videos of other players are not named: {', '.join(map(str, others))}")
        return [str(name) for name in expect(first, list, self.file, f"player 1 of {self.place}")]

    def _events(self) -> list[Event]:
        found = []
        for count, value in enumerate(named(self.data, "events", list, self.file, self.place)):
            where = f"event {count} of {self.place}"
            row = expect(value, list, self.file, where)
            if len(row) < 5:
                raise DataError(
                    f"{self.file}, {where} has {len(row)} values; expected time, subject, code, modifiers, "
                    "comment"
                )
            code = expect(row[2], str, self.file, f"the behavior of {where}")
            if code not in self.kinds:
                raise DataError(
                    f"{self.file}, {where}: unknown behavior {shown(code)}; the ethogram has "
                    f"{listed(self.kinds)}"
                )
            if row[4]:
                self.notes.append("comments on events are not read")
            seconds = number(row[0], self.file, where)
            found.append(Event(seconds, str(row[1]), code, str(row[3]), self.kinds[code], where))
        return found


def _add_part(whole: Annotations, collector: SegmentCollector, begin: float, end: float | None) -> None:
    """Add the segments in [begin, end) of an observation, cut at its edges; times count from `begin`."""
    for segment, subject in whole.with_subjects():
        start = max(segment.start_seconds, begin)
        stop = segment.end_seconds if end is None else min(segment.end_seconds, end)
        is_inside = (end is None or start < end) if segment.is_point else start < stop
        if is_inside and segment.end_seconds >= begin:
            where = f"{segment.label} at {segment.start_seconds:g} s"
            collector.add(start - begin, stop - begin, segment.label, where=where, subject=subject)


# -- writing ---------------------------------------------------------------------------------------


def write_project(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a project with an observation per video.

    Raises:
        UsageError: a label has points and segments: a behavior of BORIS is one or the other.
    """
    labels = list(dict.fromkeys(label for item in annotations for label in item.labels))
    segments = [segment for item in annotations for segment in item.segments]
    points = {segment.label for segment in segments if segment.is_point}
    both = points & {segment.label for segment in segments if not segment.is_point}
    if both:
        raise UsageError(
            f"{shown(min(both))} is a point in some places and takes time in others; a behavior of a BORIS "
            "project is one or the other: write another format, such as boris-tabular"
        )
    subjects = list(dict.fromkeys(name for item in annotations for name in item.subject_names))
    project = {
        "time_format": "hh:mm:ss",
        "project_date": _NO_DATE,
        "project_name": path.stem,
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {
            str(n): {"key": "", "name": name, "description": ""} for n, name in enumerate(subjects)
        },
        "behaviors_conf": {str(n): _behavior(label, label in points) for n, label in enumerate(labels)},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
        "observations": {item.video: _observation(item, options) for item in annotations},
    }
    write_json(path, project)


def _behavior(code: str, is_point: bool) -> dict[str, object]:
    kind = "Point event" if is_point else "State event"
    empty = dict.fromkeys(("key", "description", "color", "category", "excluded", "coding map"), "")
    return {"type": kind, "code": code, "modifiers": {}, **empty}


def _observation(item: Annotations, options: WriteOptions) -> dict[str, object]:
    fps = options.fps or item.fps
    times = [
        (seconds, subject, segment.label)
        for segment, subject in item.with_subjects()
        for seconds in dict.fromkeys((segment.start_seconds, segment.end_seconds))
    ]
    events = [
        [round(seconds, 3), subject, label, "", "", "NA" if fps is None else frame_of(seconds, fps)]
        for seconds, subject, label in sorted(times, key=lambda row: row[0])
    ]
    info: dict[str, object] = {"hasVideo": {item.video: True}, "hasAudio": {item.video: False}}
    info["offset"] = {"1": 0.0}
    info["length"] = {} if item.duration_seconds is None else {item.video: item.duration_seconds}
    info["fps"] = {} if fps is None else {item.video: fps}
    return {
        "file": {str(player): [item.video] if player == 1 else [] for player in _PLAYERS},
        "type": "MEDIA",
        "date": _NO_DATE,
        "description": "",
        "time offset": 0.0,
        "independent_variables": {},
        "events": events,
        "media_info": info,
    }
