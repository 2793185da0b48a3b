"""Explanations: evidence lies where the motion is and when it is, gradients are right, the model stays."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.inference import predictor
from hidden_two_stream.inference.activation_maps import activation_maps, activations, log_odds, mapped_layer
from hidden_two_stream.inference.explain import MOST_STRETCHES, MOST_WINDOWS
from hidden_two_stream.inference.explanation import Explanation
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.recognition.image_encoder import EncoderConfig, plain_config
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video
from hidden_two_stream.weights.motion import load_motion_weights

from ..encoders import TINY

SIDE = 64
CLASSES = ("left", "right", "still")
VELOCITIES = (-2, 2, 0)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random image with details of about 4 px, (height, width, 3)."""
    grains = torch.from_numpy(rng.uniform(0, 255, (1, 3, height // 4 + 2, width // 4 + 2)))
    large = functional.interpolate(grains, size=(height, width), mode="bicubic", align_corners=False)
    return large[0].permute(1, 2, 0).clamp(0, 255).numpy()


def quadrant_clip(
    seed: int, quadrant: int, velocity: int, moving: range = range(11), num: int = 11
) -> RawClip:
    """A still image in which one quadrant slides by `velocity` px in each of the frames `moving`."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(texture(rng, SIDE, SIDE)[None], num, axis=0)
    band = texture(rng, SIDE // 2, 4 * SIDE)
    row, column = quadrant // 2 * SIDE // 2, quadrant % 2 * SIDE // 2
    place = 2 * SIDE
    for number in range(num):
        clip[number, row : row + SIDE // 2, column : column + SIDE // 2] = band[:, place : place + SIDE // 2]
        place -= velocity if number in moving else 0
    return (clip + rng.normal(0, 2, clip.shape)).clip(0, 255).astype(np.uint8)


def frames_of(model: HiddenTwoStream, clip: RawClip) -> Tensor:
    return model.preprocess(torch.from_numpy(clip).permute(0, 3, 1, 2)[None])


def model_of(
    form: str, backbone: str = "small", streams: tuple[str, ...] = ("temporal",), num_classes: int = 2
) -> tuple[HiddenTwoStream, Recipe]:
    torch.manual_seed(4)
    config = ModelConfig("nano", backbone, 11, 0.0, 0.0, form, streams)  # type: ignore[arg-type]
    recipe = Recipe(model=config, input=InputConfig(size=SIDE, resize=SIDE))
    return build_model(recipe, num_classes).eval(), recipe


def trained(form: str) -> tuple[HiddenTwoStream, Recipe]:
    """A model that knows `CLASSES`, behind the shipped MotionNet: 30 steps on 48 clips."""
    model, recipe = model_of(form, num_classes=len(CLASSES))
    load_motion_weights(model.motion_net, "nano")
    rng = np.random.default_rng(1)
    labels = torch.arange(48) % 3
    with torch.no_grad():
        inputs = [
            model.temporal_inputs(
                frames_of(model, quadrant_clip(seed, int(rng.integers(4)), VELOCITIES[label]))
            )
            for seed, label in enumerate(labels.tolist())
        ]
    first, rest = torch.cat([each[0] for each in inputs]), inputs[0][1:]
    stream = model.temporal_stream.train()
    optimizer = torch.optim.AdamW(stream.parameters(), 3e-3)
    for _ in range(30):
        chosen = torch.from_numpy(rng.choice(48, 12, replace=False))
        optimizer.zero_grad()
        functional.cross_entropy(stream(first[chosen], *rest), labels[chosen]).backward()
        optimizer.step()
    return model.eval(), recipe


@pytest.fixture(scope="module")
def sequence() -> Recognizer:
    model, recipe = trained("sequence")
    return Recognizer(model, RunInfo(recipe, CLASSES, RunMetadata(stages=("temporal",))))


def share_in_quadrant(maps: np.ndarray, quadrant: int) -> float:
    height, width = maps.shape[-2] // 2, maps.shape[-1] // 2
    row, column = quadrant // 2 * height, quadrant % 2 * width
    return float(maps[..., row : row + height, column : column + width].sum() / maps.sum())


# -- where -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quadrant", range(4))
def test_a_sequence_sees_its_evidence_in_the_quadrant_that_moves(sequence: Recognizer, quadrant: int) -> None:
    found = sequence.explain(quadrant_clip(100 + quadrant, quadrant, 2), protocol="center")
    assert found.label == "right"
    assert found.windows[0].maps["temporal"].shape == (10, 8, 8)
    assert share_in_quadrant(found.windows[0].maps["temporal"], quadrant) > 0.8


@pytest.mark.parametrize(("form", "least"), [("stacked", 0.6), ("branched", 0.35)])
def test_stacked_and_branched_streams_see_it_there_too(form: str, least: float) -> None:
    """The branch's map has 4×4 points, each of which sees half of the frame."""
    model, _ = trained(form)
    for quadrant in range(4):
        frames = frames_of(model, quadrant_clip(100 + quadrant, quadrant, -2))
        maps = activation_maps(model, frames, 0, ("temporal",))["temporal"].numpy()
        assert maps.shape[:2] == (1, 1)
        assert [share_in_quadrant(maps, other) > least for other in range(4)] == [
            other == quadrant for other in range(4)
        ]


# -- gradients -------------------------------------------------------------------------------------

FORMS = [
    ("temporal", "stacked", "small", 1),
    ("temporal", "branched", "small", 1),
    ("temporal", "branched", "resnet18", 1),
    ("temporal", "inflated", "small", 10),
    ("temporal", "sequence", "small", 10),
    ("spatial", "stacked", "small", 1),
    ("spatial", "stacked", "resnet18", 1),
]


@pytest.mark.parametrize(("name", "form", "backbone", "pairs"), FORMS)
def test_the_gradient_is_that_of_finite_differences(name: str, form: str, backbone: str, pairs: int) -> None:
    """The features are changed by a hook of this test, along a random direction."""
    model, _ = model_of(form, backbone, (name,))
    model = model.double()
    last_layer = [
        layer for layer in getattr(model, f"{name}_stream").modules() if isinstance(layer, nn.Linear)
    ]
    nn.init.normal_(last_layer[-1].weight, std=0.5)
    frames = frames_of(model, quadrant_clip(3, 1, 2)).double()
    found = activations(model, frames, 1, (name,))[name]
    assert found.features.shape == found.gradient.shape
    assert found.features.shape[1] == pairs
    stream = getattr(model, f"{name}_stream")
    layer = mapped_layer(stream)
    assert layer is not None
    direction: Tensor | None = None

    def moved(step: float) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(_layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            nonlocal direction
            if direction is None:
                torch.manual_seed(8)
                direction = torch.randn_like(output)
            return output + step * direction

        return hook

    values = []
    for step in (1e-5, -1e-5):
        handle = layer.register_forward_hook(moved(step))
        with torch.no_grad():
            logits = model(frames)[name]
        handle.remove()
        values.append(float(logits[0, 1] - logits[0, 0]))  # log odds of two classes
    assert direction is not None
    along = direction.transpose(1, 2) if direction.ndim == 5 else direction
    along = along.reshape(found.gradient.shape)
    slope = (values[0] - values[1]) / 2e-5
    assert float((found.gradient * along).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-7)
    assert abs(slope) > 1e-3  # there is something to compare


def test_a_map_behind_average_pooling_sums_to_what_the_features_contribute() -> None:
    """Before its negative values are dropped, where the last layer is linear: CAM (Zhou et al. 2016)."""
    model, _ = model_of("stacked", "small", ("spatial",))
    nn.init.normal_(model.spatial_stream.backbone.fc.weight, std=0.5)
    frames = frames_of(model, quadrant_clip(3, 1, 2))
    found = activations(model, frames, 0, ("spatial",))["spatial"]
    weights = found.gradient.mean(dim=(1, 3, 4), keepdim=True)
    logits, bias = model(frames)["spatial"][0].detach(), model.spatial_stream.backbone.fc.bias
    expected = (logits[0] - bias[0]) - (logits[1] - bias[1])
    assert float((weights * found.features).sum()) == pytest.approx(expected.item(), rel=1e-4)


def test_log_odds_of_a_softmax() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0], [8.0, 0.0, -3.0]])
    share = logits.double().softmax(dim=1)[:, 0]
    assert torch.allclose(log_odds(logits.double(), 0), torch.log(share / (1 - share)), atol=1e-5)
    assert log_odds(torch.tensor([[1.5]]), 0).item() == 1.5


@pytest.mark.parametrize("kind", ["resnet", "vit", "swin"])
def test_image_encoders_have_maps(kind: str) -> None:
    """Gradient × input, averaged over 8×8 parts, against finite differences of the brightness of a part."""
    pytest.importorskip("transformers")
    encoder = EncoderConfig(kind, plain_config(kind, TINY[kind]), 32, 32, 1 / 255, (0.5,) * 3, (0.5,) * 3)
    torch.manual_seed(0)
    model = HiddenTwoStream("nano", "small", 2, streams=("spatial",), encoder=encoder).eval().double()
    nn.init.normal_(model.spatial_stream.backbone.fc.weight)
    frames = frames_of(model, quadrant_clip(3, 1, 2)).double()
    found = activations(model, frames, 1, ("spatial",))["spatial"].features[0, 0, 0]
    values = []
    for step in (1e-5, -1e-5):
        changed = frames.clone()
        changed[:, 5, :, 8:16, 24:32] *= 1 + step  # part (1, 3) of the middle frame
        with torch.no_grad():
            logits = model(changed)["spatial"][0]
        values.append(float(logits[1] - logits[0]))
    assert found.shape == (8, 8)
    assert float(found[1, 3]) * 64 == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3, abs=1e-8)


# -- the model stays as it is ----------------------------------------------------------------------


def test_frozen_weights_and_those_of_inference_mode_give_the_same_maps_and_stay() -> None:
    model, _ = model_of("sequence", streams=("spatial", "temporal"))
    frames = frames_of(model, quadrant_clip(3, 1, 2))
    streams = ("spatial", "temporal")
    expected = activation_maps(model, frames, 0, streams)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.requires_grad_(False)
    frozen = activation_maps(model, frames, 0, streams)
    with torch.inference_mode():
        strict, _ = model_of("sequence", streams=streams)
        strict.load_state_dict(before)
        inferred = activation_maps(strict, frames.clone(), 0, streams)
    assert next(strict.parameters()).is_inference()
    for name in streams:
        assert torch.equal(expected[name], frozen[name])
        assert torch.equal(expected[name], inferred[name])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


# -- when ------------------------------------------------------------------------------------------


def test_occlusion_names_the_stretch_in_which_the_motion_happens(sequence: Recognizer) -> None:
    """The picture moves between frames 12 and 15 only: the fourth of nine stretches of four frames."""
    clip = quadrant_clip(50, 2, 2, moving=range(12, 15), num=36)
    found = sequence.explain(clip, "right", protocol="25x1", stretches=9)
    assert len(found.stretches) == 9
    assert found.strongest is found.stretches[3]
    drops = [stretch.evidence["temporal"] for stretch in found.stretches]
    assert drops[3] > 2 * max(abs(drop) for number, drop in enumerate(drops) if number not in (2, 3, 4))
    assert found.stretches[0].start_seconds == 0
    assert all(one.end_seconds == other.start_seconds for one, other in itertools.pairwise(found.stretches))


def test_a_drop_is_that_of_windows_whose_pairs_are_one_frame_twice(sequence: Recognizer) -> None:
    """Computed again from the arguments of the temporal stream, for all windows of a video."""
    clip = quadrant_clip(51, 0, 2, num=24)
    model, frames = sequence.model, frames_of(sequence.model, clip)[0]
    found = sequence.explain(clip, "right", protocol="10x1", stretches=4)
    assert np.array_equal(found.prediction.scores, sequence.predict(clip, "10x1").scores)
    starts = range(10)  # of 14 possible ones
    for number, stretch in enumerate(found.stretches):
        begin, end = 6 * number, 6 * number + 6
        logits = []
        for start in starts:
            with torch.no_grad():
                pairs = model.temporal_inputs(frames[None, start : start + 11])[0].clone()
                for place in range(10):
                    if begin <= start + place < end:
                        one = frames[start + place]
                        pairs[0, place] = model.temporal_inputs(torch.stack([one, one])[None])[0][0, 0]
                logits.append(model.temporal_stream(pairs)[0])
        score = torch.stack(logits).mean(dim=0).softmax(dim=0)[1].item()
        assert stretch.scores["temporal"] == pytest.approx(score, abs=1e-5)
        assert stretch.drops["temporal"] == pytest.approx(found.stream_scores["temporal"] - score, abs=1e-5)


def test_other_networks_see_the_frames_replaced(sequence: Recognizer) -> None:
    """With normalized contrast, a pair looks different in each window."""
    settings = dataclasses.replace(sequence.info.recipe.input, normalize_contrast=True)
    recipe = dataclasses.replace(sequence.info.recipe, input=settings)
    model = build_model(recipe, len(CLASSES))
    model.load_state_dict(sequence.model.state_dict())
    other = Recognizer(model, dataclasses.replace(sequence.info, recipe=recipe))
    clip = quadrant_clip(51, 0, 2, num=24)
    found = other.explain(clip, "right", protocol="10x1", stretches=4)
    whole = float(other.predict(clip, "10x1").scores[1])
    for number, stretch in enumerate(found.stretches):
        begin, end = 6 * number, 6 * number + 6
        frozen = clip.copy()
        frozen[begin:end] = clip[begin + 3]
        score = float(other.predict(frozen, "10x1").scores[1])
        assert stretch.scores["fused"] == pytest.approx(score, abs=1e-5)
        assert stretch.drops["fused"] == pytest.approx(whole - score, abs=1e-5)


def test_frames_of_no_window_are_said_to_be_in_none(sequence: Recognizer) -> None:
    clip = quadrant_clip(51, 0, 2, num=33)
    found = sequence.explain(clip, protocol="center", stretches=3)
    assert [stretch.num_windows for stretch in found.stretches] == [0, 1, 0]
    assert [stretch.drops["fused"] for stretch in found.stretches[::2]] == [0, 0]


def test_a_wide_long_file_is_explained_as_its_frames_are(
    sequence: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second frame of a wide video whose frames are not kept in memory."""
    settings = dataclasses.replace(sequence.info.recipe.input, frame_stride=2)
    info = dataclasses.replace(
        sequence.info, recipe=dataclasses.replace(sequence.info.recipe, input=settings)
    )
    strided = Recognizer(sequence.model, info)
    clip = np.pad(quadrant_clip(51, 0, 2, num=30), ((0, 0), (0, 0), (32, 32), (0, 0)))
    write_video(tmp_path / "wide.mp4", clip)
    kept = strided.explain(tmp_path / "wide.mp4", "right", protocol="3x1")
    monkeypatch.setattr(predictor, "KEPT_BYTES", 0)
    again = strided.explain(tmp_path / "wide.mp4", "right", protocol="3x1")
    assert again.to_dict() == kept.to_dict()
    assert kept.box == (0.25, 0, 0.75, 1)
    assert kept.windows[1].times_seconds[:3] == pytest.approx((0.12, 0.2, 0.28))
    assert kept.windows[0].clip.shape == (11, SIDE, SIDE, 3)


# -- the doors -------------------------------------------------------------------------------------


def test_an_explanation_in_json_and_in_words(sequence: Recognizer) -> None:
    found = sequence.explain(quadrant_clip(51, 0, 2), "left", protocol="center")
    data = found.to_dict()
    assert data["label"] == "left"
    assert data["best"] == "right"
    assert data["box"] == [0, 0, 1, 1]
    assert np.array(data["windows"][0]["maps"]["temporal"]).shape == (10, 8, 8)
    assert str(found).startswith("array: left 0.")
    assert f"if nothing moves from {found.strongest.start_seconds:.2f} to" in str(found)


def test_progress_counts_windows_and_stretches(sequence: Recognizer) -> None:
    told: list[tuple[int, int]] = []
    found = sequence.explain(
        quadrant_clip(51, 0, 2), protocol="center", stretches=3,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    total = len(found.windows) + len(found.stretches)
    assert total == 4
    assert told == [(done, total) for done in range(1, total + 1)]


def test_one_frame_is_explained(sequence: Recognizer) -> None:
    found = sequence.explain(quadrant_clip(51, 0, 2)[:1])
    assert len(found.stretches) == 1
    assert found.stretches[0].drops["fused"] == 0


def test_calibrated_scores_are_those_of_predict(sequence: Recognizer) -> None:
    ones = {"temporal": 0.5, "fused": 0.5}
    calibration = Calibration(
        {"temporal": 3.0}, 2.0, None, 20, ece_before=ones, ece_after=ones, nll_before=ones, nll_after=ones
    )
    metadata = dataclasses.replace(sequence.info.metadata, calibration=calibration)
    calibrated = Recognizer(sequence.model, dataclasses.replace(sequence.info, metadata=metadata))
    clip = quadrant_clip(51, 0, 2)
    found = calibrated.explain(clip, protocol="center")
    assert np.array_equal(found.prediction.scores, calibrated.predict(clip, "center").scores)
    assert found.windows[0].scores["fused"] == pytest.approx(found.score, abs=1e-6)
    still = calibrated.explain(np.repeat(clip[:1], 11, axis=0), "right", stretches=2)
    assert [stretch.drops["fused"] for stretch in still.stretches] == pytest.approx([0, 0], abs=1e-6)


BAD: list[tuple[Mapping[str, object], str]] = [
    ({"label": "up"}, "no class 'up'; expected one of left, right, still"),
    ({"protocol": "10x5"}, "protocol 10x5; expected center, or Nx1"),
    ({"protocol": f"{MOST_WINDOWS + 1}x1"}, "expected center, or Nx1"),
    ({"protocol": "all"}, "unknown protocol 'all'"),
    ({"stretches": 0}, f"stretches is 0; expected 1 to {MOST_STRETCHES}"),
    ({"stretches": 2.5}, "stretches is 2.5"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD)
def test_wrong_arguments(sequence: Recognizer, wrong: Mapping[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        sequence.explain(quadrant_clip(51, 0, 2), **wrong)  # type: ignore[arg-type]


def test_a_run_without_a_trained_stream(sequence: Recognizer) -> None:
    metadata = dataclasses.replace(sequence.info.metadata, stages=("motion",))
    untrained = Recognizer(sequence.model, dataclasses.replace(sequence.info, metadata=metadata))
    with pytest.raises(CheckpointError, match="no trained stream"):
        untrained.explain(quadrant_clip(51, 0, 2))


def test_a_tie_of_scores_is_decided_by_the_evidence(sequence: Recognizer) -> None:
    found = sequence.explain(quadrant_clip(51, 0, 2, num=12), protocol="center", stretches=2)
    level = tuple(
        dataclasses.replace(stretch, drops={"fused": 0.0}, evidence={"temporal": float(number)})
        for number, stretch in enumerate(found.stretches)
    )
    tied: Explanation = dataclasses.replace(found, stretches=level)
    assert tied.strongest is level[-1]
