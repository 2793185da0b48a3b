"""Loads recipes from YAML files, by the names of shipped recipes, and from plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hidden_two_stream.config.plain import PlainDataError, parse_yaml, read_yaml, require_fields
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.config.validation import RangeError, validated
from hidden_two_stream.errors import UsageError

__all__ = ["RECIPES", "load_recipe", "recipe_from_dict", "recipe_names"]

RECIPES = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def load_recipe(
    source: str | Path | Recipe = "nano", overrides: Sequence[str] | Mapping[str, object] = ()
) -> Recipe:
    """Return a recipe, with single fields changed if asked for.

    Args:
        source: a name in `recipe_names()`, the path of a YAML file, or a recipe.
        overrides: new values by field, as a mapping such as {"motion.steps": 200}, or as strings such as
            "motion.steps=200".

    Raises:
        UsageError: there is no such recipe, a field is unknown, or a value has the wrong type or range.
    """
    data = source.to_dict() if isinstance(source, Recipe) else _recipe_data(_recipe_path(source))
    origin = "the recipe" if isinstance(source, Recipe) else f"recipe {str(source)!r}"
    arguments = [f"--recipe={_plain_json(data, origin)}"]
    for key, value in _pairs(overrides):
        arguments.append(f"--recipe.{key}={_override_text(key, value)}")
    return _checked(arguments, origin)


def _plain_json(data: object, origin: str) -> str:
    """Return the JSON of a recipe's plain data after a check of its structure."""
    try:
        require_fields(data, Recipe())
    except PlainDataError as error:
        raise UsageError(f"{origin}: {error}") from None
    return json.dumps(data)


def _override_text(key: str, value: object) -> str:
    """Return the value of an override as text for the parser, after a check of its structure."""
    default = _field(key)
    # A text field takes any text, such as "2020-01-01" or "null", as it is.
    is_text = isinstance(default, str) and isinstance(value, str)
    try:
        plain = parse_yaml(value) if isinstance(value, str) and not is_text else value
        require_fields(_nested(key, plain), Recipe())
    except PlainDataError as error:
        raise UsageError(f"cannot set {key}: {error}") from None
    if isinstance(value, str) and not is_dataclass(default):
        return value  # the parser knows the type that is wanted
    return json.dumps(plain)


def _nested(key: str, value: object) -> dict[str, object]:
    """Return the plain data of a recipe with a single field."""
    *outer, name = key.split(".")
    nested: dict[str, object] = {name: value}
    for part in reversed(outer):
        nested = {part: nested}
    return nested


def _pairs(overrides: Sequence[str] | Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the field and the value of each override, the value as text if it was given so."""
    if isinstance(overrides, str):
        raise UsageError(f"overrides is the text {overrides!r}; expected a mapping or a list of field=value")
    if isinstance(overrides, Mapping):
        yield from overrides.items()
        return
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"cannot read {override!r}; expected field=value, for example motion.steps=200")
        yield key, text


def recipe_from_dict(data: object, origin: str) -> Recipe:
    """Return the recipe that `Recipe.to_dict` wrote, in this version or an earlier one.

    Args:
        data: nested plain data.
        origin: names the data in errors.

    Raises:
        UsageError: a field is unknown, or a value has the wrong type or range.
    """
    current = _with_current_fields(data)
    text = _plain_json(current, origin)
    try:
        recipe = _as_written(Recipe, current)
    except _OtherDataError:
        return _checked([f"--recipe={text}"], origin)
    return _in_range(recipe, origin)


class _OtherDataError(Exception):
    """The parser has to see the data: to fill in, to convert, or to say what is wrong."""


def _as_written(kind: Any, value: object) -> Any:
    """Return plain data as a dataclass if it has all fields with their exact types, as recipes are written.

    The parser gives the same, but takes a tenth of a second, which is much for a start.

    Args:
        kind: a type: a dataclass, or the type of a field.
        value: plain data.

    Raises:
        _OtherDataError: a field is missing or unknown, or a value has another type.
    """
    origin, inner, build = get_origin(kind), get_args(kind), kind
    if is_dataclass(kind):
        kinds = get_type_hints(kind)
        if isinstance(value, Mapping) and set(value) == set(kinds):
            return build(**{name: _as_written(kinds[name], part) for name, part in value.items()})
    elif origin is UnionType:  # int | tuple[int, int]
        return _as_written(inner[isinstance(value, list | tuple)], value)
    elif origin in (Sequence, tuple):
        if isinstance(value, list | tuple) and (origin is Sequence or len(value) == len(inner)):
            return tuple(_as_written(inner[0], item) for item in value)
    elif (origin is Literal and type(value) is str and value in inner) or type(value) is kind:
        return value
    raise _OtherDataError


def _with_current_fields(data: object) -> object:
    """Return plain data of a recipe without the field names of earlier versions."""
    if not isinstance(data, Mapping):
        return data
    current = {("motion_target" if key == "motion_lesson" else key): value for key, value in data.items()}
    model = current.get("model")
    if isinstance(model, Mapping) and "temporal_input" in model:  # see `checkpoint.baseline_of`
        current["model"] = {key: value for key, value in model.items() if key != "temporal_input"}
    return current


def _field(key: str) -> Any:
    """Return the default of a field; raise a UsageError that lists the known fields if `key` is unknown."""
    place: Any = Recipe()
    for depth, name in enumerate(key.split(".")):
        known = [item.name for item in fields(place)] if is_dataclass(place) else []
        if name not in known:
            inside = ".".join(key.split(".")[:depth]) or "a recipe"
            there = f"{inside} has {', '.join(known)}" if known else f"{inside} is a single value"
            raise UsageError(f"unknown field {key!r}; {there}")
        place = getattr(place, name)
    return place


def _checked(arguments: list[str], origin: str) -> Recipe:
    return _in_range(_parse(arguments, origin), origin)


def _in_range(recipe: Recipe, origin: str) -> Recipe:
    try:
        return validated(_frozen(recipe))
    except RangeError as error:
        raise UsageError(f"{origin}: {error}") from None


def _frozen(recipe: Recipe) -> Recipe:
    """Return the recipe with tuples instead of lists, so that equal recipes compare equal."""
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
        # The parser's message begins with the whole recipe as JSON.
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
    """Return the fields of a recipe file, merged over those of its `base`.

    The base is a file in the same folder, the name of a shipped recipe, or a path.
    """
    try:
        data = read_yaml(path)
    except OSError as error:
        raise UsageError(f"cannot read recipe {str(path)!r}: {error.strerror or error}") from error
    except PlainDataError as error:
        raise UsageError(f"recipe {str(path)!r}: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"recipe {str(path)!r} is {type(data).__name__}; expected a table of fields")
    base = data.pop("base", None)
    # Checked before the fields are merged: the error names the file that the field stands in.
    _plain_json(data, f"recipe {str(path)!r}")
    if base is None:
        return data
    beside = path.parent / str(base)
    try:
        origin = beside if _is_file(beside) else _recipe_path(str(base))
    except UsageError as error:
        raise UsageError(f"the base of recipe {str(path)!r}: {error}") from None
    if origin.resolve() in seen:
        raise UsageError(f"recipe {str(path)!r} is its own base, by way of {str(base)!r}")
    try:
        inherited = _recipe_data(origin, (*seen, origin.resolve()))
    except UsageError as error:
        raise UsageError(f"the base of recipe {str(path)!r}: {error}") from None
    return _merged(inherited, data)


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
