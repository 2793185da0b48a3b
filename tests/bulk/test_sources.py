"""Lists of videos, and their parts for several machines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hidden_two_stream.bulk.sources import Shard, read_list
from hidden_two_stream.errors import DataError, UsageError

NAMES = [f"{number}.mp4" for number in range(11)]


@pytest.mark.parametrize("count", [1, 2, 3, 11, 12])
def test_all_parts_together_are_all_videos_each_once(count: int) -> None:
    parts = [Shard(number, count).of(NAMES) for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_first_part_begins_with_the_first_video() -> None:
    assert Shard.parse("1/4").of(NAMES) == ["0.mp4", "4.mp4", "8.mp4"]
    assert str(Shard.parse("2/8")) == "2/8"


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", "1/²", "1 /2"])
def test_other_texts_are_no_parts(text: str) -> None:
    with pytest.raises(UsageError, match="expected I/N"):
        Shard.parse(text)


def test_lines_are_paths_relative_to_the_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeffa b.mp4\r\n\n/abs/é.mp4\ns3://bucket/c.mp4\n#1.mp4\n", "utf-8")
    assert read_list(tmp_path / "list.txt") == [
        str(tmp_path / "a b.mp4"), "/abs/é.mp4", "s3://bucket/c.mp4", str(tmp_path / "#1.mp4"),
    ]  # fmt: skip


def test_a_list_here_gives_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("a.mp4\nsub/b.mp4\n")
    assert read_list(Path("list.txt")) == ["a.mp4", "sub/b.mp4"]


def test_a_csv_has_its_column_path(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("label;Path\nx;a.mp4\ny;b.mp4\n")
    assert read_list(tmp_path / "list.csv") == [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    (tmp_path / "list.csv").write_text("file\na.mp4\n")
    with pytest.raises(DataError, match="path"):
        read_list(tmp_path / "list.csv")


def test_what_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no list at"):
        read_list(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(DataError, match="names no video"):
        read_list(tmp_path / "empty.txt")
    (tmp_path / "video.txt").write_bytes(b"\xff\xfe\x00\x01\xfa")
    with pytest.raises(DataError):
        read_list(tmp_path / "video.txt")


def test_nothing_is_looked_up_in_a_long_list(tmp_path: Path) -> None:
    """100,000 videos that are not there: CPU time, which other work on the machine does not change."""
    (tmp_path / "list.txt").write_text("".join(f"folder/{number:06}.mp4\n" for number in range(100_000)))
    begin = time.process_time()
    assert len(read_list(tmp_path / "list.txt")) == 100_000
    assert time.process_time() - begin < 1
