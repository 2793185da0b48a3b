"""The threshold below which no class fits, in Python, as JSON and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, load_run, save_run
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.types import Prediction
from hidden_two_stream.video.writer import write_video

CLASSES = ("unknown", "walk", "sit")
RECIPE = Recipe(model=ModelConfig(num_frames=3), input=InputConfig(size=32, resize=32))
Hts = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, generate_clip("grow", 0, num_frames=6, size=32).frames, 25)
    return path


def run(folder: Path, threshold: float | None) -> Path:
    torch.manual_seed(0)
    calibration = Calibration({"spatial": 2.0, "temporal": 3.0}, 0.5, threshold)
    metadata = RunMetadata(calibration=calibration)
    save_run(folder, build_model(RECIPE, 3), RunInfo(RECIPE, CLASSES, metadata))
    return folder


def prediction(threshold: float | None, *scores: float) -> Prediction:
    return Prediction("x.mp4", CLASSES, np.array(scores, np.float32), threshold=threshold)


def test_below_the_threshold_no_class_fits() -> None:
    found = prediction(0.6, 0.2, 0.5, 0.3)
    assert (found.label, found.known, found.best, found.score) == (None, False, "walk", 0.5)
    assert str(found) == "x.mp4: no class fits (walk 0.50, sit 0.30, unknown 0.20)"
    data = found.to_dict()
    assert (data["label"], data["known"], data["best"], data["threshold"]) == (None, False, "walk", 0.6)


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5])
def test_at_or_above_it_the_best_class_is_the_label(threshold: float | None) -> None:
    found = prediction(threshold, 0.2, 0.5, 0.3)
    assert (found.label, found.known, found.best) == ("walk", True, "walk")
    assert str(found) == "x.mp4: walk 0.50, sit 0.30, unknown 0.20"


def test_a_class_named_unknown_is_a_class() -> None:
    found = prediction(0.6, 0.7, 0.2, 0.1)
    assert (found.label, found.known) == ("unknown", True)
    assert prediction(0.8, 0.7, 0.2, 0.1).label is None


def test_the_calibration_is_part_of_the_one_file(tmp_path: Path) -> None:
    file = run(tmp_path, 0.25) / "model.safetensors"
    assert load_run(file)[1].metadata.calibration == Calibration({"spatial": 2.0, "temporal": 3.0}, 0.5, 0.25)


def test_predict_takes_the_threshold_of_the_run_or_another(video: Path, tmp_path: Path) -> None:
    recognizer = load(run(tmp_path, 0.99))
    assert recognizer.predict(video).label is None
    assert recognizer.predict(video, threshold=0).label in CLASSES
    without = Recognizer(recognizer.model, RunInfo(RECIPE, CLASSES))
    assert without.predict(video).label in CLASSES
    assert without.predict(video, threshold=0.99).label is None
    for wrong in (1.5, -0.1, float("nan"), True, "x"):
        with pytest.raises(UsageError, match=r"the threshold is .*; expected a score from 0 to 1"):
            recognizer.predict(video, threshold=wrong)  # type: ignore[arg-type]


def test_windows_have_the_temperatures_but_always_a_label(video: Path, tmp_path: Path) -> None:
    """The threshold is for the mean of a video's windows."""
    recognizer = load(run(tmp_path, 0.99))
    assert {window.label for window in recognizer.windows(video)} <= set(CLASSES)


def test_the_command_says_that_no_class_fits(video: Path, tmp_path: Path, hts: Hts) -> None:
    folder = run(tmp_path, 0.99)
    code, out, _ = hts("predict", folder, video, "--top", "1")
    assert code == 0
    assert ": no class fits (" in out
    code, out, _ = hts("predict", folder, video, "--threshold", "0")
    assert code == 0
    assert "no class fits" not in out
    found = json.loads(hts("predict", folder, video, "--json")[1])["predictions"][0]
    assert (found["known"], found["label"]) == (False, None)
    code, _, err = hts("predict", folder, video, "--threshold", "7")
    assert code == 2
    assert err.splitlines() == [
        "hts: the threshold is 7.0; expected a score from 0 to 1 (0: a class always fits)"
    ]
