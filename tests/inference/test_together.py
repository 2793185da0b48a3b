"""Videos that are scored together have the scores that each has alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.export.export import export_model
from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer, load_onnx
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.scoring import decoded
from hidden_two_stream.inference.windows import Protocol, parse_protocol
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.types import Prediction
from hidden_two_stream.video.array_resize import array_resized

from ..export.runs import make_run

LENGTHS = (1, 5, 30, 12, 200, 3, 30)
"""Frames of the videos: shorter than a window, with overlapping windows, and with windows far apart."""


def clips(size: int = 48) -> list[Any]:
    labels = ("left", "up", "grow", "turn_clockwise")
    return [
        generate_clip(labels[seed % 4], seed, num_frames=number, size=size).frames
        for seed, number in enumerate(LENGTHS)
    ]


def both(
    recognizer: Recognizer | OnnxRecognizer, protocol: Protocol, resizer: Any = None
) -> list[tuple[Prediction, Prediction]]:
    """The prediction of each video together with the others, and alone as `predict` gives it."""
    videos = [decoded(recognizer.info.recipe, clip, protocol, resizer) for clip in clips()]
    logits = recognizer.logits_of(videos, protocol)
    together = [
        recognizer.prediction(video, *given)
        for video, given in zip(videos, ((found, protocol) for found in logits), strict=True)
    ]
    return [
        (found, recognizer.predict(clip, protocol.name))
        for found, clip in zip(together, clips(), strict=True)
    ]


def assert_alike(together: Prediction, alone: Prediction) -> None:
    """To 1e-5: convolutions of other batch sizes round differently."""
    np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
    assert together.streams.keys() == alone.streams.keys()
    for name, scores in alone.streams.items():
        np.testing.assert_allclose(together.streams[name], scores, atol=1e-5)
    assert (together.label, together.num_frames) == (alone.label, alone.num_frames)


@pytest.mark.parametrize("protocol", ["center", "10x1", "2x5", "3x10"])
@pytest.mark.parametrize(
    ("motion", "temporal", "streams"),
    [
        ("nano", "sequence", ("spatial", "temporal")),
        ("nano", "branched", ("temporal",)),
        ("nano", "stacked", ("temporal",)),
        ("tiny", "stacked", ("spatial", "temporal")),
        ("nano", "sequence", ("spatial",)),
    ],
)
def test_together_is_as_alone(motion: str, temporal: str, streams: tuple[str, ...], protocol: str) -> None:
    recognizer = Recognizer(*make_run(motion, temporal, streams))
    for together, alone in both(recognizer, parse_protocol(protocol)):
        assert together.streams.keys() == set(streams)
        assert_alike(together, alone)


def test_an_exported_model_scores_together(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model, info = make_run()
    found = load_onnx(export_model(Recognizer(model, info), tmp_path / "model.onnx").path)
    for together, alone in both(found, parse_protocol("10x1"), array_resized):
        assert_alike(together, alone)


def test_different_videos_have_different_scores() -> None:
    """Otherwise the tests above could not find two videos that were mixed up."""
    recognizer = Recognizer(*make_run())
    found = [together.scores for together, _ in both(recognizer, parse_protocol("10x1"))]
    for index, scores in enumerate(found):
        assert all(np.abs(scores - other).max() > 1e-2 for other in found[:index])


def test_several_videos_share_a_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer(*make_run())
    protocol = parse_protocol("10x1")
    videos = [decoded(recognizer.info.recipe, clip, protocol) for clip in clips() if len(clip) == 30]
    passes: list[int] = []
    plain = recognizer.model.pair_states

    def counted(frames: torch.Tensor) -> Any:
        passes.append(frames.shape[1])
        return plain(frames)

    monkeypatch.setattr(recognizer.model, "pair_states", counted)
    recognizer.logits_of(videos, protocol)
    assert len(passes) == 1
    assert passes[0] == sum(len(video.places or ()) for video in videos)


def test_no_videos() -> None:
    assert Recognizer(*make_run()).logits_of([], parse_protocol("center")) == []


def test_scores_that_are_not_finite_are_an_error() -> None:
    model, info = make_run()
    with torch.no_grad():
        next(model.temporal_stream.parameters()).fill_(float("nan"))
    recognizer = Recognizer(model, info)
    protocol = parse_protocol("center")
    videos = [decoded(info.recipe, clip, protocol) for clip in clips()[:2]]
    with pytest.raises(CheckpointError, match="not finite"):
        recognizer.logits_of(videos, protocol)
