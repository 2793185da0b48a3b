"""Imports the authors' published Caffe weights as a run folder."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import MODEL_FILE, RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.data.text_files import read_text
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import file_sha256, make_folder
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import shapes_only
from hidden_two_stream.weights.caffe_layers import (
    CaffeNetworks,
    constant_warnings,
    convert_layers,
    find_networks,
    ignored_layers,
)
from hidden_two_stream.weights.caffemodel import open_caffemodel

__all__ = ["ImportedCaffe", "import_caffe", "read_class_names"]

_NUMBERED = re.compile(r"(\d{1,9})\s+(\S.*)")


@dataclass(frozen=True)
class ImportedCaffe:
    """The run that `import_caffe` wrote.

    Attributes:
        run: the run folder.
        source: the caffemodel.
        sha256: SHA-256 of the caffemodel.
        networks: "motion", and "temporal" if the file holds VGG16.
        num_frames: frames per clip.
        num_parameters: parameters of all networks.
        classes: class names, in the order of the outputs; empty for MotionNet alone.
        ignored_layers: layers of the file that the run has no place for.
        warnings: differences from the published definition, and missing class names.
    """

    run: Path
    source: Path
    sha256: str
    networks: tuple[str, ...]
    num_frames: int
    num_parameters: int
    classes: tuple[str, ...]
    ignored_layers: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "run": str(self.run),
            "source": str(self.source),
            "sha256": self.sha256,
            "networks": list(self.networks),
            "num_frames": self.num_frames,
            "num_parameters": self.num_parameters,
            "classes": list(self.classes),
            "ignored": list(self.ignored_layers),
            "warnings": list(self.warnings),
        }


def import_caffe(source: str | Path, out: str | Path, labels: str | Path | None = None) -> ImportedCaffe:
    """Write a caffemodel of MotionNet, or of MotionNet and VGG16 stacked, as a run folder.

    Args:
        source: the binary caffemodel.
        out: the run folder to write.
        labels: text file of the class names, as `read_class_names` takes it; None: class_000, class_001, …

    Raises:
        UsageError: there is no file at `source`, `out` already holds a run, or the labels do not fit.
        CheckpointError: the file is not a caffemodel, or holds other networks.
        OutputError: the folder is not writable or the disk is full.
    """
    source, out = Path(source), Path(out)
    if (out / MODEL_FILE).exists():
        raise UsageError(f"{str(out)!r} already holds a run; choose another folder")
    origin = repr(str(source))
    with open_caffemodel(source) as layers:
        networks = find_networks(layers, origin)
        recipe = _recipe(networks)
        model = _empty_model(recipe, networks.num_classes)
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        weights = convert_layers(layers, networks.modules, shapes, origin)
        ignored, warnings = ignored_layers(layers, networks.modules), constant_warnings(layers)
    classes = _classes(None if labels is None else Path(labels), networks)
    if networks.stacked and labels is None:
        warnings.append("got no labels; the classes are named class_000, class_001, …")
    model.load_state_dict(weights, assign=True)
    digest = file_sha256(source)
    stages = ("motion", "joint") if networks.stacked else ("motion",)
    metadata = RunMetadata(
        stages=stages, versions=versions(), imported_from={"file": source.name, "sha256": digest}
    )
    save_run(make_folder(out), model.eval(), RunInfo(recipe, classes, metadata))
    return ImportedCaffe(
        run=out,
        source=source,
        sha256=digest,
        networks=("motion", "temporal") if networks.stacked else ("motion",),
        num_frames=networks.num_frames,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        classes=classes,
        ignored_layers=tuple(ignored),
        warnings=tuple(warnings),
    )


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one per line, in the order of a network's outputs.

    If every line starts with a number, as in UCF101's classInd.txt, the numbers give the order.

    Raises:
        UsageError: the file is unreadable, a name occurs twice, or the numbers do not run from 0 or 1 on.
    """
    try:
        lines = [clean_text(line.strip()) for line in read_text(path).splitlines() if line.strip()]
    except DataError as error:
        raise UsageError(f"cannot read the labels: {error}") from error
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    names = lines
    if 2 * sum(match is not None for match in numbered) > len(lines) and not all(numbered):
        odd = next(line for line, match in zip(lines, numbered, strict=True) if match is None)
        raise UsageError(
            f"the labels {str(path)!r} have a line {odd!r} among lines of a number and a name; "
            "expected the same form in all lines"
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


def _classes(labels: Path | None, networks: CaffeNetworks) -> tuple[str, ...]:
    if labels is None:
        return tuple(f"class_{index:03d}" for index in range(networks.num_classes))
    if not networks.stacked:
        raise UsageError("the file holds MotionNet alone, which has no classes; leave out --labels")
    classes = read_class_names(labels)
    if len(classes) != networks.num_classes:
        raise UsageError(
            f"{str(labels)!r} has {len(classes)} labels, but the network has {networks.num_classes} outputs; "
            "give one label per line, in the order of the outputs"
        )
    return classes


def _recipe(networks: CaffeNetworks) -> Recipe:
    """Return the paper's recipe for these networks, with the border that they were trained with."""
    paper = load_recipe("paper")
    model = dataclasses.replace(
        paper.model,
        motion="full",
        backbone="vgg16",
        num_frames=networks.num_frames,
        streams=("temporal",) if networks.stacked else (),
        hand_over="reference",
    )
    absent = ("spatial",) if networks.stacked else ("spatial", "temporal", "joint")
    stages: dict[str, Any] = {name: dataclasses.replace(paper.stage(name), steps=0) for name in absent}
    return dataclasses.replace(paper, model=model, init="none", **stages)


def _empty_model(recipe: Recipe, num_classes: int) -> HiddenTwoStream:
    """Build the model without memory for its weights, which saves drawing 177 million random numbers."""
    with shapes_only():
        return build_model(recipe, num_classes)
