"""Printed results: the only way to stdout, and texts that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from hidden_two_stream.errors import OutputError
from hidden_two_stream.printing import json_text, one_line, printable, silence
from hidden_two_stream.progress import number_of

__all__ = [
    "OutputClosedError",
    "calibration_lines",
    "evaluation_text",
    "print_json",
    "print_json_line",
    "print_text",
]


class OutputClosedError(Exception):
    """The reader of stdout, such as `head`, has ended, and so does the command."""


def print_json(data: Any) -> None:
    """Print one JSON document on stdout.

    Raises:
        OutputError, OutputClosedError: as `print_text`.
    """
    _write(json_text(data, _encoding()))


def print_json_line(data: Any) -> None:
    """Print JSON as one line on stdout: one of many.

    Raises:
        OutputError, OutputClosedError: as `print_text`.
    """
    _write(json_text(data, _encoding(), indent=None))


def print_text(text: str) -> None:
    """Print text on stdout, with control characters as escapes.

    Raises:
        OutputError: stdout is closed, or on a full disk.
        OutputClosedError: the reader of the output has ended.
    """
    _write(printable(text, _encoding()))


def _encoding() -> str | None:
    return getattr(sys.stdout, "encoding", None)


def _write(text: str) -> None:
    if sys.stdout is None:  # closed by the caller
        raise OutputError("cannot print the result: stdout is closed; open it, or send it to a file")
    try:
        sys.stdout.write(f"{text}\n")  # at once: a reader may end after the last line
        sys.stdout.flush()
    except BrokenPipeError as error:
        silence(sys.stdout)
        raise OutputClosedError from error
    except (OSError, ValueError) as error:
        silence(sys.stdout)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"cannot print the result: {reason}; send stdout to a place with free space"
        ) from error


def evaluation_text(result: Mapping[str, Any]) -> str:
    """Return a test result as text: accuracies, and the confusion matrix of up to 20 classes.

    Args:
        result: JSON-ready data of an `Evaluation`.
    """
    from hidden_two_stream.evaluation.accuracy import shown_streams

    count, chance = result["num_test_videos"], result["chance"]
    shown = shown_streams(result["accuracy"])
    lines = [
        f"{number_of(count, 'video')} ({result.get('videos', 'test part')}), "
        f"protocol {result['protocol']}, chance {chance:.1%}"
    ]
    for name in shown:
        value = result["accuracy"][name]
        low, high = result["accuracy_interval_95"][name]
        mean = result["mean_class_accuracy"][name]
        lines.append(
            f"  {name:<9} {value:6.1%}  (95%: {low:.1%} to {high:.1%}; mean over classes {mean:.1%})"
        )
    if result.get("num_trained_on"):
        seen = result["num_trained_on"]
        lines.append(
            f"the run was trained on {'all' if seen == count else seen} of these videos: the accuracy is not "
            "that of unseen videos"
        )
    elif "num_trained_on" in result and result["num_trained_on"] is None:
        lines.append("the run does not list the videos it was trained on; some of these may be among them")
    lines += calibration_lines(result.get("calibration"))
    names = [one_line(name) for name in result["confusion"]["classes"]]
    matrix = result["confusion"]["fused"]
    if len(names) <= 20:
        width = max(len(name) for name in names)
        lines.append(f"confusion matrix of the {shown[-1]} scores (rows: truth, columns: prediction)")
        lines += [
            f"  {name:<{width}} " + " ".join(f"{n:4d}" for n in row)
            for name, row in zip(names, matrix, strict=True)
        ]
    if result["num_unreadable"]:
        lines.append(f"{number_of(result['num_unreadable'], 'unreadable video')} not counted")
    return "\n".join(lines)


def calibration_lines(calibration: Mapping[str, Any] | None) -> list[str]:
    """Return how far the fused scores are from their accuracy, without and with the temperatures."""
    from hidden_two_stream.evaluation.accuracy import shown_streams

    if calibration is None:
        return []
    places = {}
    if "num_clips" in calibration:
        places[number_of(calibration["num_clips"], "held-back video")] = calibration
    if "test" in calibration:
        places["test videos"] = calibration["test"]
    name = shown_streams(next(iter(places.values()))["ece_before"])[-1]
    errors = {place: (found["ece_before"][name], found["ece_after"][name]) for place, found in places.items()}
    told = ", ".join(f"{before:.1%} → {after:.1%} ({place})" for place, (before, after) in errors.items())
    lines = [f"calibration error of the {name} scores, before → after: {told}"]
    if any(after > before for before, after in errors.values()):
        lines.append(_GREW)
    return lines


_GREW = (
    "  it may grow: among few videos it differs from draw to draw, and where nearly all are right, the "
    "temperatures keep the scores lower in case the next one is wrong"
)
