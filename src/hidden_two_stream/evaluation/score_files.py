"""Score files: one row of class scores per test video, from this package, NumPy, a table or MATLAB.

    .npz   one 2-D array per stream; optionally names, truth, classes, protocol, unreadable
    .csv   column path, optionally label, stream and protocol, then one column per class
    .mat   MATLAB 5 to 7.2, with a 2-D array

FILE:STREAM names one stream of a file. FILE means all its streams except "fused", which follows from them.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import DataError, OutputError, UsageError
from hidden_two_stream.evaluation.matlab import read_arrays
from hidden_two_stream.files import atomic_write
from hidden_two_stream.npz import read_npz

__all__ = ["FUSED", "Scores", "check_scores_path", "read_scores", "write_scores"]

FUSED = "fused"
_READ = (".npz", ".csv", ".mat")
_WRITTEN = (".npz", ".csv")
_DESCRIPTION = ("names", "truth", "classes", "protocol", "unreadable")
_LEADING = ("path", "label", "stream", "protocol")
_Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Scores:
    """Scores of one stream for N videos.

    Attributes:
        stream: name in the file, such as "temporal"; "" in a table without such a column.
        values: (N, classes) finite floats; higher is more likely.
        names: paths of the N videos; None: the file does not say.
        truth: true class names of the N videos; None: the file does not say.
        classes: class names of the columns; None: the file does not say.
        protocol: name of the test protocol; None: the file does not say.
        source: FILE:STREAM, as `read_scores` takes it; FILE in a table without stream names.

    Labels and class names are kept as `clean_text` returns them.
    """

    stream: str
    values: _Values
    names: tuple[str, ...] | None = None
    truth: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    protocol: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("truth", "classes"):
            texts: tuple[str, ...] | None = getattr(self, name)
            if texts is not None:
                object.__setattr__(self, name, tuple(map(clean_text, texts)))


def read_scores(source: str) -> list[Scores]:
    """Read the streams of a score file.

    Args:
        source: FILE, for all its streams except "fused", or FILE:STREAM; FILE is .npz, .csv or .mat.

    Returns:
        The streams, in the order of the file.

    Raises:
        UsageError: the file or stream does not exist, the file has another suffix, or FILE is a .mat file
            with several arrays.
        DataError: the file is damaged, holds no scores, or some scores are NaN or infinite.
        MissingDependencyError: scipy, which reads .mat files, is not installed.
    """
    path, wanted = _parse(source)
    if not os.path.isfile(path):
        raise UsageError(f"no score file at {str(path)!r}; check the path")
    readers = {".npz": _read_npz, ".csv": _read_csv, ".mat": _read_mat}
    found = {scores.stream: scores for scores in readers[path.suffix.lower()](path)}
    if not found:
        raise DataError(f"{str(path)!r} holds no scores; expected one row per video and one column per class")
    if wanted is not None:
        if wanted not in found:
            raise UsageError(f"{str(path)!r} has no stream {wanted!r}; it has {_joined(found)}")
        return [_checked(found[wanted])]
    if path.suffix.lower() == ".mat" and len(found) > 1:
        example = f"{path}:{next(iter(found))}"
        raise UsageError(f"{str(path)!r} holds several arrays, {_joined(found)}; name one, such as {example}")
    chosen = [scores for name, scores in found.items() if name != FUSED]
    return [_checked(scores) for scores in chosen or found.values()]


def _parse(source: str) -> tuple[Path, str | None]:
    if Path(source).suffix.lower() in _READ:
        return Path(source), None
    head, colon, stream = source.rpartition(":")
    if colon and stream and Path(head).suffix.lower() in _READ:
        return Path(head), stream
    raise UsageError(
        f"{source!r} is not a score file; expected FILE or FILE:STREAM, where FILE ends in {_joined(_READ)}"
    )


def _checked(scores: Scores) -> Scores:
    rows, columns = scores.values.shape
    if rows < 1 or columns < 2:
        raise DataError(f"{scores.source} has {rows} videos × {columns} classes; expected 1 × 2 or more")
    lists = {"names": (scores.names, rows), "true classes": (scores.truth, rows),
             "class names": (scores.classes, columns)}  # fmt: skip
    for what, (texts, expected) in lists.items():
        if texts is not None and len(texts) != expected:
            raise DataError(f"{scores.source} has {len(texts)} {what} but {rows} × {columns} scores")
    if scores.classes is not None and len(set(scores.classes)) < columns:
        raise DataError(f"{scores.source} has two classes of the same name; expected different names")
    bad = np.flatnonzero(~np.isfinite(scores.values).all(axis=1))
    if len(bad):
        first = f"row {bad[0] + 1}" if scores.names is None else repr(scores.names[bad[0]])
        raise DataError(
            f"{scores.source} has NaN or infinite scores for {len(bad)} of {rows} videos, first {first}; "
            "expected finite numbers"
        )
    return scores


# -- .npz ------------------------------------------------------------------------------------------


def _read_npz(path: Path) -> list[Scores]:
    arrays = read_npz(path)
    description = {name: arrays.pop(name) for name in _DESCRIPTION if name in arrays}
    try:
        classes, truth = _strings(description.get("classes")), description.get("truth")
        numbered = dict(enumerate(classes or ()))
        common: dict[str, Any] = {
            "names": _strings(description.get("names")),
            "classes": classes,
            "truth": tuple(numbered[n] for n in truth.tolist()) if truth is not None and numbered else None,
            "protocol": str(description["protocol"]) if "protocol" in description else None,
        }
    except (ValueError, TypeError, LookupError) as error:
        raise DataError(f"cannot read scores from {str(path)!r}: {error}; expected an .npz file") from error
    return _streams(path, arrays, common)


def _strings(array: npt.NDArray[Any] | None) -> tuple[str, ...] | None:
    return None if array is None else tuple(str(text) for text in array.tolist())


def _streams(path: Path, arrays: Mapping[str, Any], common: Mapping[str, Any]) -> list[Scores]:
    """Return the 2-D arrays of real numbers among `arrays` as streams."""
    return [
        Scores(
            name,
            array if array.dtype.kind == "f" else array.astype(np.float64),
            source=f"{path}:{name}",
            **common,
        )
        for name, array in arrays.items()
        if isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind in "fiu"
    ]


# -- .csv ------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> list[Scores]:
    try:
        # Earlier versions wrote the bytes of file names that are not UTF-8; surrogates keep them.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            lead = 0
            for column in _LEADING:
                lead += header[lead : lead + 1] == [column]
            if header[:1] != ["path"]:
                raise DataError(
                    f"{path} has the first column {header[:1]}; expected path, then one column per class"
                )
            table = [_csv_row(path, rows.line_num, row, header, lead) for row in rows if row]
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}") from error
    groups: dict[str, list[tuple[dict[str, str], _Values]]] = {}
    for description, values in table:
        groups.setdefault(description.get("stream", ""), []).append((description, values))
    return [_csv_stream(path, stream, group, tuple(header[lead:])) for stream, group in groups.items()]


def _csv_row(
    path: Path, line: int, row: list[str], header: list[str], lead: int
) -> tuple[dict[str, str], _Values]:
    if len(row) != len(header):
        raise DataError(f"{path}, line {line}: {len(row)} values but {len(header)} columns")
    try:
        # An array takes a quarter of the memory of a list of numbers.
        return dict(zip(header[:lead], row[:lead], strict=True)), np.array([float(v) for v in row[lead:]])
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}; expected one number per class") from error


def _csv_stream(
    path: Path, stream: str, group: Sequence[tuple[dict[str, str], _Values]], classes: tuple[str, ...]
) -> Scores:
    protocols = {description.get("protocol", "") for description, _ in group}
    if len(protocols) > 1:
        raise DataError(
            f"{path} has several protocols in one stream, {_joined(sorted(protocols))}; expected one protocol"
        )
    return Scores(
        stream=stream,
        values=np.array([values for _, values in group], dtype=np.float64).reshape(len(group), len(classes)),
        names=tuple(_unescaped(description["path"]) for description, _ in group),
        truth=tuple(description["label"] for description, _ in group) if "label" in group[0][0] else None,
        classes=classes,
        protocol=protocols.pop() or None,
        source=f"{path}:{stream}" if stream else str(path),
    )


def _unescaped(name: str) -> str:
    r"""Return a file name with its bytes that are not UTF-8, which are written as `\udce9`."""
    return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda found: chr(int(found[1], 16)), name)


# -- .mat ------------------------------------------------------------------------------------------


def _read_mat(path: Path) -> list[Scores]:
    # MATLAB stores scalars and lists as 2-D arrays too: an array with one column holds labels, not scores.
    tables = {name: array for name, array in read_arrays(path).items() if np.shape(array)[1:] > (1,)}
    return _streams(path, tables, {})


# -- writing ---------------------------------------------------------------------------------------


def check_scores_path(path: Path) -> None:
    """Check that `write_scores` can write to a path, before the scores are computed.

    Raises:
        UsageError: the suffix is neither .npz nor .csv.
        OutputError: the folder does not exist.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise UsageError(
            f"cannot write scores as {path.name!r}; expected a name that ends in {_joined(_WRITTEN, ' or ')}"
        )
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {str(path)!r}: no folder {str(path.parent)!r}; create it first")


def write_scores(path: Path, streams: Sequence[Scores], unreadable: Sequence[str] = ()) -> None:
    """Write the streams of one test as .npz or .csv, by the suffix.

    `read_scores` returns the same numbers, bit for bit.

    Args:
        path: the file.
        streams: scores of all streams; they share their names, truth, classes and protocol.
        unreadable: names of videos without scores; stored in .npz only.

    Raises:
        UsageError: the suffix is neither .npz nor .csv, or the names, truth, classes or protocol are missing.
        OutputError: the file cannot be written.
    """
    check_scores_path(path)
    first = streams[0]
    if first.names is None or first.truth is None or first.classes is None or first.protocol is None:
        raise UsageError("cannot write scores without names, truth, classes and protocol; fill them in")
    with atomic_write(path) as part:
        if path.suffix.lower() == ".csv":
            with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as text:
                # Quote every string: without quotes, a line break in a name would end its row.
                writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
                writer.writerow([*_LEADING, *first.classes])
                writer.writerows(_csv_rows(streams))
            return
        number = {label: index for index, label in enumerate(first.classes)}
        arrays: dict[str, Any] = {
            "names": np.array(first.names),
            "truth": np.array([number[label] for label in first.truth], np.int64),
            "classes": np.array(first.classes), "protocol": np.array(first.protocol),
            "unreadable": np.array(unreadable, dtype=str),
        }  # fmt: skip
        with part.open("wb") as file:
            np.savez(file, **(arrays | {scores.stream: scores.values for scores in streams}))


def _csv_rows(streams: Sequence[Scores]) -> Iterable[list[str | float]]:
    for scores in streams:
        videos = zip(scores.names or (), scores.truth or (), strict=True)
        for (name, label), row in zip(videos, scores.values.tolist(), strict=True):
            yield [name, label, scores.stream, scores.protocol or "", *row]


def _joined(names: Iterable[str], separator: str = ", ") -> str:
    return separator.join(name or "''" for name in names)
