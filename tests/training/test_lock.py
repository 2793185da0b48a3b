"""The lock of a run folder: one process at a time, and none that is gone blocks it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.training import lock as module
from hidden_two_stream.training.lock import LOCK_FILE, folder_lock

Hts = Callable[..., tuple[int, str, str]]

HOLDER = """
import sys, time
from pathlib import Path
from hidden_two_stream.training.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    {inside}
    print("held", flush=True)
    time.sleep(60)
"""


def held(folder: Path, inside: str = "pass") -> subprocess.Popen[str]:
    """Another process that holds the lock of `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(inside=inside), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> None:
    process.send_signal(number)
    process.communicate(timeout=30)


def test_another_process_is_refused_and_named(tmp_path: Path) -> None:
    process = held(tmp_path)
    try:
        with (
            pytest.raises(
                UsageError, match=f"process {process.pid} on {socket.gethostname()} is training into"
            ),
            folder_lock(tmp_path),
        ):
            pass
    finally:
        ended(process)
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize("inside", ["pass", "import multiprocessing as m; m.get_context('fork').Process("
                                            "target=time.sleep, args=(20,)).start()"])  # fmt: skip
def test_a_killed_process_blocks_nobody(inside: str, tmp_path: Path) -> None:
    """Not even while a worker process that it forked is still there."""
    process = held(tmp_path, inside)
    ended_at_once = threading.Thread(target=process.wait)
    process.send_signal(signal.SIGKILL)
    ended_at_once.start()
    ended_at_once.join(30)
    assert (tmp_path / LOCK_FILE).exists()
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK_FILE).exists()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("text", ['{"pid": 1, "host": "elsewhere"}', "", "not JSON", "[" * 2000])
def test_a_file_that_nobody_holds_blocks_nobody(text: str, tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text(text)
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_is_released_whatever_happens(tmp_path: Path) -> None:
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), folder_lock(tmp_path):
            raise error
        assert list(tmp_path.iterdir()) == []
    assert module._HELD == {}


def test_blocks_of_one_thread_nest(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with folder_lock(tmp_path):
        with folder_lock(tmp_path / "link"), folder_lock(tmp_path):
            pass
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()


def test_another_thread_is_refused(tmp_path: Path) -> None:
    caught: list[UsageError] = []

    def train() -> None:
        try:
            with folder_lock(tmp_path):
                pass
        except UsageError as error:
            caught.append(error)

    with folder_lock(tmp_path):
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert [f"process {os.getpid()} on" in str(error) for error in caught] == [True]
    train()
    assert len(caught) == 1


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unsupported(_: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module, "_lock", unsupported)
    with folder_lock(tmp_path):
        pass
    assert "cannot be locked (Operation not supported)" in capsys.readouterr().err


def test_only_our_temporary_files_are_deleted(tmp_path: Path) -> None:
    ours = [
        ".state.0123abcd.part.safetensors",
        ".tmp7B09uO",
        ".plan.00000000.part.json",
        ".000012.89abcdef.part.npy",
    ]
    others = [
        ".tmpfolders", ".tmp12345",
        ".state.0123abcd.part.exe", ".state.0123abc.part.safetensors", "state.0123abcd.part.safetensors",
        ".movie.part", ".a.b.0123abcd.part.json", ".state.0123ABCD.part.json", "state.safetensors",
    ]  # fmt: skip
    for name in (*ours, *others):
        (tmp_path / name).write_text("x")
    (tmp_path / ".model.0123abcd.part.safetensors").mkdir()
    with folder_lock(tmp_path):
        found = {path.name for path in tmp_path.iterdir()}
    assert found == {*others, ".model.0123abcd.part.safetensors", LOCK_FILE}


def test_temporary_files_of_a_locked_folder_stay(tmp_path: Path) -> None:
    process = held(tmp_path)
    part = tmp_path / ".state.0123abcd.part.safetensors"
    part.write_text("x")
    try:
        with pytest.raises(UsageError, match="is training into"), folder_lock(tmp_path):
            pass
        assert part.exists()
    finally:
        ended(process)


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--data", "DATA", "--out", "OUT"],
        ["train", "--resume", "--out", "OUT"],
        ["compare", "--data", "DATA", "--out", "OUT", "--methods", "spatial"],
        ["compare", "--data", "DATA", "--out", "OUT", "--methods", "spatial", "--resume"],
        ["cross-validate", "--data", "DATA", "--group", "subject", "--out", "OUT"],
        ["demo", "--out", "OUT"],
    ],
    ids=" ".join,
)
def test_every_command_that_trains_is_refused(command: list[str], tmp_path: Path, hts: Hts) -> None:
    data, out = tmp_path / "labels.csv", tmp_path / "out"
    rows = [(f"{label}{number}.mp4", label, number) for label in "ab" for number in range(3)]
    data.write_text("path,label,subject\n" + "".join(f"{p},{label},{n}\n" for p, label, n in rows))
    for name, _, _ in rows:
        (tmp_path / name).write_bytes(b"")
    out.mkdir()
    if command[0] == "demo":
        (out / "made-by-hts-demo.txt").write_text("x")
    elif "--resume" in command:
        (out / "plan.json").write_text("{}")
    before = sorted(path.name for path in out.iterdir())
    process = held(out)
    try:
        code, _, err = hts(*({"DATA": data, "OUT": out}.get(word, word) for word in command))
    finally:
        ended(process)
    (line,) = [line for line in err.splitlines() if line.startswith("hts: ")]
    assert code == 2
    assert f"process {process.pid} on " in line
    assert f"is training into '{out}'" in line
    assert sorted(path.name for path in out.iterdir() if path.name != LOCK_FILE) == before


def test_the_lock_holds_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "write", full)
    with folder_lock(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == ""


@pytest.mark.parametrize("name", [".plan.0123abcd.part.json", ".tmp7B09uO", "unreadable.txt", LOCK_FILE])
def test_what_a_killed_run_left_does_not_keep_a_new_one_out(name: str, tmp_path: Path, hts: Hts) -> None:
    """Each command refuses the data, and not the folder."""
    out = tmp_path / "out"
    for command in (["train", "--data", "nowhere"], ["demo", "--set", "motion.steps=x"]):
        out.mkdir()
        (out / name).write_text("half")
        if (command[0], name) != ("demo", "unreadable.txt"):
            code, _, err = hts(*command, "--out", out)
            assert code == 2
            assert "holds something other" not in err
        shutil.rmtree(out)
