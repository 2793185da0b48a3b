"""The last layer by logistic regression: the optimum, what moves, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import ClipCache, decode_video
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.embeddings import window_embeddings
from hidden_two_stream.training.logistic import logistic_regression
from hidden_two_stream.training.loop import TrainingRun
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import train

FAST = (
    "model.temporal=sequence", "model.streams=[temporal]", "motion.steps=0", "spatial.steps=0",
    "joint.steps=0", "input.size=64", "temporal.optimizer=logistic",
    "temporal.steps=100", "temporal.weight_decay=0.01", "calibration.method=none",
)  # fmt: skip


def gradient(
    inputs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64],
    weight: npt.NDArray[np.float64], bias: npt.NDArray[np.float64], penalty: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:  # fmt: skip
    """The gradient of the penalized cross entropy with respect to weight and bias, written out."""
    logits = inputs @ weight.T + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(labels)), labels] -= 1
    return shares.T @ inputs / len(labels) + penalty * weight, shares.mean(axis=0)


@pytest.mark.parametrize("penalty", [1e-3, 0.1])
def test_the_gradient_vanishes_at_the_solution(penalty: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 40)
    inputs = rng.normal(size=(40, 5)) * [1, 10, 0.1, 3, 1] + labels[:, None] + 7
    weight, bias = logistic_regression(torch.from_numpy(inputs), torch.from_numpy(labels), 3, penalty, 500)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scaled = weight.numpy() * scale
    shifted = bias.numpy() + weight.numpy() @ mean
    for part in gradient((inputs - mean) / scale, labels, scaled, shifted, penalty):
        assert np.abs(part).max() < 1e-5


def test_a_constant_input_gets_no_weight() -> None:
    inputs = torch.cat([torch.randn(20, 2), torch.full((20, 1), 4.0)], dim=1)
    labels = torch.arange(20) % 2
    weight, bias = logistic_regression(inputs, labels, 2, 0.01, 100)
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    assert weight[:, 2].abs().max() < 1e-6


def test_only_the_last_layer_moves_and_nothing_is_random(tmp_path: Path) -> None:
    labels = write_dataset(tmp_path / "data", train_per_class=2, test_per_class=1, seed=0)
    runs = []
    for name in ("one", "two"):
        result = train(labels, tmp_path / name, "nano", FAST, resources=Resources(quiet=True))
        runs.append(result.recognizer.model.state_dict())
    assert all(torch.equal(tensor, runs[1][key]) for key, tensor in runs[0].items())
    fresh = train(
        labels, tmp_path / "fresh", "nano", (*FAST, "temporal.steps=1"), resources=Resources(quiet=True)
    ).recognizer.model.state_dict()
    changed = {key for key, tensor in fresh.items() if not torch.equal(tensor, runs[0][key])}
    assert changed == {"temporal_stream.fc.weight", "temporal_stream.fc.bias"}
    assert load(tmp_path / "one").trained_streams == ("temporal",)


@pytest.mark.parametrize(
    "changes",
    [
        ("temporal.optimizer=logistic", "model.temporal=branched", "temporal_init=none"),
        ("spatial.optimizer=logistic", "spatial.steps=5"),
        ("joint.optimizer=logistic", "joint.steps=5", "model.temporal=sequence"),
    ],
)
def test_logistic_regression_needs_an_embedding(changes: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="optimizer is logistic, which fits the last layer"):
        load_recipe("nano", changes)


def test_logistic_regression_is_not_fitted_to_random_layers() -> None:
    for overrides in ({"temporal_init": "none"}, {"temporal_init": "none", "motion_init": "none"}):
        with pytest.raises(UsageError, match="the other layers would stay random"):
            load_recipe("quick", overrides)


@pytest.mark.parametrize("normalize_contrast", [False, True])
def test_embeddings_are_those_of_single_windows(normalize_contrast: bool) -> None:
    """Shared pairs change nothing; contrast that is normalized by window forbids sharing."""
    change = f"input.normalize_contrast={str(normalize_contrast).lower()}"
    recipe = load_recipe("quick", ("input.size=64", "input.resize=64", "model.num_frames=6", change))
    frames = np.random.default_rng(0).integers(0, 256, (14, 64, 64, 3), dtype=np.uint8)
    video = decode_video(frames, 64, 1 << 30)
    run = TrainingRun(Path(), recipe, ClipCache((Sample("a", "b"),), (video,), (), 64), [1])
    model = build_model(recipe, 2).eval()
    with torch.inference_mode():
        found, labels = window_embeddings(model, run)
        clips = []
        for first in (0, 3, 5, 8):
            clip = torch.from_numpy(frames[first : first + 6]).permute(0, 3, 1, 2)
            clips += [clip, clip.flip(-1)]
        expected = [
            model.temporal_stream.embed(model.pair_vectors(model.preprocess(clip[None]))).mean(dim=1)
            for clip in clips
        ]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-5)
    assert labels.tolist() == [1] * 8
    assert model.pairs_are_independent is not normalize_contrast
