"""Random labels come back from every format, within what the format can hold."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.data.annotations.files import read_annotations, write_annotations
from hidden_two_stream.data.annotations.format import Format
from hidden_two_stream.data.annotations.model import Annotations, video_id
from hidden_two_stream.data.annotations.table import FORMATS, detect_format
from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import Segment

SEEDS = range(6)
# Rows at frames whose times are rounded to milliseconds; the last frame is as long as the one before.
TOLERANCES = {"boris-binary": 1.6e-3}
# Without a segment, files of these formats name no video.
ROWS_ONLY = {"csv", "boris-tabular", "boris-aggregated", "via-csv", "epic-kitchens", "ava"}
RATES = (25.0, 30000 / 1001, 9.0, 59.94, 240.0)
NAMES = ("walk", "sit down", "Wave & <run>", "ça va", "x,y;z|", "'quoted' \"name\"")
PLAIN = ("walk", "sit_down", "Wave&run", "ça-va")
# Files of these formats don't say which video they belong to; the name of the file does.
NAMED_BY_FILE = {
    "boris-binary", "elan-tab", "deepethogram", "simba", "webvtt", "srt", "audacity", "mstcn",
}  # fmt: skip


def labels_for(target: Format) -> tuple[str, ...]:
    if target.name == "ava":
        return ("3", "12", "80")
    if target.name == "kth":
        return ("boxing",)
    if target.name.startswith("thumos14"):
        return PLAIN
    if target.name == "cvat":
        return tuple(name for name in NAMES if "," not in name)
    return NAMES


def spans_of(
    target: Format, random_: random.Random, fps: float, num_frames: int
) -> list[tuple[float, float]]:
    """Random intervals with gaps between them, on times that the format can hold."""
    count = random_.randint(0, 6)
    cuts = sorted(random_.sample(range(1, num_frames), 2 * count))
    step = target.holds.step
    if step == "frame":
        return [(a / fps, b / fps) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
    if step == "second":
        seconds = sorted(random_.sample(range(1, 30), 2 * count))
        return [(a - 0.5, b - 0.5) for a, b in zip(seconds[::2], seconds[1::2], strict=True)]
    decimals = {0: 9, 0.001: 3, 0.01: 2, 1e-6: 6}[float(step)]
    times = sorted({round(random_.uniform(0, num_frames / fps), decimals) for _ in range(2 * count)})
    return list(zip(times[::2], times[1::2], strict=False))


def random_annotations(target: Format, seed: int) -> Annotations:
    random_ = random.Random(f"{target.name} {seed}")
    fps = target.fps or random_.choice(RATES)
    num_frames = random_.randint(200, 800)
    labels, holds = labels_for(target), target.holds
    subjects = ("", "anna", "Bob & co") if holds.subjects else ("",)
    if target.name == "kth":
        subjects = ("person03",)
    elif target.name in ("epic-kitchens", "ava"):
        subjects = ("P01", "P02")
    rows: list[tuple[Segment, str]] = []
    for subject in subjects if holds.overlap else subjects[:1]:
        for label in labels if holds.overlap else labels[:1]:
            name = label if holds.overlap else None
            for start, end in spans_of(target, random_, fps, num_frames):
                score = round(random_.random(), 4) if holds.scores != "no" else None
                rows.append((Segment(start, end, name or random_.choice(labels), score), subject))
    points = [label for label in labels[-1:] if holds.points]
    rows = [row for row in rows if row[0].label not in points]
    for label in points:  # a BORIS behavior is a point or a state
        for start, _ in spans_of(target, random_, fps, num_frames):
            score = 0.5 if holds.scores != "no" else None
            rows.append((Segment(start, start, label, score), random_.choice(subjects)))
    rows.sort(key=lambda row: (row[0].start_seconds, row[0].end_seconds, labels.index(row[0].label), row[1]))
    found = tuple(subject for _, subject in rows)
    half = num_frames // 2 / fps
    return (
        Annotations(
            "person03_boxing_d1" if target.name == "kth" else "clip 1.mp4" if not holds.ids else "clip_1",
            tuple(segment for segment, _ in rows),
            labels,
            found if any(found) else (),
            None,
            num_frames / fps,
            fps,
        )
        if target.name != "deepethogram"
        else replace(
            Annotations("clip 1", tuple(s for s, _ in rows if s.end_seconds <= half), labels),
            labeled=((0.0, half),),
            duration_seconds=num_frames / fps,
            fps=fps,
        )
    )


def assert_same(one: Annotations, other: Annotations, tolerance: float = 1e-7) -> None:
    def key(row: tuple[Segment, str]) -> tuple[object, ...]:
        segment, subject = row
        return (segment.label, subject, segment.start_seconds)

    before, after = sorted(one.with_subjects(), key=key), sorted(other.with_subjects(), key=key)
    assert [(s.label, who, s.score) for s, who in after] == [(s.label, who, s.score) for s, who in before]
    for (a, _), (b, _) in zip(before, after, strict=True):
        assert b.start_seconds == pytest.approx(a.start_seconds, abs=tolerance)
        assert b.end_seconds == pytest.approx(a.end_seconds, abs=tolerance)
        assert b.is_point == a.is_point


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FORMATS)
def test_random_labels_come_back(tmp_path: Path, name: str, seed: int) -> None:
    target = FORMATS[name]
    item = random_annotations(target, seed)
    path = tmp_path / f"{video_id(item.video)}{'_labels' * (name == 'deepethogram')}{target.suffixes[0]}"
    notes = write_annotations(path, [item], name)
    assert not [note for note in notes if "rounded" in note and "second" not in note]
    again = read_annotations(path, name, fps=item.fps)
    if not item.segments and name in (
        "csv",
        "boris-tabular",
        "boris-aggregated",
        "via-csv",
        "epic-kitchens",
        "ava",
    ):
        assert again == []
        return
    if not item.segments and name.startswith("thumos14"):
        assert [found.segments for found in again] in ([], [()])
        return
    (found,) = again
    assert_same(item, found, TOLERANCES.get(name, 1e-7))
    assert found.video == (video_id(item.video) if target.holds.ids or name in NAMED_BY_FILE else item.video)
    assert video_id(found.video) == video_id(item.video)
    if target.holds.labels:
        assert found.labels == item.labels
    if target.holds.unlabeled and item.labeled is not None:
        np.testing.assert_allclose(found.labeled, item.labeled, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, item in FORMATS.items() if not item.folder])
def test_a_written_file_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    target = FORMATS[name]
    item = next(item for seed in range(40) if len((item := random_annotations(target, seed)).segments) > 3)
    path = tmp_path / f"clip{target.suffixes[0]}"
    write_annotations(path, [item], name)
    assert detect_format(path).name == name


@pytest.mark.parametrize("name", [name for name, item in FORMATS.items() if item.holds.videos])
def test_several_videos_in_one_file(tmp_path: Path, name: str) -> None:
    target = FORMATS[name]
    items = [item for seed in range(40) if (item := random_annotations(target, seed)).segments][:3]
    items = [replace(item, fps=25.0, video=video) for item, video in zip(items, "abc", strict=True)]
    if target.counts_frames:
        items = [
            replace(item, segments=on_grid(item.segments, 25.0), duration_seconds=400.0) for item in items
        ]
    if name == "kth":
        items = [replace(item, video=f"person03_boxing_d{n}") for n, item in enumerate(items, start=1)]
    path = tmp_path / f"all{target.suffixes[0]}"
    write_annotations(path, items, name, fps=25)
    again = {item.video: item for item in read_annotations(path, name, fps=25)}
    assert set(again) == {item.video for item in items}
    for item in items:
        assert_same(item, again[item.video])


def on_grid(segments: tuple[Segment, ...], fps: float) -> tuple[Segment, ...]:
    """Segments at whole frames, with the same order and gaps."""
    edges = sorted({time for s in segments for time in (s.start_seconds, s.end_seconds)})
    times = {time: n / fps for n, time in enumerate(edges)}
    return tuple(
        replace(s, start_seconds=times[s.start_seconds], end_seconds=times[s.end_seconds]) for s in segments
    )


@pytest.mark.parametrize("name", [name for name, item in FORMATS.items() if not item.holds.videos])
def test_several_videos_go_into_a_folder_of_files(tmp_path: Path, name: str) -> None:
    target = FORMATS[name]
    items = [item for seed in range(40) if (item := random_annotations(target, seed)).segments][:2]
    items = [replace(item, video=f"videos/{letter}.mp4") for item, letter in zip(items, "ab", strict=True)]
    with pytest.raises(UsageError, match="one video per file, and 2 videos"):
        write_annotations(tmp_path / f"all{target.suffixes[0]}", items, name)
    write_annotations(tmp_path / "all", items, name)
    for item in items:
        (path,) = (tmp_path / "all").glob(f"{video_id(item.video)}*")
        (again,) = read_annotations(path, name, fps=item.fps)
        assert_same(item, again, TOLERANCES.get(name, 1e-7))
        assert video_id(again.video) == video_id(item.video)


# -- what a format cannot hold ---------------------------------------------------------------------


def one(*segments: Segment, subjects: tuple[str, ...] = (), name: str = "clip.mp4") -> Annotations:
    labels = tuple(dict.fromkeys(segment.label for segment in segments))
    return Annotations(name, segments, labels, subjects, None, 20.0, 25.0)


def label_of(name: str) -> str:
    return {"ava": "80", "kth": "boxing"}.get(name, "walk")


def video_of(name: str) -> str:
    return "person03_boxing_d1" if name == "kth" else "clip.mp4"


LOSSES = [
    ("points", "1 point"),
    ("subjects", "who does it: anna"),
    ("scores", "the scores of 1 segment"),
    ("unlabeled", "which time is not labeled"),
    ("short", "1 segment shorter"),
    ("touching", "1 edge between bouts"),
]
SUBJECTS_NEEDED = {"ava", "epic-kitchens", "kth"}


def with_loss(kind: str, target: Format) -> Annotations:
    label, video = label_of(target.name), video_of(target.name)
    score = 0.5 if target.holds.scores == "only" else None
    walk = Segment(1.5, 3.5, label, score)
    item = one(walk, name=video)
    if kind == "points":
        clap = "clap" if label == "walk" else label
        return one(walk, Segment(8.2, 8.2, clap, score), name=video)
    if kind == "subjects":
        return replace(item, subjects=("anna",))
    if kind == "scores":
        return one(replace(walk, score=0.5), name=video)
    if kind == "unlabeled":
        return replace(item, labeled=((0.0, 5.0),))
    if kind == "short":
        return one(walk, Segment(8.2001, 8.2002, label, score), name=video)
    return one(walk, Segment(3.5, 4.5, label, score), name=video)


def cannot_hold(kind: str, target: Format) -> bool:
    holds = target.holds
    return {
        "points": not holds.points,
        "subjects": not holds.subjects,
        "scores": holds.scores == "no",
        "unlabeled": not holds.unlabeled,
        "short": holds.step not in (0, 1e-6),
        "touching": holds.rows,
    }[kind]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("kind", "said"), LOSSES)
def test_what_a_format_cannot_hold_is_refused_or_named(
    tmp_path: Path, kind: str, said: str, name: str
) -> None:
    target = FORMATS[name]
    item = with_loss(kind, target)
    path = tmp_path / f"{video_id(item.video)}{target.suffixes[0]}"
    if not cannot_hold(kind, target):
        if not (kind == "subjects" and name == "kth"):
            assert not [note for note in write_annotations(path, [item], name, fps=50) if said in note]
        return
    with pytest.raises(UsageError, match=re.escape(said) + r".*--lossy"):
        write_annotations(path, [item], name, fps=50)
    assert not path.exists()
    notes = write_annotations(path, [item], name, fps=50, lossy=True)
    assert [note for note in notes if said in note]
    (again,) = read_annotations(path, name, fps=50)
    assert again.segments[0].start_seconds == pytest.approx(1.5)
    if kind == "points" and name != "ava":
        last = again.segments[-1]
        assert (last.start_seconds, last.end_seconds) == (pytest.approx(8.2), pytest.approx(8.22))


def test_a_point_between_two_frames_becomes_the_frame_that_shows_it(tmp_path: Path) -> None:
    item = one(Segment(8.21, 8.21, "clap"))
    for name in ("deepethogram", "elan"):
        write_annotations(tmp_path / "out", [item], name, lossy=True)
        (again,) = read_annotations(tmp_path / "out", name, fps=25)
        assert (again.segments[0].start_seconds, again.segments[0].end_seconds) == (8.2, 8.24)


def test_points_need_a_rate_to_become_bouts(tmp_path: Path) -> None:
    item = replace(one(Segment(8.2, 8.2, "clap")), fps=None)
    with pytest.raises(UsageError, match=r"1 point .* --fps"):
        write_annotations(tmp_path / "x.eaf", [item], lossy=True)
    write_annotations(tmp_path / "x.eaf", [item], lossy=True, fps=10)
    assert read_annotations(tmp_path / "x.eaf")[0].segments == (Segment(8.2, 8.3, "clap"),)


def test_subjects_that_do_the_same_at_once_are_joined_by_leave(tmp_path: Path) -> None:
    item = one(Segment(1, 3, "walk"), Segment(2, 5, "walk"), subjects=("anna", "bob"))
    with pytest.raises(UsageError, match="1 bout that overlap"):
        write_annotations(tmp_path / "x.srt", [item])
    write_annotations(tmp_path / "x.srt", [item], lossy=True)
    assert read_annotations(tmp_path / "x.srt")[0].segments == (Segment(1, 5, "walk"),)


@pytest.mark.parametrize("name", [name for name, item in FORMATS.items() if not item.holds.overlap])
def test_overlap_is_refused_where_a_frame_has_one_word(tmp_path: Path, name: str) -> None:
    item = one(Segment(3, 6, "sit"), Segment(4, 5, "wave"))
    with pytest.raises(UsageError, match=r"'sit' and 'wave' .* overlap at 4 s"):
        write_annotations(tmp_path / "x", [item], name, fps=25, lossy=True)


@pytest.mark.parametrize("name", [name for name, item in FORMATS.items() if item.holds.scores == "only"])
def test_results_need_scores(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"no score for 1 segment of 'clip.mp4'"):
        write_annotations(tmp_path / "x", [one(Segment(1, 2, "walk"))], name, lossy=True)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "json"])
def test_a_label_with_a_line_break_is_refused(tmp_path: Path, name: str) -> None:
    item = one(Segment(1, 2, "walk\nSTOP"))
    with pytest.raises(UsageError, match="line break"):
        write_annotations(tmp_path / "x", [item], name, fps=25, lossy=True)
    write_annotations(tmp_path / "x.json", [item])
    assert read_annotations(tmp_path / "x.json")[0].segments == item.segments


def test_videos_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    items = [one(Segment(1, 2, "walk"), name=name) for name in ("a/clip.mp4", "b/clip.mp4")]
    with pytest.raises(UsageError, match="two videos would be named 'clip'"):
        write_annotations(tmp_path / "x.json", items, "activitynet")
    write_annotations(tmp_path / "x.csv", items)
    assert [item.video for item in read_annotations(tmp_path / "x.csv")] == ["a/clip.mp4", "b/clip.mp4"]


def test_rounding_is_named(tmp_path: Path) -> None:
    item = one(Segment(1.0101, 2, "walk"))
    notes = write_annotations(tmp_path / "x.csv", [item], "deepethogram")
    assert notes == ("clip.mp4: times are rounded to frames, by up to 0.03 s",)
    assert write_annotations(tmp_path / "y.csv", [item]) == ()


def test_the_own_csv_has_frames_where_the_rate_is_known(tmp_path: Path) -> None:
    write_annotations(tmp_path / "x.csv", [one(Segment(1.0, 3.0, "walk"))])
    assert (tmp_path / "x.csv").read_text().splitlines() == [
        "path,label,start_seconds,end_seconds,start_frame,end_frame",
        "clip.mp4,walk,1.0,3.0,25,75",
    ]


def test_a_base_of_zero_is_written_and_read(tmp_path: Path) -> None:
    item = one(Segment(0.0, 0.04, "walk"))
    for base in (0, 1):
        write_annotations(tmp_path / "x.json", [item], "label-studio", base=base)
        assert f'"start": {base},' in (tmp_path / "x.json").read_text()
        assert read_annotations(tmp_path / "x.json", fps=25, base=base)[0].segments == item.segments
    with pytest.raises(UsageError, match=r"base .* has no meaning for the format json"):
        write_annotations(tmp_path / "y.json", [item], base=0)


def test_another_rate_than_a_formats_own_needs_a_word(tmp_path: Path) -> None:
    item = one(Segment(1, 2, "walk"))
    with pytest.raises(UsageError, match=r"calms21 is for 30 frames per second, .* has 25; .*--fps"):
        write_annotations(tmp_path / "x.json", [item], "calms21")
    write_annotations(tmp_path / "x.json", [item], "calms21", fps=25)
    assert read_annotations(tmp_path / "x.json", fps=25)[0].segments == item.segments


def test_all_videos_of_a_feral_file_share_their_classes(tmp_path: Path) -> None:
    items = [one(Segment(1, 2, "walk"), name="a"), one(Segment(1, 2, "sit"), name="b")]
    write_annotations(tmp_path / "x.json", items, "feral")
    again = read_annotations(tmp_path / "x.json", fps=25)
    assert [item.labels for item in again] == [("walk", "sit")] * 2
    assert [item.segments[0].label for item in again] == ["walk", "sit"]
