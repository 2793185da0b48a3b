"""Nothing that is read from a file is run: no pickles, no unsafe loaders, no archive is unpacked to disk."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).resolve().parents[2] / "src").rglob("*.py"))

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
HARMLESS = {("pickle", "UnpicklingError")}
"""What may be imported: torch raises this error about a file that it refuses."""

CALLS = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "compiles text",
    "execfile": "runs a file",
    "extractall": "unpacks an archive to where it says",
    "unpack_archive": "unpacks an archive to where it says",
    "unsafe_load": "builds any object",
    "full_load": "builds any object",
    "load_all": "builds any object",
    "read_pickle": "unpickles",
    "run_path": "runs a file",
    "run_module": "runs a module",
}
OWN_METHODS = {("re", "compile"), ("*", "eval")}
"""`re.compile(…)`, and `module.eval()` of PyTorch, which takes no argument."""


def faults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and reason of everything in a module that could run what a file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.partition(".")[0] in PICKLES:
                    yield node.lineno, f"imports {name.name}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PICKLES:
            for name in node.names:
                if (node.module, name.name) not in HARMLESS:
                    yield node.lineno, f"imports {name.name} from {node.module}"
        elif isinstance(node, ast.Call):
            reason = fault_of_call(node)
            if reason:
                yield node.lineno, reason


def fault_of_call(node: ast.Call) -> str | None:
    owner, name = name_of(node.func)
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    allows = options.get("allow_pickle")
    if allows is not None and not (isinstance(allows, ast.Constant) and allows.value is False):
        return "allows pickles"
    if name in CALLS and (owner, name) not in OWN_METHODS:
        is_module_eval = name == "eval" and owner is not None and not node.args and not node.keywords
        if not is_module_eval:
            return f"{name} {CALLS[name]}"
    if (owner, name) == ("torch", "load"):
        only = options.get("weights_only")
        if not (isinstance(only, ast.Constant) and only.value is True):
            return "torch.load without weights_only=True"
    if name == "load" and owner in ("yaml", "jit", "export", "hub"):
        return f"{owner}.load"
    if name == "extract" and owner in ("archive", "packed", "tar", "zip"):
        return "unpacks a member to where it says"
    if name in ("import_module", "__import__") and node.args and may_name(node.args[0], PICKLES):
        return "imports a pickle module by its name"
    return None


def name_of(function: ast.expr) -> tuple[str | None, str]:
    """Return the last two words of what is called: ("torch", "load") of `torch.load`."""
    if isinstance(function, ast.Attribute):
        value = function.value
        owner = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "*")
        return owner, function.attr
    return None, getattr(function, "id", "")


def may_name(argument: ast.expr, modules: set[str]) -> bool:
    return isinstance(argument, ast.Constant) and str(argument.value).partition(".")[0] in modules


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SOURCES[0].parents[1])))
def test_no_module_runs_what_a_file_holds(path: Path) -> None:
    assert list(faults(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "import dill as d", "import joblib.externals",
        "torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=option)", "eval(text)", "x.eval(text)", "exec(text)",
        "yaml.load(t, Loader=L)", "yaml.unsafe_load(t)", "archive.extractall(folder)", "tar.extract(m)",
        "torch.jit.load(p)",
        "torch.export.load(p)", "import_module('pickle')", "compile(text, 'x', 'exec')", "runpy.run_path(p)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(code: str) -> None:
    assert len(list(faults(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "from pickle import UnpicklingError", "torch.load(p, weights_only=True)",
        "np.load(p)", "model.eval()", "model.eval().requires_grad_(False)", "re.compile(p)",
        "yaml.safe_load(t)",
        "np.load(p, allow_pickle=False)", "head.eval()(x)",
    ],
)  # fmt: skip
def test_the_search_finds_nothing_else(code: str) -> None:
    assert list(faults(ast.parse(code))) == []
