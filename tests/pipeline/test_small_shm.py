"""A system with a small /dev/shm, as in a container: the message names it, and `--workers 0`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MOUNT = 'mount --make-rprivate / && mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'


def hts_with_shm(size: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command with a /dev/shm of its own; skip the test where the system does not allow that."""
    inside = ["unshare", "-m", "bash", "-c", MOUNT.format(size=size), "bash"]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("mounting a small /dev/shm needs Linux and root")
    command = [sys.executable, "-m", "hidden_two_stream", *map(str, arguments)]
    return subprocess.run([*inside, *command], capture_output=True, text=True, timeout=120)


def test_frames_that_do_not_fit(small_data: Path, tmp_path: Path) -> None:
    train = ["train", "--data", small_data, "--quiet", "--cache-mb", 0, "--stage", "spatial"]
    train += ["--set", "input.size=64", "--set", "spatial.steps=2"]
    failed = hts_with_shm("300k", *train, "--out", tmp_path / "a", "--workers", 2)
    assert (failed.returncode, failed.stdout) == (1, "")
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("hts: the decoding processes cannot pass their frames on")
    assert "/dev/shm" in last
    assert "--workers 0" in last
    assert "Traceback" not in failed.stderr
    works = hts_with_shm("300k", *train, "--out", tmp_path / "b", "--workers", 0)
    assert works.returncode == 0, works.stderr


def test_processes_that_cannot_start(small_data: Path) -> None:
    failed = hts_with_shm("4k", "check", small_data, "--quiet", "--workers", 2)
    (line,) = failed.stderr.splitlines()
    assert (failed.returncode, failed.stdout) == (1, "")
    assert line.startswith("hts: cannot start worker processes: ")
    assert "--workers 0" in line
    assert "/dev/shm" in line
    assert hts_with_shm("4k", "check", small_data, "--quiet", "--workers", 0).returncode == 0
