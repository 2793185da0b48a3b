"""Label lists and class lists: every form is read, and broken ones are rejected with their line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.evaluation.label_lists import read_class_list, read_label_list


def written(path: Path, lines: Sequence[str], newline: str = "\n") -> Path:
    path.write_text("".join(line + newline for line in lines), newline="")
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_forms_of_a_list(tmp_path: Path, newline: str) -> None:
    def read(name: str, *lines: str) -> list[tuple[str, str]]:
        found = read_label_list(written(tmp_path / name, lines, newline))
        return list(zip(found.names, found.labels, strict=True))

    assert read("a.txt", "Run/my clip.avi", "", "x/Walk/v_1") == [
        ("Run/my clip.avi", "Run"),
        ("x/Walk/v_1", "Walk"),
    ]
    assert read("b.txt", "Run/1.avi 3", "my clip.avi 12") == [("Run/1.avi", "3"), ("my clip.avi", "12")]
    rows = read("c.csv", "path,label", "1.avi,fall down", "2.avi,stand")
    assert rows == [(str(tmp_path / "1.avi"), "fall down"), (str(tmp_path / "2.avi"), "stand")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "lists no videos"),
        (["a/1.avi", "b/2.avi", "a/1.avi"], "lists 'a/1.avi' twice"),
        (["a/1.avi", "2.avi"], "line 2: '2.avi' has no class"),
        (["a/1.avi", "b/2.avi 2"], "line 2: 'b/2.avi 2' has another form .*; expected CLASS/video"),
    ],
)
def test_broken_lists_are_rejected_with_their_line(tmp_path: Path, lines: list[str], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_label_list(written(tmp_path / "list.txt", lines))


def test_unreadable_lists_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="begins as text in UTF-16 does, but is not"):
        read_label_list(tmp_path / "list.txt")
    for read in (read_label_list, read_class_list):
        with pytest.raises(UsageError, match=r"no list of .*gone\.txt"):
            read(tmp_path / "gone.txt")
    for lines in (["a"], ["a", "b", "a"], ["1 a", "2 a"], ["1 a", "1 b"]):
        with pytest.raises(DataError, match="expected two or more, each once"):
            read_class_list(written(tmp_path / "classes.txt", lines))


def test_many_repeated_lines_are_named_at_once(tmp_path: Path) -> None:
    """40,000 lines, each twice, took 22 s."""
    lines = [f"a/{number % 20_000}.avi {number % 3}" for number in range(40_000)]
    path = written(tmp_path / "list.txt", lines)
    start = time.process_time()
    with pytest.raises(DataError, match=r"lists 'a/0.avi' twice, and 19999 other videos; list each video"):
        read_label_list(path)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("digits", [10, 5000])
def test_a_class_number_of_many_digits_is_refused(tmp_path: Path, digits: int) -> None:
    path = written(tmp_path / "classes.txt", ["9" * digits + " a", "1 b"])
    with pytest.raises(DataError, match=rf"classes\.txt' has a class number of {digits} digits"):
        read_class_list(path)
    assert read_class_list(written(path, ["999999999 a", "1 b"])) == {"1": "b", "999999999": "a"}
