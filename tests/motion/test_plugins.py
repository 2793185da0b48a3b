"""Flow estimators by name, and functions of one's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.motion.classical import estimator
from hidden_two_stream.motion.plugins import checked_flow, find_estimator

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), dtype=np.uint8)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_flow.py").write_text(
        "import numpy as np\n"
        "def right(frames): return np.tile([[[[1.0]], [[0.0]]]], (len(frames) - 1, 1, *frames.shape[1:3]))\n"
        "def last(frames): return np.moveaxis(right(frames), 1, -1)\n"
        "def broken(frames): return np.nan * right(frames)\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_flow", None)
    return "own_flow"


def test_own_function_is_called(own: str) -> None:
    flow = find_estimator(f"{own}:right")(FRAMES)
    assert flow.shape == (2, 2, 20, 24)
    assert flow.dtype == np.float32
    assert (flow[:, 0] == 1).all()
    assert (flow[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("last", r"gave the shape \(2, 20, 24, 2\); expected \(2, 2, 20, 24\)"),
        ("broken", "not finite"),
        ("number", "is int; expected a function"),
        ("nothing", "cannot import"),
    ],
)
def test_what_is_wrong_with_an_own_function_is_named(own: str, function: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_estimator(f"{own}:{function}")(FRAMES)


@pytest.mark.parametrize("name", ["no_such_module:flow", ":flow", "a b:c"])
def test_missing_modules_are_named(name: str) -> None:
    with pytest.raises(UsageError, match="cannot import the flow estimator"):
        find_estimator(name)


def test_classical_names_go_to_the_classical_estimators() -> None:
    np.testing.assert_array_equal(find_estimator("farneback")(FRAMES), estimator("farneback")(FRAMES))


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"expected one of tvl1.*raft-large, or your own"):
        find_estimator("flownet")


def test_raft_without_torchvision_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", None)
    with pytest.raises(MissingDependencyError, match="RAFT needs torchvision"):
        find_estimator("raft-small")


def test_shapes_are_checked() -> None:
    with pytest.raises(UsageError, match="expected"):
        checked_flow("mine", np.zeros((3, 2, 20, 24)), FRAMES)
