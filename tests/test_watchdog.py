"""A worker process that makes no progress ends, whatever it waits in; one that makes progress does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream import watchdog
from hidden_two_stream.data import clip_cache
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.video.reader import VideoReader, probe
from hidden_two_stream.video.writer import write_video

from .video.recordings import png


def outcome(code: str) -> tuple[int, float]:
    """Run code in another process: exit code and seconds."""
    begun = time.monotonic()
    lines = "import time, ctypes\nfrom hidden_two_stream.watchdog import ended_when_stuck, progressed\n"
    done = subprocess.run(
        [sys.executable, "-c", lines + textwrap.dedent(code)], capture_output=True, check=False, timeout=60
    )
    assert done.stderr == b""
    return done.returncode, time.monotonic() - begun


@pytest.mark.parametrize(
    "wait", ["time.sleep(50)", "ctypes.PyDLL(None).sleep(50)"], ids=["waits", "holds the GIL"]
)
@pytest.mark.skipif(sys.platform == "win32", reason="its C library has no sleep")
def test_a_stuck_process_ends(wait: str) -> None:
    code, seconds = outcome(f"with ended_when_stuck(0.5):\n    {wait}\n")
    assert code == 1
    assert seconds < 40


def test_progress_sets_the_clock_back() -> None:
    code, seconds = outcome(
        """
        with ended_when_stuck(1.0):
            for _ in range(40):
                time.sleep(0.05)
                progressed()
        time.sleep(1.5)
        progressed()
        """
    )
    assert code == 0
    assert seconds > 3.5


@pytest.mark.parametrize("kind", ["file", "seek", "part", "folder"])
def test_every_frame_counts_as_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (60, 32, 32, 3), np.uint8)
    path = tmp_path / "a.mp4"
    write_video(path, frames)
    if kind == "folder":
        path = tmp_path / "images"
        path.mkdir()
        for number, image in enumerate(frames):
            (path / f"{number:03d}.png").write_bytes(png(image))
    calls = []
    monkeypatch.setattr(watchdog._Watch, "set_back", lambda _: calls.append(1))
    with watchdog.ended_when_stuck(), VideoReader(path) as reader:
        if kind == "seek":
            next(iter(reader.frames(50, 51)))
        elif kind == "part":
            list(reader.frames_between(1.0, 2.0))
        else:
            assert reader.count_frames() == 60
    assert len(calls) > 50
    before = len(calls)
    probe(path)
    assert len(calls) == before  # nobody watches outside of the block


def test_decoding_in_a_worker_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        clip_cache, "_decode_sample", lambda _: seen.append(len(watchdog._running)) or KeyError()
    )
    with pytest.raises(AttributeError):
        clip_cache._decode_apart((Sample("a.mp4", "x"), 16, 0.0, 0))
    assert (seen, watchdog._running) == ([1], [])
