"""The threshold below which no class fits, in Python, as JSON and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, load_run, save_run
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.data.clip_cache import decode_video
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.segments import known_windows
from hidden_two_stream.inference.stream import StreamSettings
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.recognition.prototypes import Prototypes
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


def run(folder: Path, threshold: float | None, least: float | None = None) -> Path:
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    prototypes = None if least is None else Prototypes(("spatial", "temporal"), np.eye(3, 6).tolist(), least)
    temperatures = {"spatial": 2.0, "temporal": 3.0}
    calibration = Calibration(temperatures, 0.5, threshold, prototypes=prototypes)
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


def test_prototypes_decide_unless_a_threshold_is_given(video: Path, tmp_path: Path) -> None:
    strict, loose = load(run(tmp_path / "a", 0.0, 1.0)), load(run(tmp_path / "b", 1.0, -1.0))
    found = strict.predict(video)
    assert (found.known, found.label, found.threshold, found.least_similarity) == (False, None, None, 1.0)
    assert loose.predict(video).known
    logits = strict.logits(decode_video(video, 32, 1 << 20), parse_protocol("10x1"))
    both = np.concatenate([logits[name] - logits[name].mean() for name in ("spatial", "temporal")])
    expected = both[int(found.scores.argmax())] / np.linalg.norm(both)
    assert found.similarity == pytest.approx(expected, abs=1e-6)
    assert found.to_dict()["similarity"] == found.similarity
    assert strict.predict(video, threshold=0).label == found.best
    assert loose.predict(video, threshold=1).label is None


def test_windows_of_no_known_class_make_no_segments(video: Path, tmp_path: Path) -> None:
    everything = SegmentSettings(leave=0, shortest_seconds=0, hop_seconds=0.05)
    strict, loose = load(run(tmp_path / "a", 0.0, 1.0)), load(run(tmp_path / "b", 0.0, -1.0))
    windows = list(strict.windows(video, 0.05))
    assert all(window.similarity is not None and window.similarity < 1 for window in windows)
    assert not list(strict.segment(video, everything))
    asked = replace(everything, enter=0)
    assert list(strict.segment(video, asked)) == list(loose.segment(video, asked)) != []
    kept = list(known_windows(windows, windows[0].similarity))
    for before, after in zip(windows, kept, strict=True):
        is_known = before.similarity is not None and windows[0].similarity is not None
        is_known = is_known and before.similarity >= windows[0].similarity
        assert np.array_equal(after.scores, before.scores if is_known else np.zeros(3))


def test_live_decisions_say_what_is_of_no_known_class(video: Path, tmp_path: Path) -> None:
    strict = load(run(tmp_path, 0.0, 1.0))
    settings = StreamSettings(all_frames=True)
    decisions = list(strict.stream(str(video), settings=settings))
    assert decisions
    assert {decision.label for decision in decisions} == {None}
    assert all(decision.least_similarity == 1.0 for decision in decisions)
    windows = {round(window.end_seconds, 3): window.similarity for window in strict.windows(video, 0.04)}
    for decision in decisions:
        near = min(windows, key=lambda end: abs(end - decision.end_seconds - 0.04))
        assert decision.similarity == pytest.approx(windows[near], abs=1e-4)
    known = strict.stream(str(video), settings=replace(settings, threshold=0.0))
    assert None not in {decision.label for decision in known}


def test_prototypes_of_other_classes_are_refused(tmp_path: Path) -> None:
    folder = run(tmp_path, 0.0, 0.5)
    calibration = load(folder).calibration
    assert calibration is not None
    assert calibration.prototypes is not None
    two = Prototypes(("temporal",), np.eye(2).tolist(), 0.5)
    metadata = RunMetadata(calibration=replace(calibration, prototypes=two))
    save_run(tmp_path, build_model(RECIPE, 3), RunInfo(RECIPE, CLASSES, metadata))
    with pytest.raises(CheckpointError, match="2 prototypes of 3 classes"):
        load(tmp_path)


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
