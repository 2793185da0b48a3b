"""Background samples: where they may lie, how many there are, and that training uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import BackgroundConfig
from hidden_two_stream.data.background import with_background
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.data.splits import divide
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.writer import write_video

BETWEEN = BackgroundConfig("between", margin_seconds=0.5, shortest_seconds=1.0)
Hts = Callable[..., tuple[int, str, str]]


def sample(path: str, start: float | None, end: float | None, label: str = "walk", **more: str) -> Sample:
    split = more.pop("split", None)
    return Sample(path, label, split, start, end, {"path": path, "label": label, **more})


def index(*samples: Sample) -> DatasetIndex:
    return DatasetIndex("labels.csv", samples)


def gaps(found: DatasetIndex) -> list[tuple[str, float | None, float | None]]:
    return [(s.path, s.start_seconds, s.end_seconds) for s in found.samples if s.label == "background"]


def test_gaps_lie_between_segments_at_a_distance() -> None:
    data = index(
        sample("a", 7, 9, "sit"),
        sample("a", 1, 3),
        sample("a", 2.5, 4, "sit"),  # overlaps
        sample("a", 4.2, 6.9),  # 0.2 s and 0.1 s to its neighbors
        sample("a", 11, 12),  # 2 s: exactly long enough
        sample("a", 13.9, 15),  # 1.9 s: too short
        sample("b", 5, 6),  # nothing before its first segment, nor after its last one
        sample("c", 0, 2, "sit"),
        sample("c", 10, 12, "sit"),
    )
    found = with_background(data, BETWEEN)
    assert found.classes == ("background", "sit", "walk")
    assert gaps(found) == [("a", 9.5, 10.5), ("c", 2.5, 9.5)]
    assert found.samples[: len(data.samples)] == data.samples


def test_a_long_segment_hides_the_gaps_within_it() -> None:
    data = index(sample("a", 0, 20), sample("a", 1, 3), sample("a", 8, 9), sample("a", 30, 31))
    assert gaps(with_background(data, BETWEEN)) == [("a", 20.5, 29.5)]
    open_ended = index(sample("a", 0, None), sample("a", 1, 3), sample("a", 8, 9), sample("b", None, None))
    with pytest.raises(DataError, match="no two labeled segments of one video are 2 s apart"):
        with_background(open_ended, BETWEEN)


def test_nothing_is_background_unless_asked_for() -> None:
    data = index(sample("a", 0, 1), sample("a", 10, 12))
    assert with_background(data, BackgroundConfig()) is data
    assert load_recipe("nano").background.windows == "none"


def test_a_gap_belongs_to_the_part_and_the_group_of_both_neighbors() -> None:
    data = index(
        sample("a", 0, 1, split="train", date="1", who="x"),
        sample("a", 10, 11, split="train", date="1", who="y"),
        sample("a", 20, 21, split="test", date="1", who="y"),
        sample("a", 30, 31, split="test", date="2", who="y"),
    )
    found = with_background(data, BETWEEN).samples[4:]
    assert [(s.start_seconds, s.split) for s in found] == [(1.5, "train"), (21.5, "test")]
    assert found[0].columns == {"path": "a", "date": "1"}
    by_date = with_background(data, BETWEEN, "date").samples[4:]
    assert [s.start_seconds for s in by_date] == [1.5]


def test_held_out_groups_keep_their_gaps() -> None:
    rows = [sample(f"{d}", s, s + 1, "ab"[s % 20 // 10], date=d) for d in "12" for s in (0, 10, 20)]
    split = divide(with_background(index(*rows), BETWEEN, "date"), "date=2", 0.25, 0)
    for part, date in ((split.train, "1"), (split.test, "2")):
        assert {s.columns["date"] for s in part} == {date}
        assert sum(s.label == "background" for s in part) == 2


def test_the_background_does_not_outweigh_the_largest_class() -> None:
    many = [sample("a", 10 * n, 10 * n + 1, f"class {n % 5}") for n in range(50)]
    found = gaps(with_background(index(*many), BETWEEN, seed=1))
    assert len(found) == 10
    assert len(set(found)) == 10
    assert found == gaps(with_background(index(*many), BETWEEN, seed=1))
    assert found != gaps(with_background(index(*many), BETWEEN, seed=2))


def test_a_class_of_that_name_is_refused() -> None:
    data = index(sample("a", 0, 1, "background"), sample("a", 10, 12))
    with pytest.raises(DataError, match="has a class 'background' of its own"):
        with_background(data, BETWEEN)


def test_numbers_are_checked() -> None:
    with pytest.raises(UsageError, match=r"background\.margin_seconds is -1"):
        load_recipe("nano", {"background.margin_seconds": -1})
    with pytest.raises(UsageError, match=r"background\.windows"):
        load_recipe("nano", {"background.windows": "all"})


QUICK = (
    *("--set", "input.size=32", "--set", "model.num_frames=3", "--set", "model.streams=[spatial]"),
    *("--set", "motion_init=none", "--set", "temporal_init=none", "--set", "temporal.steps=0"),
    *("--set", "spatial.steps=60", "--set", "spatial.batch_size=8", "--set", "calibration.method=none"),
    *("--set", "input.crop_scales=[1.0]", "--workers", "0", "--quiet"),
)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two recordings of 20 s at 5 fps: red and green by turns, dark between; noisy."""
    rng = np.random.default_rng(0)
    rows = ["path,label,split,start_seconds,end_seconds"]
    for name in ("train", "test"):
        frames = rng.integers(0, 60, (100, 32, 32, 3))
        for number, start in enumerate((1, 6, 11, 16)):
            frames[5 * start : 5 * start + 10, ..., number % 2] += 150
            rows.append(f"{name}.mp4,{('red', 'green')[number % 2]},{name},{start},{start + 2}")
        write_video(tmp_path / f"{name}.mp4", frames.astype(np.uint8), 5)
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "labels.csv"


def test_training_learns_the_background(recordings: Path, tmp_path: Path, hts: Hts) -> None:
    run = tmp_path / "run"
    command = ("train", "--data", recordings, "--out", run, "--set", "background.windows=between", *QUICK)
    code, _, err = hts(*command)
    assert code == 0, err
    recognizer = hidden_two_stream.load(run)
    assert recognizer.classes == ("background", "green", "red")
    found = list(recognizer.segment(recordings.parent / "test.mp4"))
    assert [segment.label for segment in found] == ["red", "green", "red", "green"]
    for segment, start in zip(found, (1, 6, 11, 16), strict=True):
        assert segment.start_seconds == pytest.approx(start, abs=0.5)
        assert segment.end_seconds == pytest.approx(start + 2, abs=0.5)
    # The same folder goes on: the drawn gaps are those of the plan.
    assert hts("train", "--resume", "--out", run, "--quiet", "--workers", "0")[0] == 0


def test_commands_without_a_background_say_so(recordings: Path, tmp_path: Path, hts: Hts) -> None:
    options = ("--data", recordings, "--out", tmp_path / "out", "--set", "background.windows=between")
    for command in (("cross-validate", "--group", "split"), ("compare",)):
        code, _, err = hts(*command, *options)
        assert code == 2
        assert f"which {command[0]} does not support" in err
