"""Finding looks at names alone: the files of these tests are empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.finding import (
    expand_sources,
    find_videos,
    frame_images,
    is_frame_folder,
    is_url,
)


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_find_videos_looks_everywhere_but_in_hidden_places(tmp_path: Path) -> None:
    for name in ("b/x.AVI", "a/deep/y.mp4", "a/z.txt", "a/.hidden.mp4", ".git/v.mp4", "top.webm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / "a/deep/y.mp4", tmp_path / "b/x.AVI", tmp_path / "top.webm"]
    assert find_videos(tmp_path) == expected
    with pytest.raises(UsageError, match="no folder"):
        find_videos(tmp_path / "top.webm")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_find_videos_follows_links_and_survives_a_circle(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.mp4").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "class").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "data")
    assert find_videos(tmp_path / "data") == [tmp_path / "data/class/a.mp4"]


def test_is_frame_folder(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    touch(folder, "frame_0.png", "frame_1.png")
    assert is_frame_folder(folder)
    assert not is_frame_folder(tmp_path)
    assert not is_frame_folder(folder / "frame_0.png")
    assert not is_frame_folder(tmp_path / "missing")
    (folder / "sub").mkdir()
    assert is_frame_folder(folder)
    (folder / "sub" / "a.mp4").touch()
    assert not is_frame_folder(folder)


def test_frame_images_come_in_natural_order_without_flow(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "img_10.png",
        "img_9.jpg",
        "flow_x_9.jpg",
        "FLOW_Y_9.jpg",
        ".img_1.png",
        "notes.txt",
        "sub/a.png",
    )
    assert [path.name for path in frame_images(tmp_path)] == ["img_9.jpg", "img_10.png"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("http://a/b.mp4", True),
        ("rtsp://camera", True),
        ("C://a.mp4", False),
        ("a/b.mp4", False),
        ("a:b", False),
    ],
)
def test_is_url(source: str, expected: bool) -> None:
    assert is_url(source) is expected


def test_expand_sources(tmp_path: Path) -> None:
    touch(
        tmp_path, "a/one.mp4", "a/deep/two.avi", "a/frames/0.png", "a/notes.txt", "b/three.mkv", "b/x[1].mp4"
    )
    one, two, frames = (str(tmp_path / "a" / name) for name in ("one.mp4", "deep/two.avi", "frames"))
    three, odd = (str(tmp_path / "b" / name) for name in ("three.mkv", "x[1].mp4"))
    assert expand_sources([str(tmp_path / "a")]) == [two, frames, one]
    assert expand_sources([three, str(tmp_path / "b"), one]) == [three, odd, one]
    assert expand_sources([str(tmp_path / "**" / "*.mp4"), frames]) == [one, odd, frames]
    assert expand_sources([odd, "http://host/v.mp4"]) == [odd, "http://host/v.mp4"]
    with pytest.raises(UsageError, match=r"no file, folder or match for .*nope\*'; check the path"):
        expand_sources([str(tmp_path / "nope*")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no videos in the folder"):
        expand_sources([str(tmp_path / "empty")])
    for name in ("", " "):
        with pytest.raises(UsageError, match="the name of a video is empty"):
            expand_sources([odd, name])


@pytest.mark.skipif(
    os.name == "nt", reason="Windows has neither pipes in folders nor links without a privilege"
)
def test_expand_sources_leaves_special_files_to_the_reader(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    names = [str(tmp_path / f"{name}.mp4") for name in ("a", "broken", "circle", "pipe")]
    assert expand_sources(names) == names
    assert expand_sources([str(tmp_path / "*.mp4")]) == names
    assert expand_sources([str(tmp_path)]) == names
    assert expand_sources(["/dev/stdin"]) == ["/dev/stdin"]
