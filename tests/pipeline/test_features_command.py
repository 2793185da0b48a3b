"""`hts features`: one file for all videos, failures by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.inference.predictor import Recognizer

Hts = Callable[..., tuple[int, str, str]]


def test_one_file_for_all_videos(hts: Hts, small_run: Path, small_data: Path, tmp_path: Path) -> None:
    """A folder, a glob and a file that is broken; what is named twice is used once."""
    videos, out, broken = small_data.parent / "videos", tmp_path / "f.npz", tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    code, text, err = hts(
        *("features", small_run, videos / "up", videos / "left" / "test_*.mp4", broken, videos / "up"),
        *("-o", out, "--hop-seconds", 0.04, "--json"),
    )
    assert code == 1
    found = json.loads(text)
    (failed,) = found["unreadable"]
    assert failed["source"] == str(broken)
    assert f"cannot read video {str(broken)!r}" in err
    assert f"{videos / 'up'}: named 2 times, used once" in err
    sources = [*sorted(map(str, (videos / "up").glob("*.mp4"))), str(videos / "left" / "test_0000.mp4")]
    assert [row["source"] for row in found["videos"]] == sources
    assert (found["output"], found["num_windows"], found["hop_seconds"]) == (str(out), 4 * 4, 0.04)
    with np.load(out) as data:
        assert data["videos"].tolist() == sources
        assert data["video_index"].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
        vectors = {name: data[name] for name in ("spatial", "temporal")}
        starts = data["start_seconds"]
    assert {name: array.shape[1] for name, array in vectors.items()} == found["embeddings"]
    recognizer = hidden_two_stream.load(small_run)
    for number, window in enumerate(recognizer.features(sources[-1], 0.04)):
        assert starts[12 + number] == window.start_seconds
        for name, array in vectors.items():
            np.testing.assert_allclose(array[12 + number], window.embeddings[name], atol=1e-5)


def test_the_text_says_what_was_written(hts: Hts, small_run: Path, small_data: Path, tmp_path: Path) -> None:
    video, out = small_data.parent / "videos" / "up" / "test_0000.mp4", tmp_path / "f.npz"
    code, text, _ = hts("features", small_run, video, "-o", out)
    assert code == 0
    assert text.startswith(f"{out}: 2 windows of 1 video (lengths of the embeddings: spatial 192, temporal ")


@pytest.mark.parametrize(
    ("out", "options", "code", "message"),
    [
        ("f.csv", (), 2, "name a file .npz or .parquet"),
        ("f.npz", ("--hop-seconds", "0"), 2, "--hop-seconds is 0.0; expected a positive number of seconds"),
        ("f.parquet", (), 1, "pip install 'hidden-two-stream[parquet]'"),
        ("file/f.npz", (), 1, "cannot create the folder"),
    ],
)
def test_options_are_checked_before_the_run_is_opened(
    hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, options: tuple[str, ...], code: int,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "file").write_text("in the way")
    found, text, err = hts("features", tmp_path / "nowhere", "x.mp4", "-o", tmp_path / out, *options)
    assert (found, text, len(err.splitlines())) == (code, "", 1)
    assert message in err


def test_without_any_window_nothing_is_written(hts: Hts, small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    code, text, err = hts("features", small_run, tmp_path / "broken.mp4", "-o", tmp_path / "f.npz")
    assert (code, text) == (1, "")
    assert "is not written" in err
    assert not (tmp_path / "f.npz").exists()


def test_what_was_computed_before_an_interrupt_is_kept(
    hts: Hts, small_run: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = Recognizer.features

    def interrupted(self: Recognizer, source: str, *arguments: Any, **options: Any) -> Any:
        if source.endswith("train_0000.mp4"):
            raise KeyboardInterrupt
        return features(self, source, *arguments, **options)

    monkeypatch.setattr(Recognizer, "features", interrupted)
    code, _, _ = hts("features", small_run, small_data.parent / "videos" / "up", "-o", tmp_path / "f.npz")
    assert code == 130
    with np.load(tmp_path / "f.npz") as data:
        assert len(data["videos"]) == 1
