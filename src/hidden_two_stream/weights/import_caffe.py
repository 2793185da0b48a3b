"""`hts import-caffe`: the authors' published Caffe weights as a run of ours."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from hidden_two_stream.checkpoint import MODEL_FILE, RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import make_folder
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.weights.caffe import (
    Content,
    constant_warnings,
    convert,
    find_content,
    ignored_layers,
)
from hidden_two_stream.weights.caffemodel import open_caffemodel

__all__ = ["import_caffe_command", "import_caffe_text", "read_classes"]

_NUMBERED = re.compile(r"(\d+)\s+(\S.*)")


def import_caffe_command(source: Path, out: Path, labels: Path | None = None) -> dict[str, Any]:
    """Read a caffemodel of MotionNet, or of MotionNet and VGG16 stacked, and write it as a run folder.

    Args:
        source: the binary caffemodel.
        out: run folder to write.
        labels: text file with one class name a line, in the order of the network's outputs.

    Raises:
        UsageError: no file at `source`, a run at `out`, or labels that don't fit.
        CheckpointError: the file is no caffemodel, or of other networks.
        OutputError: the folder is not writable or the disk is full.
    """
    if (out / MODEL_FILE).exists():
        raise UsageError(f"{str(out)!r} already holds a run; name another folder")
    origin = repr(str(source))
    with open_caffemodel(source) as layers:
        content = find_content(layers, origin)
        recipe = _recipe(content)
        model = _empty_model(recipe, content.num_classes)
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        weights = convert(layers, content.modules, shapes, origin)
        ignored, warnings = ignored_layers(layers, content.modules), constant_warnings(layers)
    classes = _classes(labels, content)
    model.load_state_dict(weights, assign=True)
    digest = _sha256(source)
    stages = ("motion", "joint") if content.stacked else ("motion",)
    metadata = RunMetadata(
        stages=stages, versions=versions(), imported_from={"file": source.name, "sha256": digest}
    )
    save_run(make_folder(out), model.eval(), RunInfo(recipe, classes, metadata))
    return {
        "run": str(out),
        "source": str(source),
        "sha256": digest,
        "networks": ["motion", "temporal"] if content.stacked else ["motion"],
        "num_frames": content.num_frames,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "classes": list(classes),
        "ignored": ignored,
        "warnings": warnings + _notes(content, labels),
    }


def import_caffe_text(result: dict[str, Any]) -> str:
    """The result for people."""
    networks = "MotionNet and the temporal stream" if "temporal" in result["networks"] else "MotionNet"
    lines = [
        f"{result['run']}: {networks}, {result['num_parameters'] / 1e6:.1f} M parameters, "
        f"{result['num_frames']} frames, {len(result['classes'])} classes"
    ]
    ignored = result["ignored"]
    if ignored:
        more = f" and {len(ignored) - 5} more" if len(ignored) > 5 else ""
        lines.append(f"ignored layers: {', '.join(ignored[:5])}{more}")
    lines += [f"warning: {warning}" for warning in result["warnings"]]
    return "\n".join(lines)


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names, one a line. Numbers in front of all lines, as in UCF101's classInd.txt, order them.

    Raises:
        UsageError: the file can't be read, a name occurs twice, or the numbers don't run from 0 or 1 on.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the labels {str(path)!r}: {error}; expected UTF-8 text") from error
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    names = lines
    if 2 * sum(match is not None for match in numbered) > len(lines) and not all(numbered):
        odd = next(line for line, match in zip(lines, numbered, strict=True) if match is None)
        raise UsageError(
            f"the labels {str(path)!r} have a line {odd!r} among lines of a number and a name; "
            "expected one form in all lines"
        )
    if lines and all(numbered):
        pairs = sorted((int(match[1]), match[2]) for match in numbered if match)
        numbers = [number for number, _ in pairs]
        if numbers not in (list(range(len(pairs))), list(range(1, len(pairs) + 1))):
            raise UsageError(
                f"the labels {str(path)!r} are numbered {numbers[0]} to {numbers[-1]} on {len(pairs)} lines; "
                "expected each number once, from 0 or 1 on"
            )
        names = [name for _, name in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"the labels {str(path)!r} have {', '.join(twice[:3])} twice; expected different names"
        )
    return tuple(names)


def _classes(labels: Path | None, content: Content) -> tuple[str, ...]:
    if labels is None:
        return tuple(f"class_{index:03d}" for index in range(content.num_classes))
    if not content.stacked:
        raise UsageError("the file holds MotionNet alone, which has no classes; leave out --labels")
    classes = read_classes(labels)
    if len(classes) != content.num_classes:
        raise UsageError(
            f"{str(labels)!r} has {len(classes)} labels, but the network has {content.num_classes} outputs; "
            "give one label a line, in their order"
        )
    return classes


def _notes(content: Content, labels: Path | None) -> list[str]:
    if content.stacked and labels is None:
        return ["no --labels were given: the classes are called class_000, class_001, …"]
    return []


def _recipe(content: Content) -> Recipe:
    """The paper's recipe, with the networks that are there and the border that they were trained with."""
    paper = load_recipe("paper")
    model = dataclasses.replace(
        paper.model,
        motion="full",
        backbone="vgg16",
        num_frames=content.num_frames,
        streams=("temporal",) if content.stacked else (),
        hand_over="reference",
    )
    absent = ("spatial",) if content.stacked else ("spatial", "temporal", "joint")
    stages: dict[str, Any] = {name: dataclasses.replace(paper.stage(name), steps=0) for name in absent}
    return dataclasses.replace(paper, model=model, init="none", **stages)


def _empty_model(recipe: Recipe, num_classes: int) -> HiddenTwoStream:
    """Without memory for its weights, and so without drawing 177 million random numbers."""
    with torch.device("meta"):
        return build_model(recipe, num_classes)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
