"""The scripts behind the shipped weights: the same arguments train the same, times are compared fairly."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hidden_two_stream.experiments import timing
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.weights.motion import motion_weights_info

Script = Callable[[str], ModuleType]
QUICK = ("--scenes", "4", "--workers", "0", "--set", "motion.steps=3", "--set", "motion.batch_size=2",
         "--set", "input.size=64")  # fmt: skip


def trained(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str, name: str = "nano"
) -> Path:
    """Weights that the training script writes."""
    monkeypatch.setattr(sys, "argv", ["train_motion.py", name, "--out", str(folder), *QUICK, *options])
    script.main()
    return folder / f"{name}.safetensors"


def test_the_same_seed_trains_the_same_weights(
    example_script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = example_script("train_motion")
    one, two, other = (
        trained(script, monkeypatch, tmp_path / name, "--seed", seed)
        for name, seed in (("a", "3"), ("b", "3"), ("c", "4"))
    )
    first, second, third = (read_tensors(path)[0] for path in (one, two, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)
    info = motion_weights_info(one)
    assert (info.network, info.num_frames) == ("nano", 0)
    assert info.provenance["seed"] == 3
    assert info.provenance["scenes"] == 4
    assert info.provenance["recipe"]["motion"]["steps"] == 3
    steps = [json.loads(line)["step"] for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [3]
    log = (tmp_path / "a" / "nano-training.csv").read_text().splitlines()
    assert (len(log), log[0].split(",")[0], log[1].split(",")[0]) == (2, "step", "100")
    assert float(log[1].split(",")[2]) > 0
    untrained = info.build().state_dict()
    assert any(
        name.endswith("log_share.weight") and value.abs().max() > 0 for name, value in untrained.items()
    )


def test_it_begins_where_the_recipe_says(
    example_script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shipped weights, which steps of next to nothing do not move in half precision; or random ones."""
    script = example_script("train_motion")
    still = ("--set", "motion.motion_learning_rate=1e-12")
    begun, random = (
        trained(script, monkeypatch, tmp_path / init, *still, "--set", f"motion_init={init}")
        for init in ("shipped", "none")
    )
    shipped = motion_weights_info("nano").build().state_dict()
    assert all(
        torch.equal(value, shipped[key])
        for key, value in motion_weights_info(begun).build().state_dict().items()
    )
    assert not torch.equal(
        motion_weights_info(random).build().state_dict()["patch.weight"], shipped["patch.weight"]
    )


@pytest.mark.parametrize(("name", "frames"), [("tiny", 11), ("tiny-2-start", 2)])
def test_tiny_learns_from_nano(
    example_script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, frames: int
) -> None:
    """That for pairs takes the layers it can from the shipped one, and trains the others alone."""
    path = trained(example_script("train_motion"), monkeypatch, tmp_path, name=name)
    info = motion_weights_info(path)
    assert (info.network, info.num_frames) == ("tiny", frames)
    recipe = info.provenance["recipe"]
    assert (recipe["motion_teacher"], recipe["motion"]["unsupervised_weight"]) == ("nano", 0)
    logged = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert logged["loss"] == logged["teacher"] > 0
    own = set(read_tensors(path)[0])
    inner = {"conv2.0.weight", "conv3.0.weight", "conv4.0.weight", "deconv2.0.weight"}
    assert {"conv1.0.weight", "conv_pr2.weight"} <= own
    assert own & inner == (set() if name == "tiny-2-start" else inner)
    if name == "tiny-2-start":
        mine, shipped = info.build().state_dict(), motion_weights_info("tiny").build().state_dict()
        assert all(torch.equal(mine[key], shipped[key]) for key in inner)


def test_tiny_2_goes_on_from_its_start(
    example_script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It asks for the start, moves two more layers than that, and leaves the other inner ones to tiny."""
    script = example_script("train_motion")
    with pytest.raises(SystemExit):
        trained(script, monkeypatch, tmp_path / "none", name="tiny-2")
    assert "continues from tiny-2-start" in capsys.readouterr().err
    shipped = motion_weights_info("tiny-2").build().state_dict()
    start = shutil.copy(motion_weights_info("tiny-2").file, tmp_path / "tiny-2-start.safetensors")
    still, moved = (
        motion_weights_info(
            trained(script, monkeypatch, tmp_path / rate, "--set", f"motion_init={start}", "--set",
                    f"motion.motion_learning_rate={rate}", name="tiny-2")
        )
        for rate in ("1e-12", "1e-3")
    )  # fmt: skip
    assert all(torch.equal(value, shipped[key]) for key, value in still.build().state_dict().items())
    recipe = moved.provenance["recipe"]
    assert (recipe["motion_teacher"], recipe["motion_target"]) == ("nano-fine", "residual")
    assert recipe["motion_init"] == "tiny-2-start.safetensors"  # and not where it lay
    after, tiny = moved.build().state_dict(), motion_weights_info("tiny").build().state_dict()
    weights = [key for key in after if key.endswith("weight")]
    inner = {"conv3.0.weight", "conv4.0.weight", "deconv3.0.weight"}
    assert {key for key in weights if torch.equal(after[key], shipped[key])} == inner
    assert all(torch.equal(after[key], tiny[key]) for key in inner)
    assert {"conv2.0.weight", "deconv2.0.weight"} <= set(read_tensors(moved.file)[0])
    assert not inner & set(read_tensors(moved.file)[0])


def test_nano_fine_takes_the_weights_of_nano(
    example_script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, and makes no scenes, where the recipe has no steps."""
    script = example_script("train_motion")
    monkeypatch.setattr(sys, "argv", ["train_motion.py", "nano-fine", "--out", str(tmp_path)])
    script.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["facts.json", "nano-fine.safetensors"]
    assert read_tensors(tmp_path / "nano-fine.safetensors")[0] == {}
    info = motion_weights_info(tmp_path / "nano-fine.safetensors")
    assert (info.network, info.num_frames, info.to_dict()["shares"][0]) == ("nano-fine", 0, "nano")
    own = motion_weights_info(trained(script, monkeypatch, tmp_path / "own", name="nano-fine"))
    assert own.shares is None
    assert not torch.equal(
        own.build().state_dict()["patch.weight"], info.build().state_dict()["patch.weight"]
    )


def test_times_are_compared_round_by_round(example_script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that gets slower with every round changes milliseconds, but no ratio."""
    module, now = example_script("motion_speed"), [0.0]
    calls: list[str] = []

    def work(name: str, seconds: float) -> None:
        now[0] += seconds * (1 + len(calls) // 4) * (1 if len(calls) % 2 else 10)  # every other is slow
        calls.append(name)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    rows = module.measure({"ours": lambda: work("ours", 1.0), "theirs": lambda: work("theirs", 3.0)}, 5)
    assert calls == ["ours", "ours", "theirs", "theirs"] * 6
    assert [row["method"] for row in rows] == ["ours", "theirs"]
    assert rows[0]["ratio"] == 1.0
    assert rows[1]["ratio"] == pytest.approx(3.0)
    assert rows[0]["ms"] == pytest.approx(1000 * 4)  # the fourth round, the middle of the timed ones
