"""Rows find their videos and columns their classes; what does not fit is rejected."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.label_lists import LabelList, read_class_list, read_label_list
from hidden_two_stream.evaluation.score_alignment import (
    align_scores,
    infer_class_order,
    match_label_lists,
    match_videos,
)
from hidden_two_stream.evaluation.score_files import Scores


def test_rows_and_columns_are_brought_to_one_order() -> None:
    """Value 10 r + c stands for video r of the list and class c of the first stream."""
    labels = LabelList("list.txt", ("run/0.avi", "jump/1.avi"), ("run", "jump"))
    expected = np.array([[0, 1, 2], [10, 11, 12]])
    named = Scores("a", expected[[1, 0]], ("x/jump/1", "x/run/0"), ("jump", "run"), ("walk", "run", "jump"))
    turned = Scores("b", expected[:, [2, 0, 1]], classes=("jump", "walk", "run"))
    rows = np.array([[7, 7, 7], [10, 11, 12], [0, 1, 2]])
    more = Scores("c", rows, ("2.avi", "1.avi", "0.avi"), None, named.classes)
    aligned, unlisted = align_scores([named, turned, more], labels)
    for values in aligned.values:
        np.testing.assert_array_equal(values, expected)
    assert (aligned.truth.tolist(), unlisted) == ([1, 2], [0, 0, 1])
    assert aligned.accuracy(expected) == 0.5
    second = aligned.select(np.array([False, True]))
    assert (second.truth.tolist(), second.values[0].tolist()) == ([2], [[10, 11, 12]])
    wrong = LabelList("other.txt", labels.names, ("run", "run"))
    with pytest.raises(DataError, match=r"'jump/1\.avi' is 'jump' in list\.txt but 'run' in other"):
        match_label_lists(labels, wrong)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c")),
        (["10", "9", "1"], ("1", "9", "10")),
        # UCF101's numbering ignores case.
        (["Hammering", "Hammering", "HammerThrow"], ("Hammering", "HammerThrow")),
        (["HammerThrow", "HammerThrow", "Hammering"], ("HammerThrow", "Hammering")),
        (["Hammering", "HammerThrow", "Hammering"], None),
        (["b", "b", "a"], None),
    ],
)
def test_order_of_the_classes_is_inferred(labels: list[str], expected: tuple[str, ...] | None) -> None:
    if expected is None:
        with pytest.raises(DataError, match=r"list\.txt does not determine .*--classes"):
            infer_class_order(labels, "list.txt")
    else:
        assert infer_class_order(labels, "list.txt") == expected


def test_ucf101_columns_are_in_the_order_of_its_numbering(data_root: Path) -> None:
    folder = data_root / "splits" / "ucf101_splits"
    numbering = tuple(line.split()[1] for line in (folder / "classInd.txt").read_text().splitlines() if line)
    assert infer_class_order(read_label_list(folder / "testlist01.txt").labels, "") == numbering
    assert tuple(read_class_list(folder / "classInd.txt").values()) == numbering


@pytest.mark.parametrize(
    ("wanted", "names", "expected"),
    [
        (["a/1.avi", "b/1.avi"], ["/data/b/1.avi", "/data/a/1.avi"], [1, 0]),
        (["/data/a/1.avi"], ["a/1.avi"], [0]),
        (["a/1.avi"], ["x/a/1.avi", "a/1.avi"], [1]),
        (["a/1.avi"], ["a\\1.mp4"], [0]),
        (["a/1.avi", "a/1.mp4"], ["x/a/1.mp4", "x/a/1.avi"], [1, 0]),
        (["a/v_1.avi"], ["frames/v_1", "frames/v_11"], [0]),
        (["v1.2_x.avi"], ["v1.2_x", "v1"], [0]),
        (["a.mp4[0-1 s]", "a.mp4[1-2 s]"], ["/x/a.mp4[1-2 s]", "/x/a.mp4[0-1 s]"], [1, 0]),
    ],
)
def test_videos_are_matched_by_name(wanted: list[str], names: list[str], expected: list[int]) -> None:
    assert match_videos(wanted, names, "a.csv") == expected


@pytest.mark.parametrize(
    ("wanted", "names", "expected"),
    [
        (["a/1.avi"], ["x/a/1.avi", "y/a/1.avi"], r"'a/1\.avi' could be 'x/a/1\.avi' or 'y/a/1\.avi'"),
        (["a/1.avi"], ["b/1.avi", "c/1.avi"], "could be"),
        (["a/1.avi", "b/1.avi"], ["1.avi"], r"'1\.avi' could be 'a/1\.avi' or 'b/1\.avi'"),
        (["a/1.avi"], ["a/1.avi", "a/1.avi"], "could be"),
        (["a/1.avi", "a/2.avi", "a/3.avi"], ["a/1.avi"], r"lacks 2 of 3 listed videos, first 'a/2\.avi'"),
    ],
)
def test_missing_and_ambiguous_videos_fail(wanted: list[str], names: list[str], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        match_videos(wanted, names, "a.csv")
    assert "a.csv" in str(caught.value)


def test_numeric_labels_are_in_numeric_order_whatever_their_length() -> None:
    long = "9" * 5000
    assert infer_class_order(["10", "9", long, "007", "0"], "list") == ("0", "007", "9", "10", long)


def slow_match(wanted: str, names: list[str]) -> list[int]:
    """The rules, one by one and path by path."""

    def parts(name: str) -> list[str]:
        return name.split("/")

    def plain(name: list[str]) -> list[str]:
        return [*name[:-1], name[-1].removesuffix(".avi").removesuffix(".mp4")]

    def ends(one: list[str], two: list[str]) -> bool:
        return one[-min(len(one), len(two)) :] == two[-min(len(one), len(two)) :]

    rules: list[Callable[[list[str]], bool]] = [
        lambda path: path == parts(wanted),
        lambda path: ends(path, parts(wanted)),
        lambda path: ends(plain(path), plain(parts(wanted))),
        lambda path: plain(path)[-1] == plain(parts(wanted))[-1],
    ]
    return next(
        (rows for rule in rules if (rows := [row for row, name in enumerate(names) if rule(parts(name))])), []
    )


def test_the_index_finds_what_the_rules_say() -> None:
    draw = random.Random(0)

    def path() -> str:
        folders = [draw.choice("ab") for _ in range(draw.randrange(3))]
        return "/".join([*folders, draw.choice("12") + draw.choice([".avi", ".mp4", ""])])

    kinds = set()
    for _ in range(3000):
        names = list(dict.fromkeys(path() for _ in range(draw.randrange(1, 6))))
        wanted = path()
        rows = slow_match(wanted, names)
        kinds.add(min(len(rows), 2))
        if len(rows) == 1:
            assert match_videos([wanted], names, "file") == rows
            continue
        expected = (
            f"{wanted!r} could be {names[rows[0]]!r} or {names[rows[1]]!r}" if rows else "file lacks 1 of 1"
        )
        with pytest.raises(DataError, match=re.escape(expected)):
            match_videos([wanted], names, "file")
    assert kinds == {0, 1, 2}


def test_many_videos_of_one_file_name_are_matched_in_linear_time() -> None:
    names = [f"/data/c{number % 3}/d{number}/clip.avi" for number in range(40_000)]
    wanted = [f"c{number % 3}/d{number}/clip.mp4" for number in reversed(range(40_000))]
    start = time.process_time()
    assert match_videos(wanted, names, "file") == list(reversed(range(40_000)))
    assert time.process_time() - start < 10
