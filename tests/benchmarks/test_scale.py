"""The cost model of large collections: rates by hand, the limit, and the simulation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.scripts import load_script

COSTS: dict[str, Any] = {
    "machine": "a machine",
    "decoding": [
        {"pixels": 250_000, "frame_ms": 0.5, "used_frame_ms": 0.25, "file_ms": 11.0},
        {"pixels": 750_000, "frame_ms": 2.0, "used_frame_ms": 0.75, "file_ms": 13.0},
    ],
    "networks_ms": {"nano-branched": 5.0, "nano": 10.0, "tiny": 100.0, "paper": 500.0},
    "flow": {"tvl1_ms": 1000.0, "dis-fast_ms": 1.0, "pixels": 250_000.0, "pair_bytes": 5000.0},
}


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    return load_script("scale")


@pytest.fixture
def collection(scale: ModuleType) -> Any:
    return scale.Collection(hours=1000, file_minutes=6, pixels=500_000, fps=20, mbit=8, hop=2)


def test_an_hour_costs_what_its_parts_cost(scale: ModuleType, collection: Any) -> None:
    cost = scale.cost_of(COSTS, collection, "nano", num_frames=16, gpu=False)
    # 72,000 frames of 0.5 + 0.75 ms; 1,800 clips of 16 frames of 0.5 ms and 10 ms; 10 files of 12 ms
    assert cost.cpu == pytest.approx((72_000 * 1.25 + 1_800 * (16 * 0.5 + 10) + 10 * 12) / 1e3)
    assert (cost.gpu, cost.bytes) == (0, 1e6 * 3600)


def test_costs_beyond_the_measured_sizes_grow_with_the_pixels(scale: ModuleType) -> None:
    assert scale.at_size(COSTS, "frame_ms", 1_500_000) == pytest.approx(4.0)
    assert scale.at_size(COSTS, "frame_ms", 100_000) == pytest.approx(0.5)


def test_a_frame_is_used_once_however_dense_the_clips_are(scale: ModuleType, collection: Any) -> None:
    dense = scale.Collection(**(vars(collection) | {"hop": 0.1}))
    cost = scale.cost_of(COSTS, dense, "nano", num_frames=16, gpu=True)
    assert cost.cpu == pytest.approx((72_000 * (1.25 + 0.5) + 10 * 12) / 1e3)
    assert cost.gpu == pytest.approx(36_000 / scale.GPU_CLIPS_PER_SECOND["nano"])


def test_the_scarcest_part_is_the_limit(scale: ModuleType, collection: Any) -> None:
    cost = scale.Cost(cpu=100, gpu=0, bytes=1e9)
    machine = scale.Machine(cores=10, has_gpu=False, gbit=0.4, price=2)
    one = scale.plan(cost, collection, machine, 1, storage_gbit=4)
    assert (one.limit, one.seconds) == ("network", pytest.approx(1000 * 20))  # 0.05 GB/s
    assert one.price == pytest.approx(one.seconds / 3600 * 2)
    many = scale.plan(cost, collection, machine, 100, storage_gbit=4)
    assert (many.limit, many.seconds) == ("storage", pytest.approx(1000 * 2))  # 0.5 GB/s
    fast = scale.Machine(cores=10, has_gpu=False, gbit=40, price=2)
    assert scale.plan(cost, collection, fast, 1, storage_gbit=40).limit == "CPU"


def test_the_simulation_agrees_with_the_model_where_files_are_many(
    scale: ModuleType, collection: Any
) -> None:
    cost = scale.Cost(cpu=100, gpu=0, bytes=1)
    machine = scale.Machine(cores=4, has_gpu=False, gbit=10, price=1)
    model = scale.plan(cost, collection, machine, 2, storage_gbit=1e9).seconds
    calm = scale.simulated(cost, collection, machine, 2, failures=0, seed=1)
    assert model <= calm < 1.02 * model
    failing = scale.simulated(cost, collection, machine, 2, failures=50, seed=1)
    assert failing > 1.05 * calm


def test_all_tables_are_printed(
    scale: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "costs.json").write_text(json.dumps(COSTS))
    arguments = ["scale.py", str(tmp_path / "costs.json"), "--hours", "1000", "--simulated-hours", "100"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        scale.main()
    printed = capsys.readouterr().out
    assert sum(line.startswith("|---") for line in printed.splitlines()) == 4
    for recipe in COSTS["networks_ms"]:
        assert f"| {recipe} | 16 cores |" in printed
