"""Values of 8 to 14 bits in 16-bit images; the reference is the value, shifted to 8 bits."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.video.reader import VideoReader, probe, read_video

from .recordings import png, write_recording

Deep = npt.NDArray[np.uint16]


def ramp(*highest: int) -> Deep:
    """Gray frames, (T, 16, 32), from 0 to a highest value each."""
    return np.stack([np.linspace(0, top, 512).reshape(16, 32).astype(np.uint16) for top in highest])


def write_folder(folder: Path, frames: Deep) -> Path:
    folder.mkdir()
    for number, image in enumerate(frames):
        (folder / f"{number:03d}.png").write_bytes(png(image))
    return folder


@pytest.mark.parametrize(
    ("highest", "bits"), [(200, 8), (256, 10), (1023, 10), (1100, 12), (4095, 12), (4096, 14), (16383, 14)]
)
def test_a_few_bits_fill_the_range(tmp_path: Path, highest: int, bits: int) -> None:
    frames = ramp(highest, highest // 4)  # the second frame stays darker
    expected = (frames >> (bits - 8)).astype(np.uint8)[..., None].repeat(3, axis=3)
    folder = write_folder(tmp_path / "frames", frames)
    recording = write_recording(tmp_path / "a.mkv", frames, "ffv1", "gray16le", source="gray16le")
    for source in (folder, recording):
        clip, info = read_video(source)
        np.testing.assert_array_equal(clip, expected)
        assert info.warning == (
            f"its 16-bit frames hold {bits}-bit values: brightened {1 << 16 - bits} times to be visible"
        )
        with VideoReader(source) as reader:
            np.testing.assert_array_equal(reader.read([1])[0], expected[1])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_stream_stays_as_it_is_and_says_so(tmp_path: Path) -> None:
    frames = ramp(4095, 4095)
    path = write_recording(tmp_path / "a.mkv", frames, "ffv1", "gray16le", source="gray16le")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    clip, info = read_video(pipe)
    writer.join()
    assert clip.max() == 16  # 4095 of 65535
    assert info.warning == "its 16-bit frames begin with 12-bit values: a stream stays dark"


def test_the_whole_clip_decides(tmp_path: Path) -> None:
    """The first frame uses 10 bits, the last one 12."""
    frames = ramp(1000, 900, 3000)
    clip, info = read_video(write_folder(tmp_path / "frames", frames))
    np.testing.assert_array_equal(clip[..., 0], (frames >> 4).astype(np.uint8))
    assert "12-bit values" in str(info.warning)


def test_color_keeps_its_hue(tmp_path: Path) -> None:
    gray = ramp(4000)[0]
    frames = np.stack([gray, gray // 2, gray // 4], axis=-1)[None]
    clip, _ = read_video(write_folder(tmp_path / "frames", frames))
    np.testing.assert_array_equal(clip, (frames >> 4).astype(np.uint8))


@pytest.mark.parametrize("highest", [20000, 40000, 65535])
def test_the_full_range_stays(tmp_path: Path, highest: int) -> None:
    frames = ramp(300, highest)
    clip, info = read_video(write_folder(tmp_path / "frames", frames))
    assert info.warning is None
    assert np.abs(clip[..., 0].astype(int) - (frames >> 8)).max() <= 1


@pytest.mark.parametrize(("pixels", "bits"), [("gray10le", 10), ("gray12le", 12)])
def test_formats_that_say_their_depth_need_no_guess(tmp_path: Path, pixels: str, bits: int) -> None:
    frames = ramp((1 << bits) - 1, (1 << bits) // 8)
    path = write_recording(tmp_path / "a.mkv", frames, "ffv1", pixels, source=pixels)
    clip, info = read_video(path)
    assert info.warning is None
    assert np.abs(clip[..., 0].astype(int) - (frames >> (bits - 8))).max() <= 1


def test_real_images_of_12_bits_have_full_contrast(data_root: Path) -> None:
    folder = data_root / "faults" / "09_12bit_in_16bit_png"
    clip, info = read_video(folder)
    assert (clip.min(), clip.max()) == (447 >> 4, 4079 >> 4)  # its smallest and largest values
    assert "12-bit values" in str(info.warning)
    assert probe(data_root / "odd" / "h264_10bits.mp4").warning is None
