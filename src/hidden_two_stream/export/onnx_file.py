"""Traces an export graph, and turns it into an ONNX file or a PyTorch program."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from hidden_two_stream.checkpoint import DESCRIPTION_KEY
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.export.graph import ExportGraph
from hidden_two_stream.files import atomic_write
from hidden_two_stream.inference.onnx_recognizer import INPUT

__all__ = [
    "MOST_BYTES",
    "OPSET",
    "clean",
    "describe",
    "onnx_model",
    "require_libraries",
    "require_library",
    "trace",
    "write_onnx",
    "write_program",
]

OPSET = 20
"""Version of ONNX's operators: the first in which `GridSample` has its present form."""

MOST_BYTES = 2**31 - 1
"""Of an ONNX file: the largest protobuf message."""

_PARTS = ("onnx", "onnxscript", "onnxruntime")


def require_library(name: str) -> Any:
    """Return one of the modules of the extra "export".

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"an export to ONNX needs {name}; install {', '.join(_PARTS)} with: "
            'pip install "hidden-two-stream[export]"'
        ) from error


def require_libraries() -> None:
    """Raise a MissingDependencyError unless all libraries of the extra "export" are installed."""
    for name in _PARTS:
        require_library(name)


def trace(graph: ExportGraph, recipe: Recipe) -> torch.export.ExportedProgram:
    """Return the graph as a program for any batch.

    The number and the size of frames are those of the recipe, because the number of pyramid levels and
    nano's enlargement depend on them.

    Args:
        graph: the graph, in evaluation mode, on the CPU.
        recipe: recipe of the run.
    """
    example = _example(recipe)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad(), _quiet():
        program = torch.export.export(graph, (example,), dynamic_shapes=({0: batch},), strict=False)
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)  # holds paths of this machine
    return program


def onnx_model(
    program: torch.export.ExportedProgram,
    graph: ExportGraph,
    recipe: Recipe,
    described: Mapping[str, Any],
) -> Any:
    """Return the ONNX model of a traced program.

    Args:
        program: of `trace`.
        graph: the graph that was traced.
        recipe: recipe of the run.
        described: see `export.description.description`.

    Raises:
        MissingDependencyError: a library is not installed.
    """
    with torch.no_grad(), _quiet():
        found = torch.onnx.export(
            program,
            (_example(recipe),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(graph.outputs),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
    assert found is not None
    model = found.model_proto
    clean(model)
    describe(model, described)
    return model


def _example(recipe: Recipe) -> torch.Tensor:
    """Return clips (2, T, H, W, 3) uint8: in a trace, a batch of 1 would be taken for a constant."""
    size = recipe.input.size
    return torch.zeros(2, recipe.model.num_frames, size, size, 3, dtype=torch.uint8)


def describe(model: Any, described: Mapping[str, Any]) -> None:
    """Replace the metadata of an ONNX model by a description."""
    del model.metadata_props[:]
    model.metadata_props.add(key=DESCRIPTION_KEY, value=json.dumps(described, ensure_ascii=False))


def write_onnx(model: Any, path: Path) -> None:
    """Write an ONNX model, atomically.

    Raises:
        UsageError: the model does not fit into one file.
        OutputError: the folder is not writable, or the disk is full.
    """
    if model.ByteSize() > MOST_BYTES:
        raise UsageError(
            f"the model has {model.ByteSize() / 1e9:.1f} GB, but an ONNX file holds at most 2.1 GB; "
            "use --format pt2"
        )
    with atomic_write(path) as part:
        part.write_bytes(model.SerializeToString())


def write_program(program: torch.export.ExportedProgram, described: Mapping[str, Any], path: Path) -> None:
    """Write a PyTorch program with its description as extra file, atomically.

    Raises:
        OutputError: the folder is not writable, or the disk is full.
    """
    buffer = io.BytesIO()
    extra = {f"{DESCRIPTION_KEY}.json": json.dumps(described, ensure_ascii=False)}
    program.example_inputs = None  # megabytes of zeros
    with _quiet():
        torch.export.save(program, buffer, extra_files=extra)
    with atomic_write(path) as part:
        part.write_bytes(buffer.getvalue())


def clean(model: Any) -> None:
    """Remove notes of the exporter from all parts of an ONNX model: they hold paths of this machine."""
    model.doc_string = ""
    for graph in (model.graph, *model.functions):
        names = ("node", "input", "output", "value_info", "initializer")
        items = [item for name in names for item in getattr(graph, name, ()) if not isinstance(item, str)]
        for part in (graph, *items):
            part.doc_string = ""
            if hasattr(part, "metadata_props"):
                del part.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own progress and advice off the terminal."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            exporter.setLevel(level)
