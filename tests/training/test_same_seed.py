"""The same seed gives the same weights on the same machine, in every stage; another seed gives others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import hidden_two_stream as hts
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.training.resources import Resources

SMALL: dict[str, object] = {
    "input.size": 32, "model.num_frames": 3, "calibration.method": "none",
    **{f"{stage}.steps": 2 for stage in ("motion", "spatial", "temporal", "joint")},
    **{f"{stage}.batch_size": 2 for stage in ("motion", "spatial", "temporal", "joint")},
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(
        tmp_path_factory.mktemp("data"), train_per_class=2, test_per_class=1, num_frames=6, size=32
    )


def weights(data: Path, out: Path, seed: int, stage: str, workers: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(workers)  # whatever the process did before must not matter
    recipe, changes = ("quick", {"input.size": 32}) if stage == "quick" else ("nano", SMALL)
    hts.train(
        data, out, recipe, changes, stage="all" if stage == "quick" else stage, seed=seed,
        resources=Resources(accelerator="cpu", workers=workers, quiet=True, cache_mb=0 if workers else 64),
    )  # fmt: skip
    return read_tensors(out / "model.safetensors")[0]


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("stage", ["motion", "spatial", "temporal", "joint", "quick"])
def test_a_seed_decides_the_weights(stage: str, data: Path, tmp_path: Path) -> None:
    first, again, other = (
        weights(data, tmp_path / str(number), seed, stage) for number, seed in enumerate((3, 3, 4))
    )
    assert same(first, again)
    if stage != "quick":  # logistic regression has a single solution; its windows are not drawn
        assert not same(first, other)


def test_the_number_of_workers_does_not_matter(data: Path, tmp_path: Path) -> None:
    found = [weights(data, tmp_path / str(workers), 3, "temporal", workers) for workers in (0, 2)]
    assert same(*found)
