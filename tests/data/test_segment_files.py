"""Files of segments: what is written, read back by other code."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hidden_two_stream.data.annotations.files import read_annotations
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.segment_files import SEGMENT_WRITERS, check_segments_path, write_segments
from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.types import Segment

FOUND = {
    "one.mp4": [Segment(0.0, 1.5, "walk", 0.75), Segment(3661.25, 3662.0, "sit & <b> → up", None)],
    "two.mp4": [],
    "three.mp4": [Segment(2.0, 2.5, 'a "b", c', 1.0)],
}


def test_csv_is_a_dataset_index(tmp_path: Path) -> None:
    file = tmp_path / "labels" / "found.csv"
    file.parent.mkdir()
    write_segments(file, {str(tmp_path / "videos" / name): found for name, found in FOUND.items()})
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert rows[0] == {
        "path": "../videos/one.mp4", "start_seconds": "0", "end_seconds": "1.5", "label": "walk",
        "score": "0.75",
    }  # fmt: skip
    index = read_dataset_index(file)
    assert [(s.start_seconds, s.end_seconds, s.label) for s in index.samples] == [
        (s.start_seconds, s.end_seconds, s.label) for found in FOUND.values() for s in found
    ]
    assert Path(index.samples[0].path).resolve() == tmp_path / "videos" / "one.mp4"


def test_json(tmp_path: Path) -> None:
    write_segments(tmp_path / "found.json", FOUND)
    videos = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["videos"]
    assert [video["source"] for video in videos] == list(FOUND)
    assert videos[0]["segments"][0] == {
        "start_seconds": 0.0, "end_seconds": 1.5, "label": "walk", "score": 0.75,
    }  # fmt: skip
    assert videos[1]["segments"] == []


def test_subtitles(tmp_path: Path) -> None:
    write_segments(tmp_path / "found.vtt", {"one.mp4": FOUND["one.mp4"]})
    assert (tmp_path / "found.vtt").read_text(encoding="utf-8") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nwalk\n\n"
        "01:01:01.250 --> 01:01:02.000\nsit &amp; &lt;b&gt; → up\n"
    )


def test_urls_stay_as_they_are(tmp_path: Path) -> None:
    write_segments(tmp_path / "found.csv", {"http://host/a.mp4": [Segment(0, 1, "a")]})
    assert "\nhttp://host/a.mp4,0,1,a,\n" in (tmp_path / "found.csv").read_text(encoding="utf-8")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'found\.txt'; expected a name that ends in \.csv, \.json, \.vtt"):
        check_segments_path(tmp_path / "found.txt")
    with pytest.raises(UsageError, match=r"one video, but there are 3; .* ends in \.csv, \.json"):
        write_segments(tmp_path / "found.vtt", FOUND)
    with pytest.raises(OutputError, match="no folder"):
        check_segments_path(tmp_path / "nowhere" / "found.csv")
    assert list(tmp_path.iterdir()) == []
    for suffix in SEGMENT_WRITERS:
        check_segments_path(tmp_path / f"found{suffix.upper()}")


@pytest.mark.parametrize("suffix", [".eaf", ".boris", ".srt", ".vtt"])
def test_files_for_other_tools_hold_the_same_segments(tmp_path: Path, suffix: str) -> None:
    segments = [Segment(0.5, 1.25, "walk", 0.75), Segment(2.0, 3.5, "sit", 0.5)]
    notes = write_segments(tmp_path / f"found{suffix}", {"one.mp4": segments})
    assert bool(notes) is (suffix != ".vtt")
    assert all("the scores of 2 segments" in line for line in notes)
    (back,) = read_annotations(tmp_path / f"found{suffix}")
    assert [(s.start_seconds, s.end_seconds, s.label) for s in back.segments] == [
        (s.start_seconds, s.end_seconds, s.label) for s in segments
    ]
