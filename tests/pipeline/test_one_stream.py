"""What is printed of a run with a single stream, of one step, and of a calibration that made scores worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import RunMetadata
from hidden_two_stream.cli.output import calibration_lines, evaluation_text
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.reports.card_text import card_text
from hidden_two_stream.reports.data import Curve, ReportData
from hidden_two_stream.reports.page import render_report
from hidden_two_stream.reports.run_card import RunCard


def result(*names: str) -> dict[str, Any]:
    return {
        "num_test_videos": 4, "chance": 0.5, "protocol": "10x1", "num_unreadable": 0, "num_trained_on": 0,
        "accuracy": dict.fromkeys(names, 0.75),
        "accuracy_interval_95": dict.fromkeys(names, (0.3, 0.95)),
        "mean_class_accuracy": dict.fromkeys(names, 0.75),
        "confusion": {"classes": ["a", "b"], "fused": [[2, 0], [1, 1]]},
    }  # fmt: skip


def test_a_single_stream_is_printed_once() -> None:
    text = evaluation_text(result("temporal", "fused"))
    assert "  temporal   75.0%" in text
    assert "fused" not in text
    assert "confusion matrix of the temporal scores" in text


def test_two_streams_are_printed_with_their_fusion() -> None:
    text = evaluation_text(result("spatial", "temporal", "fused"))
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["spatial", "temporal", "fused"]
    assert "confusion matrix of the fused scores" in text


def calibration(before: float, after: float) -> dict[str, Any]:
    return {
        "num_clips": 60,
        "ece_before": {"temporal": before, "fused": before},
        "ece_after": {"temporal": after, "fused": after},
    }


def test_a_calibration_error_that_grows_is_explained() -> None:
    lines = calibration_lines(calibration(0.05, 0.06))
    assert lines[0] == (
        "calibration error of the temporal scores, before → after: 5.0% → 6.0% (60 held-back videos)"
    )
    assert "it may grow: among few videos" in lines[1]
    assert len(calibration_lines(calibration(0.06, 0.05))) == 1
    on_test = calibration(0.06, 0.05) | {
        "test": {"ece_before": {"fused": 0.01}, "ece_after": {"fused": 0.02}}
    }
    on_test["test"]["ece_before"]["temporal"], on_test["test"]["ece_after"]["temporal"] = 0.01, 0.02
    assert len(calibration_lines(on_test)) == 2


def card(*values: float) -> str:
    curve = Curve("temporal", "loss", [200 * (i + 1) for i in range(len(values))], values)
    return card_text(
        RunCard("run", "clips", ("a", "b"), ("temporal",), Recipe(), RunMetadata(), curves=[curve])
    )


def test_one_value_is_no_curve() -> None:
    (line,) = (line for line in card(0.25).splitlines() if line.startswith("curves"))
    assert line == "curves        temporal loss     0.25 (step 200)"
    assert "▁" in card(0.25, 0.5)
    one = ReportData("t", curves=[Curve("temporal", "loss", [200], [0.25])])
    two = ReportData("t", curves=[Curve("temporal", "loss", [100, 200], [0.5, 0.25])])
    assert "one value, at step 200" in render_report(one)
    assert "one value" not in render_report(two)
    assert render_report(two).count('class="line') > render_report(one).count('class="line')


def test_results_of_an_older_run_with_one_stream_are_shown_once() -> None:
    found = RunCard("run", "clips", ("a", "b"), ("temporal",), Recipe(), RunMetadata(),
                    results=result("temporal", "fused"))  # fmt: skip
    lines = [line for line in card_text(found).splitlines() if "75.0%" in line]
    assert len(lines) == 1
    assert Path("run").name in card_text(found)
