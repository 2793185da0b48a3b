"""Run folders of earlier versions: they load, predict the same scores, and go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream import evaluate, load
from hidden_two_stream.synthetic.dataset import write_dataset

RUN = Path(__file__).parent / "fixtures" / "run-format-1"

# Printed by the version that made the run, for test video 0 of class "left".
CLASSES = ("down", "grow", "left", "right", "shrink", "turn_clockwise", "turn_counterclockwise", "up")
FUSED = (0.19909133, 0.11458250, 0.14621170, 0.09704699, 0.10019234, 0.13511288, 0.09499369, 0.11276859)
SPATIAL = (0.14077428, 0.12881790, 0.14990753, 0.13379313, 0.09886293, 0.12098304, 0.12138236, 0.10547884)
TEMPORAL = (0.23299797, 0.10634685, 0.14210087, 0.08133763, 0.09925909, 0.14051349, 0.08269886, 0.11474525)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data that the run was trained on."""
    folder = tmp_path_factory.mktemp("data")
    return write_dataset(folder, train_per_class=2, test_per_class=1, num_frames=6, size=32)


def test_it_predicts_the_scores_of_its_time(labels: Path) -> None:
    prediction = load(RUN).predict(labels.parent / "videos" / "left" / "test_0000.mp4")
    assert prediction.classes == CLASSES
    np.testing.assert_allclose(prediction.scores, FUSED, rtol=0, atol=1e-5)
    np.testing.assert_allclose(prediction.streams["spatial"], SPATIAL, rtol=0, atol=1e-5)
    np.testing.assert_allclose(prediction.streams["temporal"], TEMPORAL, rtol=0, atol=1e-5)


def test_its_description_is_complete() -> None:
    info = load(RUN).info
    assert info.recipe.motion_target == "flow"  # its name then: motion_lesson
    assert (info.metadata.data, info.metadata.num_training_videos) == ("/videos/labels.csv", 16)
    assert info.metadata.warm_start == {}  # its name then: taken
    assert info.metadata.stages == ("motion", "spatial", "temporal", "joint")
    assert info.metadata.motion_init is not None
    assert len(info.metadata.motion_init["sha256"]) == 64


def test_evaluation_finds_the_accuracy_of_its_time(labels: Path) -> None:
    accuracy = evaluate(RUN, labels, workers=0, quiet=True).accuracy
    assert accuracy == {"spatial": 0.25, "temporal": 0.0, "fused": 0.0}


def test_its_plan_trains_the_same_model(
    labels: Path, tmp_path: Path, hts: Callable[..., tuple[int, str, str]]
) -> None:
    """`--resume` starts at the first step, as there are no weights; the scores come out as at its time."""
    folder = tmp_path / "run"
    folder.mkdir()
    plan = json.loads((RUN / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps(plan | {"data": str(labels)}))
    code, _, errors = hts("train", "--resume", "--out", folder, "--workers", "0", "--quiet")
    assert code == 0, errors
    prediction = load(folder).predict(labels.parent / "videos" / "left" / "test_0000.mp4")
    np.testing.assert_allclose(prediction.scores, FUSED, rtol=0, atol=1e-3)


def test_the_commands_take_it(labels: Path, hts: Callable[..., tuple[int, str, str]]) -> None:
    code, output, errors = hts("predict", RUN, labels.parent / "videos" / "left" / "test_0000.mp4")
    assert code == 0, errors
    assert "down 0.20" in output
