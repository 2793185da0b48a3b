"""Windows of a protocol that share pairs: the scores of single windows, for fewer pairs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import DecodedVideo, decode_video
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.inference import predictor, shared_windows
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.scoring import video_logits
from hidden_two_stream.inference.windows import parse_protocol, protocol_clips, protocol_windows, scored
from hidden_two_stream.recognition.calibration import Calibration

LENGTH = 5


def recognizer(**changes: Any) -> Recognizer:
    """A model of random weights whose scores depend on the window."""
    overrides: dict[str, Any] = {
        "model.num_frames": LENGTH, "input.size": 32, "input.resize": 36, "temporal_init": "none",
    }  # fmt: skip
    recipe = load_recipe("nano", overrides | {key.replace("__", "."): v for key, v in changes.items()})
    torch.manual_seed(0)
    model = build_model(recipe, 3)
    for name, parameter in model.named_parameters():
        if name.endswith("fc.weight"):
            torch.nn.init.normal_(parameter, std=1.0)
    calibration = Calibration({"spatial": 2.0, "temporal": 0.5})
    return Recognizer(model, RunInfo(recipe, ("a", "b", "c"), RunMetadata(calibration=calibration)))


def video(num_frames: int, budget: int = 1 << 30) -> DecodedVideo:
    frames = np.random.default_rng(1).integers(0, 256, (num_frames, 40, 48, 3), np.uint8)
    return decode_video(frames, 36, budget)


TWO_FRAMES = {"model__motion": "tiny", "model__motion_frames": 2, "motion_init": "none"}
WHOLE_CLIPS = {"model__motion": "tiny", "model__temporal": "stacked", "motion_init": "none"}
SPATIAL = {"model__streams": ["spatial"], "temporal__steps": 0, "model__temporal": "stacked"}
FORMS = [
    {"model__temporal": "sequence"},
    {"model__temporal": "stacked"},
    {"model__temporal": "branched"},
    {"model__temporal": "sequence", "input__frame_stride": 3},
    {"model__temporal": "sequence", "model__streams": ["temporal"], "spatial__steps": 0},
    {
        "model__temporal": "sequence",
        "model__motion": "tiny",
        "model__motion_frames": 2,
        "motion_init": "none",
    },
]


@pytest.mark.parametrize("changes", FORMS, ids=lambda case: "-".join(map(str, case.values())))
@pytest.mark.parametrize("protocol", ["3x1", "25x1", "10x5", "25x10"])
@pytest.mark.parametrize(("num_frames", "budget"), [(3, 1 << 30), (23, 1 << 30), (23, 0)])
def test_scores_are_those_of_single_windows(
    changes: dict[str, Any], protocol: str, num_frames: int, budget: int
) -> None:
    run, chosen, clip = recognizer(**changes), parse_protocol(protocol), video(num_frames, budget)
    assert (clip.frames is None) == (budget == 0)
    expected = list(scored(protocol_windows(clip, run.info.recipe, chosen), run._forward))
    found = list(
        shared_windows.scored_sharing(
            run.model, run.trained_streams, run._scoring.calibrated, clip, run.info.recipe, chosen
        )
    )
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.start_seconds, ours.end_seconds) == (theirs.start_seconds, theirs.end_seconds)
        assert list(ours.logits) == list(theirs.logits)
        for name, logits in theirs.logits.items():
            np.testing.assert_allclose(ours.logits[name], logits, atol=1e-5, rtol=1e-5)
    if len(found) > 1:
        assert np.std([window.logits["temporal"] for window in expected], axis=0).max() > 1e-3
    averaged = video_logits(run._scoring, clip, chosen, run._forward)
    for name, logits in run.logits(clip, chosen).items():
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, averaged[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("protocol", ["10x1", "25x10"])
def test_each_pair_is_computed_once_per_crop(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, chosen, clip = recognizer(), parse_protocol(protocol), video(30)
    computed = []
    states = run.model.pair_states

    def counted(frames: Tensor) -> tuple[Tensor, ...]:
        computed.append(frames.shape[0] * (frames.shape[1] - 1))
        return states(frames)

    monkeypatch.setattr(run.model, "pair_states", counted)
    run.logits(clip, chosen)
    windows = protocol_clips(run.info.recipe, chosen, 30)
    pairs = {pair for window in windows for pair in itertools.pairwise(window)}
    assert sum(computed) == chosen.crops * len(pairs)
    assert sum(computed) < chosen.crops * len(windows) * (LENGTH - 1) / 1.3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only few frames are in a forward pass, and pairs before a group are forgotten."""
    run, clip = recognizer(), video(300)
    sizes = []
    states = run.model.pair_states
    monkeypatch.setattr(
        run.model, "pair_states", lambda frames: (sizes.append(frames.shape[:2].numel()), states(frames))[1]
    )
    kept = []
    forget = shared_windows.PairStates.forget

    def counted(self: Any, before: int) -> None:
        forget(self, before)
        kept.append(len(self._states))

    monkeypatch.setattr(shared_windows.PairStates, "forget", counted)
    run.logits(clip, parse_protocol("200x10"))
    assert max(sizes) <= 128 + 10
    assert len(kept) > 10
    assert max(kept) <= LENGTH


@pytest.mark.parametrize(
    ("changes", "protocol", "num_frames", "shared"),
    [
        ({}, "10x1", 30, True),
        ({}, "center", 30, False),
        ({}, "3x1", 30, False),  # windows apart from each other
        (WHOLE_CLIPS, "10x1", 30, False),
        ({"input__normalize_contrast": True}, "10x1", 30, False),
        (
            {"model__streams": ["spatial"], "temporal__steps": 0, "model__temporal": "stacked"},
            "10x1",
            30,
            False,
        ),
    ],
)
def test_windows_are_shared_where_that_saves_something(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], protocol: str, num_frames: int, shared: bool
) -> None:
    run, clip, chosen = recognizer(**changes), video(num_frames), parse_protocol(protocol)
    calls = []
    share = predictor.scored_sharing
    monkeypatch.setattr(predictor, "scored_sharing", lambda *a, **k: (calls.append(1), share(*a, **k))[1])
    run.logits(clip, chosen)
    assert bool(calls) is shared


def test_scores_that_are_not_finite_are_named() -> None:
    run = recognizer()
    with torch.no_grad():
        run.model.get_parameter("temporal_stream.fc.bias").fill_(float("nan"))
    with pytest.raises(CheckpointError, match="the temporal stream gives scores that are not finite"):
        run.logits(video(20), parse_protocol("10x1"))
