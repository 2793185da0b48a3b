"""bfloat16 agrees with float32 within the bounds that the docs state."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.benchmarks.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def precision() -> ModuleType:
    return load_script("precision")


def test_bfloat16_agrees_with_float32(precision: ModuleType, tmp_path: Path) -> None:
    found = precision.measure(tmp_path, clips=2)
    assert [one.name for one in found] == list(precision.BOUNDS)
    assert [one for one in found if not one.is_within] == []
    assert all(one.value > 0 for one in found if one.name != "labels")  # it was computed in bfloat16


def test_the_docs_state_the_bounds(precision: ModuleType) -> None:
    page = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    for name, bound in precision.BOUNDS.items():
        rows = [row.split("|") for row in page.splitlines() if row.startswith(f"| {name} |")]
        assert [row[3].strip() for row in rows] == [f"{bound:g}"], name


def test_a_difference_is_noticed(precision: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        """In bfloat16, the second class wins by a little and the flow is 1 px off."""

    def computed(_: object, video: np.ndarray, half: bool) -> dict[str, np.ndarray]:
        scores = np.array([0.4, 0.6] if half else [0.6, 0.4])
        return {
            "flow": np.full((2, 2, 3, 3), float(half)),
            **dict.fromkeys(("temporal", "spatial", "fused"), scores),
        }

    monkeypatch.setattr(precision, "_computed", computed)
    found = {one.name: one.value for one in precision._differences(Fixed(), [np.zeros(1)])}
    assert found["flow, mean"] == pytest.approx(2**0.5)
    assert found["fused"] == pytest.approx(0.2)
    assert found["labels"] == pytest.approx(0.2)
