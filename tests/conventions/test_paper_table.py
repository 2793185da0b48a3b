"""docs/paper.md names code, recipes and fields; each of them is there."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from hidden_two_stream.config.loading import load_recipe, recipe_names
from hidden_two_stream.config.schema import Recipe

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
POINTER = re.compile(r"`([a-z_0-9/]+\.py)::([A-Za-z_0-9]+)`")
NAMED = sorted(set(POINTER.findall(TEXT)))

FOUND_BY_FILE_NAME = {
    "MotionNet": ["motion/networks/motionnet.py"],
    "its unsupervised loss": ["motion/losses/paper.py"],
    "the hand-over of flow to the temporal stream": ["recognition/hand_over.py"],
    "the temporal and the spatial stream": ["recognition/streams.py", "recognition/streams.py"],
    "the whole model": ["recognition/model.py"],
    "late fusion": ["recognition/fusion.py"],
    "the training stages": ["config/stages.py", "training/stages.py"],
    "the test protocol": ["inference/windows.py"],
}
"""The files in which a reader of the paper looks for its parts first."""


def test_the_table_names_code() -> None:
    assert len(NAMED) > 20


def test_parts_of_the_paper_are_in_the_files_that_are_named_after_them() -> None:
    _, table = TEXT.split("## Find it by file name\n")
    rows = [line for line in table.split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    found = {row.split("|")[1].strip(): [file for file, _ in POINTER.findall(row)] for row in rows}
    assert found == FOUND_BY_FILE_NAME


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_named_code_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "src" / "hidden_two_stream" / file).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    defined |= {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    assert name in defined


def test_named_recipes_are_shipped() -> None:
    named = set(re.findall(r"`((?:ucf101|hmdb51)/[a-z_]+)`", TEXT))
    named |= set(re.findall(r"--recipe ((?:ucf101|hmdb51)/[a-z_]+)", TEXT))
    assert len(named) >= 8
    assert named <= set(recipe_names())


def test_named_fields_are_fields() -> None:
    fields = re.findall(r"`(model|input)\.([a-z_]+): ([a-z0-9]+)`", TEXT)
    assert len(fields) >= 3
    for section, field, value in fields:
        assert field in {item.name for item in dataclasses.fields(getattr(Recipe(), section))}
        changed = load_recipe("paper", [f"{section}.{field}={value}"])
        assert str(getattr(getattr(changed, section), field)) == value


def test_named_files_are_there() -> None:
    for name in re.findall(r"\]\(([a-z_./]+\.md)\)", TEXT):
        assert (ROOT / "docs" / name).is_file(), name
    for name in re.findall(r"(tests/[a-z_/]+\.py)", TEXT):
        assert (ROOT / name).is_file(), name
