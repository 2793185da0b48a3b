"""A hub on this machine, a cache of its own, and the runs to share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.recognition.calibration import Calibration

from ..hub_server import StandIn

OLD_RUN = Path(__file__).parents[1] / "fixtures" / "run-format-1"
SECRET = "/home/annaverysecret/patients/labels.csv"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in, which `huggingface_hub` takes for the hub; the token is Anna's."""
    with StandIn() as server:
        use_hub(server, tmp_path / "hf", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", "hf_anna")
        yield server


def use_hub(server: StandIn, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(home / ".agent_harnesses.json"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks LFS


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of both streams with its results, as an earlier version wrote it."""
    return Path(shutil.copytree(OLD_RUN, tmp_path / "run"))


def small_run(folder: Path, **model: object) -> Path:
    """Write a run with random weights; its description is full of what must not leave."""
    given = {"model.num_frames": 3, "input.size": 32, "input.resize": 32, "temporal_init": "none"}
    given |= {f"model.{name}": list(v) if isinstance(v, tuple) else v for name, v in model.items()}
    streams = model.get("streams", ("spatial", "temporal"))
    for stage in ("motion", "spatial", "temporal", "joint"):
        given[f"{stage}.steps"] = int(stage in streams)
    given["temporal.optimizer"] = "adamw"
    recipe = load_recipe("nano", given)
    stages = ("motion", *recipe.model.streams)
    calibration = Calibration(
        temperatures=dict.fromkeys(recipe.model.streams, 1.5), fused_temperature=0.8, threshold=0.3,
        num_clips=12,
    )  # fmt: skip
    metadata = RunMetadata(
        stages=tuple(stage for stage in ("motion", "spatial", "temporal") if stage in stages),
        data=SECRET,
        split="held out: subject annaverysecret",
        held_out="subject=annaverysecret",
        num_training_videos=7,
        warm_start={"motion": "/home/annaverysecret/runs/old"},
        motion_init={"source": SECRET, "file": "annaverysecret.safetensors", "sha256": "0" * 64},
        calibration=calibration,
        min_fps=25.0,
        max_fps=30.0,
    )
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    network = build_model(recipe, 3)
    save_run(folder, network, RunInfo(recipe, ("walk", "run", "jump"), metadata))
    return folder


@pytest.fixture
def clip() -> np.ndarray:
    """(T, H, W, 3) uint8 frames of noise."""
    return np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
