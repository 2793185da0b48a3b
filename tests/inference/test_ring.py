"""The newest window of a stream against whole windows, for every form of the temporal stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.inference.ring import WindowRing
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.types import RawClip

FORMS = ("stacked", "inflated", "branched", "sequence")


def built(**changes: Any) -> tuple[HiddenTwoStream, Recipe]:
    """A model with lively weights, 64 px, 5 frames."""
    overrides = {
        "input.size": 64, "input.resize": 64, "model.num_frames": 5, "motion_init": "none",
        "temporal_init": "none", **{name.replace("__", "."): value for name, value in changes.items()},
    }  # fmt: skip
    recipe = load_recipe("nano", overrides)
    torch.manual_seed(0)
    model = build_model(recipe, 4).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1.2 / parameter[0].numel() ** 0.5)
    return model, recipe


def video(num_frames: int, height: int = 64, width: int = 80) -> RawClip:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (height, width + num_frames, 3), dtype=np.uint8)
    return np.stack([scene[:, t : t + width] for t in range(num_frames)])


def whole_windows(model: HiddenTwoStream, recipe: Recipe, clip: RawClip) -> list[dict[str, torch.Tensor]]:
    """Logits of each window, computed from scratch. The crop is the center of the frames as they are."""
    length, stride = recipe.model.num_frames, recipe.input.frame_stride
    span = (length - 1) * stride + 1
    left = (clip.shape[2] - 64) // 2
    found = []
    with torch.inference_mode():
        for start in range(len(clip) - span + 1):
            frames = clip[start : start + span : stride, :, left : left + 64]
            prepared = model.preprocess(torch.from_numpy(frames.copy()).permute(0, 3, 1, 2)[None])
            found.append({"spatial": model.spatial(prepared)[0], "temporal": model.temporal(prepared)[0]})
    return found


CASES = [
    *({"model.temporal": form} for form in FORMS),
    *({"model.temporal": form, "input.frame_stride": 2} for form in FORMS),
    {"model.temporal": "branched", "model.motion": "tiny"},
    {"model.temporal": "stacked", "model.motion": "tiny"},
    {"model.temporal": "stacked", "model.motion": "tiny", "model.motion_frames": 2},
    {"model.temporal": "sequence", "model.motion": "tiny", "model.motion_frames": 2},
    {"model.temporal": "sequence", "input.normalize_contrast": True},
]


@pytest.mark.parametrize("changes", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_scores_are_those_of_whole_windows(changes: dict[str, Any]) -> None:
    model, recipe = built(**changes)
    clip = video(13)
    expected = whole_windows(model, recipe, clip)
    ring = WindowRing(model, recipe, ("spatial", "temporal"))
    found = [logits for frame in clip if (logits := ring.push(frame)) is not None]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for name, values in theirs.items():
            torch.testing.assert_close(ours[name], values, atol=1e-5, rtol=1e-5)
    temporal = torch.stack([logits["temporal"] for logits in expected])
    assert temporal.std(dim=0).max() > 1e-3  # the windows differ


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stride", [1, 3])
def test_a_new_frame_costs_one_pair(form: str, stride: int) -> None:
    model, recipe = built(model__temporal=form, input__frame_stride=stride)
    ring = WindowRing(model, recipe, ("temporal",))
    for count, frame in enumerate(video(20), start=1):
        ring.push(frame)
        assert ring.num_pairs == max(0, count - stride)


def test_networks_of_whole_clips_compute_each_window() -> None:
    model, recipe = built(model__motion="tiny", model__temporal="stacked")
    ring = WindowRing(model, recipe, ("temporal",))
    for frame in video(7):
        ring.push(frame)
    assert not ring.shares_pairs
    assert ring.num_pairs == 3 * 4


def test_after_a_gap_no_window_holds_frames_from_before() -> None:
    model, recipe = built()
    clip = video(12)
    ring = WindowRing(model, recipe, ("spatial", "temporal"))
    for frame in clip[:6]:
        ring.push(frame)
    ring.clear()
    found = [ring.push(frame) for frame in clip[6:]]
    assert [logits is None for logits in found] == [True] * 4 + [False] * 2
    expected = whole_windows(model, recipe, clip[6:])
    assert found[4] is not None
    torch.testing.assert_close(found[4]["temporal"], expected[0]["temporal"], atol=1e-5, rtol=1e-5)


def test_a_spatial_stream_alone_needs_no_motion() -> None:
    model, recipe = built(
        **{"model.streams": ["spatial"], "temporal.steps": 0, "model.temporal": "stacked", "motion.steps": 0}
    )
    ring = WindowRing(model, recipe, ("spatial",))
    found = [ring.push(frame) for frame in video(5)]
    assert found[-1] is not None
    assert set(found[-1]) == {"spatial"}
    assert ring.num_pairs == 0
