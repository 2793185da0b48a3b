"""What users hand in is checked at the door, and what they get back reads well."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import Prediction, validate_clip


def prediction() -> Prediction:
    return Prediction(
        source="clips/jump.mp4",
        classes=("walk", "jump", "sit", "lie"),
        scores=np.array([0.25, 0.5, 0.0, 0.25], np.float32),
        streams={
            "spatial": np.array([0.75, 0.25, 0, 0], np.float32),
            "temporal": np.array([0.125, 0.625, 0, 0.25], np.float32),
        },
        num_frames=42,
        protocol="10x1",
        warnings=("decoding stopped after 42 frames",),
    )


def test_a_good_clip_is_handed_on_as_it_is() -> None:
    clip = np.zeros((1, 2, 5, 3), np.uint8)
    assert validate_clip(clip) is clip


@pytest.mark.parametrize(
    ("clip", "named"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "float32"),
        (np.zeros((2, 4, 4, 3), np.int8), "int8"),
        (np.zeros((4, 4, 3), np.uint8), r"\(4, 4, 3\)"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"\(2, 4, 4, 4\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), r"\(2, 3, 4, 4\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"\(0, 4, 4, 3\)"),
        (np.zeros((2, 4, 0, 3), np.uint8), r"\(2, 4, 0, 3\)"),
        ([[0]], "list"),
        (None, "NoneType"),
    ],
)
def test_another_clip_is_refused_with_what_was_got_and_expected(clip: object, named: str) -> None:
    with pytest.raises(UsageError, match=rf"{named}.*\(T, H, W, 3\) uint8"):
        validate_clip(clip)


def test_label_score_and_text_of_a_prediction() -> None:
    made = prediction()
    assert (made.label, made.score) == ("jump", 0.5)
    assert str(made) == "clips/jump.mp4: jump 0.50, walk 0.25, lie 0.25"


@pytest.mark.parametrize("k", [1, 3, 4, 9])
def test_top_is_sorted_and_ties_keep_the_order_of_the_classes(k: int) -> None:
    best = [("jump", 0.5), ("walk", 0.25), ("lie", 0.25), ("sit", 0.0)]
    assert prediction().top(k) == best[:k]


def test_the_dictionary_of_a_prediction_survives_json() -> None:
    assert json.loads(json.dumps(prediction().to_dict(k=2))) == {
        "source": "clips/jump.mp4",
        "label": "jump",
        "known": True,
        "best": "jump",
        "score": 0.5,
        "threshold": None,
        "similarity": None,
        "least_similarity": None,
        "top": [{"label": "jump", "score": 0.5}, {"label": "walk", "score": 0.25}],
        "streams": {
            "spatial": {"label": "walk", "score": 0.75},
            "temporal": {"label": "jump", "score": 0.625},
        },
        "num_frames": 42,
        "protocol": "10x1",
        "warnings": ["decoding stopped after 42 frames"],
    }
