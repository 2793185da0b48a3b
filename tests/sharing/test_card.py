"""The model card: what the hub's own parser reads, what Markdown makes of it, and what it says of a run."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

import hidden_two_stream as hts
from hidden_two_stream.checkpoint import RunMetadata
from hidden_two_stream.inference.motion_estimator import motion_estimator
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.reports.run_card import RunCard
from hidden_two_stream.sharing.card import CardFacts, model_card
from hidden_two_stream.sharing.limits import limits
from hidden_two_stream.sharing.picture import flow_picture

from .conftest import OLD_RUN, small_run

RESULTS = {
    "protocol": "25x10", "num_test_videos": 40, "num_trained_on": 3, "num_unreadable": 1, "chance": 0.5,
    "accuracy": {"spatial": 0.5, "temporal": 0.75, "fused": 0.875},
    "accuracy_interval_95": {"fused": [0.7389, 0.9454]},
    "mean_class_accuracy": {"fused": 0.85},
    "per_class": {"walk": {"fused": 1.0}, "run": {"fused": 0.75}},
    "confusion": {"classes": ["walk", "run"], "fused": [[20, 0], [5, 15]]},
}  # fmt: skip


def card(**changes: Any) -> RunCard:
    found = hts.inspect(OLD_RUN)
    named: Mapping[str, Any] = {
        "classes": ("walk", "run"),
        "results": RESULTS,
        "num_test": 40,
        "num_train": 60,
    }
    return replace(found, **{**named, **changes})


def text(found: RunCard, **facts: Any) -> str:
    return model_card(CardFacts(found, "anna/moves", "Moves", **facts))


def test_the_hub_reads_the_front_matter(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(text(card(), license="apache-2.0"), encoding="utf-8")
    data = ModelCard.load(path).data
    assert data.license == "apache-2.0"
    assert data.library_name == "hidden-two-stream"
    assert data.pipeline_tag == "video-classification"
    assert "action-recognition" in data.tags
    assert data.model_name == "Moves"
    scores = {result.metric_name: result.metric_value for result in data.eval_results}
    assert scores["accuracy (fused, protocol 25x10, 40 videos)"] == 0.875
    assert scores["mean class accuracy (fused, protocol 25x10, 40 videos)"] == 0.85
    assert {result.task_type for result in data.eval_results} == {"video-classification"}


def test_a_card_without_license_says_so() -> None:
    found = text(card())
    assert "license:" not in found.split("---")[1]
    assert "The author gave no license for this model" in found


def test_the_scores_stand_beside_their_protocol() -> None:
    found = text(card())
    assert "Measured on 40 test videos" in found
    assert "protocol *25x10*: the mean over 25 clips of each video, cut from 10 places of the frame" in found
    assert "Guessing would be right in 50.0%" in found
    assert "| both streams together | **87.5%** | 73.9% to 94.5% | 85.0% |" in found
    assert "**The run was trained on 3 of these test videos**" in found
    assert "1 test video could not be read" in found
    assert "| run | 20 | 75.0% |" in found
    assert "Taken for another class most often: *run* as *walk* (5)." in found


def test_a_run_without_results() -> None:
    found = text(card(results={}))
    assert "how good it is was not measured" in found
    assert "model-index" not in found


def test_names_cannot_bring_markup() -> None:
    hostile = (
        "<script>alert(1)</script>",
        "a|b",
        "[x](javascript:alert(1))",
        "`c`",
        "# d\n---",
        "![i](//x/y.png)",
    )
    results = {**RESULTS, "confusion": {"classes": list(hostile), "fused": np.eye(6, dtype=int).tolist()}}
    found = text(card(classes=hostile, results=results), license="mit")
    body = found.split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    inner = [child for token in tokens for child in (token.children or [])]
    assert not [token for token in (*tokens, *inner) if token.type.startswith("html")]
    links = {child.attrs["href"] for child in inner if child.type == "link_open"}
    assert links == {"https://arxiv.org/abs/1704.00389"}
    rows = [token for token in tokens if token.type == "tr_open"]
    cells = [token for token in tokens if token.type in ("td_open", "th_open")]
    assert len(cells) >= 2 * len(rows)
    assert "---\n" not in body.replace("| ---", "").replace("--- |", "")


@pytest.mark.parametrize(
    ("kind", "classes", "words"),
    [
        ("clips", ("walk",), ("hts.load(", "hts predict anna/moves")),
        ("frame labels", ("groom",), ("hts.load_annotator(", "hts annotate anna/moves", "**1 behavior**")),
        ("motion network", (), ("hts flow anna/moves", "learned without labels")),
    ],
)
def test_how_to_use_it(kind: str, classes: tuple[str, ...], words: tuple[str, ...]) -> None:
    found = text(card(kind=kind, classes=classes, results={}))
    for word in words:
        assert word in found


def test_the_limits_follow_the_run() -> None:
    found = card()
    said = "\n".join(limits(found))
    assert "also a video that shows none of them" in said
    assert "does not tell left from right" in said
    assert "The test has 40 videos only" in said
    calibrated = RunMetadata(
        calibration=Calibration({"temporal": 1.0}, threshold=0.5, num_clips=9), min_fps=25.0
    )
    recipe = found.recipe
    changed = replace(
        found, metadata=calibrated, streams=("spatial",),
        recipe=replace(recipe, input=replace(recipe.input, flip=False, fps=10.0)),
        results={**RESULTS, "num_test_videos": 4000},
    )  # fmt: skip
    said = "\n".join(limits(changed))
    assert "It can answer that no class fits" in said
    assert "It sees no motion" in said
    assert "left from right" not in said
    assert "sampled at 10 frames per second" in said
    assert "The test has" not in said


def test_the_picture(tmp_path: Path) -> None:
    estimator = motion_estimator("nano")
    first, second = flow_picture(estimator), flow_picture(estimator)
    assert first.png == second.png
    width, height = struct.unpack(">II", first.png[16:24])
    assert (height, width) == (288, 3 * 288 + 3 * 12 + 96)
    assert first.error_px is not None
    assert first.zero_error_px is not None
    assert first.error_px < first.zero_error_px / 2  # shipped weights see the motion
    own = flow_picture(estimator, np.zeros((4, 32, 64, 3), np.uint8))
    assert own.error_px is None
    assert struct.unpack(">II", own.png[16:24])[0] == 2 * 2 * 288 + 2 * 12 + 96
    with pytest.raises(hts.HiddenTwoStreamError, match="has one frame"):
        flow_picture(estimator, np.zeros((1, 32, 64, 3), np.uint8))


def test_a_run_of_frames_alone_has_no_picture(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", streams=("spatial",))
    found = hts.push(run, "anna/moves", dry_run=tmp_path / "dry")
    assert "flow.png" not in found.files
    assert "flow.png" not in (tmp_path / "dry" / "README.md").read_text()
    options = hts.CardOptions(picture=np.zeros((4, 32, 64, 3), np.uint8))
    with pytest.raises(hts.HiddenTwoStreamError, match="no flow to show"):
        hts.push(run, "anna/moves", dry_run=tmp_path / "dry2", options=options)
