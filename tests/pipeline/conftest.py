"""A small data set and a small trained run that the pipeline tests share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from hidden_two_stream.cli.main import main
from hidden_two_stream.synthetic.dataset import write_dataset

QUICK = [
    *("--set", "input.size=32", "--set", "model.num_frames=3", "--workers", "0", "--quiet"),
    *(part for stage in ("motion", "spatial", "temporal", "joint") for part in ("--set", f"{stage}.steps=3")),
    *(
        part
        for stage in ("motion", "spatial", "temporal", "joint")
        for part in ("--set", f"{stage}.batch_size=2")
    ),
    *("--set", "calibration.method=none"),  # tests/training/test_cross_fit.py has it
]


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of 8 classes with two training clips and one test clip each, 32×32."""
    return write_dataset(
        tmp_path_factory.mktemp("small"), train_per_class=2, test_per_class=1, num_frames=6, size=32
    )


@pytest.fixture(scope="session")
def small_run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after three steps per stage."""
    folder = tmp_path_factory.mktemp("run") / "run"
    assert (
        main(["train", "--data", str(small_data), "--out", str(folder), "--data-license", "CC0-1.0", *QUICK])
        == 0
    )
    return folder


@pytest.fixture(scope="session")
def example_script() -> Callable[[str], ModuleType]:
    """Loads a script of examples/ by name, as a module of its own."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).resolve().parents[2] / "examples" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look for it there
        spec.loader.exec_module(module)
        return module

    return load
