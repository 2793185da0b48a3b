"""Columns that could be held out: which are found, where they are looked for, and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.data.groups import find_groups, grouping_columns
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.data.splits import divide
from hidden_two_stream.video.writer import write_video

Hts = Callable[..., tuple[int, str, str]]

ROWS = [  # class, subject, camera, frames, code of the class
    ("bow", "ann", "left", "60", "1"), ("bow", "bob", "left", "61", "1"),
    ("bow", "ann", "right", "62", "1"), ("bow", "bob", "right", "60", "1"),
    ("jump", "ann", "left", "64", "2"), ("jump", "bob", "right", "65", "2"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of six videos, with labels.csv and two other tables beside them."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    lines = ["path,label,subject,camera,frames,code"]
    for number, (label, *columns) in enumerate(ROWS):
        (root / label).mkdir(exist_ok=True)
        write_video(root / label / f"{number}.mp4", rng.integers(0, 256, (6, 32, 32, 3), np.uint8))
        lines.append(",".join((f"{label}/{number}.mp4", label, *columns)))
    (root / "a_table.csv").write_text("animal,weight\ncat,4\n")
    (root / "elsewhere.csv").write_text("\n".join(lines).replace("mp4", "avi") + "\n")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def test_columns_that_can_be_held_out(folder: Path) -> None:
    index = read_dataset_index(folder / "labels.csv")
    found = grouping_columns(index)
    assert found == {"subject": ("ann", "bob"), "camera": ("left", "right")}  # neither "frames" nor "code"
    for column, values in found.items():
        for value in values:
            assert divide(index, f"{column}={value}", 0.25, 0).test  # hts train accepts all of them


def test_a_value_that_is_missing_or_alone_makes_no_group() -> None:
    def columns(*values: str) -> dict[str, tuple[str, ...]]:
        samples = [Sample(f"{i}.mp4", "ab"[i % 2], columns={"who": who}) for i, who in enumerate(values)]
        return grouping_columns(DatasetIndex("x.csv", tuple(samples)))

    assert columns("1", "1", "2", "2") == {"who": ("1", "2")}
    assert columns("1", "1", "2", "2", "") == {}
    assert columns("1", "1", "2", "2", "3") == {}
    assert columns("1", "1", "1", "1") == {}


def test_a_list_in_the_folder_of_the_videos_is_found(folder: Path) -> None:
    groups = find_groups(read_dataset_index(folder))
    assert groups is not None
    assert groups.data == str(folder / "labels.csv")  # the other lists name other files, or none
    assert str(groups) == (
        f"{folder}/labels.csv groups the videos by subject (2 values: ann, bob), camera (2 values: left, "
        f"right); for a test on a group that training does not see, train with --data {folder}/labels.csv "
        "--hold-out subject=ann"
    )
    listed = find_groups(read_dataset_index(folder / "labels.csv"))
    assert listed is not None
    assert str(listed).endswith("train with --hold-out subject=ann")


def test_a_split_of_its_own_needs_no_group(folder: Path, tmp_path: Path) -> None:
    rows = [f"{i}.mp4,{row[0]},{row[1]},{'test' if i % 3 else 'train'}" for i, row in enumerate(ROWS)]
    (tmp_path / "split.csv").write_text("path,label,subject,split\n" + "\n".join(rows) + "\n")
    assert find_groups(read_dataset_index(tmp_path / "split.csv")) is None


def test_check_points_to_it(folder: Path, hts: Hts) -> None:
    code, out, _ = hts("check", folder, "--no-motion", "--workers", 0)
    assert code == 0
    assert f"{folder}/labels.csv groups the videos by subject" in out
    code, out, _ = hts("check", folder, "--no-motion", "--workers", 0, "--json")
    assert json.loads(out)["groups"] == {
        "data": f"{folder}/labels.csv",
        "columns": {"subject": ["ann", "bob"], "camera": ["left", "right"]},
        "is_other": True,
    }


def test_train_points_to_it_where_the_test_is_drawn(folder: Path, tmp_path: Path, hts: Hts) -> None:
    steps = [part for name in ("spatial", "temporal") for part in ("--set", f"{name}.steps=0")]
    common = ["--out", tmp_path / "run", "--workers", 0, *steps, "--set", "motion.steps=1",
              "--set", "input.size=32", "--set", "motion.batch_size=2"]  # fmt: skip
    _, _, err = hts("train", "--data", folder, *common)
    assert f"the test draws videos at random: {folder}/labels.csv groups the videos by subject" in err
    common[1] = tmp_path / "held"
    _, _, err = hts("train", "--data", folder / "labels.csv", "--hold-out", "subject=ann", *common)
    assert "held out: subject ann" in err
    assert "groups the videos" not in err
