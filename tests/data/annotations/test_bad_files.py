"""Broken label files give one clear line each, with the place in the file; none gives a traceback."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hidden_two_stream.data.annotations.files import read_annotations, write_annotations
from hidden_two_stream.data.annotations.label_file import MAX_BYTES, MAX_DEPTH
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.table import FORMATS, detect_format, format_for_writing
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.types import Segment

OWN = "path,label,start_seconds,end_seconds\n"
EVENTS = "Observation id\tSubject\tBehavior\tBehavior type\tTime\tMedia file name\n"
BOUTS = (
    "Observation id,Subject,Behavior,Behavior type,Start (s),Stop (s),Media file name,Media duration (s)\n"
)
BENTO = "Bento annotation file\nAnnotation framerate: 25\n\n"
FERAL = {"class_names": {"0": "other", "1": "walk"}, "is_multilabel": False}


def boris(events: list[list[Any]], **observation: Any) -> str:
    kinds = {"walk": "State event", "clap": "Point event"}
    behaviors = {str(n): {"code": code, "type": kind} for n, (code, kind) in enumerate(kinds.items())}
    data = {"file": {"1": ["a.mp4"]}, "events": events, **observation}
    return json.dumps({"behaviors_conf": behaviors, "observations": {"obs": data}})


def via(metadata: dict[str, Any]) -> str:
    return json.dumps(
        {
            "attribute": {"1": {"aname": "x", "options": {"0": "walk"}}},
            "file": {"1": {"fname": "a.mp4"}},
            "view": {"1": {"fid_list": ["1"]}},
            "metadata": {"m": {"vid": "1", "xy": [], "av": {"1": "0"}, **metadata}},
        }
    )


def studio(start: int, end: int, count: int = 1) -> str:
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": ["walk"]}
    annotation = {"result": [{"type": "timelinelabels", "value": value}]}
    return json.dumps([{"data": {"video": "a.mp4"}, "annotations": [annotation] * count}])


def eaf(body: str, units: str = "milliseconds") -> str:
    slots = '<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="900"/><TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="100"/>'
    return (
        f'<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="{units}"/><TIME_ORDER>{slots}</TIME_ORDER>\n'
        f'<TIER TIER_ID="t">\n{body}\n</TIER></ANNOTATION_DOCUMENT>'
    )


def alignable(first: str, last: str) -> str:
    span = f'TIME_SLOT_REF1="{first}" TIME_SLOT_REF2="{last}"'
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="x" {span}><ANNOTATION_VALUE>walk'
        "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


# name of the file, its content, options, words of the message
BAD: list[tuple[str, str, dict[str, Any], str]] = [
    # wrong columns
    ("a.csv", "path,label,start\na.mp4,walk,1\n", {"format": "csv"}, "no column.*end_seconds"),
    ("a.csv", "frame,walk\n0,1\n", {"format": "deepethogram", "fps": 25}, "first column is 'frame'"),
    ("a.csv", ",walk\n0,1\n", {"format": "deepethogram", "fps": 25}, "'walk'; expected 'background'"),
    ("a.tsv", "a\tb\n1\t2\n", {"format": "boris-tabular"}, "no line names the columns Time, Subject"),
    ("a.csv", ",Nose_x\n0,7.5\n", {"format": "simba", "fps": 25}, r"'Nose_x'.* --label"),
    ("a.csv", ",walk\n0,1\n", {"format": "simba", "fps": 25, "labels": ["run"]}, "no column 'run'"),
    (
        "a.txt",
        "Tier\tBegin Time - msec\tAnnotation\nt\t1\twalk\n",
        {"format": "elan-tab"},
        "begin and end time",
    ),
    # times
    (
        "a.csv",
        OWN + "a.mp4,walk,1,2\na.mp4,sit,5,4\n",
        {},
        "line 3: 'sit' ends at 4 s, before it starts at 5",
    ),
    ("a.csv", OWN + "a.mp4,walk,-1,2\n", {}, "line 2: the start of 'walk' is -1 s"),
    ("a.csv", OWN + "a.mp4,walk,soon,2\n", {}, "line 2: the start_seconds is 'soon'; expected a number"),
    ("a.csv", OWN + "a.mp4,walk,1,inf\n", {}, "line 2: the end_seconds is 'inf'"),
    ("a.csv", OWN + "a.mp4,,1,2\n", {}, "line 2: the label is empty"),
    ("a.csv", OWN + ",walk,1,2\n", {}, "line 2: the path is empty"),
    ("a.csv", OWN + "a.mp4,walk,,2\n", {}, "line 2: start_seconds is empty"),
    ("a.srt", "1\n00:00:05,000 --> 00:00:04,000\nwalk\n", {}, "line 2: 'walk' ends at 4 s, before"),
    ("a.srt", "1\n00:00:05 -> 00:00:04,000\n0:61:00 --> 0\nwalk\n", {}, "line 3.*expected hh:mm:ss"),
    ("a.vtt", "WEBVTT\n\n00:75.000 --> 00:80.000\nwalk\n", {}, "line 3.*expected hh:mm:ss"),
    ("a.eaf", eaf(alignable("a", "b")), {}, "line 3: 'walk' ends at 0.1 s, before it starts at 0.9 s"),
    ("a.eaf", eaf(alignable("a", "zz")), {}, "line 3: a time slot of the annotation is missing"),
    ("a.eaf", eaf("", "NTSC-frames"), {}, "times are in NTSC-frames; expected milliseconds"),
    ("a.json", via({"z": [3, 1]}), {}, "'m': 'walk' ends at 1 s, before"),
    ("a.json", via({"z": [1, 2, 3]}), {}, "3 times; expected start and end"),
    ("a.json", studio(9, 5), {"fps": 25}, "ends at frame 5, before it starts at frame 9"),
    ("a.json", studio(0, 5), {"fps": 25}, r"starts at frame 0; expected 1 or more.* --base 0"),
    (
        "a.annot",
        BENTO + "Ch1----------\n>walk\nStart\tStop\tDuration\n9\t5\t4\n",
        {},
        "line 7: frames 9 to 5",
    ),
    ("a.txt", "person01_boxing_d1 frames 9-5\n", {}, "line 1: frames 9-5"),
    ("a.txt", "person01_boxing_d1 frames none\n", {}, "expected frames 1-95, 96-185"),
    (
        "a.txt",
        "1.0\t2.0\twalk\n3.0\tsit\n",
        {"format": "audacity"},
        "line 2: .*expected start, end and label",
    ),
    ("a.annot", BENTO.replace("25", "-25"), {}, "the header: the frame rate is '-25'; expected .* above 0"),
    ("a.boris", boris([], media_info={"fps": {"a.mp4": -1}}), {}, "the frame rate is -1"),
    ("a.annot", BENTO.replace("25", "0") + ">walk\n1\t2\t2\n", {}, "counts frames"),
    # past the end
    (
        "a.csv",
        OWN + "a.mp4,walk,1,11\n",
        {"fps": 25, "num_frames": 250},
        "line 2: .*past the end of 'a.mp4' at 10 s",
    ),
    ("a.csv", BOUTS + "o,,walk,STATE,1,11,a.mp4,10\n", {}, "line 2: 'walk' ends at 11 s, past the end"),
    (
        "a.boris",
        boris([[1, "", "walk", "", ""], [11, "", "walk", "", ""]], media_info={"length": {"a.mp4": 10}}),
        {},
        "ends at 11 s, past the end of 'a.mp4' at 10 s",
    ),
    # start and stop
    (
        "a.boris",
        boris([[1, "anna", "walk", "", ""]]),
        {},
        "event 0 .*a START of 'walk' of 'anna' at 1 s without a STOP",
    ),
    ("a.boris", boris([[1, "", "run", "", ""]]), {}, "unknown behavior 'run'; the ethogram has walk, clap"),
    ("a.boris", boris([[1, "", "walk"]]), {}, "has 3 values; expected time, subject, code"),
    ("a.boris", boris([["NA", "", "walk", "", ""]]), {}, "the time is 'NA'"),
    ("a.boris", boris([], type="IMAGES"), {}, "is of images"),
    (
        "a.tsv",
        EVENTS + "o\t\twalk\tSTART\t1\ta.mp4\n",
        {},
        "line 2: a START of 'walk' at 1 s without a STOP after",
    ),
    (
        "a.tsv",
        EVENTS + "o\t\twalk\tSTOP\t1\ta.mp4\n",
        {},
        "line 2: a STOP of 'walk' at 1 s without a START before",
    ),
    (
        "a.tsv",
        EVENTS + "o\t\twalk\tSTART\t1\ta.mp4\no\t\twalk\tSTART\t2\ta.mp4\n",
        {},
        r"line 3: a START of 'walk' at 2 s, but it runs since 1 s \(line 2\)",
    ),
    ("a.tsv", EVENTS + "o\t\twalk\tBEGIN\t1\ta.mp4\n", {}, "line 2: the event is 'BEGIN'; expected START"),
    (
        "a.tsv",
        EVENTS + "o\t\twalk\tSTART\t1\ta.mp4\no\t\twalk\tSTOP\t2\tb.mp4\n",
        {},
        "has 2 media files.*\\.boris",
    ),
    # overlap of one label of one subject
    (
        "a.csv",
        OWN + "a.mp4,walk,1,3\na.mp4,walk,2,4\n",
        {},
        r"line 3: 'walk' from 2 s overlaps .* until 3 s \(line 2\)",
    ),
    (
        "a.csv",
        OWN + "a.mp4,walk,1,9\na.mp4,walk,2,3\na.mp4,walk,4,5\n",
        {},
        "line 3: 'walk' from 2 s overlaps",
    ),
    # rows and frames
    (
        "a.csv",
        ",background,walk\n0,1,0\n1,1,0\n",
        {"fps": 25, "num_frames": 3},
        "2 rows of labels for 3 frames: 1 too few",
    ),
    (
        "a.csv",
        ",background,walk\n0,1,0\n1,1,0\n",
        {"fps": 25, "num_frames": 1},
        "2 rows of labels for 1 frame: 1 too many",
    ),
    ("a.csv", ",background,walk\n0,1,0\n2,1,0\n", {"fps": 25}, "line 3: the frame number is '2'; expected 1"),
    ("a.csv", ",background,walk\n0,1,1\n", {"fps": 25}, "line 2: both background and 'walk' are 1"),
    ("a.csv", ",background,walk\n0,1,0\n1,0,2\n", {"fps": 25}, "line 3: 'walk' is '2'; expected 0, 1, or -1"),
    ("a.csv", ",background,walk\n0,1\n", {"fps": 25}, "line 2: 2 values for 3 columns"),
    ("a.csv", ",background,walk,walk\n0,1,0,0\n", {"fps": 25}, "no name or that of another"),
    ("a.txt", "walk\n" * 50, {"fps": 25, "num_frames": 60}, "50 rows of labels for 60 frames: 10 too few"),
    ("a.txt", "walk\nwalk\n\nwalk\nwalk\n", {"fps": 25}, "line 3 is empty; expected a word per frame"),
    ("a.tsv", "time\twalk\n0.0\t0\n0.2\t5\n", {}, "line 3: .*expected a time and 1 times 0 or 1"),
    ("a.tsv", "time\twalk\n0.0\t0\n0.2\t1\n0.1\t0\n", {}, "don't increase from 0"),
    (
        "a.json",
        json.dumps({**FERAL, "labels": {"a": [0, 7]}}),
        {"fps": 25},
        "frame 1 of the video 'a' has the class 7",
    ),
    (
        "a.json",
        json.dumps({**FERAL, "is_multilabel": True, "labels": {"a": [[0]]}}),
        {"fps": 25},
        "expected 2 times 0 or 1",
    ),
    # unknown labels, several people
    (
        "a.csv",
        OWN + "a.mp4,walk,1,3\na.mp4,run,4,5\n",
        {"labels": ["walk"]},
        "line 3: unknown label 'run'; expected one of walk",
    ),
    ("a.json", studio(1, 5, count=2), {"fps": 25}, "2 annotations of different people"),
    # content
    ("a.json", "{", {}, "not JSON.* in line 1"),
    ("a.eaf", "<a><b></a>", {}, "not valid XML: .*line 1"),
    ("a.eaf", "", {}, "not valid XML"),
    ("a.csv", OWN + "a.mp4,w\xe9lk,1,2\n", {}, "line 2 holds the byte 0xe9"),
    ("a.csv", OWN + 'a.mp4,"walk,1,2\n', {}, "is not.* CSV"),
    ("a.xyz", "x", {}, "fits no known label format.*--from.*boris"),
    ("a.csv", "", {}, "fits no known label format"),
    ("a.json", '{"format": "hidden-two-stream labels", "version": 9}', {}, "version 9; expected 1"),
    ("a.json", '{"format": "hidden-two-stream labels", "version": 1}', {}, "the file has no 'videos'"),
    ("a.json", '{"database": {"a": {"annotations": [{"label": "x", "segment": [1]}]}}}', {}, "has 1 times"),
    ("a.json", '{"database": {"a": [1]}}', {}, r"the video 'a' is \[1\]; expected an object"),
]


@pytest.mark.parametrize(
    ("name", "content", "options", "said"), BAD, ids=[f"{n}-{row[3][:40]}" for n, row in enumerate(BAD)]
)
def test_a_broken_file_is_refused_with_its_place(
    tmp_path: Path, name: str, content: str, options: dict[str, Any], said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1") if "\xe9" in content else content.encode())
    with pytest.raises(HiddenTwoStreamError, match=said) as caught:
        read_annotations(path, **options)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "boriss"}, "unknown label format 'boriss'; expected one of csv, json, boris"),
        ({"fps": 0}, "frame rate is 0; expected"),
        ({"fps": float("nan")}, "frame rate is nan"),
        ({"num_frames": 0}, "number of frames is 0"),
        ({"base": 0}, "base.* has no meaning for the format csv"),
        ({"background": ["other"]}, "background.* has no meaning for the format csv"),
        ({"video": "x.mp4"}, "has 2 videos"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(OWN + "a.mp4,walk,1,2\nb.mp4,walk,1,2\n")
    with pytest.raises(UsageError, match=said):
        read_annotations(path, **options)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for options in ({}, {"format": "csv"}):
        with pytest.raises(UsageError, match=r"no label file at .*none\.csv"):
            read_annotations(tmp_path / "none.csv", **options)
    with pytest.raises(DataError, match="no known label format"):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"), [("x.txt", "several formats"), ("x.tar", "no format"), ("x", "no format")]
)
def test_a_suffix_that_doesnt_say_the_format_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said + r".*--to"):
        format_for_writing(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.csv", "csv"),
        ("x.json", "json"),
        ("x.eaf", "elan"),
        ("x.boris", "boris"),
        ("x.VTT", "webvtt"),
        ("x.srt", "srt"),
        ("x.annot", "bento"),
        ("x.xml", "cvat"),
    ],
)
def test_a_suffix_says_the_format(name: str, expected: str) -> None:
    assert format_for_writing(name).name == expected


def test_an_ambiguous_file_lists_the_formats(tmp_path: Path) -> None:
    path = tmp_path / "walk_val.txt"
    path.write_text("clip 1 2\nclip 1 2\n")
    with pytest.raises(DataError, match="fits the formats thumos14, mstcn"):
        detect_format(path)


# -- details of formats ----------------------------------------------------------------------------


def test_a_word_too_many_or_few_is_named_where_datasets_have_it(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text("walk\n" * 10)
    (item,) = read_annotations(path, fps=10, num_frames=11)
    assert item.segments == (Segment(0, 1.1, "walk"),)
    assert "10 rows of labels for 11 frames: 1 too few, the last row is repeated" in item.notes
    (item,) = read_annotations(path, fps=10, num_frames=9)
    assert item.segments == (Segment(0, 0.9, "walk"),)
    assert "1 too many, cut off" in item.notes[0]


def test_files_of_one_boris_player_follow_each_other(tmp_path: Path) -> None:
    events = [
        [1, "", "walk", "", ""],
        [12, "", "walk", "", ""],
        [10, "", "clap", "", ""],
        [15, "", "clap", "", ""],
    ]
    info = {"length": {"a.mp4": 10.0, "b.mp4": 20.0}}
    path = tmp_path / "p.boris"
    path.write_text(boris(events, file={"1": ["a.mp4", "b.mp4"], "2": ["c.mp4"]}, media_info=info))
    first, second = read_annotations(path)
    assert (first.video, first.segments) == ("a.mp4", (Segment(1, 10, "walk"),))
    assert second.video == "b.mp4"
    assert second.segments == (Segment(0, 0, "clap"), Segment(0, 2, "walk"), Segment(5, 5, "clap"))
    assert any("c.mp4" in note for note in first.notes)
    path.write_text(boris(events, file={"1": ["a.mp4", "b.mp4"]}))
    with pytest.raises(DataError, match=r"the length of 'a\.mp4' is unknown"):
        read_annotations(path)


def test_states_with_other_modifiers_run_side_by_side(tmp_path: Path) -> None:
    rows = ["START\t1", "STOP\t2", "START\t2", "STOP\t3"]
    path = tmp_path / "p.tsv"
    head = EVENTS.replace("Time", "Modifier #1\tTime")
    lines = [
        f"o\tanna\twalk\t{r.replace(chr(9), chr(9) + m + chr(9))}\ta.mp4\n"
        for r, m in zip(rows, "aabb", strict=True)
    ]
    path.write_text(head + "".join(lines))
    (item,) = read_annotations(path)
    assert item.segments == (Segment(1, 2, "walk"), Segment(2, 3, "walk"))
    assert item.notes == ("modifiers of behaviors are not read",)


def test_elan_places_slots_without_a_time_evenly_and_children_at_their_parent(tmp_path: Path) -> None:
    def between(n: int, first: str, last: str, value: str) -> str:
        return (
            f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{n}" '
            f'TIME_SLOT_REF1="{first}" TIME_SLOT_REF2="{last}">'
            f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
        )

    slots = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="{name}"{value}/>'
        for name, value in [("p", ' TIME_VALUE="0"'), ("q", ""), ("r", ""), ("s", ' TIME_VALUE="3000"')]
    )
    child = (
        '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="c{0}" ANNOTATION_REF="{1}"><ANNOTATION_VALUE>{2}'
        "</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )
    path = tmp_path / "x.eaf"
    path.write_text(
        f"<ANNOTATION_DOCUMENT><TIME_ORDER>{slots}</TIME_ORDER>"
        f'<TIER TIER_ID="z">{child.format(2, "c1", "grandchild")}</TIER>'
        f'<TIER TIER_ID="t">{between(1, "p", "q", "one")}{between(2, "q", "r", "two")}'
        f"{between(3, 'r', 's', '')}</TIER>"
        f'<TIER TIER_ID="u">{child.format(1, "a2", "child")}</TIER></ANNOTATION_DOCUMENT>'
    )
    (item,) = read_annotations(path)
    assert {(s.label, s.start_seconds, s.end_seconds) for s in item.segments} == {
        ("one", 0.0, 1.0), ("two", 1.0, 2.0), ("child", 1.0, 2.0), ("grandchild", 1.0, 2.0),
    }  # fmt: skip
    assert any("2 time slots without a time" in note for note in item.notes)
    assert any("without a value" in note for note in item.notes)
    path.write_text(path.read_text().replace('ANNOTATION_REF="c1"', 'ANNOTATION_REF="c2"'))
    with pytest.raises(DataError, match="refers to 'c2', which has no time"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('MEDIA_URL="file:///data/my%20clip.mp4"', "/data/my clip.mp4"),
        ('MEDIA_URL="file:///C:/data/clip.mp4"', "C:/data/clip.mp4"),
        ('MEDIA_URL="file:///data/clip.mp4" RELATIVE_MEDIA_URL="./clip.mp4"', "clip.mp4"),
        ('MEDIA_URL=""', "x"),
    ],
)
def test_elan_names_its_video(tmp_path: Path, attributes: str, expected: str) -> None:
    path = tmp_path / "x.eaf"
    header = f"<HEADER><MEDIA_DESCRIPTOR {attributes}/></HEADER>"
    path.write_text(f"<ANNOTATION_DOCUMENT>{header}</ANNOTATION_DOCUMENT>")
    assert read_annotations(path)[0].video == expected


def test_webvtt_with_short_times_settings_notes_and_voices(tmp_path: Path) -> None:
    path = tmp_path / "x.vtt"
    path.write_text(
        "WEBVTT - title\n\nNOTE a\ncomment\n\n01:02.500 --> 01:03.000 line:0 align:start\n"
        "<v Anna>walk\nfast</v>\n\n"
        "1\n01:00:00.000 --> 01:00:01.000\n<b>sit</b> &amp; wave\n"
    )
    (item,) = read_annotations(path)
    assert item.segments == (Segment(62.5, 63.0, "walk fast"), Segment(3600, 3601, "sit & wave"))
    assert item.subjects == ("Anna", "")
    assert item.notes == ("markup in texts is not read",)


def test_simba_takes_the_rate_of_its_project_and_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "project_folder" / "csv" / "targets_inserted" / "clip.csv"
    path.parent.mkdir(parents=True)
    path.write_text(",x,walk,sit\n0,1.5,0.0,0.0\n1,1.5,1.0,0.0\n")
    logs = tmp_path / "project_folder" / "logs"
    logs.mkdir()
    (logs / "video_info.csv").write_text("Video,fps,Resolution_width\nclip,10.0,640\n")
    (item,) = read_annotations(path, labels=["walk"])
    assert item.segments == (Segment(0.1, 0.2, "walk"),)
    assert item.fps == 10
    with pytest.raises(DataError, match="the last column, 'sit'"):
        read_annotations(path, "simba")


def test_cvat_tracks_without_an_action_are_actions_and_end_where_they_are_outside(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text(
        "<annotations><version>1.1</version><meta><task><stop_frame>99</stop_frame>"
        "<source>a.mp4</source></task></meta>"
        '<track id="0" label="walk"><box frame="10" outside="0"/><box frame="20" outside="1"/></track>'
        '<track id="1" label="sit"><box frame="50" outside="0"><attribute name="color">red</attribute></box>'
        "</track>"
        "</annotations>"
    )
    (item,) = read_annotations(path, fps=10)
    assert item.segments == (Segment(1, 2, "walk"), Segment(5, 10, "sit"))
    assert item.subjects == ()
    assert item.duration_seconds == 10
    assert any("color" in note for note in item.notes)


def test_bento_in_seconds_and_by_channel(tmp_path: Path) -> None:
    path = tmp_path / "x.annot"
    block = ">walk\nStart\tStop\tDuration\n{}\n\n"
    path.write_text(
        BENTO
        + "Ch1----------\n"
        + block.format("1.5\t2.0\t0.5")
        + "mouse2----------\n"
        + block.format("1.0\t3.0\t2.0")
    )
    (item,) = read_annotations(path)
    assert item.with_subjects() == [(Segment(1, 3, "walk"), "mouse2"), (Segment(1.5, 2, "walk"), "")]


def test_partly_unlabeled_rows_and_rows_without_background_are_named(tmp_path: Path) -> None:
    path = tmp_path / "clip_labels.csv"
    path.write_text(",background,walk,sit\n0,-1,1,-1\n1,0,0,0\n2,1,0,0\n")
    (item,) = read_annotations(path, fps=1)
    assert item.segments == (Segment(0, 1, "walk"),)
    assert item.labeled == ((1.0, 3.0),)
    assert item.notes == (
        "not labeled, since there is -1 beside 0 or 1: 1 frame",
        "background, though its column is 0 as well: 1 frame",
    )


def test_a_thumos_folder_that_is_not_empty_is_kept(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("x")
    item = Annotations("clip", (Segment(1, 2, "walk"),), ("walk",))
    with pytest.raises(HiddenTwoStreamError, match="not empty"):
        write_annotations(tmp_path, [item], "thumos14")
    with pytest.raises(UsageError, match="space or a slash"):
        write_annotations(
            tmp_path / "new", [Annotations("clip", (Segment(1, 2, "a/b"),), ("a/b",))], "thumos14"
        )
    assert (tmp_path / "keep.txt").read_text() == "x"


# -- hostile files ---------------------------------------------------------------------------------

BOMB = (
    '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>'
)
OUTSIDE = '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<annotations>&x;</annotations>'


@pytest.mark.parametrize("content", [BOMB, OUTSIDE])
def test_document_types_are_refused(tmp_path: Path, content: str) -> None:
    for suffix in (".eaf", ".xml"):
        path = tmp_path / f"x{suffix}"
        path.write_text(content)
        with pytest.raises(DataError, match=r"line 1: .*DOCTYPE"):
            read_annotations(path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    deep = 200_000
    (tmp_path / "x.json").write_text("[" * deep + "]" * deep)
    with pytest.raises(DataError, match="nested too deeply"):
        read_annotations(tmp_path / "x.json")
    (tmp_path / "x.eaf").write_text("<a>" * deep + "</a>" * deep)
    with pytest.raises(DataError, match=f"deeper than {MAX_DEPTH} levels"):
        read_annotations(tmp_path / "x.eaf")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".eaf", ".txt", ".boris", ".vtt"])
def test_huge_files_are_refused_unread(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match="expected a label file of at most 67,108,864"):
        read_annotations(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(DataError, match="is not a file"):
        read_annotations(tmp_path / "x.csv")


def changed(value: Any, random_: random.Random) -> Any:
    """`value` with one part of it replaced by something odd, or left out."""
    odd = [None, True, -1, 1e400, 10**400, "", "x", [], {}, [[]], {"": None}, float("nan")]
    if isinstance(value, dict) and value and random_.random() < 0.85:
        key = random_.choice(list(value))
        if random_.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: changed(value[key], random_)}
    if isinstance(value, list) and value and random_.random() < 0.85:
        index = random_.randrange(len(value))
        return [*value[:index], changed(value[index], random_), *value[index + 1 :]]
    return random_.choice(odd)


def mutations(content: bytes, is_json: bool, random_: random.Random) -> bytes:
    if is_json and random_.random() < 0.8:
        return json.dumps(changed(json.loads(content), random_)).encode()
    start = random_.randrange(len(content))
    stop = min(len(content), start + random_.choice([1, 1, 2, 10, 100]))
    odd = [b"", b"\n", b"\t", b",", b'"', b"0", b"-1", b"x" * 200_000, b"\xff", b"\0"]
    extra = random_.choice([*odd, content[start:stop] * 2])
    return content[:start] + extra + content[stop:]


SAMPLES = [
    "boris/project.boris", "boris/tabular_old.tsv", "boris/tabular_new.tsv", "boris/aggregated.csv",
    "boris/binary_table_0.2s.tsv",
    "elan/clip.eaf", "elan/tab_delimited_header_msec.txt", "elan/tab_delimited_hms.txt",
    "deepethogram/DATA/clip/clip_labels.csv", "simba/targets_inserted/clip.csv",
    "via/project.json", "via/export.csv",
    "label_studio/export.json", "cvat/annotations.xml", "text/clip.vtt", "text/clip.srt", "text/audacity.txt",
    "datasets/calms21.json", "datasets/activitynet.json", "datasets/activitynet_results.json",
    "datasets/thumos14/walk_val.txt", "datasets/thumos14/results.txt", "datasets/epic_kitchens_100.csv",
    "datasets/ava.csv", "datasets/mstcn_groundTruth/clip.txt", "datasets/feral.json", "datasets/bento.annot",
    "datasets/kth_00sequences.txt", "truth.csv",
]  # fmt: skip


@pytest.mark.parametrize("sample", SAMPLES)
def test_damaged_files_never_give_a_traceback(data_root: Path, tmp_path: Path, sample: str) -> None:
    source = data_root / "formats" / sample
    name = detect_format(source).name
    path = tmp_path / source.name
    random_ = random.Random(sample)
    messages: list[str] = []
    for _ in range(30):
        path.write_bytes(mutations(source.read_bytes(), source.suffix in (".json", ".boris"), random_))
        for attempt in (name, None):
            try:
                read_annotations(path, attempt, fps=25)
            except HiddenTwoStreamError as error:
                messages.append(str(error))
    assert messages
    assert not [message for message in messages if "\n" in message or len(message) > 1000]


def test_own_json_that_is_damaged_never_gives_a_traceback(tmp_path: Path) -> None:
    item = Annotations(
        "a.mp4",
        (Segment(1, 2, "walk", 0.5), Segment(3, 3, "clap")),
        ("walk", "clap"),
        ("anna", ""),
        ((0.0, 5.0),),
        9.0,
        25.0,
    )
    write_annotations(tmp_path / "x.json", [item])
    assert read_annotations(tmp_path / "x.json") == [item]
    shutil.copy(tmp_path / "x.json", tmp_path / "good.json")
    random_ = random.Random(0)
    for _ in range(100):
        (tmp_path / "x.json").write_bytes(mutations((tmp_path / "good.json").read_bytes(), True, random_))
        for name in ("json", None):
            try:
                read_annotations(tmp_path / "x.json", name)
            except HiddenTwoStreamError:
                continue


def test_every_reader_refuses_other_files(tmp_path: Path) -> None:
    """A wrong --from gives an error or no segments, never a traceback."""
    files: dict[str, Callable[[], str]] = {
        "a.txt": lambda: "hello\nworld\n",
        "b.json": lambda: "[1, 2]",
        "c.json": lambda: "null",
        "d.eaf": lambda: "<x/>",
        "e.csv": lambda: "a,b\n1,2\n",
        "f.csv": lambda: "",
    }
    for file, content in files.items():
        (tmp_path / file).write_text(content())
        for name in FORMATS:
            try:
                found = read_annotations(tmp_path / file, name, fps=25)
            except HiddenTwoStreamError:
                continue
            assert all(not item.segments for item in found) or name == "mstcn", (file, name)
