"""Training on several processes equals training in one, and no process waits for another for ever."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import TEMPORAL_FORMS
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.launcher import find_launch
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.watch import FROZEN_SECONDS

HERE = Path(__file__).parent
SETTINGS = (
    "model.num_frames=3", "input.size=32", "input.resize=32", "motion.steps=2", "motion.batch_size=2",
    "spatial.steps=12", "spatial.batch_size=2", "temporal.steps=0", "joint.steps=0",
    "calibration.method=none", "temporal_init=none",
)  # fmt: skip


def product(steps: int) -> list[dict[str, Any]]:
    """Every stage, form of the temporal stream and way of training it with MotionNet."""
    cases: list[dict[str, Any]] = [
        {"stage": "motion"},
        {"stage": "motion", "accumulate": 2},
        {"stage": "spatial"},
    ]
    for form in TEMPORAL_FORMS:
        cases += [{"stage": "temporal", "form": form}, {"stage": "joint", "form": form}]
        cases += [{"stage": "joint", "form": form, "weight": 0.0}]
    return [case | {"steps": steps} for case in cases]


def trained(cases: list[dict[str, Any]], world: int, folder: Path) -> list[list[dict[str, Any]]]:
    """Return the results of all cases, of each process."""
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, HERE / "two_processes.py", folder / "cases.json", folder, world]
    subprocess.run(list(map(str, command)), check=True, timeout=1800)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(world)]


def require_equal_runs(cases: list[dict[str, Any]], folder: Path, loss: float) -> None:
    (one,), (first, second) = (trained(cases, world, folder / str(world)) for world in (1, 2))
    for case, alone, shared, other in zip(cases, one, first, second, strict=True):
        losses = [[line["loss"] for line in run["metrics"]] for run in (alone, shared)]
        assert len(losses[0]) == case["steps"]
        assert np.abs(np.subtract(*losses)).max() < loss, case
        norms = [[line["gradient_norm"] for line in run["metrics"]] for run in (alone, shared)]
        assert norms[1][0] == pytest.approx(norms[0][0], rel=1e-4), case
        assert alone["tensors"].keys() == shared["tensors"].keys()
        for name, tensor in shared["tensors"].items():
            assert torch.equal(tensor, other["tensors"][name]), (case, name)
            torch.testing.assert_close(tensor, alone["tensors"][name], rtol=1e-3, atol=10 * loss)


def test_two_processes_take_the_same_steps_as_one(tmp_path: Path) -> None:
    """With dropout, augmentation and batch normalization: a few steps, to rounding."""
    losses = [{"stage": "motion", "loss": name, "steps": 2} for name in ("caffe", "occlusion", "distill")]
    require_equal_runs(product(2) + losses, tmp_path, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["nano", "tiny"])
def test_the_loss_curve_of_two_processes_is_that_of_one(network: str, tmp_path: Path) -> None:
    cases = [case | {"network": network} for case in product(50)]
    require_equal_runs(cases, tmp_path, 1e-4)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    return write_dataset(root, train_per_class=1, test_per_class=1, num_frames=4, size=32)


def command(data: Path | None, out: Path, devices: int, failure: str = "none:0:0") -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    begin = ["--data", data, "--protocol", "center", *settings] if data else ["--resume"]
    words = [HERE / "failing_train.py", failure, "train", *begin, "--out", out, "--accelerator", "cpu",
             "--workers", 0, "--devices", devices, "--quiet"]  # fmt: skip
    return [sys.executable, *map(str, words)]


def started(words: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(words, capture_output=True, text=True, timeout=180, check=False, env=environment)


FAILURES = {
    "nan:1:6": (1, "stage spatial, step 4: loss"),
    "error:1:6": (1, "process 2 of 2: cannot read video 'walk.mp4': it is gone"),
    "exit:1:6": (1, "process 2 of 2 ended with exit code 3"),
    "term:1:6": (143, "stopped in stage spatial after step 4"),
    "exit:0:6": (3, "process 1 of 2 ended"),
    "freeze:1:6": (1, "process 2 of 2 does not answer any more"),
    "freeze:0:6": (-9, "process 1 of 2 does not answer any more"),
}
"""What happens, to which process, at which step → exit code and the only line on stderr."""


@pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX")
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(name, marks=[] if name in ("term:1:6", "exit:1:6") else pytest.mark.slow)
        for name in FAILURES
    ],
)
def test_one_process_that_fails_ends_all_with_one_line(failure: str, data: Path, tmp_path: Path) -> None:
    """And the run goes on in one process from the state that was saved."""
    out = tmp_path / "run"
    begin = time.monotonic()
    done = started(command(data, out, 2, failure))
    code, text = FAILURES[failure]
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines), text in done.stderr) == (code, 1, True), done.stderr
    assert time.monotonic() - begin < 2 * FROZEN_SECONDS + 60
    resumed = started(command(None, out, 1))
    assert resumed.returncode == 0, resumed.stderr
    assert "the run began with 2 processes" not in resumed.stderr  # --quiet
    state = json.loads((out / "results.json").read_text())
    assert state["num_test_videos"] == 8


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX")
def test_ctrl_c_reaches_all_processes_and_is_one_line(data: Path, tmp_path: Path) -> None:
    """In a terminal, each process of the command receives it."""
    out = tmp_path / "run"
    longer = {"spatial.steps=12": "spatial.steps=100000"}
    words = [longer.get(word, word) for word in command(data, out, 2)]
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while not (out / "state.safetensors").exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert len(errors.splitlines()) == 1
    assert "stopped in stage spatial after step" in errors


def test_two_processes_test_as_one_does(data: Path, tmp_path: Path) -> None:
    """The test of one trained run: the same scores to the last digit, each video once."""
    out = tmp_path / "run"
    assert started(command(data, out, 2)).returncode == 0
    two = json.loads((out / "results.json").read_text())
    (out / "results.json").unlink()
    assert started(command(None, out, 1)).returncode == 0  # all stages are trained: it only tests
    one = json.loads((out / "results.json").read_text())
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert one["num_test_videos"] == 8


# -- launchers --------------------------------------------------------------------------------------


def torchrun(**more: str) -> dict[str, str]:
    return {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0",
            "TORCHELASTIC_RUN_ID": "x", **more}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "resources", "advice"),
    [
        (torchrun(), {}, "torchrun counts 2 processes.* make 1; give --devices 2,"),
        (torchrun(LOCAL_WORLD_SIZE="1"), {}, "give --devices 1 --num-nodes 2"),
        (torchrun(WORLD_SIZE="4"), {"devices": 2}, "counts 4 .* make 2; give --devices 2 --num-nodes 2"),
        ({"WORLD_SIZE": "two"}, {}, "WORLD_SIZE='two'; expected a number"),
        (
            {
                "SLURM_NTASKS": "4",
                "SLURM_NTASKS_PER_NODE": "2",
                "SLURM_NNODES": "2",
                "SLURM_JOB_NAME": "train",
            },
            {},
            "Slurm counts 4 .* give --devices 2 --num-nodes 2",
        ),
    ],
)
def test_another_number_of_processes_than_the_launcher_is_refused(
    variables: dict[str, str], resources: dict[str, Any], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They trained the whole run each, into the same folder."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=advice):
        Resources(accelerator="cpu", **resources).fabric()
    with pytest.raises(UsageError, match=r"in one process|runs on one device|expected a number"):
        Resources(accelerator="cpu", **resources).single_device("compare")


def test_of_the_processes_of_a_launcher_one_names_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in torchrun(RANK="1", LOCAL_RANK="1").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        Resources(accelerator="cpu").fabric()
    assert ended.value.code == 2


def test_a_launcher_of_one_process_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in torchrun(WORLD_SIZE="1", LOCAL_WORLD_SIZE="1").items():
        monkeypatch.setenv(name, value)
    launch = find_launch()
    assert launch is not None
    assert launch.world == 1


def test_nodes_are_counted_from_one() -> None:
    with pytest.raises(UsageError, match="num_nodes is 0; expected a whole number of 1 or more"):
        Resources(num_nodes=0)
    with pytest.raises(UsageError, match="the demo runs on one device; leave out --num-nodes"):
        Resources(num_nodes=2).single_device("the demo")


# -- what the processes share ------------------------------------------------------------------------


def test_a_run_of_several_processes_is_resumed_by_those_that_can_share_its_steps() -> None:
    from lightning_fabric import Fabric

    from hidden_two_stream.data.clip_cache import ClipCache
    from hidden_two_stream.training.loop import TrainingRun, _shared_among

    recipe = load_recipe("nano", ["spatial.accumulate=1", "temporal.accumulate=2"])
    run = TrainingRun(Path(), recipe, ClipCache((), (), (), 32), [], quiet=True, processes=3)
    shared = _shared_among(run, None, Fabric(accelerator="cpu", devices=1), ["spatial", "temporal"])
    assert {name: config.accumulate for name, config in shared.shares.items()} == {
        "spatial": 3,
        "temporal": 6,
    }
    assert (
        _shared_among(
            dataclasses.replace(run, processes=0), None, Fabric(accelerator="cpu", devices=1), ["spatial"]
        ).shares
        == {}
    )

    class Two:
        world_size = 2

    with pytest.raises(
        UsageError, match=r"3 processes, whose steps in stage spatial have 3 batches; .* 1 or 3"
    ):
        _shared_among(run, None, Two(), ["spatial", "temporal"])  # type: ignore[arg-type]
