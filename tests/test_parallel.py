"""The process pool: one thread in each worker, and no output on an interrupt."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hidden_two_stream.parallel import WorkerPool, threads

TASKS = """
import time
from pathlib import Path

def touch_and_sleep(folder, number):
    Path(folder, str(number)).touch()
    time.sleep(60)
"""
SCRIPT = """
import sys
from functools import partial
from tasks import touch_and_sleep
from hidden_two_stream.parallel import WorkerPool

try:
    with WorkerPool(2) as pool:
        print("starting", flush=True)
        list(pool.map(partial(touch_and_sleep, sys.argv[1]), range(6)))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def write_script(folder: Path, text: str = SCRIPT) -> Path:
    (folder / "tasks.py").write_text(TASKS)
    script = folder / "script.py"
    script.write_text(text)
    return script


def test_workers_share_the_cores() -> None:
    with WorkerPool(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1


def test_threads_are_set_for_torch_and_opencv_and_restored() -> None:
    cv2 = pytest.importorskip("cv2")
    before = torch.get_num_threads(), cv2.getNumThreads()
    other = before[0] + 2
    with threads(other):
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (other, other)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_a_workers_error_is_raised_and_cancels_the_rest() -> None:
    pool = WorkerPool(1)
    first, *others = [pool.submit(float, "x"), *(pool.submit(time.sleep, 1.0) for _ in range(60))]
    with pytest.raises(ValueError, match="could not convert"), pool:
        first.result()
    assert others[-1].cancelled()


def test_workers_do_not_import_the_script(tmp_path: Path) -> None:
    """A flat script, without `if __name__ == "__main__":`, must not run again in its workers."""
    script = tmp_path / "script.py"
    script.write_text(
        "from hidden_two_stream.parallel import WorkerPool\n"
        "print('script', __file__)\n"
        "with WorkerPool(2) as pool:\n"
        "    print(list(pool.map(abs, [-1, 2, -3])))\n"
        "print(__file__, __spec__)\n"
    )
    process = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (process.stderr, process.returncode) == ("", 0)
    assert process.stdout.splitlines() == [f"script {script}", "[1, 2, 3]", f"{script} None"]


LATE = """
import os, signal
from multiprocessing.context import SpawnProcess
start = SpawnProcess.start

def interrupted(process):
    SpawnProcess.start = start
    os.killpg(0, signal.SIGINT)
    start(process)

SpawnProcess.start = interrupted
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_that_comes_before_the_workers_ends_them_too(tmp_path: Path) -> None:
    """Workers that start after the interrupt must not be waited for."""
    script = write_script(tmp_path, SCRIPT.replace("try:", f"{LATE}\ntry:", 1))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert (output, errors, process.returncode) == ("starting\nstopped\n", "", 0)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(
    "seconds", [0.0, 0.1, 0.3, 1.0, None], ids=lambda x: "at work" if x is None else f"{x} s"
)
def test_ctrl_c_ends_all_processes_without_output(tmp_path: Path, seconds: float | None) -> None:
    """Interrupts the whole process group, as a terminal does, during and after the start of the workers."""
    script, begun = write_script(tmp_path), tmp_path / "begun"
    begun.mkdir()
    command = [sys.executable, str(script), str(begun)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    while seconds is None and process.poll() is None and not any(begun.iterdir()):
        time.sleep(0.05)
    time.sleep(seconds or 0.0)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)  # returns when no process holds the pipes any more
    assert (output, errors, process.returncode) == ("stopped\n", "", 0)
