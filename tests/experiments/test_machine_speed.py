"""`hts bench`: rows, what they count, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from hidden_two_stream.errors import UsageError
from hidden_two_stream.experiments import machine_speed
from hidden_two_stream.experiments.machine_speed import measure_machine
from hidden_two_stream.experiments.speed_inputs import Work
from hidden_two_stream.experiments.speed_works import GROUPS, works_of

Hts = Callable[..., tuple[int, str, str]]


def test_every_work_runs_and_has_a_name_of_its_own(tmp_path: Path) -> None:
    skipped: dict[str, str] = {}
    for group in ("decoding", "loading", "stream", "training"):
        works = works_of(group, tmp_path, skipped)
        assert len({work.name for work in works}) == len(works) > 0
        works[0].call()
    assert skipped == {}


def test_loading_gives_another_batch_at_each_call_and_the_same_both_ways(tmp_path: Path) -> None:
    cached, again = works_of("loading", tmp_path, {})
    first, second = cached.call(), cached.call()
    assert first.shape == second.shape == (8, 16, 3, 128, 128)
    assert not first.equal(second)
    assert again.call().equal(first)


def test_shares_follow_the_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, frames = nn.Conv2d(3, 8, 3, padding=1), torch.rand(2, 3, 16, 16)
    operations = 2 * 2 * 16 * 16 * 8 * 3 * 9  # multiplications and additions of each output

    def works(group: str, scratch: Path, skipped: dict[str, str]) -> list[Work]:
        skipped["another"] = "not here"
        return [
            Work("layer", lambda: layer(frames), 0.5, is_network=True),
            Work("nothing", lambda: None, note="idle"),
        ]

    monkeypatch.setattr(machine_speed, "works_of", works)
    table = measure_machine(("motion",), rounds=3)
    first, second = table.rows
    assert first.share_of_peak is not None
    counted = first.share_of_peak * table.peak_gflops * 1e9 * first.milliseconds / 1000
    assert counted == pytest.approx(operations)
    assert first.per_video_second == pytest.approx(first.milliseconds / 0.5)
    assert second.share_of_peak is None
    assert second.per_video_second is None
    assert second.milliseconds < first.milliseconds
    assert table.skipped == {"another": "not here"}


def test_without_opencv_only_the_classical_methods_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hidden_two_stream.experiments.speed_works.find_spec",
        lambda name: None if name in ("cv2", "transformers", "onnx") else sys.modules.get(name),
    )
    skipped: dict[str, str] = {}
    assert {"nano", "tiny", "full"} <= {work.name for work in works_of("motion", tmp_path, skipped)}
    assert works_of("export", tmp_path, skipped) == []
    works_of("recognition", tmp_path, skipped)
    assert {"DIS, TV-L1", "ONNX Runtime", "VideoMAE-S"} <= set(skipped)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"groups": ("speed",)}, "unknown group 'speed'; choose from decoding, loading"),
        ({"rounds": 0}, "the number of rounds is 0"),
        ({"num_threads": 0}, "the number of threads is 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        measure_machine(**arguments)  # type: ignore[arg-type]


def test_the_command_prints_and_writes_the_same(hts: Hts, tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    code, printed, _ = hts("bench", "stream", "--rounds", 1, "-o", out, "--json")
    assert code == 0
    data = json.loads(printed)
    assert data == json.loads(out.read_text(encoding="utf-8"))
    assert [row["group"] for row in data["rows"]] == ["stream", "stream"]
    assert data["rows"][0]["milliseconds_per_video_second"] == pytest.approx(
        25 * data["rows"][0]["milliseconds"]
    )
    code, printed, _ = hts("bench", "stream", "--rounds", 1)
    assert code == 0
    assert "nano, one new frame" in printed
    assert "GFLOP/s" in printed
    assert list(data["memory_mb"]) == ["stream"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["stream", "--networks"], ""),
        (["--networks", "nano", "--rounds", "2"], "--rounds is for times"),
        (["--size", "64"], "--size is for --networks"),
        (["nothing"], "unknown group 'nothing'"),
    ],
)
def test_options_that_do_not_fit_are_refused(hts: Hts, arguments: list[str], reason: str) -> None:
    code, _, error = hts("bench", *arguments)
    assert code == 2
    assert reason in error


def test_the_help_names_all_groups(hts: Hts) -> None:
    printed = " ".join(hts("bench", "--help")[1].split())
    assert ", ".join(GROUPS) in printed
