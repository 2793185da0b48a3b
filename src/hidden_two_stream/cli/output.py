"""Printed results that several commands share."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Mapping
from typing import Any

from hidden_two_stream.progress import number_of

__all__ = ["evaluation_text", "print_json"]


def print_json(data: Any) -> None:
    r"""Print one JSON document on stdout.

    Characters that stdout cannot hold, and bytes of file names that are not UTF-8, become JSON escapes such
    as `\udce9`.
    """
    is_unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps(data, indent=2, ensure_ascii=not is_unicode, allow_nan=False)
    print(text.encode("utf-8", "backslashreplace").decode())


def evaluation_text(result: Mapping[str, Any]) -> str:
    """Return a test result as text: accuracies, and the confusion matrix of up to 20 classes.

    Args:
        result: JSON-ready data of an `Evaluation`.
    """
    count, chance = result["num_test_videos"], result["chance"]
    lines = [
        f"{number_of(count, 'video')} ({result.get('videos', 'test part')}), "
        f"protocol {result['protocol']}, chance {chance:.1%}"
    ]
    for name, value in result["accuracy"].items():
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
    names, matrix = result["confusion"]["classes"], result["confusion"]["fused"]
    if len(names) <= 20:
        width = max(len(name) for name in names)
        lines.append("confusion matrix of the fused scores (rows: truth, columns: prediction)")
        lines += [
            f"  {name:<{width}} " + " ".join(f"{n:4d}" for n in row)
            for name, row in zip(names, matrix, strict=True)
        ]
    if result["num_unreadable"]:
        lines.append(f"{number_of(result['num_unreadable'], 'unreadable video')} not counted")
    return "\n".join(lines)
