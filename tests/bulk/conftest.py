"""A run without training, and six short videos of which one is broken."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.bulk import work as works
from hidden_two_stream.checkpoint import RunInfo, build_model, save_run
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.video.writer import write_video

from .engine import Here


def write_run(folder: Path, seed: int = 0) -> Path:
    recipe = Recipe(
        model=ModelConfig("nano", "small", 4, temporal="sequence"), input=InputConfig(size=32, resize=32)
    )
    torch.manual_seed(seed)
    model = build_model(recipe, 3)
    for name, parameter in model.named_parameters():
        if name.endswith("fc.weight"):
            torch.nn.init.normal_(parameter, std=1.0)
    folder.mkdir()
    save_run(folder, model, RunInfo(recipe, ("a", "b", "c")))
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("bulk") / "run")


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("bulk") / "other", seed=1)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six videos of different length and content; the third is broken."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 256, (4 + 3 * number, 32, 48, 3), np.uint8)
        write_video(folder / f"{number}.mp4", frames)
    (folder / "2.mp4").write_bytes(b"not a video")
    return sorted(folder.iterdir())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """The engine "pool" works in this process."""
    engine = Here()
    monkeypatch.setitem(works.ENGINES, "pool", lambda _: engine)
    return engine


@pytest.fixture
def ray_installed() -> None:
    """Ray is in the extra `dev`; without it the test is skipped, except under CI."""
    if find_spec("ray") is None:
        if os.environ.get("CI"):
            pytest.fail("Ray is not installed; the extra dev has it")
        pytest.skip("Ray is not installed")
