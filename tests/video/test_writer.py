"""Written videos, read back by FFmpeg, and errors while writing."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.synthetic.clips import Difficulty, generate_clip
from hidden_two_stream.video.writer import write_video

CLEAN = Difficulty(noise_sigma=0, brightness=0, background_moves=1)
BLACK = np.zeros((16, 16, 3), np.uint8)


def decoded(path: Path) -> tuple[np.ndarray, str, float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None
        rate = float(stream.average_rate)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), str(stream.codec_context.pix_fmt), rate


@pytest.mark.parametrize(
    ("height", "width", "pix_fmt"), [(64, 48, "yuv420p"), (63, 48, "yuv444p"), (32, 37, "yuv444p")]
)
def test_a_written_video_reads_back(tmp_path: Path, height: int, width: int, pix_fmt: str) -> None:
    frames = generate_clip("right", 0, difficulty=CLEAN).frames[:, :height, :width]
    write_video(tmp_path / "new" / "clip.mp4", frames, fps=12.5, crf=12)
    back, stored, rate = decoded(tmp_path / "new" / "clip.mp4")
    assert (back.shape, stored, rate) == (frames.shape, pix_fmt, 12.5)
    assert np.abs(back.astype(int) - frames).mean() < 8
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["clip.mp4"]


def test_another_encoder_serves_where_h264_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    frames = generate_clip("right", 0, difficulty=CLEAN).frames[:, :63]
    write_video(tmp_path / "clip.mp4", frames)
    back, _, _ = decoded(tmp_path / "clip.mp4")
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).mean() < 10


def test_a_failed_write_leaves_nothing_and_spares_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = generate_clip("right", 0).frames
    old = tmp_path / "old.mp4"
    old.write_bytes(b"as it was")
    whole = av.VideoFrame.from_ndarray
    left = iter(range(5))

    class FullDisk:
        @staticmethod
        def from_ndarray(array: np.ndarray, format: str) -> av.VideoFrame:
            if next(left, None) is None:
                raise OSError(28, "No space left on device")
            return whole(array, format=format)

    monkeypatch.setattr(av, "VideoFrame", FullDisk)
    with pytest.raises(OutputError, match=r"old\.mp4.*No space left"):
        write_video(old, frames)
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]
    assert old.read_bytes() == b"as it was"


@pytest.mark.parametrize(
    "name", ["a_file/clip.mp4", "clip.unknown", "clip", "clip.wav", "clip.webm", "a_folder"]
)
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "a_file").write_text("")
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(OutputError) as caught:
        write_video(tmp_path / name, [BLACK, BLACK])
    assert Path(name).name in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_file", "a_folder"]


def test_a_generator_gives_the_same_file_as_an_array(tmp_path: Path) -> None:
    frames = generate_clip("down", 0).frames
    write_video(tmp_path / "array.mp4", frames)
    write_video(str(tmp_path / "generator.mp4"), (frame for frame in frames))
    assert (tmp_path / "array.mp4").read_bytes() == (tmp_path / "generator.mp4").read_bytes()


def test_frames_are_let_go_as_they_are_written(tmp_path: Path) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Counted(np.ndarray):  # type: ignore[type-arg]
        def __hash__(self) -> int:
            return id(self)

    def made() -> Iterator[np.ndarray]:
        nonlocal most
        for number in range(200):
            frame = np.full((16, 16, 3), number, np.uint8).view(Counted)
            alive.add(frame)
            yield frame
            most = max(most, len(alive))

    write_video(tmp_path / "clip.mp4", made())
    assert most < 6
    assert len(decoded(tmp_path / "clip.mp4")[0]) == 200


def test_images_with_even_sides_play_in_browsers(tmp_path: Path) -> None:
    # Browsers decode 4:2:0 H.264 up to the High profile. Large enough for encoding in threads.
    wide = np.random.default_rng(0).integers(0, 256, (2, 240, 642, 3), np.uint8)
    write_video(tmp_path / "wide.mp4", wide)
    with av.open(str(tmp_path / "wide.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.profile, codec.pix_fmt) == ("h264", "High", "yuv420p")
        assert (codec.width, codec.height) == (642, 240)
        assert len(list(container.decode(video=0))) == 2


def test_nothing_to_write_leaves_the_place_alone(tmp_path: Path) -> None:
    for frames in ([], iter(()), np.zeros((0, 16, 16, 3), np.uint8)):
        with pytest.raises(UsageError, match="no frames"):
            write_video(tmp_path / "new" / "clip.mp4", frames)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (np.zeros((16, 18, 3), np.uint8), "frame 3 of 18 x 16 pixels after 16 x 16"),
        (np.zeros((16, 16, 3)), "float64, as frame 3"),
        (np.zeros((16, 16), np.uint8), r"shape \(16, 16\)"),
        (np.zeros((16, 0, 3), np.uint8), r"shape \(16, 0, 3\)"),
        ("frame.png", "got str as frame 3"),
    ],
)
def test_a_frame_unlike_the_others_leaves_the_old_file(tmp_path: Path, wrong: Any, named: str) -> None:
    old = tmp_path / "clip.mp4"
    old.write_bytes(b"as it was")
    with pytest.raises(UsageError, match=named):
        write_video(old, [BLACK, BLACK, BLACK, wrong])
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert old.read_bytes() == b"as it was"


def test_an_error_of_the_one_who_makes_the_frames_stays_what_it_is(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield BLACK
        raise ValueError("shapes do not match")

    with pytest.raises(ValueError, match="shapes do not match"):
        write_video(tmp_path / "clip.mp4", broken())
    assert list(tmp_path.iterdir()) == []


def test_arguments_are_checked(tmp_path: Path) -> None:
    for fps in (0, -1, 1000, 1e-5, float("nan")):
        with pytest.raises(UsageError, match="fps"):
            write_video(tmp_path / "a.mp4", [BLACK], fps=fps)
    for crf in (-1, 52):
        with pytest.raises(UsageError, match="crf"):
            write_video(tmp_path / "a.mp4", [BLACK], crf=crf)
    with pytest.raises(UsageError, match=r"shape \(16, 3\)"):
        write_video(tmp_path / "a.mp4", BLACK)  # one image, not a list of them
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0.001, 29.97, 30000 / 1001, 999.9])
def test_rates_are_kept(tmp_path: Path, fps: float) -> None:
    write_video(tmp_path / "clip.mp4", [BLACK] * 3, fps=fps)
    assert decoded(tmp_path / "clip.mp4")[2] == pytest.approx(fps, rel=1e-3)


@pytest.mark.skipif("libx264" not in av.codecs_available, reason="its own limit")
def test_images_that_are_too_large_are_reported(tmp_path: Path) -> None:
    widest = np.zeros((16, 16384, 3), np.uint8)
    write_video(tmp_path / "wide.mp4", [widest])
    assert decoded(tmp_path / "wide.mp4")[0].shape == (1, *widest.shape)
    with pytest.raises(OutputError, match=r"at most 16,384 px a side; these have 16400 x 16"):
        write_video(tmp_path / "wider.mp4", [np.zeros((16, 16400, 3), np.uint8)])
    assert [path.name for path in tmp_path.iterdir()] == ["wide.mp4"]
