"""A decoder that crashes or hangs costs its video, not the command: the file is listed, the work goes on."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import QUICK

Hts = Callable[..., tuple[int, str, str]]

BROKEN_DECODER = """
import os, signal, time
from hidden_two_stream.data import clip_cache
from hidden_two_stream.watchdog import ended_when_stuck

decode = clip_cache._decode_apart

def decode_or_fail(task):
    if task[0].path.endswith("up/train_0001.mp4"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if task[0].path.endswith("left/train_0000.mp4"):
        with ended_when_stuck(0.5):
            time.sleep(60)
    return decode(task)
"""


@pytest.fixture
def broken_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A crash at one video and a hang at another one, in worker processes."""
    (tmp_path / "broken_decoder.py").write_text(BROKEN_DECODER, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    module = importlib.import_module("broken_decoder")
    monkeypatch.setattr("hidden_two_stream.data.clip_cache._decode_apart", module.decode_or_fail)
    yield
    del sys.modules["broken_decoder"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.usefixtures("broken_decoder")
def test_check_names_the_videos_and_goes_on(hts: Hts, small_data: Path) -> None:
    code, out, _ = hts("check", small_data, "--workers", 2, "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["num_videos"], found["num_readable"]) == (24, 22)
    listed = json.dumps(found["unreadable"])
    for name in ("up/train_0001.mp4", "left/train_0000.mp4"):
        assert name in listed
    assert listed.count("its worker process ended without a result") == 2


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.usefixtures("broken_decoder")
def test_training_and_its_test_go_on(hts: Hts, small_data: Path, tmp_path: Path) -> None:
    quick = [word if word != "0" else "2" for word in QUICK]  # --workers 2
    code, _, err = hts("train", "--data", small_data, "--out", tmp_path / "run", *quick)
    assert code == 0, err
    assert "2 of 24 videos are unreadable" in err
    lines = (tmp_path / "run" / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert all("its worker process ended without a result" in line for line in lines)
    assert (tmp_path / "run" / "results.json").exists()
