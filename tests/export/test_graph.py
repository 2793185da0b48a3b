"""The graph's outputs are those of the run, whatever its networks, streams and fusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.export.graph import ExportGraph, fused
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.recognition.calibration import Calibration, fused_scores

from .runs import CALIBRATION, make_clips, make_run

BOTH = ("spatial", "temporal")


@pytest.mark.parametrize("calibration", [None, CALIBRATION, Calibration({"spatial": 1.0}, 90.0)])
@pytest.mark.parametrize("method", ["product", "softmax", "l1"])
@pytest.mark.parametrize("streams", [("spatial",), ("temporal",), BOTH])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_fusion_is_that_of_numpy(
    streams: tuple[str, ...], method: str, calibration: Calibration | None, scale: float
) -> None:
    """Also where scores are far below the smallest float32, and where no logit is positive."""
    rng = np.random.default_rng(0)
    logits = {name: (scale * rng.standard_normal((6, 5))).astype(np.float32) for name in streams}
    for values in logits.values():
        values[0] = -np.abs(values[0])
    fusion = FusionConfig(method=method, spatial_weight=1.0, temporal_weight=1.5)  # type: ignore[arg-type]
    found = fused({name: torch.from_numpy(values) for name, values in logits.items()}, fusion, calibration)
    np.testing.assert_allclose(found.numpy(), fused_scores(logits, fusion, calibration), rtol=0, atol=2e-6)


@pytest.mark.parametrize("motion", ["nano", "tiny"])
@pytest.mark.parametrize("temporal", ["sequence", "branched", "stacked", "inflated"])
@pytest.mark.parametrize("streams", [("spatial",), ("temporal",), BOTH])
def test_outputs_are_those_of_the_recognizer(motion: str, temporal: str, streams: tuple[str, ...]) -> None:
    model, info = make_run(motion, temporal, streams)
    clips = torch.from_numpy(make_clips(4))
    graph, recognizer = ExportGraph(model, info).eval(), Recognizer(model, info)
    frames = model.preprocess(clips.permute(0, 1, 4, 2, 3))
    with torch.inference_mode():
        found = dict(zip(graph.outputs, graph(clips), strict=True))
        raw = {name: getattr(model, name)(frames) for name in streams}
        embeddings = {name: getattr(model, f"{name}_embedding")(frames) for name in streams}
        flow = model.motion(frames)[0] if "temporal" in streams else None
    logits = {name: (raw[name] / CALIBRATION.temperature(name)).numpy() for name in streams}
    for name in streams:
        np.testing.assert_allclose(found[f"{name}_logits"], logits[name], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[f"{name}_embedding"], embeddings[name])
    np.testing.assert_allclose(found["scores"], recognizer.fuse(logits), rtol=0, atol=1e-6)
    assert ("flow" in found) == ("temporal" in streams)
    if flow is not None:
        torch.testing.assert_close(found["flow"], flow)
    assert set(found) == {"scores"} | ({"flow"} if flow is not None else set()) | {
        f"{name}_{what}" for name in streams for what in ("logits", "embedding")
    }


def test_scores_of_different_clips_differ() -> None:
    """Without this, all comparisons of scores would be of constants."""
    graph = ExportGraph(*make_run()).eval()
    with torch.inference_mode():
        outputs = dict(zip(graph.outputs, graph(torch.from_numpy(make_clips())), strict=True))
    assert float(outputs["scores"].std(dim=0).max()) > 1e-2
    assert float(outputs["flow"].abs().max()) > 0.1
