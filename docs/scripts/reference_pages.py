"""The generated parts of the reference: all commands from their parser, and all public names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import hidden_two_stream as hts
from hidden_two_stream.cli.main import _parser

COMMON = ("help", "json", "quiet", "debug")
"""Options that every command has, and the page names once."""
GROUPS = {
    "Train and test": (
        "train", "resume", "evaluate", "cross_validate", "compare", "TrainingResult", "Evaluation",
        "CrossValidation", "Comparison", "Resources", "load_recipe", "recipe_names", "Recipe", "pack",
        "PackResult",
    ),
    "Recognize": (
        "load", "Recognizer", "Prediction", "WindowPrediction", "Explanation", "SegmentSettings", "Segment",
        "evaluate_segments", "SegmentEvaluation", "StreamSettings", "Decision", "WindowFeatures",
    ),
    "Many videos": ("predict_many", "predict_table", "segment_table", "BulkResult"),
    "Label every frame": (
        "train_frames", "load_annotator", "evaluate_annotator", "Annotator", "FrameLabelSettings",
        "FrameSettings", "FrameScores", "FrameEvaluation", "read_annotations", "write_annotations",
    ),
    "Motion": ("motion_estimator", "MotionEstimator", "track", "TrackedFrame"),
    "Runs and exports": (
        "inspect", "RunCard", "RunInfo", "export_model", "Export", "load_onnx", "OnnxRecognizer",
        "export_web", "WebExport", "import_web", "push", "Pushed", "CardOptions",
    ),
    "Pages and services": ("app", "AppSettings", "serve", "ServeSettings"),
    "Errors": ("HiddenTwoStreamError", "VideoWarning"),
}  # fmt: skip
"""The public names in the order of the page; names that are missing here follow at its end."""


def generated() -> dict[str, str]:
    """Return the texts that pages ask for with `<!-- generated: NAME -->`."""
    return {"commands": commands_text(), "names": names_text()}


def commands_text() -> str:
    """Return a section for each command of `hts`: what it does, its usage and its options."""
    parser = _parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parts = []
    for name, command in commands.choices.items():
        parts.append(
            f"## hts {name}\n\n{_sentence(command.description or '')}\n\n```text\n{_usage(command)}\n```\n"
        )
        rows = [_row(command, action) for action in command._actions if action.dest not in COMMON]
        parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _usage(command: argparse.ArgumentParser) -> str:
    """Return the usage on one line for each form, without the optional options, which the table has."""
    if command.usage:
        return str(command.usage).replace("%(prog)s", command.prog).replace("\n       ", "\n")
    words = [command.prog, "[options]"]
    for action in command._actions:
        if action.required or not action.option_strings:
            words.append(" ".join([*action.option_strings[-1:], *_values(command, action)]))
    return " ".join(words)


def _values(command: argparse.ArgumentParser, action: argparse.Action) -> Iterator[str]:
    formatter = command._get_formatter()
    default = (action.metavar if isinstance(action.metavar, str) else None) or (
        action.dest.upper() if action.option_strings else action.dest
    )
    text = formatter._format_args(action, default)
    if text:
        yield text


def _row(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    shown = " ".join(part for part in (names, *_values(command, action)) if part)
    text = command._get_formatter()._expand_help(action) if action.help else ""
    return f"| `{_cell(shown)}` | {_cell(_escaped(text))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    """Return help text for Markdown: what looks like code becomes code, and the rest stays text."""
    text = re.sub(r"`([^`]*)`", r"\1", text)
    text = re.sub(r"(?<![\w`/.-])(--[a-z][a-z-]+)", r"`\1`", text)
    return re.sub(r"(?<!`)([*_<])", r"\\\1", text)


def names_text() -> str:
    """Return the directives that make mkdocstrings write each public name, in groups."""
    listed = {name for names in GROUPS.values() for name in names}
    rest = sorted(set(hts.__all__) - listed - {"__version__"})
    parts = []
    for title, names in {**GROUPS, **({"More": tuple(rest)} if rest else {})}.items():
        parts.append(f"## {title}\n")
        for name in names:
            home = hts._HOMES[name]
            parts.append(f"::: hidden_two_stream.{home}.{name}\n    options:\n      heading: hts.{name}\n")
    return "\n".join(parts)
