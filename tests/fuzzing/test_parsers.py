"""Hypothesis: what is written is read back, and whatever else is read ends in a result or in our error."""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fuzz.writers import _blob, _field
from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.annotations.files import read_annotations, write_annotations
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import CheckpointError, DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.score_files import Scores, read_scores, write_scores
from hidden_two_stream.files import is_temporary, parse_json
from hidden_two_stream.npz import read_npz
from hidden_two_stream.types import Segment
from hidden_two_stream.weights.caffemodel import open_caffemodel

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=300)

LABELS = st.text(min_size=1, max_size=12).filter(lambda text: clean_text(text) == text and "\0" not in text)
BYTES = st.binary(max_size=400)


@contextlib.contextmanager
def written(name: str, content: bytes | str = b"") -> Iterator[Path]:
    """A file with this content, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
        yield path


# -- score files


@FEW
@given(data=st.data(), suffix=st.sampled_from([".npz", ".csv"]))
def test_scores_are_read_back_bit_for_bit(data: st.DataObject, suffix: str) -> None:
    classes = tuple(data.draw(st.lists(LABELS, min_size=2, max_size=4, unique=True)))
    names = tuple(data.draw(st.lists(LABELS, min_size=1, max_size=5, unique=True)))
    truth = tuple(data.draw(st.lists(st.sampled_from(classes), min_size=len(names), max_size=len(names))))
    finite = st.floats(-1e30, 1e30, allow_nan=False)
    values = data.draw(arrays_of.arrays(np.float64, (len(names), len(classes)), elements=finite))
    scores = Scores("temporal", values, names, truth, classes, "10x1")
    with written(f"a{suffix}") as path:
        write_scores(path, [scores])
        (found,) = read_scores(f"{path}:temporal")
    assert (found.names, found.truth, found.classes, found.protocol) == (names, truth, classes, "10x1")
    assert np.asarray(found.values, np.float64).tobytes() == values.tobytes()


@MANY
@given(content=BYTES | st.text(max_size=300), suffix=st.sampled_from([".npz", ".csv", ".mat"]))
def test_anything_else_is_no_score_file(content: bytes | str, suffix: str) -> None:
    with written(f"a{suffix}", content) as path, contextlib.suppress(DataError, UsageError):
        assert all(np.isfinite(scores.values).all() for scores in read_scores(str(path)))


# -- .npz


NUMBERS = arrays_of.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.uint8]),
    arrays_of.array_shapes(min_dims=0, max_dims=4, max_side=4),
)


@FEW
@given(content=st.dictionaries(st.sampled_from(["a", "b", "é", "x/y", "../z"]), NUMBERS, max_size=3))
def test_arrays_are_read_back(content: dict[str, np.ndarray]) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, **content)
    with written("a.npz", packed.getvalue()) as path:
        found = read_npz(path)
    assert found.keys() == content.keys()
    for name, array in content.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@MANY
@given(data=st.data())
def test_a_damaged_npz_is_refused_or_read(data: st.DataObject) -> None:
    packed = io.BytesIO()
    np.savez(packed, a=np.arange(6.0), b=np.array(["x", "yz"]))
    content = bytearray(packed.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    with written("a.npz", bytes(content)) as path, contextlib.suppress(DataError):
        assert all(isinstance(array, np.ndarray) for array in read_npz(path).values())


# -- tables


@MANY
@given(
    rows=st.lists(st.lists(st.text(max_size=8), max_size=5), max_size=6), delimiter=st.sampled_from(",;\t|")
)
def test_any_table_is_a_dataset_or_refused(rows: list[list[str]], delimiter: str) -> None:
    lines = [delimiter.join(row) for row in [["path", "label", "split"], *rows]]
    with written("labels.csv", "\n".join(lines)) as path, contextlib.suppress(DataError, UsageError):
        index = read_dataset_index(path)
        assert len(index.classes) >= 2
        assert {sample.label for sample in index.samples} <= set(index.classes)
        assert all(sample.split in (None, "train", "val", "test") for sample in index.samples)


SEGMENTS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 8), st.sampled_from(["walk", "sit down", "ç"])), max_size=6
)


@FEW
@given(drawn=SEGMENTS, name=st.sampled_from(["csv", "json"]))
def test_labels_over_time_are_read_back(drawn: list[tuple[int, int, str]], name: str) -> None:
    segments = [Segment(start / 8, (start + length) / 8, label) for start, length, label in drawn]
    try:
        item = Annotations.of("clip.mp4", segments)
    except DataError:  # two of one label overlap
        return
    with written(f"a.{name}") as path:
        write_annotations(path, [item], name)
        found = read_annotations(path, name) if segments or name == "json" else []
    expected = sorted((s.start_seconds, s.end_seconds, s.label) for s in item.segments)
    read = [(s.start_seconds, s.end_seconds, s.label) for one in found for s in one.segments]
    assert sorted(read) == expected


@MANY
@given(
    content=st.text(max_size=200), suffix=st.sampled_from([".csv", ".json", ".eaf", ".srt", ".boris", ".txt"])
)
def test_any_text_is_a_label_file_or_refused(content: str, suffix: str) -> None:
    with written(f"a{suffix}", content) as path, contextlib.suppress(DataError, UsageError):
        for item in read_annotations(path, fps=25, num_frames=100):
            assert all(0 <= s.start_seconds <= s.end_seconds for s in item.segments)


# -- configurations


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
)
PLACES = [
    f"{item.name}.{inner.name}" if is_dataclass(value) else item.name
    for item, value in ((item, getattr(Recipe(), item.name)) for item in fields(Recipe))
    for inner in (fields(value) if is_dataclass(value) else [item])
]


@FEW
@given(changes=st.dictionaries(st.sampled_from(PLACES), VALUES, min_size=1, max_size=2))
def test_any_value_of_a_field_is_a_recipe_or_refused(changes: dict[str, object]) -> None:
    try:
        recipe = load_recipe("nano", changes)
    except UsageError:
        return
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict())), "itself") == recipe


def test_all_fields_are_tried() -> None:
    assert {"loss", "input.size", "motion.steps", "model.streams", "calibration.method"} <= set(PLACES)


@MANY
@given(
    content=st.text(max_size=200)
    | st.from_regex(r"(base|motion|input|loss): .{0,40}\n.{0,40}", fullmatch=True)
)
def test_any_text_is_a_recipe_or_refused(content: str) -> None:
    with written("a.yaml", content) as path, contextlib.suppress(UsageError):
        assert isinstance(load_recipe(path), Recipe)


# -- binary Caffe models


LAYERS = st.dictionaries(
    st.text("abc_1", min_size=1, max_size=6),
    st.lists(
        arrays_of.arrays(
            np.float32,
            arrays_of.array_shapes(max_dims=4, max_side=3),
            elements=st.floats(-1e3, 1e3, width=32),
        ),
        min_size=1,
        max_size=2,
    ),
    min_size=1,
    max_size=3,
)


@FEW
@given(layers=LAYERS)
def test_the_arrays_of_a_caffemodel_are_read_back(layers: dict[str, list[np.ndarray]]) -> None:
    parts = [
        _field(100, _field(1, name.encode()) + b"".join(_field(7, _blob(array)) for array in found))
        for name, found in layers.items()
    ]
    with written("a.caffemodel", b"".join(parts)) as path, open_caffemodel(path) as read:
        assert [layer.name for layer in read] == list(layers)
        for layer, expected in zip(read, layers.values(), strict=True):
            for blob, array in zip(layer.blobs, expected, strict=True):
                assert blob.read().shape == array.shape
                assert np.array_equal(blob.read(), array)


@MANY
@given(content=BYTES)
def test_any_bytes_are_a_caffemodel_or_refused(content: bytes) -> None:
    refused = contextlib.suppress(CheckpointError, UsageError)
    with written("a.caffemodel", content) as path, refused, open_caffemodel(path) as layers:
        assert all(np.asarray(blob.read()).dtype.kind == "f" for layer in layers for blob in layer.blobs)


# -- smaller ones


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@FEW
@given(data=JSON)
def test_json_is_read_back(data: object) -> None:
    assert parse_json(json.dumps(data)) == data


@given(digits=st.integers(290, 320))
def test_only_numbers_that_a_float_can_take_are_read(digits: int) -> None:
    text = "9" * digits
    if digits <= 300:
        assert math.isfinite(float(parse_json(text)))
    else:
        with pytest.raises(ValueError, match="digits"):
            parse_json(text)


@MANY
@given(message=st.text(max_size=5000))
def test_every_message_is_one_line_of_bounded_length(message: str) -> None:
    error = HiddenTwoStreamError(message)
    assert len(str(error).splitlines()) <= 1
    assert len(str(error)) <= 2000


@MANY
@given(name=st.text(max_size=30))
def test_only_our_own_names_are_temporary(name: str) -> None:
    assert is_temporary(name) <= name.startswith(".")
