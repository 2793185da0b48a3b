"""What is refused before or instead of decoding: special files, playlists, large frames, several images."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.data.clip_cache import decode_video
from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.video.limits import MAX_FRAME_PIXELS, resized_too_large
from hidden_two_stream.video.reader import VideoReader, probe, read_video
from hidden_two_stream.video.transforms import resize, to_tensor

from .recordings import moving_scene, png, tiff, write_recording

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def reason(source: Path | str) -> str:
    """Why a source is refused; the answer must come at once."""
    begun = time.monotonic()
    with pytest.raises(VideoError) as caught:
        VideoReader(source)
    assert time.monotonic() - begun < 1.5
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value)
    return caught.value.reason


# ---------------------------------------------------------------- special files


@posix
def test_special_files_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "no data came out of it within a second" in reason(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        old = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is short
        try:
            listening.bind("s.mp4")
        finally:
            os.chdir(old)
        assert "it is a socket" in reason(tmp_path / "s.mp4")
    for device in ("/dev/null", "/dev/zero"):
        assert "device" in reason(device)


@posix
def test_broken_links_say_where_they_lead(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "gone.mp4")
    assert reason(tmp_path / "a.mp4").endswith("gone.mp4': no such file or directory")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "b.mp4")
    assert "too many levels of symbolic links" in reason(tmp_path / "b.mp4")


@posix
def test_a_pipe_is_read_while_a_program_writes_into_it(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", moving_scene(30))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    with VideoReader(pipe) as reader:
        np.testing.assert_array_equal(
            np.stack([frame.image for frame in reader.frames()]), read_video(path)[0]
        )
        writer.join()
        with pytest.raises(VideoError, match="a pipe can be read only once"):
            list(reader.frames())


@posix
def test_special_files_in_a_folder_of_images_are_named(tmp_path: Path) -> None:
    for number in (1, 3):
        (tmp_path / f"{number}.png").write_bytes(png(moving_scene(1)[0]))
    os.mkfifo(tmp_path / "2.png")
    assert "stopped after 1 frame: 2.png: it is a named pipe" in str(probe(tmp_path).warning)
    (tmp_path / "2.png").unlink()
    (tmp_path / "2.png").symlink_to(tmp_path / "gone.png")
    assert "stopped after 1 frame: 2.png: no such file" in str(probe(tmp_path).warning)


# ---------------------------------------------------------------- playlists


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>\n',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", ["mp4", "kind"])
def test_playlists_do_not_show_another_video(tmp_path: Path, kind: str, suffix: str) -> None:
    write_recording(tmp_path / "secret.mp4", moving_scene(4))
    path = tmp_path / f"list.{kind if suffix == 'kind' else suffix}"
    path.write_text(PLAYLISTS[kind])
    assert "a list of other videos" in reason(path)


def test_a_playlist_that_is_not_recognized_is_not_followed_either(tmp_path: Path) -> None:
    """FFmpeg may open no format that leads to other files, whatever the file begins with."""
    write_recording(tmp_path / "secret.mp4", moving_scene(4))
    path = tmp_path / "list.ffconcat"
    path.write_text("# a comment, after which our own look at the file does not go on\nfile secret.mp4\n")
    reason(path)


@posix
def test_a_playlist_that_comes_out_of_a_pipe_is_not_followed(tmp_path: Path) -> None:
    video = write_recording(tmp_path / "secret.mp4", moving_scene(4))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = f"ffconcat version 1.0\nfile {video}\n"
    writer = threading.Thread(target=lambda: pipe.write_text(text))
    writer.start()
    assert "a list of other videos" in reason(pipe)
    writer.join()


def test_the_list_that_showed_another_video(data_root: Path) -> None:
    assert "a list of other videos" in reason(data_root / "faults" / "own_files" / "cat_rel.mp4")


# ---------------------------------------------------------------- sizes


def blank(suffix: str, height: int, width: int) -> bytes:
    """A file that claims a size, with little or no data behind it."""
    if suffix == "gif":
        return b"GIF89a" + struct.pack("<2H", width, height) + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    if suffix == "bmp":
        return b"BM" + struct.pack("<IIIIiiHHIIiiII", 999, 0, 54, 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
    if suffix == "ppm":
        return b"P6\n# made here\n%d %d\n255\n" % (width, height) + b"\0" * 99
    return png(np.broadcast_to(np.uint8(0), (height, width)))


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "ppm"])
@pytest.mark.parametrize("size", [(16384, 16384), (30000, 30000)])
def test_large_frames_are_refused_before_they_are_decoded(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(blank(suffix, *size))
    assert "at most 40 million" in reason(path)
    if suffix != "gif":
        (tmp_path / "frames").mkdir()
        path.rename(tmp_path / "frames" / f"1.{suffix}")
        with pytest.raises(VideoError, match="at most 40 million"):
            VideoReader(tmp_path / "frames")


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mkv", "ffv1", "yuv420p"),
        ("a.avi", "rawvideo", "yuv420p"),
    ],
)
def test_large_videos_are_refused_in_every_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, pixels: str
) -> None:
    path = write_recording(tmp_path / name, moving_scene(2), codec, pixels)
    monkeypatch.setattr("hidden_two_stream.video.limits.MAX_FRAME_PIXELS", 1000)
    for module in ("opening", "tracks"):
        monkeypatch.setattr(f"hidden_two_stream.video.sources.{module}.SIZE_LIMIT", {"max_pixels": "1000"})
    assert "at most 40 million" in reason(path)


def test_8k_video_is_read(tmp_path: Path) -> None:
    assert MAX_FRAME_PIXELS >= 7680 * 4320
    image = np.broadcast_to(np.uint8(9), (1, 4320, 7680, 3))
    path = write_recording(tmp_path / "a.mp4", np.ascontiguousarray(image), options={"preset": "ultrafast"})
    assert (probe(path).height, probe(path).width) == (4320, 7680)


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1), (2, 65_535)])
def test_narrow_frames_are_not_enlarged_to_gigabytes(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "1.png").write_bytes(png(np.zeros(size, np.uint8)))
    with pytest.raises(VideoError, match=r"would be resized to .*at most 2\.1 million pixels"):
        decode_video(tmp_path, 64, 0)
    with pytest.raises(UsageError, match="cannot resize a clip"):
        resize(to_tensor(np.zeros((1, *size, 3), np.uint8)), 64 * size[0], 64 * size[1])


@pytest.mark.parametrize(
    ("before", "after", "is_refused"),
    [
        ((2160, 4096), (2160, 4096), False),
        ((4320, 7680), (2160, 3840), False),
        ((4320, 7680), (3000, 5333), True),
        ((720, 1280), (1080, 1920), False),
        ((720, 1280), (1440, 2560), True),
        ((1, 1000), (64, 64000), True),
        ((1, 100), (64, 6400), False),
    ],
)
def test_limits_of_resizing(before: tuple[int, int], after: tuple[int, int], is_refused: bool) -> None:
    assert bool(resized_too_large(before, after)) is is_refused


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gif16000x60.gif", "40 million"), ("png1x100000", "2.1 million"), ("strip65535x1.gif", "2.1 million")],
)
def test_small_files_that_ask_for_gigabytes(data_root: Path, name: str, expected: str) -> None:
    with pytest.raises(VideoError, match=expected):
        decode_video(data_root / "faults" / "bombs" / name, 64, 1 << 28)


def animation(height: int, width: int, num_frames: int) -> bytes:
    """A GIF whose frames each change one pixel of a large picture, in 23 bytes."""
    header = b"GIF89a" + struct.pack("<2H", width, height) + b"\x80\0\0" + bytes(3) + b"\xff" * 3
    frame = b"\x21\xf9\4\4\4\0\0\0," + struct.pack("<4H", 0, 0, 1, 1) + b"\0\2\2D\1\0"
    return header + num_frames * frame + b";"


def test_an_animation_that_would_take_hours_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(animation(4000, 4000, 20_000))
    assert "its 20,000 frames of 4000 x 4000 have 320 billion pixels" in reason(tmp_path / "a.gif")


def test_many_small_frames_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(animation(32, 32, 20_000))
    assert probe(tmp_path / "a.gif").num_frames == 20_000


def test_an_animation_at_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gif").write_bytes(animation(8, 10, 5))
    write_recording(tmp_path / "a.apng", moving_scene(5, 8, 10), "apng", "rgb24")
    write_recording(tmp_path / "a.mkv", moving_scene(5, 8, 10), "ffv1")
    monkeypatch.setattr("hidden_two_stream.video.limits.MAX_ANIMATION_PIXELS", 400)
    assert {probe(tmp_path / name).num_frames for name in ("a.gif", "a.apng", "a.mkv")} == {5}
    monkeypatch.setattr("hidden_two_stream.video.limits.MAX_ANIMATION_PIXELS", 399)
    for name in ("a.gif", "a.apng"):
        assert "billion pixels together" in reason(tmp_path / name)
    assert probe(tmp_path / "a.mkv").num_frames == 5


# ---------------------------------------------------------------- several images in a file


def test_files_of_several_images_are_refused_with_the_reason(data_root: Path) -> None:
    assert "an animated WebP" in reason(data_root / "faults" / "10_animated_valid.webp")
    assert "a TIFF of several pages" in reason(data_root / "faults" / "11_multipage.tif")


def test_a_folder_does_not_take_one_image_of_several(data_root: Path, tmp_path: Path) -> None:
    image = moving_scene(1, 64, 64)[0]
    animated = (data_root / "faults" / "10_animated_valid.webp").read_bytes()
    other = tmp_path / "other.apng"  # a video, which may not stay in the folder
    apng = write_recording(other, moving_scene(3), "apng", "rgb24").read_bytes()
    other.unlink()
    several = {
        "2.webp": (animated, "animated WebP"),
        "2.ppm": (2 * (b"P6\n64 64\n255\n" + image.tobytes()), "several images"),
        "2.png": (apng, "several images"),
    }
    for number in (1, 3):
        (tmp_path / f"{number}.png").write_bytes(png(image))
    for name, (data, expected) in several.items():
        (tmp_path / name).write_bytes(data)
        warning = probe(tmp_path).warning
        (tmp_path / name).unlink()
        assert f"stopped after 1 frame: {name}: " in str(warning)
        assert expected in str(warning)


def test_a_thumbnail_beside_the_image_is_no_page(tmp_path: Path) -> None:
    image = moving_scene(1, 16, 24)[0]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(image, image[::2, ::2], subfile=1))
    np.testing.assert_array_equal(read_video(path)[0], image[None])
    path.write_bytes(tiff(image, image[::2, ::2], subfile=0))
    assert "several pages" in reason(path)
    path.write_bytes(b"II+\0\x08\0\0\0" + bytes(64))
    assert "BigTIFF" in reason(path)


# ---------------------------------------------------------------- folders of images


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 2, 3, 4), None),
        ((0, 5, 10, 15), None),
        ((1, 2, 4, 5), "the names of its images skip 1 number after 002.png"),
        ((10, 20, 50, 60, 90), "skip 4 numbers, the first after 020.png"),
        ((3, 17, 29, 80), None),  # times, perhaps
        ((7,), None),
    ],
)
def test_numbers_that_a_folder_skips_are_said(
    tmp_path: Path, numbers: tuple[int, ...], expected: str | None
) -> None:
    for number in numbers:
        (tmp_path / f"{number:03d}.png").write_bytes(png(moving_scene(1)[0]))
    info = probe(tmp_path)
    assert info.num_frames == len(numbers)
    assert info.warning is None if expected is None else expected in str(info.warning)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773], ids=["none", "lzw", "deflate", "packbits"])
def test_tiff_frames_of_other_software_are_read(tmp_path: Path, compression: int) -> None:
    """OpenCV writes tags that FFmpeg's strict mode refuses; half a file is still damaged."""
    cv2 = pytest.importorskip("cv2", reason="the extra 'flow' is not installed")
    frames = moving_scene(3, 48, 64)
    for number, image in enumerate(frames):
        bgr = np.ascontiguousarray(image[..., ::-1])
        cv2.imwrite(str(tmp_path / f"{number}.tif"), bgr, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    np.testing.assert_array_equal(read_video(tmp_path)[0], frames)
    data = (tmp_path / "1.tif").read_bytes()
    (tmp_path / "1.tif").write_bytes(data[: len(data) // 2])
    assert "stopped after 1 frame: 1.tif: " in str(probe(tmp_path).warning)


def test_a_y4m_header_of_a_huge_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    path.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(64))
    assert "60000 x 60000 pixels; expected at most 40 million" in reason(path)
