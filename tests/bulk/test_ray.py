"""Ray Data gives the rows of the process pool. A cluster of its own starts and ends with the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hidden_two_stream.bulk.predict import predict_table
from hidden_two_stream.bulk.work import find_engine
from hidden_two_stream.errors import MissingDependencyError


@pytest.mark.usefixtures("ray_installed")
def test_the_table_is_that_of_the_pool(run: Path, videos: list[Path], tmp_path: Path) -> None:
    named = [*map(str, videos), str(tmp_path / "none.mp4")]
    result = predict_table(run, named, tmp_path / "pool.jsonl", workers=1)
    assert (result.num_done, result.num_failed) == (5, 2)
    command = [
        sys.executable, "-m", "hidden_two_stream", "predict", str(run), "--list", str(tmp_path / "list.txt"),
        "--top", "5", "--engine", "ray", "--workers", "1", "--out", str(tmp_path / "ray.jsonl"),
        "--quiet",
    ]  # fmt: skip
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in named))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("hts: ") for line in lines), done.stderr  # nothing of Ray's own
    assert len(lines) == 3
    assert done.stdout == f"{tmp_path / 'ray.jsonl'}: 5 of 7 videos labeled\n"
    for name in ("jsonl", "failures.jsonl"):
        assert (tmp_path / f"ray.{name}").read_bytes() == (tmp_path / f"pool.{name}").read_bytes()


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingDependencyError, match=r"hidden-two-stream\[ray\]"):
        find_engine("ray")
