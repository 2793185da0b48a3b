"""`hts generate`, on a small benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hidden_two_stream.synthetic import benchmarks
from hidden_two_stream.synthetic.benchmarks import BENCHMARKS, BenchmarkPlan
from hidden_two_stream.synthetic.clips import SyntheticClip
from hidden_two_stream.synthetic.motions_v1 import Grade, generate_motion_clip

Hts = Callable[..., tuple[int, str, str]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes with two clips each."""
    monkeypatch.setitem(BENCHMARKS, "motions-v1", BenchmarkPlan(("left", "slow"), 1, 1))


@pytest.mark.usefixtures("small")
def test_json_and_text(hts: Hts, tmp_path: Path) -> None:
    out = tmp_path / "set"
    code, text, err = hts("generate", "motions-v1", "--out", out, "--workers", 0, "--quiet", "--json")
    assert (code, err) == (0, "")
    assert json.loads(text) == {
        "name": "motions-v1",
        "data": str(out / "labels.csv"),
        "num_videos": 4,
        "splits": {"train": 2, "test": 2},
        "grades": {"1": 2, "2": 2},
        "classes": ["left", "slow"],
    }
    other = tmp_path / "other"
    other.mkdir()
    code, text, _ = hts("generate", "motions-v1", "--out", other, "--workers", 0, "--quiet")
    assert code == 0
    assert "motions-v1: 4 videos of 2 classes (2 train, 2 test)" in text
    assert text.splitlines()[-1] == f"use it with --data {other / 'labels.csv'}"


@pytest.mark.usefixtures("small")
def test_an_interrupted_benchmark_is_written_again(
    hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt leaves some clips and part of a file; the next run succeeds and removes the part."""
    whole, out = tmp_path / "whole", tmp_path / "set"
    assert hts("generate", "motions-v1", "--out", whole, "--workers", 0, "--quiet")[0] == 0

    def interrupted(label: str, seed: int, grade: str | Grade) -> SyntheticClip:
        if label == "slow":
            part = out / "videos" / "slow" / ".train_0000.0123abcd.part.mp4"
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text("half")
            raise KeyboardInterrupt
        return generate_motion_clip(label, seed, grade)

    with monkeypatch.context() as patch:
        patch.setattr(benchmarks, "generate_motion_clip", interrupted)
        assert hts("generate", "motions-v1", "--out", out, "--workers", 0, "--quiet")[0] == 130
    assert "run it again" in (out / "unfinished.txt").read_text()
    assert hts("generate", "motions-v1", "--out", out, "--workers", 0, "--quiet")[0] == 0
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (whole, out)
    ]
    assert files[0].keys() == files[1].keys()
    assert all(files[1][name] == data for name, data in files[0].items() if name.suffix in (".mp4", ".csv"))
    code, _, err = hts("generate", "motions-v1", "--out", out, "--workers", 0, "--quiet")
    assert (code, "is not empty" in err) == (2, True)


def test_wrong_usage(hts: Hts, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "labels.csv").write_text("mine")
    (tmp_path / "file").write_text("in the way")
    for name, out, expected, message in (
        ("ucf101", "new", 2, "unknown generated data set 'ucf101'; choose one of motions-v1"),
        ("motions-v1", "full", 2, "is not empty"),
        ("motions-v1", "file", 1, "cannot write into"),
    ):
        code, _, err = hts("generate", name, "--out", tmp_path / out, "--workers", 0, "--quiet")
        assert code == expected
        assert message in err
        assert len(err.splitlines()) == 1
    assert (tmp_path / "full" / "labels.csv").read_text() == "mine"
    assert not (tmp_path / "new").exists()
