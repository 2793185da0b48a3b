"""Files with several video tracks: each track has a gray level of its own, which tells it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from hidden_two_stream.video.reader import probe, read_video

# Height and width, number of frames, mark.
_Track = tuple[int, int, int, Disposition]
NO_MARK, DEFAULT = Disposition(0), Disposition.default


def write_tracks(path: Path, tracks: list[_Track]) -> Path:
    """Track i has the gray level 50 + 60 i."""
    with av.open(str(path), "w") as container:
        streams = []
        for height, width, _, mark in tracks:
            stream = container.add_stream("mpeg4", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt, stream.disposition = height, width, "yuv420p", mark
            streams.append(stream)
        for number, (stream, (height, width, count, _)) in enumerate(zip(streams, tracks, strict=True)):
            image = np.full((height, width, 3), 50 + 60 * number, np.uint8)
            for _ in range(count):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mkv", "avi", "ts"])  # FFmpeg marks the first track of a mov
@pytest.mark.parametrize(
    ("tracks", "chosen"),
    [
        ([(16, 16, 1, NO_MARK), (32, 48, 8, DEFAULT)], 1),
        ([(32, 48, 8, NO_MARK), (16, 16, 1, NO_MARK)], 0),
        ([(64, 64, 1, NO_MARK), (32, 48, 8, NO_MARK)], 1),  # a preview may be larger
        ([(16, 16, 8, NO_MARK), (32, 48, 8, NO_MARK)], 1),
        ([(32, 48, 3, NO_MARK), (32, 48, 8, NO_MARK)], 1),
        ([(32, 48, 8, NO_MARK), (32, 48, 8, NO_MARK)], 0),
    ],
)
def test_the_larger_and_longer_track_is_read(
    tmp_path: Path, suffix: str, tracks: list[_Track], chosen: int
) -> None:
    clip, info = read_video(write_tracks(tmp_path / f"a.{suffix}", tracks))
    height, width, count, _ = tracks[chosen]
    assert clip.shape == (count, height, width, 3)
    assert abs(int(clip.mean()) - (50 + 60 * chosen)) < 5
    assert info.warning is None


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_the_default_track_is_read_even_if_it_is_smaller(tmp_path: Path, suffix: str) -> None:
    tracks = [(64, 64, 8, NO_MARK), (32, 48, 6, DEFAULT)]
    assert read_video(write_tracks(tmp_path / f"a.{suffix}", tracks))[0].shape == (6, 32, 48, 3)


def test_a_preview_is_not_read_even_if_it_is_the_default(tmp_path: Path) -> None:
    tracks = [(16, 16, 1, DEFAULT), (32, 48, 6, NO_MARK)]
    assert probe(write_tracks(tmp_path / "a.mov", tracks)).num_frames == 6


def test_the_recording_behind_a_preview_is_read(data_root: Path) -> None:
    info = probe(data_root / "faults" / "14_preview_stream_first.mov")
    assert (info.num_frames, info.height, info.width, info.warning) == (16, 64, 64, None)
