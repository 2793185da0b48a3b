"""ELAN files (.eaf): tiers of annotations between time slots of whole milliseconds."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.label_file import LabelFile, XmlElement, whole_number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text

__all__ = ["is_eaf", "read_eaf", "write_eaf", "xml_text"]

_TYPE = "default-lt"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


def is_eaf(file: LabelFile) -> bool:
    """Whether the file is an ELAN document."""
    return file.xml.tag == "ANNOTATION_DOCUMENT"


def xml_text(root: ElementTree.Element) -> str:
    """Return indented XML with a declaration."""
    ElementTree.indent(root, "    ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


# -- reading ---------------------------------------------------------------------------------------


def read_eaf(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the annotations of all tiers; the subject is the participant of the tier."""
    root = file.xml
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise DataError(f"{file}: the times are in {units}; expected milliseconds")
    media = root.findall("HEADER/MEDIA_DESCRIPTOR")
    collector = options.collector(file, (_media_name(media[0]) if media else "") or file.stem)
    if len(media) > 1:
        collector.notes.append(f"of {len(media)} media files, the first names the video")
    if media and media[0].get("TIME_ORIGIN", "0") != "0":
        collector.notes.append(f"the media offset of {media[0].get('TIME_ORIGIN')} ms is not applied")
    slots = _slots(file, root)
    times: dict[str, tuple[float, float]] = {}
    tiers = root.findall("TIER")
    for tier in tiers:
        _read_tier(file, tier, slots, times, collector)
    _read_references(file, tiers, times, collector)
    return [collector.result()]


def _media_name(media: ElementTree.Element) -> str:
    url = media.get("RELATIVE_MEDIA_URL") or media.get("MEDIA_URL") or ""
    if not url.startswith("file://"):
        return url.removeprefix("./")
    path = unquote(url.removeprefix("file://"))
    return path.removeprefix("/") if re.match("/[A-Za-z]:", path) else path


def _slots(file: LabelFile, root: ElementTree.Element) -> dict[str, int | None]:
    """Time of each slot in ms, in order; None for slots that are not aligned."""
    slots: dict[str, int | None] = {}
    for slot in root.iterfind("TIME_ORDER/TIME_SLOT"):
        assert isinstance(slot, XmlElement)
        value = slot.get("TIME_VALUE")
        where = f"line {slot.line}"
        time = None if value is None else whole_number(value, file, where, "time slot")
        slots[slot.need(file, "TIME_SLOT_ID")] = time
    return slots


def _read_tier(
    file: LabelFile,
    tier: ElementTree.Element,
    slots: dict[str, int | None],
    times: dict[str, tuple[float, float]],
    collector: SegmentCollector,
) -> None:
    """Take the annotations with times of their own, and note the times of each in `times`."""
    found = [
        item for item in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION") if isinstance(item, XmlElement)
    ]
    used = {name for item in found for name in (item.get("TIME_SLOT_REF1"), item.get("TIME_SLOT_REF2"))}
    aligned = _aligned({name: time for name, time in slots.items() if name in used})
    for item in found:
        where = f"line {item.line}"
        start, end = (aligned.get(item.need(file, f"TIME_SLOT_REF{count}")) for count in (1, 2))
        if start is None or end is None:
            raise DataError(f"{file}, {where}: a time slot of the annotation is missing or has no time")
        times[item.need(file, "ANNOTATION_ID")] = (start / 1000, end / 1000)
        _take(item, tier, (start / 1000, end / 1000), where, collector)
    missing = sum(slots[name] is None for name in used if name in slots)
    if missing:
        collector.notes.append(f"{missing} time slots without a time lie evenly between their neighbors")


def _aligned(slots: dict[str, int | None]) -> dict[str, float]:
    """Times of a tier's slots; those without a time lie evenly between their neighbors, as in ELAN."""
    names, values = list(slots), list(slots.values())
    known = [count for count, value in enumerate(values) if value is not None]
    found: dict[str, float] = {}
    for left, right in zip(known, known[1:] or known, strict=False):
        low, high = values[left] or 0, values[right] or 0
        for count in range(left, right + 1):
            found[names[count]] = low + (high - low) * (count - left) / max(right - left, 1)
    return found


def _take(
    item: ElementTree.Element,
    tier: ElementTree.Element,
    times: tuple[float, float],
    where: str,
    collector: SegmentCollector,
) -> None:
    value = (item.findtext("ANNOTATION_VALUE") or "").strip()
    if not value:
        collector.notes.append("annotations without a value are not read")
        return
    collector.add(*times, value, where=where, subject=tier.get("PARTICIPANT", ""))


def _read_references(
    file: LabelFile,
    tiers: Sequence[ElementTree.Element],
    times: dict[str, tuple[float, float]],
    collector: SegmentCollector,
) -> None:
    """Take the annotations that have the time of another one, parents before children."""
    children: dict[str, list[tuple[ElementTree.Element, XmlElement]]] = {}
    for tier in tiers:
        for item in tier.iterfind("ANNOTATION/REF_ANNOTATION"):
            assert isinstance(item, XmlElement)
            children.setdefault(item.need(file, "ANNOTATION_REF"), []).append((tier, item))
    if any(len({id(tier) for tier, _ in items}) < len(items) for items in children.values()):
        collector.notes.append("several annotations of one parent all have the whole time of the parent")
    parents = list(times)
    while parents:
        parent = parents.pop()
        for tier, item in children.pop(parent, []):
            name = item.need(file, "ANNOTATION_ID")
            times[name] = times[parent]
            _take(item, tier, times[parent], f"line {item.line}", collector)
            parents.append(name)
    for parent, items in children.items():
        raise DataError(
            f"{file}, line {items[0][1].line}: the annotation refers to {shown(parent)}, which has no time"
        )


# -- writing ---------------------------------------------------------------------------------------


def write_eaf(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a tier for each label and subject, since annotations of one tier cannot overlap."""
    (item,) = annotations
    root = _document(item)
    rows = sorted(
        (
            (round(segment.start_seconds * 1000), round(segment.end_seconds * 1000), segment.label, subject)
            for segment, subject in item.with_subjects()
        ),
        key=lambda row: (item.labels.index(row[2]), row[3], row[0]),
    )
    slots = {time: f"ts{n}" for n, time in enumerate(sorted({t for row in rows for t in row[:2]}), start=1)}
    order = ElementTree.SubElement(root, "TIME_ORDER")
    for time, name in slots.items():
        ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=name, TIME_VALUE=str(time))
    tiers: dict[tuple[str, str], ElementTree.Element] = {}
    for count, (start, end, label, subject) in enumerate(rows, start=1):
        key = (label, subject)
        if key not in tiers:
            attributes = {"LINGUISTIC_TYPE_REF": _TYPE, "TIER_ID": f"{label}@{subject}" if subject else label}
            attributes |= {"PARTICIPANT": subject} if subject else {}
            tiers[key] = ElementTree.SubElement(root, "TIER", attributes)
        annotation = ElementTree.SubElement(tiers[key], "ANNOTATION")
        span = {"TIME_SLOT_REF1": slots[start], "TIME_SLOT_REF2": slots[end]}
        child = ElementTree.SubElement(
            annotation, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{count}", **span}
        )
        ElementTree.SubElement(child, "ANNOTATION_VALUE").text = label
    ElementTree.SubElement(
        root, "LINGUISTIC_TYPE", GRAPHIC_REFERENCES="false", LINGUISTIC_TYPE_ID=_TYPE, TIME_ALIGNABLE="true"
    )
    write_text(path, xml_text(root))


def _document(item: Annotations) -> ElementTree.Element:
    """Return a document with a header that names the video, without annotations."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": "1970-01-01T00:00:00+00:00",
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    kind = mimetypes.guess_type(item.video)[0] or "video/mp4"
    media = {"MEDIA_URL": item.video, "MIME_TYPE": kind, "RELATIVE_MEDIA_URL": item.video}
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", media)
    last = ElementTree.SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId")
    last.text = str(len(item.segments))
    return root
