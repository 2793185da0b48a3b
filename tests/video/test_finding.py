"""Finding looks at names alone: the files of these tests are empty."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.finding import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    expand_sources,
    find_videos,
    frame_images,
    is_frame_folder,
    is_image,
    is_url,
    is_video,
    scan_videos,
    video_stem,
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


def test_scan_finds_videos_and_frame_folders_at_any_depth(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("a.MP4", "one/deep/1.png", "one/deep/2.png", "one/deep/masks/1.png", "one/deep/masks/2.png"),
        *("two/poster.jpg", "two/clip.avi/1.jpg", "two/clip.avi/2.jpg", "three/4.mp4", "three/thumb.jpg"),
        *("single/1.png", "1.png", "x.txt", ".hidden/a.mp4", "__MACOSX/b.mp4", "two/._c.mp4"),
    )
    found = scan_videos(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.videos] == [
        "a.MP4",
        "one/deep",
        "single",
        "three/4.mp4",
        "two/clip.avi",
    ]
    assert {path.relative_to(tmp_path).as_posix() for path in found.left_out} == {
        *("1.png", "x.txt", "one/deep/masks/1.png", "one/deep/masks/2.png", "two/poster.jpg"),
        "three/thumb.jpg",
    }
    assert found.num_hidden == 3
    shown = [str(path) for path in sorted(tmp_path.rglob("*")) if path.is_dir() and is_frame_folder(path)]
    assert shown == [
        str(tmp_path / name) for name in ("one/deep", "one/deep/masks", "single", "two/clip.avi")
    ]
    assert expand_sources([str(tmp_path)]) == [str(path) for path in found.videos]


SUFFIXES = (
    "mp4 avi mov mkv webm h264 264 h265 265 hevc y4m mjpeg mjpg m2v m1v 3g2 f4v divx rm rmvb mj2 ivf dv nut "
    "wtv amv m4p qt mod tod dav"
)


@pytest.mark.parametrize("suffix", SUFFIXES.split())
def test_suffixes_of_videos_in_any_case(suffix: str) -> None:
    assert is_video(f"a.{suffix}")
    assert is_video(f"a.b.{suffix.upper()}")
    assert video_stem(f"x/a.b.{suffix}") == "x/a.b"
    assert not is_image(f"a.{suffix}")


def test_other_suffixes_are_no_videos() -> None:
    for name in ("notes.txt", "mp4", ".mp4", "a.mp4.txt", "a.wav", "labels.csv"):
        assert not is_video(name)
        assert video_stem(name) == name
    assert VIDEO_SUFFIXES.isdisjoint(IMAGE_SUFFIXES)


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


def test_expand_sources_lists_stores(tmp_path: Path) -> None:
    touch(tmp_path, "a/one.mp4", "a/deep/two.avi", "a/notes.txt", "a/raw")
    system = fsspec.filesystem("memory")
    for name in ("one.mp4", "deep/two.avi", "notes.txt", "raw"):
        system.pipe_file(f"/finding/{name}", b"x")
    try:
        root = "memory://finding"
        both = expand_sources([f"{root}/"])
        assert [Path(source).name for source in both] == ["two.avi", "one.mp4"]
        assert expand_sources([root]) == both
        assert len(expand_sources([f"{root}/*"])) == 3  # a pattern chooses by itself
        assert expand_sources([f"{root}/gone.mp4"]) == [f"{root}/gone.mp4"]  # reading it says so
        assert expand_sources([f"{root}/raw"])[0].endswith("raw")
        with pytest.raises(UsageError, match="no file at or below"):
            expand_sources([f"{root}/none/"])
        here, address = str(tmp_path / "a"), (tmp_path / "a").as_uri()
        assert expand_sources([address]) == expand_sources([here])
        assert expand_sources([f"{address}/**/*.avi"]) == expand_sources([f"{here}/**/*.avi"])
    finally:
        system.rm("/finding", recursive=True)
