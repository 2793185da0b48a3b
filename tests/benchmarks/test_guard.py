"""The guard against slower code names what became slower and what is new, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]


def table(**ratios: float) -> dict[str, object]:
    rows = [{"group": "stream", "name": name, "to_reference": ratio} for name, ratio in ratios.items()]
    return {"rows": rows, "num_threads": 1}


def test_the_guard_names_slower_and_new_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = load_script("guard")
    committed, measured = tmp_path / "committed.json", tmp_path / "measured.json"
    committed.write_text(json.dumps(table(same=1.0, slow=2.0, gone=1.0)))
    measured.write_text(json.dumps(table(same=1.4, slow=3.2, new=1.0)))
    monkeypatch.setattr(sys, "argv", ["guard.py", str(committed), "--measured", str(measured)])
    guard.main()
    assert capsys.readouterr().out.splitlines() == [
        "warning: stream: slow: 1.6× the committed ratio",
        "warning: stream: new: not in the committed table",
    ]
    measured.write_text(json.dumps(table(same=1.4)))
    guard.main()
    assert capsys.readouterr().out.splitlines() == ["none of 1 works became slower"]
