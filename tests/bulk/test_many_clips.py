"""500 clips from a list, ten of them broken, in processes that are killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.bulk.ledger import ledger_path
from hidden_two_stream.video.writer import write_video

CLIPS, BROKEN, WORKERS = 500, range(7, 500, 50), 2


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of 500 different clips; ten are empty, cut or no video."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for number in range(CLIPS):
        frames = rng.integers(0, 256, (6 + number % 7, 32, 48, 3), np.uint8)
        write_video(folder / f"{number:03}.mp4", frames)
    for place, number in enumerate(BROKEN):
        path = folder / f"{number:03}.mp4"
        path.write_bytes((b"", b"not a video", path.read_bytes()[:60])[place % 3])
    (folder / "list.txt").write_text("".join(f"{number:03}.mp4\n" for number in range(CLIPS)))
    return folder / "list.txt"


COUNTING = """
import os
from hidden_two_stream.inference import many

predict = many._done_apart

def counted(task):
    with open(os.environ["STARTED"], "a", encoding="utf-8") as file:
        file.write(task.source + "\\n")
    return predict(task)
"""
"""A module that writes down each video whose prediction begins."""
MAIN = (
    "import sys, counting\n"
    "from hidden_two_stream.cli.main import main\n"
    "from hidden_two_stream.inference import many\n"
    "many._done_apart = counting.counted\n"
    "sys.exit(main())\n"
)


def start(folder: Path, run: Path, listed: Path, out: Path) -> subprocess.Popen[str]:
    (folder / "counting.py").write_text(COUNTING)
    command = [
        sys.executable, "-c", MAIN, "predict", str(run), "--list", str(listed), "--workers", str(WORKERS),
        "--out", str(out),
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    given = {**os.environ, "PYTHONPATH": path, "STARTED": str(out.with_suffix(".started"))}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=given)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_kills_change_nothing(run: Path, listed: Path, tmp_path: Path) -> None:
    whole = start(tmp_path, run, listed, tmp_path / "whole.jsonl")
    errors = whole.communicate()[1]
    assert whole.returncode == 1, errors
    rows = [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text().splitlines()]
    failed = [json.loads(line) for line in (tmp_path / "whole.failures.jsonl").read_text().splitlines()]
    names = [f"{number:03}.mp4" for number in range(CLIPS)]
    broken = [names[number] for number in BROKEN]
    assert [Path(row["source"]).name for row in rows] == [name for name in names if name not in broken]
    assert [Path(row["source"]).name for row in failed] == broken
    assert all(name in errors for name in broken)

    out, kills = tmp_path / "r.jsonl", (100, 250, 400)
    for kept in kills:  # lines of the ledger at which all processes are killed
        process = start(tmp_path, run, listed, out)
        while not ledger_path(out).exists() or ledger_path(out).read_bytes().count(b"\n") <= kept:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    process = start(tmp_path, run, listed, out)
    process.communicate()
    assert process.returncode == 1
    for name in ("jsonl", "failures.jsonl"):
        assert (tmp_path / f"r.{name}").read_bytes() == (tmp_path / f"whole.{name}").read_bytes()
    begun = Counter((tmp_path / "r.started").read_text().splitlines())
    assert len(begun) == CLIPS
    assert begun.total() <= CLIPS + len(kills) * WORKERS
