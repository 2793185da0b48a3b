"""Recipes from YAML files, shipped names and plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from hidden_two_stream.config.schema import STAGE_NAMES, Recipe
from hidden_two_stream.config.validation import RangeError, validated
from hidden_two_stream.errors import UsageError

__all__ = ["RECIPES", "load_recipe", "recipe_from_dict", "recipe_names"]

RECIPES = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a YAML file, then change single fields.

    Args:
        source: a name from `recipe_names()`, or the path of a YAML file.
        overrides: "field=value" with dots, for example "motion.steps=200".

    Raises:
        UsageError: no such recipe, an unknown field, or a value of the wrong type or range.
    """
    path = _recipe_path(source)
    arguments = [f"--recipe={json.dumps(_recipe_data(path))}"]
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"cannot read {override!r}; expected field=value, for example motion.steps=200")
        _require_field(key)
        arguments.append(f"--recipe.{key}={value}")
    return _checked(arguments, f"recipe {str(source)!r}")


def recipe_from_dict(data: dict[str, Any], origin: str) -> Recipe:
    """The recipe that `Recipe.to_dict` wrote; `origin` names it in errors."""
    return _checked([f"--recipe={json.dumps(data)}"], origin)


def _require_field(key: str) -> None:
    """Say which fields there are where `key`, such as "motion.steps", is none."""
    place: Any = Recipe()
    for depth, name in enumerate(key.split(".")):
        known = [item.name for item in fields(place)] if is_dataclass(place) else []
        if name not in known:
            inside = ".".join(key.split(".")[:depth]) or "a recipe"
            there = f"{inside} has {', '.join(known)}" if known else f"{inside} is a single value"
            raise UsageError(f"unknown field {key!r}; {there}")
        place = getattr(place, name)


def _checked(arguments: list[str], origin: str) -> Recipe:
    try:
        return validated(_frozen(_parse(arguments, origin)))
    except RangeError as error:
        raise UsageError(f"{origin}: {error}") from None


def _frozen(recipe: Recipe) -> Recipe:
    """Tuples for the lists that a parser makes: recipes compare, whatever they were made from."""
    stages: dict[str, Any] = {
        name: replace(recipe.stage(name), milestones=tuple(recipe.stage(name).milestones))
        for name in STAGE_NAMES
    }
    scales = replace(recipe.input, crop_scales=tuple(recipe.input.crop_scales))
    streams: Any = tuple(sorted(set(recipe.model.streams)))
    return replace(recipe, model=replace(recipe.model, streams=streams), input=scales, **stages)


def _parse(arguments: list[str], origin: str) -> Recipe:
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--recipe", type=Recipe)
    try:
        recipe: Recipe = parser.instantiate(parser.parse_args(arguments)).recipe
    except (ArgumentError, TypeError, ValueError) as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
        # A recipe is handed over as JSON, which the library repeats whole in front of what is wrong.
        lines = [re.sub(r"Unable to load config '\{.*\}'", "", line) for line in lines]
        message = re.sub(r'Parser key "recipe\.?([^"]*)"', r"field \1", " ".join(lines))
        raise UsageError(f"{origin}: {message[:400].removeprefix('field : ')}") from error
    return recipe


def _recipe_path(source: str | Path) -> Path:
    named = RECIPES / f"{source}.yaml"
    if _is_file(named):
        return named
    path = Path(source)
    if not _is_file(path):
        names = ", ".join(recipe_names())
        raise UsageError(f"no recipe {str(source)!r}; give a YAML file or one of {names}")
    return path


def _recipe_data(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The fields of a recipe file over those of its `base`: a file beside it, a shipped name, or a path."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"recipe {str(path)!r} is no YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UsageError(f"recipe {str(path)!r} is no table of fields, but {type(data).__name__}")
    if "base" not in data:
        return data
    base = data.pop("base")
    beside = path.parent / str(base)
    try:
        origin = beside if _is_file(beside) else _recipe_path(str(base))
    except UsageError as error:
        raise UsageError(f"the base of recipe {str(path)!r}: {error}") from None
    if origin.resolve() in seen:
        raise UsageError(f"recipe {str(path)!r} has itself as base, by way of {str(base)!r}")
    return _merged(_recipe_data(origin, (*seen, origin.resolve())), data)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system
        return False
