"""CVAT for video 1.1: actions are attributes of a track, which hold until its next shape, or its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from hidden_two_stream.data.annotations.elan import xml_text
from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions, to_frames
from hidden_two_stream.data.annotations.label_file import LabelFile, XmlElement, whole_number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import write_text

__all__ = ["is_cvat", "read_cvat", "write_cvat"]

_ATTRIBUTES = ("action", "actions", "activity", "behavior", "behaviour")
"""Names of attributes that say what happens, in lower case."""

_NOTHING = frozenset(("", "none", "background", "no", "false", "__undefined__"))
_NOBODY = "scene"
"""Label of the track that is written for segments of nobody in particular."""


def is_cvat(file: LabelFile) -> bool:
    """Whether the root is `annotations` with a version."""
    return file.xml.tag == "annotations" and file.xml.find("version") is not None


# -- reading ---------------------------------------------------------------------------------------


def read_cvat(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the actions of all tracks; the subject is the track's label, with its id if it isn't the only one.

    A track without an attribute for actions is an action itself: its label, while it is visible.
    """
    root = file.xml
    fps = options.need_fps(file)
    task = root.find("meta/task") if root.find("meta/task") is not None else root.find("meta/job")
    collector = options.collector(
        file, root.findtext("meta/task/source") or root.findtext("meta/source") or file.stem
    )
    end = None if task is None else task.findtext("stop_frame") or None
    stop = options.num_frames
    if stop is None and end is not None:
        stop = whole_number(end, file, "meta", "stop_frame") + 1
        collector.duration_seconds = stop / fps
    tracks = [track for track in root.iterfind("track") if isinstance(track, XmlElement)]
    labels = [track.need(file, "label") for track in tracks]
    if tracks:
        collector.notes.append("shapes, such as boxes, are not read")
    if root.find("image") is not None:
        collector.notes.append("labels of single images are not read")
    for track, label in zip(tracks, labels, strict=True):
        subject = label if labels.count(label) == 1 else f"{label} {track.get('id', '')}".strip()
        _read_track(file, track, "" if subject == _NOBODY else subject, stop, collector)
    return [collector.result()]


def _read_track(
    file: LabelFile, track: XmlElement, subject: str, stop: int | None, collector: SegmentCollector
) -> None:
    shapes = _shapes(file, track)
    names = {
        attribute.get("name", "").lower() for _, shape in shapes for attribute in shape.iterfind("attribute")
    }
    has_action = any(name in _ATTRIBUTES for name in names)
    others = sorted(names - set(_ATTRIBUTES))
    collector.notes += [f"the attributes {', '.join(others)} are not read"] * bool(others)
    running: dict[str, tuple[int, int]] = {}  # first frame and line of each action
    last = stop if stop is not None else (shapes[-1][0] + 1 if shapes else 0)
    fps = collector.fps or 1.0
    who = subject if has_action else ""
    for frame, now, line in [*_changes(shapes, track.get("label", ""), has_action), (last, [], track.line)]:
        for action in [name for name in running if name not in now]:
            first, where = running.pop(action)
            collector.add(first / fps, frame / fps, action, where=f"line {where}", subject=who)
        for action in now:
            running.setdefault(action, (frame, line))
            collector.know(action)


def _shapes(file: LabelFile, track: XmlElement) -> list[tuple[int, XmlElement]]:
    """The shapes of a track with their frames, in order."""
    shapes = [shape for shape in track if isinstance(shape, XmlElement) and shape.tag != "attribute"]
    frames = [whole_number(shape.need(file, "frame"), file, f"line {shape.line}") for shape in shapes]
    for before, frame, shape in zip(frames, frames[1:], shapes[1:], strict=False):
        if frame <= before:
            raise DataError(
                f"{file}, line {shape.line}: frame {frame} after frame {before}; expected frames in order"
            )
    return list(zip(frames, shapes, strict=True))


def _changes(
    shapes: Sequence[tuple[int, XmlElement]], label: str, has_action: bool
) -> Iterator[tuple[int, list[str], int]]:
    """Yield frame, actions from there on, and line, for each shape."""
    for frame, shape in shapes:
        if shape.get("outside") == "1":
            yield frame, [], shape.line
        elif not has_action:
            yield frame, [label], shape.line
        else:
            texts = [
                text
                for attribute in shape.iterfind("attribute")
                if attribute.get("name", "").lower() in _ATTRIBUTES
                for text in (attribute.text or "").split(",")
            ]
            actions = [text.strip() for text in texts if text.strip().lower() not in _NOTHING]
            yield frame, list(dict.fromkeys(actions)), shape.line


# -- writing ---------------------------------------------------------------------------------------


def write_cvat(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a track per subject, with the attribute `action`; its boxes have one pixel, and mean nothing.

    Raises:
        UsageError: a label has a comma, which stands between several actions, or means "nothing".
    """
    (item,) = annotations
    for label in item.labels:
        if "," in label or label.lower() in _NOTHING:
            raise UsageError(
                f"the label {shown(label)} cannot be written for CVAT: it holds a comma or means nothing"
            )
    count = options.need_frames(item, "cvat")
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    facts = {"name": path.stem, "size": count, "mode": "interpolation", "start_frame": 0}
    for name, value in (facts | {"stop_frame": count - 1, "frame_filter": "", "source": item.video}).items():
        ElementTree.SubElement(task, name).text = str(value)
    subjects = list(dict.fromkeys(subject for _, subject in item.with_subjects()))
    for number, subject in enumerate(subjects):
        attributes = {"id": str(number), "label": subject or _NOBODY, "source": "manual"}
        track = ElementTree.SubElement(root, "track", attributes)
        values = to_frames(item.of_subject(subject), options, "cvat").values == 1
        changed = np.flatnonzero((values[1:] != values[:-1]).any(axis=1)) + 1
        for frame in sorted({0, *changed.tolist(), count - 1}):
            names = [name for name, is_on in zip(item.labels, values[frame], strict=True) if is_on]
            _add_box(track, frame, ",".join(names) or "none")
    write_text(path, xml_text(root))


def _add_box(track: ElementTree.Element, frame: int, action: str) -> None:
    flags = {"frame": str(frame), "keyframe": "1", "outside": "0", "occluded": "0"}
    box = ElementTree.SubElement(
        track, "box", flags | {"xtl": "0", "ytl": "0", "xbr": "1", "ybr": "1", "z_order": "0"}
    )
    ElementTree.SubElement(box, "attribute", name="action").text = action
