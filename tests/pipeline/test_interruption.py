"""A run that is killed or stopped goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hidden_two_stream.cli import train
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.training.state import load_state

Hts = Callable[..., tuple[int, str, str]]

STEPS = 40
OPTIONS = [
    *("--seed", "7"),  # not the default: a resumed run must remember it
    *("--set", "input.size=32", "--set", "model.num_frames=3"),
    *(part for stage in ("spatial", "temporal", "joint") for part in ("--set", f"{stage}.steps=5")),
    *("--set", f"motion.steps={STEPS}", "--set", "motion.batch_size=2", "--set", "joint.batch_size=2"),
]


def start(*arguments: object, deaf: bool = False) -> subprocess.Popen[str]:
    """The command in a session of its own; `deaf` to Ctrl-C as what a script starts with `&`."""
    script = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{SCRIPT}" if deaf else SCRIPT
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )


# The command as it is, but it saves its state after every step and takes its time, so that it can be caught.
SCRIPT = """
import sys, time
import dataclasses
from hidden_two_stream.cli import demo, train
from hidden_two_stream.cli.main import main
from hidden_two_stream.training import loop
patient = loop._StageRun._step
def slow(self, step, batches):
    time.sleep(0.05 * (self.name == 'motion'))
    return patient(self, step, batches)
loop._StageRun._step = slow
original = train.resources
train.resources = lambda arguments: dataclasses.replace(original(arguments), save_seconds=0.0)
demo.resources = train.resources
sys.exit(main())
"""


def finish(process: subprocess.Popen[str]) -> str:
    """Wait, close the pipes, return what was printed on stderr."""
    return process.communicate(timeout=120)[1]


def wait_for_plan(run: Path, process: subprocess.Popen[str]) -> None:
    while not (run / "plan.json").exists():
        assert process.poll() is None, finish(process)
        time.sleep(0.01)


def wait_for_steps(run: Path, steps: int, process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if (run / "state.safetensors").exists():
            state = load_state(run)
            if state is not None and state.stage == "motion" and state.step >= steps:
                return
        assert process.poll() is None, finish(process)
        time.sleep(0.05)
    raise AssertionError("training did not get on")


@pytest.fixture(scope="module")
def uninterrupted(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    process = start("train", "--data", small_data, "--out", run, *OPTIONS, "--workers", 0)
    err = finish(process)
    assert process.returncode == 0, err
    return run


def same_weights(one: Path, two: Path) -> bool:
    first, second = (read_tensors(run / "model.safetensors")[0] for run in (one, two))
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_and_resumed_equals_uninterrupted(
    uninterrupted: Path, small_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start("train", "--data", small_data, "--out", run, *OPTIONS, "--workers", 0)
    wait_for_steps(run, STEPS // 4, process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert not (run / "model.safetensors").exists()
    resumed = start("train", "--out", run, "--resume", "--workers", 0)
    err = finish(resumed)
    assert resumed.returncode == 0, err
    assert same_weights(run, uninterrupted)
    assert (
        json.loads((run / "results.json").read_text())["accuracy"]
        == (json.loads((uninterrupted / "results.json").read_text())["accuracy"])
    )


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("send", ["kill", "killpg"])  # to this process; to all, as of a terminal
@pytest.mark.parametrize("again_after", [None, 0.0, 0.1, 0.3])
def test_ctrl_c_before_the_first_step(
    small_data: Path, tmp_path: Path, again_after: float | None, send: str
) -> None:
    """The plan is there, so there is something to go on with; impatience neither prints more nor hangs."""
    run, options = tmp_path / "run", [*OPTIONS, "--workers", "2", "--set", "motion.steps=3"]
    to = getattr(os, send)  # Windows has no killpg
    process = start("train", "--data", small_data, "--out", run, *options)
    wait_for_plan(run, process)
    to(process.pid, signal.SIGINT)
    if again_after is not None:
        time.sleep(again_after)
        to(process.pid, signal.SIGINT)
    err = finish(process)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "unexpected" not in err
    assert err.splitlines()[-1] == f"hts: interrupted; to continue, run hts train --resume --out {run}"
    if again_after is None:
        resumed = start("train", "--out", run, "--resume", "--workers", 0)
        finish(resumed)
        assert resumed.returncode == 0


def test_ctrl_c_again_while_the_first_is_dealt_with(
    hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment before the second is ignored; the caller hears the next as ever."""
    before, set_handler = signal.getsignal(signal.SIGINT), signal.signal
    presses = 0

    def pressed(*_: object) -> None:
        nonlocal presses
        presses += 1
        raise KeyboardInterrupt

    def set_once_pressed(number: int, handler: object) -> object:
        if presses == 1:
            pressed()
        return set_handler(number, handler)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "run", pressed)
    monkeypatch.setattr(signal, "signal", set_once_pressed)
    code, _, err = hts("train", "--data", "nowhere", "--out", tmp_path / "run")
    assert (code, err, presses) == (130, "hts: interrupted\n", 2)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_is_not_for_a_command_in_the_background(small_data: Path, tmp_path: Path) -> None:
    """Neither for its workers, nor while it trains."""
    run, options = tmp_path / "run", [*OPTIONS, "--workers", "2", "--set", "motion.steps=3"]
    process = start("train", "--data", small_data, "--out", run, *options, deaf=True)
    wait_for_plan(run, process)
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    assert process.returncode == 0, finish(process)
    finish(process)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_in_the_demo(tmp_path: Path) -> None:
    process = start("demo", "--out", tmp_path / "demo", "--set", "motion.steps=400", "--workers", "2")
    wait_for_steps(tmp_path / "demo", 1, process)
    process.send_signal(signal.SIGINT)
    err = finish(process)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("hts: stopped in stage motion after step ")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_saves_and_says_how_to_go_on(uninterrupted: Path, small_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("train", "--data", small_data, "--out", run, *OPTIONS, "--workers", 0)
    wait_for_steps(run, STEPS // 4, process)
    process.send_signal(signal.SIGINT)
    err = finish(process)
    assert process.returncode == 130, err
    assert f"hts train --resume --out {run}" in err
    assert "Traceback" not in err
    resumed = start("train", "--out", run, "--resume", "--workers", 0)
    finish(resumed)
    assert resumed.returncode == 0
    assert same_weights(run, uninterrupted)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("send", ["kill", "killpg"])
def test_a_signal_that_ends_the_process_saves_as_ctrl_c_does(
    uninterrupted: Path, small_data: Path, tmp_path: Path, name: str, code: int, send: str
) -> None:
    """The whole session is gone afterwards, and the resumed run has the weights of one that was not ended."""
    run = tmp_path / "run"
    process = start("train", "--data", small_data, "--out", run, *OPTIONS, "--workers", 0)
    wait_for_steps(run, STEPS // 4, process)
    getattr(os, send)(process.pid, getattr(signal, name))
    err = finish(process)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("hts: stopped in stage motion after step ")
    assert err.splitlines()[-1].endswith(f"to continue, run hts train --resume --out {run}")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    resumed = start("train", "--out", run, "--resume", "--workers", 0)
    finish(resumed)
    assert resumed.returncode == 0
    assert same_weights(run, uninterrupted)


ENDED = """
import os, signal, sys
from hidden_two_stream.cli import check
from hidden_two_stream.cli.main import main
number = getattr(signal, sys.argv.pop(1))
def ended(arguments):
    os.kill(os.getpid(), number)
    raise AssertionError("the signal was not noticed")
check.run = ended
sys.exit(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_every_command_in_one_line(tmp_path: Path, name: str, code: int) -> None:
    command = [sys.executable, "-c", ENDED, name, "check", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = "interrupted" if name == "SIGINT" else f"ended by {name}"
    assert (process.returncode, process.stdout, process.stderr) == (code, "", f"hts: {said}\n")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_handlers_of_the_caller_stay(hts: Hts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignored signals stay ignored while the command runs, and all are as before when it has ended."""
    seen = []

    def look(_: object) -> int:
        seen.append((signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)))
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run", look)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert hts("train", "--out", "run")[0] == 130
        assert seen[0][0] is signal.SIG_IGN
        assert callable(seen[0][1])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


LOADING = """
import signal, sys
module = sys.argv.pop(1)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
from hidden_two_stream.__main__ import run
sys.exit(run())
"""


@pytest.mark.parametrize("module", ["hidden_two_stream.cli.main", "argparse", "torch"])
def test_ctrl_c_while_modules_are_loaded(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOADING, module, "flow", "--network", "nano", str(tmp_path / "none.mp4")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (130, "hts: interrupted\n")
