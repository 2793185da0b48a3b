"""The small form of the GPU benchmark on the CPU: every section runs, and its checks can fail."""

from __future__ import annotations

import csv
import json
import math
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.benchmarks.scripts import load_script


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    return load_script("gpu")


@pytest.fixture
def bench(gpu: ModuleType, tmp_path: Path) -> Any:
    return gpu.Bench(torch.device("cpu"), True, 0, 0, tmp_path, tmp_path)


def numbers(data: Any) -> list[float]:
    """All numbers in JSON data, at any depth."""
    if isinstance(data, dict):
        return [number for value in data.values() for number in numbers(value)]
    if isinstance(data, list):
        return [number for value in data for number in numbers(value)]
    return [data] if isinstance(data, int | float) and not isinstance(data, bool) else []


# The compiler and Fabric warn about what the small form does on a CPU, such as half precision.
@pytest.mark.filterwarnings("default")
def test_every_section_runs_on_the_cpu(gpu: ModuleType, tmp_path: Path) -> None:
    code = gpu.main(["--out", str(tmp_path), "--device", "cpu", "--small", "--seed", "1"])
    assert code == 0
    results = {name: json.loads((tmp_path / f"{name}.json").read_text("utf-8")) for name in gpu.SECTIONS}
    assert {name: result["status"] for name, result in results.items()} == dict.fromkeys(results, "done")
    for name, result in results.items():
        assert result["tables"], name
        assert all(math.isfinite(number) for number in numbers(result)), name
        rows = [row for table in result["tables"].values() for row in table]
        assert not [row for row in rows if "failed" in row], name
    checks = results["correctness"]["tables"]["checks"]
    assert all(row["passed"] and row["error"] <= row["bound"] for row in checks)
    # What is exact in float64 has an error in float32, so different numbers were compared.
    assert all(row["error"] > 0 for row in checks if row["precision"] in ("float32", "bf16 autocast"))
    compared = {row["what"] for row in checks}
    assert {f"loss {name}" for name in gpu.LOSS_PRESETS} < compared
    assert {"MotionNet nano", "MotionNet tiny", "model nano", "training in float16"} < compared
    assert results["correctness"]["facts"]["fp16_skipped_steps"] >= 1
    curve = list(csv.DictReader((tmp_path / "loss.csv").read_text("utf-8").splitlines()))
    assert [float(row["loss"]) > 0 for row in curve] == [True]
    assert curve[-1]["step"] == str(results["training"]["facts"]["steps"])
    tables = (tmp_path / "gpu.md").read_text("utf-8")
    assert all(f"## {name}\n\ndone" in tables for name in gpu.SECTIONS)
    assert "| ** |" in tables


def test_a_wrong_weight_on_the_device_fails_a_check(
    gpu: ModuleType, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight that is off by a millionth shows in float64; one twice as large, in all precisions."""
    frames = gpu.generated_frames(bench, 1, 32)
    network = gpu.build_motion("nano")
    copy_to = gpu.copy_to
    for factor, failing in ((1.0, set()), (1 + 1e-6, {"float64"}), (2.0, {p.name for p in gpu.PRECISIONS})):
        copies = iter(range(100))

        def wrong(
            module: nn.Module,
            device: torch.device,
            dtype: torch.dtype,
            factor: float = factor,
            copies: Any = copies,
        ) -> nn.Module:
            copied: nn.Module = copy_to(module, device, dtype)
            if next(copies):  # the first is the reference
                with torch.no_grad():
                    copied.refine2.step_gain.mul_(factor)
            return copied

        monkeypatch.setattr(gpu, "copy_to", wrong)
        section = gpu.Section("correctness", bench.folder, lambda: None)
        gpu.compare_module(bench, section, "nano", network, frames)
        rows = section.tables["checks"]
        assert {
            row["precision"] for row in rows if row["quantity"] == "output" and not row["passed"]
        } == failing
        assert bool(section.failed_checks()) == bool(failing)


def test_a_wrong_loss_fails_a_check(gpu: ModuleType, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = gpu.unsupervised_loss

    def wrong(frames: Tensor, *arguments: Any, **options: Any) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = right(frames, *arguments, **options)
        return terms if frames.dtype == torch.float64 else terms | {"total": 1.1 * terms["total"]}

    monkeypatch.setattr(gpu, "unsupervised_loss", wrong)
    section = gpu.Section("correctness", bench.folder, lambda: None)
    gpu.compare_losses(bench, section, gpu.generated_frames(bench, 1, 32))
    failed = [row for row in section.tables["checks"] if not row["passed"]]
    assert {row["precision"] for row in failed} == {"float32"}
    assert {row["what"] for row in failed} == {f"loss {name}" for name in gpu.LOSS_PRESETS}


def test_nan_never_passes(gpu: ModuleType, bench: Any) -> None:
    section = gpu.Section("correctness", bench.folder, lambda: None)
    error = gpu.relative_error([torch.tensor([1.0, math.nan])], [torch.tensor([1.0, 2.0])])
    section.check("nan", "float32", "output", error, math.inf)
    assert section.failed_checks() == ["nan, float32, output: nan > inf"]


def test_what_a_section_had_outlives_its_failure(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Any, section: Any) -> None:
        section.row("table", value=1.5)
        raise ValueError("no such kernel")

    def slow(_: Any, section: Any) -> None:
        section.row("table", value=2.5)
        while True:
            time.sleep(0.01)

    def fine(_: Any, section: Any) -> None:
        section.check("thing", "float32", "output", 1.0, 2.0)

    monkeypatch.setattr(gpu, "SECTIONS", {"one": (broken, 5), "two": (slow, 0.2), "three": (fine, 29.7)})
    assert gpu.main(["--out", str(tmp_path), "--device", "cpu", "--small", "--minutes", "0.5"]) == 1
    results = [json.loads((tmp_path / f"{name}.json").read_text("utf-8")) for name in ("one", "two", "three")]
    assert [result["status"] for result in results] == ["ValueError: no such kernel", "out of time", "done"]
    assert [result["tables"]["table"] for result in results[:2]] == [[{"value": 1.5}], [{"value": 2.5}]]
    assert "| 2.5 |" in (tmp_path / "gpu.md").read_text("utf-8")
    assert "2 failed\none: ValueError: no such kernel\ntwo: out of time\n" in capsys.readouterr().out
    assert gpu.main(["--out", str(tmp_path), "--device", "cpu", "--small", "--minutes", "0.01"]) == 1
    assert json.loads((tmp_path / "three.json").read_text("utf-8"))["status"] == "left out"
