"""The process pool: one thread in each worker, and no output on an interrupt."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hidden_two_stream.errors import WorkerError
from hidden_two_stream.parallel import WorkerPool, run_as_completed, run_in_processes, threads

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


DEADLY = """
import os, signal, time
from pathlib import Path

def root_unless_deadly(number):
    if number in (3, 4, 17):
        os.kill(os.getpid(), signal.SIGKILL)
    return number ** 0.5

def dies_in_company(number, marker):
    \"\"\"Dies the first time only, as at the hands of a system that is short of memory.\"\"\"
    if number == 5 and not Path(marker).exists():
        Path(marker).touch()
        os._exit(1)
    return number

def announce_and_sleep(folder, number):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)
"""


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "deadly_tasks.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    yield importlib.import_module("deadly_tasks")
    del sys.modules["deadly_tasks"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_task_that_kills_its_process_costs_only_its_own_result(deadly: Any, workers: int) -> None:
    found = list(run_in_processes(deadly.root_unless_deadly, range(20), workers, lambda number: -number))
    assert found == [-n if n in (3, 4, 17) else n**0.5 for n in range(20)]


def test_a_process_that_died_by_chance_costs_nothing(deadly: Any, tmp_path: Path) -> None:
    task = partial(deadly.dies_in_company, marker=str(tmp_path / "died"))
    found = list(run_in_processes(task, range(12), 2, lambda number: -1))
    assert found == list(range(12))
    assert (tmp_path / "died").exists()


def test_tasks_are_taken_in_time_and_errors_are_raised() -> None:
    taken: list[str] = []

    def tasks() -> Iterator[str]:
        for text in ("1", "2", "x", *map(str, range(40))):
            taken.append(text)
            yield text

    results = run_in_processes(float, tasks(), 2, lambda text: 0.0)
    assert [next(results), next(results)] == [1.0, 2.0]
    with pytest.raises(ValueError, match="could not convert"):
        next(results)
    assert len(taken) <= 3 + 2 * 2
    assert list(run_in_processes(float, ["1", "2"], 0, lambda text: 0.0)) == [1.0, 2.0]


def test_workers_that_cannot_start_are_named(deadly: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hidden_two_stream.parallel._initialize_worker", os.abort)
    with pytest.raises(WorkerError, match=r"end as soon as they start.*--workers 0"):
        list(run_in_processes(abs, range(3), 2, lambda number: 0))


def test_a_system_without_room_for_semaphores_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.Lock", no_room)
    with pytest.raises(WorkerError, match=r"No space left on device.*--workers 0.*/dev/shm"):
        list(run_in_processes(abs, range(3), 2, lambda number: 0))


ORPHANS = """
import sys
from functools import partial
from deadly_tasks import announce_and_sleep
from hidden_two_stream.parallel import run_in_processes

list(run_in_processes(partial(announce_and_sleep, sys.argv[1]), range(4), 2, abs))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_workers_end_with_the_process_that_started_them(deadly: Any, tmp_path: Path, how: str) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    process = subprocess.Popen([sys.executable, "-c", ORPHANS, str(begun)])
    while len(list(begun.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, how))
    process.wait(timeout=30)
    workers = [int(path.name) for path in begun.iterdir()]
    end = time.monotonic() + 20
    while any(
        Path("/proc", str(pid)).exists() if sys.platform == "linux" else _alive(pid) for pid in workers
    ):
        assert time.monotonic() < end, "workers outlived their parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    if sys.platform == "linux":  # a process that ended stays as a zombie until it is reaped
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return -seconds


def _sleep_or_die(seconds: float) -> float:
    if seconds == 0.02:
        os._exit(3)
    return _sleep(seconds)


def test_results_as_they_come() -> None:
    """A long task holds the others back only in its own worker."""
    tasks = [2.0, 0.01, 0.02, 0.03, 0.04]
    found = list(run_as_completed(_sleep, tasks, 2, lambda _: 1.0))
    assert [task for task, _ in found] == [0.01, 0.02, 0.03, 0.04, 2.0]
    assert all(result == -task for task, result in found)
    assert list(run_as_completed(_sleep, tasks[1:3], 0, lambda _: 1.0)) == [(0.01, -0.01), (0.02, -0.02)]
    assert list(run_as_completed(_sleep, [], 2, lambda _: 1.0)) == []


def test_a_task_that_kills_its_process_costs_one_result() -> None:
    tasks = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]
    found = dict(run_as_completed(_sleep_or_die, tasks, 2, lambda _: 1.0))
    assert found == {task: 1.0 if task == 0.02 else -task for task in tasks}


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = []

    def tasks() -> Iterator[float]:
        for number in range(1_000_000):
            taken.append(number)
            yield 0.0

    results = run_as_completed(_sleep, tasks(), 1, lambda _: 1.0)
    for _ in range(5):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 5


def test_a_tasks_error_ends_the_work() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        list(run_as_completed(_sleep, [0.01, -1.0, 0.02], 2, lambda _: 1.0))
