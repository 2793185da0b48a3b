"""Every file under its final name is written atomically: an interrupted command leaves no half of one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "hidden_two_stream"
SOURCES = sorted(PACKAGE.rglob("*.py"))

WRITERS = {
    "write_bytes", "savez", "savez_compressed", "save_file", "imwrite", "savefig", "to_csv", "ParquetWriter",
    "SummaryWriter", "copy", "copy2", "copyfile", "copytree", "move",
}  # fmt: skip
SAVERS = {"np", "numpy", "onnx", "torch", "image"}
"""Modules whose `save` writes a file."""

ALLOWED = {
    ("apps/probing.py", "probe_video"),  # in the folder of an upload, which a failure deletes
    ("apps/projects.py", "_moved"),  # a project names the file only afterwards; a failure deletes it
    ("apps/uploads.py", "_write"),  # in a folder that a failure deletes
    ("apps/worker.py", "_claimed_stdout"),  # a pipe
    ("apps/service/storage.py", "_writable"),  # in a folder that is deleted after the request
    ("bulk/ledger.py", "_opened"),  # grows by lines; half a line at its end is left out
    ("bulk/ray_engine.py", "_without_noise"),  # /dev/null, and stderr itself
    ("export/quantize.py", "quantized"),  # in a temporary folder
    ("export/web.py", "_write_folder"),  # a folder, renamed as a whole at the end
    ("export/web_project.py", "_base"),  # in a temporary folder
    ("inference/feature_files.py", "_write_npz"),  # given the temporary file of `atomic_write`
    ("inference/feature_files.py", "_write_parquet"),  # the same
    ("object_store.py", "copy_file"),  # a copy for one reader, in a temporary folder
    ("training/log.py", "__init__"),  # TensorBoard's event files, beside the log
    ("training/log.py", "write"),  # a log grows by lines; readers leave out half a line at its end
    ("training/lost_videos.py", "report"),  # a list for a person that grows by lines
    ("watchdog.py", "ended_when_stuck"),  # /dev/null
}
"""File and function of every other write, with the reason."""


def writes(tree: ast.AST, function: str = "", atomic: bool = False) -> Iterator[tuple[int, str, str]]:
    """Yield line, function and call of everything that writes outside of a block of `atomic_write`."""
    for node in ast.iter_child_nodes(tree):
        inside, name = atomic, function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name, inside = node.name, False
        elif isinstance(node, ast.With | ast.AsyncWith):
            inside = atomic or any(called(item.context_expr) == "atomic_write" for item in node.items)
            if inside:
                yield from (found for item in node.body for found in writes_in(item, name, True))
                continue
        yield from writes_in(node, name, inside)


def writes_in(node: ast.AST, function: str, atomic: bool) -> Iterator[tuple[int, str, str]]:
    if isinstance(node, ast.Call) and not atomic and is_write(node):
        yield node.lineno, function, called(node)
    yield from writes(node, function, atomic)


def is_write(node: ast.Call) -> bool:
    name, owner = called(node), owner_of(node)
    if name == "write_text":
        return isinstance(node.func, ast.Attribute)  # a method of a path; the function is that of files.py
    if name == "save":
        return owner in SAVERS
    if name in ("copy", "move"):
        return owner == "shutil"
    if name in ("open", "fdopen", "open_file", "ZipFile"):
        places = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        texts = [
            item.value for item in places if isinstance(item, ast.Constant) and isinstance(item.value, str)
        ]
        return any(len(text) <= 3 and set(text) & set("wax") for text in texts)
    return name in WRITERS


def called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def owner_of(node: ast.Call) -> str:
    return getattr(getattr(node.func, "value", None), "id", "")


def found_in(source: str) -> list[str]:
    return [call for _, _, call in writes(ast.parse(source))]


@pytest.mark.parametrize(
    "text",
    [
        "path.open('w')", "open(p, 'wb')", "path.open(mode='a')", "np.save(path, x)", "path.write_bytes(b)",
        "path.write_text(t)", "np.savez(path, a=x)", "av.open(p, 'w')", "zipfile.ZipFile(p, 'w')",
        "with atomic_write(p) as part:\n    pass\npath.write_bytes(b)",
        "with lock(p):\n    path.write_bytes(b)",
    ],
)  # fmt: skip
def test_a_write_is_found(text: str) -> None:
    assert len(found_in(text)) == 1
    assert len(found_in(f"def f():\n    {text}" if "\n" not in text else text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "path.open()", "open(p, 'rb')", "write_text(path, t)", "path.read_bytes()", "model.save(folder)",
        "with atomic_write(p) as part:\n    part.write_bytes(b)",
        "with atomic_write(p) as part, part.open('w') as file:\n    file.write(t)",
        "with atomic_write(p) as part:\n    if x:\n        np.save(part, x)",
    ],
)  # fmt: skip
def test_what_is_none_is_not_found(text: str) -> None:
    assert found_in(text) == []


def test_all_writes_are_atomic() -> None:
    others, used = [], set()
    for path in SOURCES:
        name = path.relative_to(PACKAGE).as_posix()
        for line, function, call in writes(ast.parse(path.read_text(encoding="utf-8"))):
            if (name, function) in ALLOWED:
                used.add((name, function))
            else:
                others.append(f"{name}:{line} {function}: {call}")
    assert others == []
    assert used == ALLOWED  # what is no longer there leaves the list
