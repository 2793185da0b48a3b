"""Imports point one way, and importing the package stays cheap.

The layers, lowest first. A module may import the layers below its own, and its own room
(the sub-package, or the group of modules, that it lives in); rooms of one layer don't know each other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "hidden_two_stream"
SOURCE = Path(__file__).resolve().parents[2] / "src" / PACKAGE

LAYERS: tuple[tuple[set[str], ...], ...] = (
    (
        {
            "_version",
            "errors",
            "types",
            "files",
            "npz",
            "printing",
            "progress",
            "environment",
            "parallel",
            "tensors",
            "batch_share",
            "watchdog",
            "object_store",
            "tensor_files",
        },
    ),
    ({"config"}, {"convnets"}),
    ({"video"}, {"motion"}),
    ({"data"}, {"recognition"}),
    ({"synthetic"}, {"checkpoint"}),
    ({"weights"},),
    ({"inference"},),
    ({"evaluation"},),
    ({"reports"}, {"export"}),
    ({"training"}, {"sharing"}),
    ({"experiments"},),
    ({"apps"}, {"bulk"}),
    ({"cli", "__main__"},),
)
PLACES = {
    module: (height, room)
    for height, layer in enumerate(LAYERS)
    for room, modules in enumerate(layer)
    for module in modules
}


def imported_names(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of each import in `tree`, a module of `package`, at any depth.

    `from a import b` gives "a.b", for `b` may be a module; relative imports are resolved.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = [*start, *(node.module.split(".") if node.module else [])]
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def violations(source: Path) -> list[str]:
    """One line for each import under the package folder `source` that doesn't point downward."""
    found: list[str] = []
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source)
        if relative == Path("__init__.py"):  # the door: it hands out names of every layer
            continue
        importer = relative.parts[0].removesuffix(".py")
        if importer not in PLACES:
            found.append(f"{relative.as_posix()}: '{importer}' has no place in LAYERS; give it one")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for line, name in imported_names(tree, [PACKAGE, *relative.parts[:-1]]):
            top, _, rest = name.partition(".")
            if top != PACKAGE:
                continue
            target = rest.partition(".")[0]
            where = f"{relative.as_posix()}:{line}: '{importer}' imports '{name}'"
            if target not in PLACES:
                found.append(f"{where}, which is the package's door or has no place in LAYERS")
            elif PLACES[target] != PLACES[importer] and PLACES[target][0] >= PLACES[importer][0]:
                found.append(f"{where}, which isn't below it")
    return found


def test_imports_point_one_way() -> None:
    assert any(SOURCE.rglob("*.py")), f"no source files under {SOURCE}"
    assert violations(SOURCE) == []


def test_every_layer_has_its_modules() -> None:
    present = {path.stem if path.is_file() else path.name for path in SOURCE.iterdir()}
    assert set(PLACES) - {"__main__"} <= present


@pytest.mark.parametrize(
    ("file", "code", "expected"),
    [
        ("motion/warp.py", "from hidden_two_stream.video import reader", "motion/warp.py:1: 'motion'"),
        (
            "video/reader.py",
            "import hidden_two_stream.motion.warp as warp",
            "'hidden_two_stream.motion.warp'",
        ),
        ("video/reader.py", "from ..motion import warp", "'hidden_two_stream.motion.warp'"),
        ("video/deep/reader.py", "from ... import cli", "'hidden_two_stream.cli'"),
        ("config/schema.py", "def late():\n    from .. import training", "config/schema.py:2: 'config'"),
        ("evaluation/accuracy.py", "from hidden_two_stream import training", "'evaluation' imports"),
        ("data/index.py", "from hidden_two_stream.synthetic.clips import generate_clip", "'data' imports"),
        ("checkpoint.py", "if True:\n    import hidden_two_stream.evaluation", "checkpoint.py:2"),
        ("training/runner.py", "from hidden_two_stream.cli import main", "'training' imports"),
        ("experiments/demo.py", "from hidden_two_stream import load", "the package's door"),
        ("experiments/demo.py", "import hidden_two_stream", "the package's door"),
        ("helpers.py", "import os", "'helpers' has no place in LAYERS"),
        ("helpers/text.py", "import os", "'helpers' has no place in LAYERS"),
        ("cli/main.py", "from hidden_two_stream.helpers import text", "no place in LAYERS"),
    ],
)
def test_planted_violation_is_found(tmp_path: Path, file: str, code: str, expected: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    found = violations(tmp_path)
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("__init__.py", "from hidden_two_stream.inference.predictor import load"),
        ("types.py", "from hidden_two_stream.errors import UsageError"),
        ("motion/losses/paper.py", "from ..warp import warp\nfrom hidden_two_stream.motion import flow"),
        (
            "recognition/model.py",
            "from ..motion import network\nfrom hidden_two_stream.video import sampling",
        ),
        ("inference/predictor.py", "from hidden_two_stream.checkpoint import load_checkpoint"),
        ("evaluation/accuracy.py", "import torch\nimport hidden_two_stream_plugins"),
        ("cli/train.py", "from hidden_two_stream import training, _version"),
    ],
)
def test_downward_import_is_allowed(tmp_path: Path, file: str, code: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    assert violations(tmp_path) == []


def test_importing_the_package_is_cheap() -> None:
    heavy = [
        "torch",
        "av",
        "cv2",
        "matplotlib",
        "transformers",
        "onnx",
        "onnxruntime",
        "starlette",
        "uvicorn",
        "fsspec",
    ]
    code = f"import sys, {PACKAGE}; print(*(name for name in {heavy} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
