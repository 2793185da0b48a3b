"""Training on several processes equals training in one, and no process waits for another for ever."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.data.training_set import StepSampler
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.recognition.model import TEMPORAL_FORMS
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.launcher import find_launch
from hidden_two_stream.training.regroup import regrouped, same_batches
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.state import STATE_FILE, TrainingState, load_state, save_state

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "benchmarks" / "devices.py"
SETTINGS = (
    "model.num_frames=3", "input.size=32", "input.resize=32", "motion.steps=2", "motion.batch_size=2",
    "spatial.steps=12", "spatial.batch_size=2", "temporal.steps=0", "joint.steps=0",
    "calibration.method=none", "temporal_init=none",
)  # fmt: skip


def compared(*arguments: object) -> list[dict[str, Any]]:
    """Return the rows of the comparison of one process with two."""
    words = [sys.executable, SCRIPT, "--json", *arguments]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def require_equal_runs(
    rows: list[dict[str, Any]], steps: int, tolerance: float, *, control: bool = False
) -> None:
    """Check rows; with `control`, to ten times what a nudge of the weights does to one process.

    Some trainings amplify rounding errors: then two runs of one process that begin a millionth apart differ
    as much.
    """
    stages = {(row["stage"], row.get("form"), row.get("way")) for row in rows}
    forms = {(stage, form, way) for form in TEMPORAL_FORMS
             for stage, way in (("temporal", "a"), ("joint", "b"), ("joint", "c"))}  # fmt: skip
    assert stages >= {("motion", None, None), ("spatial", None, None), *forms}
    for row in rows:
        assert row["steps"] == (1 if row.get("optimizer") == "logistic" else steps)
        allowed = max(tolerance, 10 * row["nudged"] if control else 0)
        assert row["loss"] < allowed, row
        assert row.get("first_gradient", 0) < 1e-4, row
        assert control or row["weights"] < 10 * tolerance, row
        assert row["same_weights"], row
        if row["stage"] != "motion":
            assert row["same_test"], row
            assert row["score"] < 10 * allowed, row


def test_two_processes_take_the_same_steps_as_one() -> None:
    """With dropout, augmentation and batch normalization: a few steps, to rounding."""
    require_equal_runs(compared("--steps", 2), 2, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["nano", "tiny"])
def test_the_loss_curve_of_two_processes_is_that_of_one(network: str) -> None:
    rows = compared("--network", network)
    paper = [row for row in rows if "note" not in row]
    require_equal_runs(rows, 50, 1e-4, control=True)
    if network == "nano":
        require_equal_runs(paper, 50, 1e-4)
    for row in rows:
        if "accuracy" in row:
            assert row["accuracy"][0] == row["accuracy"][1], row


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    return write_dataset(root, train_per_class=1, test_per_class=1, num_frames=4, size=32)


def command(
    data: Path | None, out: Path, devices: int, failure: str = "none:0:0", workers: int = 0
) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    begin = ["--data", data, "--protocol", "center", *settings] if data else ["--resume"]
    words = [HERE / "failing_train.py", failure, "train", *begin, "--out", out, "--accelerator", "cpu",
             "--workers", workers, "--devices", devices, "--quiet"]  # fmt: skip
    return [sys.executable, *map(str, words)]


def started(words: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(words, capture_output=True, text=True, timeout=180, check=False, env=environment)


FAILURES = {
    "nan:1:6": (1, "stage spatial, step 4: loss"),
    "error:1:6": (1, "process 2 of 2: cannot read video 'walk.mp4': it is gone"),
    "exit:1:6": (1, "process 2 of 2 ended with exit code 3"),
    "kill:1:6": (1, "process 2 of 2 ended by SIGKILL"),
    "kill:0:6": (-9, "process 1 of 2 ended"),
    "term:1:6": (143, "stopped in stage spatial after step 4"),
    "exit:0:6": (3, "process 1 of 2 ended"),
    "freeze:1:6": (1, "process 2 of 2 does not answer any more"),
    "freeze:0:6": (-9, "process 1 of 2 does not answer any more"),
}
"""What happens, to which process, at which step → exit code and the only line on stderr."""


@pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX")
@pytest.mark.parametrize(
    "failure",
    [pytest.param(name, marks=[] if name == "kill:1:6" else pytest.mark.slow) for name in FAILURES],
)
def test_one_process_that_fails_ends_all_with_one_line(failure: str, data: Path, tmp_path: Path) -> None:
    """Within 30 s; and the run goes on in one process from the state that was saved."""
    out, failed_at = tmp_path / "run", tmp_path / "failed-at"
    done = started(command(data, out, 2, failure), FAILED_AT=str(failed_at))
    seconds = time.time() - float(failed_at.read_text())
    code, text = FAILURES[failure]
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines), text in done.stderr) == (code, 1, True), done.stderr
    assert done.stdout == ""
    assert seconds < 30
    resumed = started([word for word in command(None, out, 1) if word != "--quiet"])
    assert resumed.returncode == 0, resumed.stderr
    assert "the run began with 2 processes, now there is 1: each step has the same clips" in resumed.stderr
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
    done = started(command(data, out, 2))
    assert done.returncode == 0, done.stderr
    two = json.loads((out / "results.json").read_text())
    assert "Gloo" not in done.stdout + done.stderr
    assert done.stderr == ""
    (out / "results.json").unlink()
    assert started(command(None, out, 1)).returncode == 0  # all stages are trained: it only tests
    one = json.loads((out / "results.json").read_text())
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert one["num_test_videos"] == 8


@pytest.mark.slow
def test_processes_decode_for_every_clip_what_they_would_have_kept(data: Path, tmp_path: Path) -> None:
    """The same weights, with and without frames in memory; a broken file is named once."""
    videos = tmp_path / "videos"
    shutil.copytree(data.parent, videos)
    with data.open(encoding="utf-8", newline="") as opened:
        broken = videos / next(row["path"] for row in csv.DictReader(opened) if row["split"] == "test")
    broken.write_bytes(b"no video")
    weights = []
    for name, cache_mb, workers in (("kept", "2048", 0), ("decoded", "0", 2)):
        words = command(videos / data.name, tmp_path / name, 2, workers=workers)
        done = started([*words, "--cache-mb", cache_mb])
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(broken.name) == 1
        assert (tmp_path / name / "unreadable.txt").read_text().count(broken.name) == 1
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_starts_the_processes_of_one_run(nodes: int, data: Path, tmp_path: Path) -> None:
    """Of one machine, and of two, which here are the same one."""
    out = tmp_path / "run"
    words = [*command(data, out, 2 // nodes)[1:], "--num-nodes", str(nodes)]
    runs, port = [], free_port()
    for node in range(nodes):
        launcher = ["--nnodes", nodes, "--nproc-per-node", 2 // nodes, "--node-rank", node]
        launcher += ["--master-addr", "127.0.0.1", "--master-port", port]
        line = [sys.executable, "-m", "torch.distributed.run", *map(str, launcher), *words]
        runs.append(subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for run in runs:
        _, errors = run.communicate(timeout=180)
        assert run.returncode == 0, errors
    results = json.loads((out / "results.json").read_text())
    assert results["num_test_videos"] == 8
    assert load_state(out).processes == 2  # type: ignore[union-attr]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


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


# -- another number of processes -----------------------------------------------------------------------


def stage(batch_size: int, accumulate: int = 1) -> StageConfig:
    return StageConfig(steps=3, batch_size=batch_size, accumulate=accumulate)


@pytest.mark.parametrize(
    ("config", "began", "now", "expected"),
    [
        ((4, 1), 2, 1, (4, 2)),  # a process computes what two did, one after the other
        ((8, 1), 1, 2, (4, 1)),  # two share each batch, so batch normalization sees the same clips
        ((8, 2), 1, 2, (4, 2)),
        ((4, 1), 3, 2, (3, 2)),
        ((2, 3), 2, 3, (2, 2)),
        ((1, 4), 1, 4, (1, 1)),
        ((1, 1), 4, 1, (1, 4)),
        ((6, 2), 1, 1, (6, 2)),
    ],
)
def test_another_number_of_processes_keeps_the_clips_of_each_step(
    config: tuple[int, int], began: int, now: int, expected: tuple[int, int]
) -> None:
    before = {"spatial": stage(*config)}
    after = regrouped(before, began, now)
    found = after["spatial"]
    assert (found.batch_size, found.accumulate) == expected
    assert found.batch_size * found.accumulate * now == config[0] * config[1] * began
    assert same_batches(before, after) == (config[1] == expected[1])

    def drawn(how: StageConfig, world: int) -> set[Any]:
        parts = (
            StepSampler(5, how.batch_size, how.accumulate, 2, 3, seed=7, rank=rank, world=world)
            for rank in range(world)
        )
        return {key for part in parts for batch in part for key in batch}

    assert drawn(found, now) == drawn(before["spatial"], began)


def test_a_number_of_processes_that_cannot_share_the_steps_is_refused() -> None:
    stages = {"motion": stage(8), "spatial": stage(6)}
    with pytest.raises(
        UsageError,
        match=r"began with 1 process, whose steps in stage motion have 8 clips; 3 processes cannot share "
        r"them equally; resume with 1 or 2$",
    ):
        regrouped(stages, 1, 3)
    fitted = {"temporal": StageConfig(steps=3, batch_size=5, optimizer="logistic")}
    assert regrouped(fitted, 1, 3) == fitted  # it has no batches


def test_a_state_without_a_number_of_processes_began_with_one(tmp_path: Path) -> None:
    """States of earlier versions; and a number that is none is a damaged file."""
    state = TrainingState("spatial", 3, {}, {"a": torch.ones(1)}, {}, processes=4)
    save_state(tmp_path, state)
    assert load_state(tmp_path) is not None
    assert load_state(tmp_path).processes == 4  # type: ignore[union-attr]
    file = tmp_path / STATE_FILE
    with safe_open(file, "pt") as opened:
        position = json.loads(opened.metadata()["training_state"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    for changed, expected in (({}, 1), ({"processes": 0}, None)):
        kept = {name: value for name, value in position.items() if name != "processes"} | changed
        save_file(tensors, file, {**metadata, "training_state": json.dumps(kept)})
        if expected is None:
            with pytest.raises(CheckpointError, match="it began with 0 processes"):
                load_state(tmp_path)
        else:
            assert load_state(tmp_path).processes == expected  # type: ignore[union-attr]
