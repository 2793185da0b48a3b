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
NAMED = sorted(set(re.findall(r"`([a-z_0-9/]+\.py)::([A-Za-z_0-9]+)`", TEXT)))


def test_the_table_names_code() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_named_code_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "src" / "hidden_two_stream" / file).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
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
