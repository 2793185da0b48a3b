"""Flow estimators by name, RAFT, and functions of the user's own."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.motion.estimators import raft
from hidden_two_stream.motion.estimators.classical import estimator
from hidden_two_stream.motion.estimators.plugins import checked_flow, find_estimator

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), dtype=np.uint8)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_flow.py").write_text(
        "import numpy as np\n"
        "def right(frames): return np.tile([[[[1.0]], [[0.0]]]], (len(frames) - 1, 1, *frames.shape[1:3]))\n"
        "def last(frames): return np.moveaxis(right(frames), 1, -1)\n"
        "def broken(frames): return np.nan * right(frames)\n"
        "number = 3\n"
        "def raising(frames): return {}['no']\n"
        "from hidden_two_stream.errors import UsageError\n"
        "def refusing(frames): raise UsageError('too small')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_flow", None)
    yield "own_flow"
    sys.modules.pop("own_flow", None)  # other tests have modules of that name


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
        (
            "raising",
            r"estimator 'own_flow:raising' failed on frames of shape \(3, 20, 24, 3\): KeyError: 'no'",
        ),
        ("refusing", "^too small$"),
    ],
)
def test_errors_of_an_own_function_are_named(own: str, function: str, message: str) -> None:
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


class FakeRaft(torch.nn.Module):
    """Replaces torchvision's network: records its input and returns the first image's red and green."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
        self.seen.append((first, second))
        return [
            torch.full_like(first[:, :2], torch.nan),
            first[:, :2],
        ]  # the last flow is the best


@pytest.mark.parametrize(("height", "width", "padded"), [(20, 24, (128, 128)), (130, 136, (136, 136))])
def test_raft_is_torchvisions(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, padded: tuple[int, int]
) -> None:
    """Images are in −1…1, padded by edge pixels to multiples of 8 from 128 px on; flow is cropped."""
    networks: list[FakeRaft] = []
    asked: list[str] = []

    def build(weights: str) -> FakeRaft:
        asked.append(weights)
        networks.append(FakeRaft())
        return networks[-1]

    fake = types.SimpleNamespace(
        raft_small=None,
        raft_large=build,
        Raft_Small_Weights=types.SimpleNamespace(DEFAULT="small"),
        Raft_Large_Weights=types.SimpleNamespace(DEFAULT="large"),
    )
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", types.ModuleType("torchvision.models"))
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", fake)
    raft.raft_network.cache_clear()
    frames = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    try:
        flow = find_estimator("raft-large")(frames)
        find_estimator("raft-large")(frames)
    finally:
        raft.raft_network.cache_clear()
    assert asked == ["large"]
    assert not networks[0].training
    expected = frames[:2, ..., :2].transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(flow, expected, atol=1e-6)
    for number, (first, second) in enumerate(networks[0].seen[:2]):
        assert first.shape == second.shape == (1, 3, *padded)
        assert first.min() >= -1
        assert first.max() <= 1
        np.testing.assert_allclose(
            second[0, :, :height, :width], frames[number + 1].transpose(2, 0, 1) / 127.5 - 1, atol=1e-6
        )
        corner = first[0, :, height - 1, width - 1]
        torch.testing.assert_close(first[0, :, -1, -1], corner)


def test_raft_of_one_frame_has_no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", types.SimpleNamespace())
    monkeypatch.setattr(raft, "raft_network", lambda name: FakeRaft())
    assert find_estimator("raft-small")(FRAMES[:1]).shape == (0, 2, *FRAMES.shape[1:3])


def test_shapes_are_checked() -> None:
    with pytest.raises(UsageError, match="expected"):
        checked_flow("mine", np.zeros((3, 2, 20, 24)), FRAMES)


def test_an_estimator_may_see_enlarged_images(own: str) -> None:
    """1 px on images three times as large is a third of a pixel; the shape stays."""
    flow = find_estimator(f"{own}:right@3")(FRAMES)
    assert flow.shape == (2, 2, 20, 24)
    np.testing.assert_allclose(flow[:, 0], 1 / 3, rtol=1e-6)
    assert (flow[:, 1] == 0).all()
    assert find_estimator(f"{own}:right@3")(FRAMES[:1]).shape == (0, 2, 20, 24)


def test_enlarging_helps_dis_on_small_images() -> None:
    """A rendered texture of 48×48 px that moves by exactly 0.6 px."""
    x, y = np.meshgrid(np.arange(48), np.arange(48))

    def image(shift: float) -> np.ndarray:
        waves = sum(
            np.sin((x - shift) * a + y * b + c) for a, b, c in ((0.9, 0.4, 0), (-0.5, 0.8, 1), (0.3, -0.7, 2))
        )
        return np.repeat((127.5 + 40 * waves).astype(np.uint8)[..., None], 3, axis=-1)

    frames, inside = np.stack([image(0.0), image(0.6)]), np.s_[0, :, 8:-8, 8:-8]
    errors = [
        float(np.hypot(flow[0] - 0.6, flow[1]).mean())
        for flow in (find_estimator(name)(frames)[inside] for name in ("dis-medium", "dis-medium@2"))
    ]
    assert errors[1] < min(0.1, errors[0])


@pytest.mark.parametrize("factor", ["", "1", "02", "9", "2.5", "x", "²"])
def test_other_factors_are_named(factor: str) -> None:
    with pytest.raises(UsageError, match=r"cannot enlarge by .*; expected 2 to 8, as in farneback@2"):
        find_estimator(f"farneback@{factor}")
