"""Plain data of a recipe: what its YAML text and its values may be, checked before anything is built from it.

A small YAML text can stand for gigabytes, because an alias repeats what its anchor names. Recipes need
neither, so both are refused while the text is scanned, before any value is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "PlainDataError",
    "parse_yaml",
    "read_yaml",
    "require_fields",
]

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_VALUES = 10_000
MAX_TEXT = 4096
MAX_ITEMS = 1000
_LARGEST_INTEGER = 2**63 - 1


class PlainDataError(ValueError):
    """A text or a value cannot be part of a recipe. The caller adds where it stands."""


def read_yaml(path: Path) -> Any:
    """Return the data of a YAML file.

    Raises:
        OSError: the file is missing or unreadable.
        PlainDataError: the file is no UTF-8 text, or as `parse_yaml`.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise PlainDataError(f"it has {size:,} bytes; expected at most {MAX_BYTES:,}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PlainDataError(f"it is not UTF-8 text: {error}") from error
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """Return the data of a YAML text, after a scan of its structure.

    Raises:
        PlainDataError: the text is not YAML, is too long or nested too deeply, uses anchors or aliases, or
            holds a value that cannot be read.
    """
    import yaml

    try:
        _scan(text)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlainDataError(f"it is not YAML: {' '.join(str(error).split())}") from error
    except PlainDataError:
        raise
    except (
        ValueError,
        OverflowError,
    ) as error:  # a number with thousands of digits, a date that does not exist
        reason = str(error).partition(";")[0]
        raise PlainDataError(f"it holds a value that cannot be read: {reason}") from error


def _scan(text: str) -> None:
    """Raise an error about a text that is too large, or whose data could be larger than the text."""
    import yaml

    if len(text) > MAX_BYTES:
        raise PlainDataError(f"it has {len(text):,} characters; expected at most {MAX_BYTES:,}")
    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            line = f"line {event.start_mark.line + 1}" if event.start_mark else "it"
            raise PlainDataError(f"{line} has an anchor or alias (& or *); write the value out instead")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        values += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH:
            raise PlainDataError(f"it is nested more than {MAX_DEPTH} levels deep; a recipe needs 3")
        if values > MAX_VALUES:
            raise PlainDataError(f"it has more than {MAX_VALUES:,} values; expected a recipe")


def require_fields(data: object, like: Any, place: str = "") -> None:
    """Check that nested plain data has the structure of a configuration; its types are not checked.

    So no value can stand for anything but itself: the parser behind would take a text in place of a table
    for the name of a file to read.

    Args:
        data: the data: a table of fields.
        like: an instance of the dataclass that it describes.
        place: name of the field that holds the data, for errors; empty: the whole recipe.

    Raises:
        PlainDataError: a field is unknown, a table is not a table, or a value is not a number, a text, true,
            false, or a list of these.
    """
    if not isinstance(data, Mapping):
        where = f"field {place} is" if place else "it is"
        raise PlainDataError(f"{where} {_shown(data)}; expected a table of fields")
    known = [item.name for item in fields(like)]
    for name, value in data.items():
        field = f"{place}.{name}" if place else str(name)
        if name not in known:
            raise PlainDataError(f"unknown field {field!r}; {place or 'a recipe'} has {', '.join(known)}")
        inner = getattr(like, name)
        if is_dataclass(inner):
            require_fields(value, inner, field)
        else:
            _require_value(value, field)


def _require_value(value: object, field: str) -> None:
    if isinstance(value, list | tuple):
        if len(value) > MAX_ITEMS:
            raise PlainDataError(f"field {field} has {len(value):,} items; expected at most {MAX_ITEMS:,}")
        for item in value:
            if isinstance(item, list | tuple):
                raise PlainDataError(
                    f"field {field} is a list of lists; expected a value or a list of values"
                )
            _require_value(item, field)
    elif isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise PlainDataError(
                f"field {field} has {len(value):,} characters; expected at most {MAX_TEXT:,}"
            )
        _require_plain_text(value, field)
    elif isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise PlainDataError(f"field {field} is a number beyond 2^63; give a smaller one")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PlainDataError(f"field {field} is {value}; expected a finite number")
    else:
        raise PlainDataError(f"field {field} is {_shown(value)}; expected a number, a text, true or false")


def _require_plain_text(text: str, field: str) -> None:
    """Raise an error about a text that the parser behind would expand: it reads texts as YAML, too."""
    import yaml

    try:
        _scan(text)
    except yaml.YAMLError:
        pass  # a text, and nothing else
    except PlainDataError as error:
        raise PlainDataError(f"field {field} cannot be {text[:60]!r}: {error}") from None


def _shown(value: object) -> str:
    """Return a short description of a value of the wrong kind."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if isinstance(value, bool | int | float):
        return f"the value {value!r}"[:60]
    kinds = {"list": "a list", "tuple": "a list", "dict": "a table", "date": "a date", "datetime": "a date"}
    kind = type(value).__name__
    quoted = ", which needs quotes to be text" if kind in ("date", "datetime") else ""
    return kinds.get(kind, f"of the type {kind}") + quoted
