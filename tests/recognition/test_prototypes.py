"""Prototypes: which clips are of no known class."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.evaluation.calibration import fit_calibration
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.recognition.prototypes import Prototypes, conformal_limit, fit_prototypes

Logits = npt.NDArray[np.float32]
CLASSES = 6


def clips(seed: int, number: int, unknown: bool = False) -> tuple[Logits, npt.NDArray[np.int64]]:
    """Return logits of clips whose class also pulls at the next one; unknown ones mix two others instead."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, number)
    logits = rng.normal(0, 0.7, (number, CLASSES))
    places = np.arange(number)
    logits[places, labels] += 6
    logits[places, (labels + (3 if unknown else 1)) % CLASSES] += 3
    return logits.astype(np.float32), labels


def test_the_similarity_against_a_slow_version() -> None:
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(size=(5, 3)).astype(np.float32) for name in ("temporal", "spatial")}
    vectors = rng.normal(size=(3, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    best = np.array([0, 2, 1, 1, 0])
    found = Prototypes(("spatial", "temporal"), vectors.tolist(), 0.0).similarity(logits, best)
    for clip in range(5):
        flat = []
        for name in ("spatial", "temporal"):
            row = [float(value) for value in logits[name][clip]]
            flat += [value - sum(row) / 3 for value in row]
        length = math.sqrt(sum(value * value for value in flat))
        expected = sum(a * b for a, b in zip(flat, vectors[best[clip]], strict=True)) / length
        assert found[clip] == pytest.approx(expected, abs=1e-6)


def test_a_vector_is_the_mean_of_its_class() -> None:
    logits, labels = clips(0, 300)
    fitted = fit_prototypes({"temporal": logits}, labels, labels)
    assert fitted is not None
    for number in range(CLASSES):
        mean = logits[labels == number].astype(np.float64).mean(axis=0)
        mean -= mean.mean()
        np.testing.assert_allclose(fitted.vectors[number], mean / np.linalg.norm(mean), atol=1e-4)


def test_the_limit_keeps_known_clips_and_rejects_others_with_the_same_scores() -> None:
    """Scores cannot tell them apart: the clips differ in which other classes they pull at."""
    missed, rejected = [], []
    for seed in range(40):
        logits, labels = clips(3 * seed, 120)
        fitted = fit_calibration({"temporal": logits}, labels, FusionConfig())
        assert fitted is not None
        assert fitted.prototypes is not None
        for number, (unknown, shares) in enumerate(((False, missed), (True, rejected))):
            new, _ = clips(3 * seed + 1 + number, 200, unknown)
            calibrated = {"temporal": (new / fitted.temperature("temporal")).astype(np.float32)}
            similar = fitted.prototypes.similarity(calibrated, new.argmax(axis=1))
            shares.append(float((similar < fitted.prototypes.least).mean()))
    assert np.mean(missed) < 0.06
    assert np.mean(rejected) > 0.95


def test_the_limit_is_that_of_the_other_clips_of_a_class() -> None:
    """By hand: each clip is compared with the mean of the others, not with its own part in the mean."""
    logits, labels = clips(5, 60)
    fitted = fit_prototypes({"temporal": logits}, labels, labels)
    assert fitted is not None
    centered = logits.astype(np.float64) - logits.mean(axis=1, keepdims=True, dtype=np.float64)
    similar = []
    for clip in range(60):
        others = (labels == labels[clip]) & (np.arange(60) != clip)
        mean = centered[others].mean(axis=0)
        similar.append(mean @ centered[clip] / np.linalg.norm(mean) / np.linalg.norm(centered[clip]))
    assert fitted.least == pytest.approx(sorted(similar)[2])  # ⌊0.05 · 61⌋ = 3


def test_too_few_clips_have_no_prototypes() -> None:
    logits, labels = clips(1, 60)
    assert fit_prototypes({"temporal": logits[:18]}, labels[:18] % 2, labels[:18] % 2) is None
    alone = np.where(labels == 5, 4, labels)
    assert fit_prototypes({"temporal": logits}, alone, alone) is None  # class 5 has none
    assert fit_prototypes({"temporal": np.zeros_like(logits)}, labels, labels) is None
    assert conformal_limit(np.arange(18.0)) is None
    assert conformal_limit(np.arange(19.0)[::-1]) == 0.0


def test_they_survive_being_written_and_older_runs_have_none() -> None:
    logits, labels = clips(2, 100)
    fitted = fit_calibration({"temporal": logits, "spatial": logits[::-1]}, labels, FusionConfig())
    assert fitted is not None
    plain = json.loads(json.dumps(asdict(fitted)))
    again = Calibration.from_dict(plain)
    assert again.prototypes == fitted.prototypes
    del plain["prototypes"]
    assert Calibration.from_dict(plain).prototypes is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"streams": []}, "streams"),
        ({"streams": ["audio"]}, "streams"),
        ({"least": 2}, "limit"),
        ({"least": None}, "limit"),
        ({"vectors": [[1.0], [1.0]]}, "another size"),
        ({"vectors": "x"}, "another size"),
        ({"vectors": [[9.0, 0.0], [0.0, 1.0]]}, "unit length"),
        ({"more": 1}, "expected streams, vectors and least"),
    ],
)
def test_damaged_ones_are_refused(change: dict[str, object], named: str) -> None:
    whole = {"streams": ["temporal"], "vectors": [[1.0, 0.0], [0.0, 1.0]], "least": 0.1}
    assert Prototypes.from_dict(whole, ("temporal", "spatial")).least == 0.1
    with pytest.raises(ValueError, match=named):
        Prototypes.from_dict(whole | change, ("temporal", "spatial"))
