"""All eight orientations; the reference is their definition in the EXIF standard, applied with numpy."""

from __future__ import annotations

import gc
import io
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.video.reader import VideoReader, read_video

from .recordings import Clip, moving_scene, png, tiff, write_recording

# By the number of the EXIF tag: where its row 0 and its column 0 are shown.
SHOWN: dict[int, Callable[[Clip], Clip]] = {
    1: lambda image: image,  # top, left
    2: lambda image: image[:, ::-1],  # top, right
    3: lambda image: image[::-1, ::-1],  # bottom, right
    4: lambda image: image[::-1],  # bottom, left
    5: lambda image: image.transpose(1, 0, 2),  # left, top
    6: lambda image: np.rot90(image, -1),  # right, top
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda image: np.rot90(image),  # left, bottom
}

# a, b, c, d of the matrix in a QuickTime track header that shows a video as the EXIF number says.
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def exif(orientation: int) -> bytes:
    """The smallest EXIF data: a TIFF header and one entry."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Set the display matrix of the first track of an MP4 file."""
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 44  # version 0
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def stored(path: Path) -> list[Clip]:
    """The frames as they are stored."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)]


def jpeg(image: Clip, orientation: int) -> bytes:
    data = io.BytesIO()
    with av.open(data, "w", format="image2pipe") as container:
        track = container.add_stream("mjpeg", rate=25)
        assert isinstance(track, av.VideoStream)
        track.height, track.width = image.shape[:2]
        track.pix_fmt = "yuvj444p"
        container.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(track.encode())
    body = b"Exif\0\0" + exif(orientation)
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + data.getvalue()[2:]


@pytest.mark.parametrize("orientation", SHOWN)
def test_a_video_is_shown_as_its_matrix_says(tmp_path: Path, orientation: int) -> None:
    plain = write_recording(tmp_path / "a.mp4", moving_scene(4))
    expected = [SHOWN[orientation](image) for image in stored(plain)]
    shown = with_matrix(plain, *MATRICES[orientation])
    clip, info = read_video(shown)
    np.testing.assert_array_equal(clip, np.stack(expected))
    assert (info.height, info.width) == expected[0].shape[:2]
    with VideoReader(shown) as reader:
        np.testing.assert_array_equal(reader.read([3])[0], expected[3])


@pytest.mark.parametrize("orientation", SHOWN)
def test_images_are_shown_as_their_exif_tag_says(tmp_path: Path, orientation: int) -> None:
    image = moving_scene(1, 32, 48)[0]
    expected = SHOWN[orientation](image)
    for suffix, data in (
        ("png", png(image, (b"eXIf", exif(orientation)))),
        ("tif", tiff(image, orientation=orientation)),
    ):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(data)
        np.testing.assert_array_equal(read_video(path)[0], expected[None], err_msg=suffix)
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.png").write_bytes(png(image, (b"eXIf", exif(orientation))))
    (folder / "2.png").write_bytes(png(image, (b"eXIf", exif(orientation))))
    np.testing.assert_array_equal(read_video(folder)[0], np.stack([expected, expected]))


@pytest.mark.parametrize("orientation", SHOWN)
def test_jpegs_are_shown_as_their_exif_tag_says(tmp_path: Path, orientation: int) -> None:
    image = moving_scene(1, 32, 48)[0]
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(jpeg(image, 1))
    expected = SHOWN[orientation](read_video(folder)[0][0])
    (folder / "1.jpg").write_bytes(jpeg(image, orientation))
    np.testing.assert_array_equal(read_video(folder)[0], expected[None])


def test_frames_of_a_folder_have_an_orientation_each(tmp_path: Path) -> None:
    """FFmpeg's angle is 0 both for upright images and for those that are mirrored top to bottom."""
    image = moving_scene(1, 32, 48)[0]
    for number, orientation in enumerate((1, 4, 2, 3)):
        (tmp_path / f"{number}.png").write_bytes(png(image, (b"eXIf", exif(orientation))))
    expected = [SHOWN[orientation](image) for orientation in (1, 4, 2, 3)]
    np.testing.assert_array_equal(read_video(tmp_path)[0], np.stack(expected))


@pytest.mark.parametrize(
    "name",
    ["01_display_matrix_hflip.mp4", "01_up_clip_with_mirror_matrix_predicted_down.mp4"],
)
def test_mirrored_recordings_are_mirrored_left_to_right(data_root: Path, name: str) -> None:
    path = data_root / "faults" / name
    expected = [image[:, ::-1] for image in stored(path)]
    np.testing.assert_array_equal(read_video(path)[0], np.stack(expected))


def test_a_mirrored_folder_is_mirrored_left_to_right(data_root: Path) -> None:
    folder = data_root / "faults" / "01_exif2_frames"
    expected = [stored(path)[0][:, ::-1] for path in sorted(folder.iterdir())]
    np.testing.assert_array_equal(read_video(folder)[0], np.stack(expected))


def test_reading_does_not_hold_frames_in_memory(tmp_path: Path) -> None:
    """PyAV's side data and its frame refer to each other: a frame whose side data was read would stay."""
    image = moving_scene(1, 32, 48)[0]
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(png(image, (b"eXIf", exif(2))))
    gc.collect()
    gc.disable()
    held = []
    try:
        with VideoReader(tmp_path) as reader:
            for _ in reader.frames():
                held.append(sum(type(item) is av.VideoFrame and item.width > 2 for item in gc.get_objects()))
    finally:
        gc.enable()
    assert max(held) <= 5
