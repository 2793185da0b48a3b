"""An hour of video: memory as for a minute, and the result of its pieces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.segments import TimedScores
from hidden_two_stream.synthetic.untrimmed import recording
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video

RATE = 2
"""Frames per second of the long videos: an hour has 7,200 frames, which would take 88 MB at 64×64."""

MEASURE = """
import resource, sys
import hidden_two_stream as hts
recognizer = hts.load(sys.argv[1])
settings = hts.SegmentSettings(hop_seconds=4, enter=0, leave=0)
number = sum(1 for _ in recognizer.segment(sys.argv[2], settings))
print(number, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def ten_seconds() -> RawClip:
    """(250, 64, 64, 3)"""
    frames = np.stack(list(recording(0, 10).frames()))
    return np.ascontiguousarray(frames[:, 24:88, 24:88])


def repeated(path: Path, clip: RawClip, seconds: int) -> Path:
    count = seconds * RATE
    write_video(path, (clip[number % len(clip)] for number in range(count)), RATE)
    return path


def measured(run: Path, video: Path) -> tuple[int, int]:
    """The number of segments, and the peak memory of a process that finds them, bytes."""
    command = [sys.executable, "-c", MEASURE, str(run), str(video)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    number, peak = result.stdout.split()
    return int(number), int(peak)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_an_hour_takes_the_memory_of_a_minute(small_run: Path, ten_seconds: RawClip, tmp_path: Path) -> None:
    minute = measured(small_run, repeated(tmp_path / "minute.mp4", ten_seconds, 60))
    hour = measured(small_run, repeated(tmp_path / "hour.mp4", ten_seconds, 3600))
    assert hour[0] > 20 * minute[0] > 0
    assert hour[1] < 1.1 * minute[1]
    assert hour[1] - minute[1] < 30e6


def test_a_repeated_video_has_the_scores_of_its_pieces(small_run: Path, ten_seconds: RawClip) -> None:
    recognizer = hidden_two_stream.load(small_run)
    settings = SegmentSettings(hop_seconds=0.2, smoothing_seconds=0.6)

    def pieces(frames: RawClip) -> list[TimedScores]:
        seen: list[TimedScores] = []
        list(recognizer.segment(frames, settings, on_scores=seen.append))
        return seen

    once = [piece for piece in pieces(ten_seconds) if 0.7 < piece.start_seconds < 9]
    long = pieces(np.concatenate([ten_seconds] * 3))
    assert len(once) > 60
    for shift in (0.0, 10.0, 20.0):
        part = [piece for piece in long if 0.7 < piece.start_seconds - shift < 9]
        assert len(part) == len(once)
        for one, other in zip(once, part, strict=True):
            assert other.start_seconds - shift == pytest.approx(one.start_seconds)
            np.testing.assert_allclose(other.smooth, one.smooth, rtol=0, atol=1e-5)
