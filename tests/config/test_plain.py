"""Recipes as text: what is in them stands for itself, and small texts cannot become large data."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.config.plain import MAX_BYTES, MAX_DEPTH, MAX_VALUES, PlainDataError, parse_yaml
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.errors import UsageError

Hts = Callable[..., tuple[int, str, str]]

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
)
ONE_LINE_LAUGHS = "{" + LAUGHS.replace("\n", ", ") + "}"  # as in an option or a JSON text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("laughs8", "line 1 has an anchor or alias"),
        ("self_alias", "line 1 has an anchor or alias"),
        ("dateval", "field init is a date, which needs quotes"),
        ("int_huge", "holds a value that cannot be read: Exceeds the limit"),
        ("deep_list", "nested more than 20 levels deep"),
    ],
)
def test_recipes_that_went_wrong(name: str, reason: str, data_root: Path, tmp_path: Path, hts: Hts) -> None:
    file = data_root / "faults" / "own_files" / f"{name}.yaml"
    code, out, err = hts("train", "--data", tmp_path, "--out", tmp_path / "run", "--recipe", file)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"hts: recipe '{file}': ")
    assert reason in err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="resource is for POSIX")
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_bomb_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    """Its 10^8 values took 5.6 GB and minutes; at every door it is refused before any value is made."""
    (tmp_path / "bomb.yaml").write_text(LAUGHS)
    (tmp_path / "child.yaml").write_text("base: bomb.yaml\n")
    script = f"""
from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.errors import UsageError
bomb = {ONE_LINE_LAUGHS!r}
for door in (
    lambda: load_recipe('bomb.yaml'),
    lambda: load_recipe('child.yaml'),
    lambda: load_recipe('nano', ['motion.milestones=' + bomb]),
    lambda: load_recipe('nano', ['init=' + bomb]),
    lambda: load_recipe('nano', {{'loss': bomb}}),
    lambda: recipe_from_dict({{'init': bomb}}, 'checkpoint'),
):
    try:
        door()
    except UsageError as error:
        print('anchor or alias' in str(error))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1])  # ru_maxrss would include the process that started this one
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    *refused, peak = done.stdout.split()
    assert refused == ["True"] * 6, done.stderr
    assert int(peak) < 10**9 // 1024


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("motion: &m {steps: 3}", "anchor or alias"),
        ("motion: {steps: &n 3}\njoint: {steps: *n}", "anchor or alias"),
        ("motion: &m {steps: 3}\njoint:\n  <<: *m", "anchor or alias"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested more than 20 levels"),
        ("{a: " * 3000 + "1" + "}" * 3000, "nested more than 20 levels"),
        ("- " * 3000 + "1", "nested more than 20 levels"),
        (f"a: [{', '.join(['1'] * MAX_VALUES)}]", "more than 10,000 values"),
        ("# " + "x" * MAX_BYTES, "expected at most 1,048,576"),
        ("a: 2020-13-45", "cannot be read: month must be"),
        (f"a: {'9' * 5000}", "cannot be read: Exceeds the limit"),
        ("a: [1, 2", "is not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("a: 1\n---\nb: 2", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_texts_that_are_no_plain_data(text: str, reason: str) -> None:
    with pytest.raises(PlainDataError, match=reason):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["", "a: [1, 2.5, true, x]", "a: {b: {c: ['&', '*']}}", "x & y: a*b", "3"])
def test_plain_data_is_read_as_it_is(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


def test_the_limits_of_a_text_are_inclusive() -> None:
    deepest: Any = parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (deepest,) = deepest
    assert deepest == []
    assert len(parse_yaml(f"[{', '.join(['1'] * (MAX_VALUES - 1))}]")) == MAX_VALUES - 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"motion: {steps: \xff}", "is not UTF-8 text"),
        (b"#" * (MAX_BYTES + 1), "expected at most 1,048,576"),
        (b"motion: nano.yaml", "field motion is the text 'nano.yaml'; expected a table of fields"),
        (b"motion: [1]", "field motion is a list; expected a table"),
        (b"motion:", "field motion is empty; expected a table"),
        (b"loss:", "field loss is empty; expected a number, a text"),
        (b"motion: {steps: {a: 1}}", "field motion.steps is a table"),
        (b"input: {resize: [[64, 64]]}", "field input.resize is a list of lists"),
        (b"motion: {learning_rate: .nan}", "field motion.learning_rate is nan; expected a finite number"),
        (b"motion: {learning_rate: -.inf}", "field motion.learning_rate is -inf"),
        (b"motion: {steps: 99999999999999999999}", "field motion.steps is a number beyond"),
        (b"init: !!binary aGFsbG8=", "field init is of the type bytes"),
        (b"model: {streams: !!set {spatial}}", "field model.streams is of the type set"),
        (b"init: 2020-01-01 10:00:00", "field init is a date, which needs quotes"),
        (b"motion: {stepz: 3}", "unknown field 'motion.stepz'; motion has steps, batch_size"),
        (b"1: 2", "unknown field '1'; a recipe has model, input"),
        (b"base: [1]", "base of recipe"),
    ],
)
def test_a_recipe_file_is_refused_by_name(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=reason) as caught:
        load_recipe(file)
    assert str(file) in str(caught.value)


def test_a_wrong_field_of_a_base_is_named_with_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("motion: {steps: .nan}")
    (tmp_path / "child.yaml").write_text("base: base.yaml\nloss: paper")
    with pytest.raises(UsageError, match=r"base\.yaml': field motion\.steps is nan"):
        load_recipe(tmp_path / "child.yaml")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("motion.milestones=[&a 1, *a]", "cannot set motion.milestones: line 1 has an anchor"),
        ("motion.milestones=" + "[" * 3000 + "]" * 3000, "cannot set motion.milestones: .*20 levels"),
        ("motion.steps=" + "9" * 5000, "cannot set motion.steps: .*Exceeds the limit"),
        ("motion.steps=2020-01-01", "cannot set motion.steps: field motion.steps is a date"),
        ("motion.learning_rate=.inf", "cannot set motion.learning_rate: .* is inf"),
        ("init=" + "x" * 5000, "cannot set init: field init has 5,000 characters"),
        ("init=" + ONE_LINE_LAUGHS, "cannot set init: .*anchor or alias"),
        ("loss=" + ONE_LINE_LAUGHS, "cannot set loss: .*anchor or alias"),
        ("motion=3", "cannot set motion: field motion is the value 3"),
        ("motion={stepz: 3}", "unknown field 'motion.stepz'"),
    ],
)
def test_a_bomb_in_an_option_is_refused(override: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        load_recipe("nano", [override])


@pytest.mark.parametrize(
    "value",
    [datetime.date(2020, 1, 1), 10**5000, None, float("nan"), {"a": 1}, [[1]], object()],
    ids=["date", "huge", "none", "nan", "table", "lists", "object"],
)
def test_an_override_from_python_is_plain(value: object) -> None:
    with pytest.raises(UsageError, match=r"cannot set motion\.steps: field motion\.steps"):
        load_recipe("nano", {"motion.steps": value})


def test_overrides_that_were_read_before_still_are() -> None:
    assert load_recipe("nano", ["motion={steps: 6}"]).motion.steps == 6
    assert load_recipe("nano", ['motion={"steps": 6}']) == load_recipe("nano", {"motion": {"steps": 6}})
    assert (
        load_recipe("nano", ["motion={steps: 6}"]).motion.batch_size == load_recipe("nano").motion.batch_size
    )
    for text in ("2020-01-01", "null", "a: b", "x & y", "~/weights*.pth", "C:\\new"):
        assert load_recipe("nano", [f"init={text}"]).init == text


@pytest.mark.parametrize(
    "field", [name for name in vars(Recipe()) if not isinstance(getattr(Recipe(), name), str)]
)
@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_no_field_is_read_from_a_file(field: str, kind: str, tmp_path: Path) -> None:
    """The parser behind would read a table of fields from a file whose name stands in its place."""
    file = tmp_path / f"fields.{kind}"
    file.write_text(json.dumps(getattr(Recipe(), field).__dict__ | {}, default=list))
    for data in ({field: str(file)}, {field: [str(file)]}, str(file)):
        with pytest.raises(UsageError, match="expected a table of fields"):
            recipe_from_dict(data, "the description")
    with pytest.raises(UsageError, match="expected a table of fields"):
        load_recipe("nano", [f"{field}={file}"])


@pytest.mark.parametrize(
    ("override", "limit"),
    [
        ("model.num_frames=257", "at most 256"),
        ("model.motion_frames=257", "at most 256"),
        ("input.size=2080", "at most 2048"),
        ("input.min_size=2049", "at most 2048"),
        ("input.max_size=2049", "at most 2048"),
        ("input.resize=4097", "at most 4096"),
        ("input.resize=[64,4097]", "at most 4096"),
        ("input.frame_stride=1001", "at most 1000"),
        ("input.segments=65", "at most 64"),
        ("motion.steps=1000000001", "at most 1000000000"),
        ("joint.batch_size=65537", "at most 65536"),
        ("spatial.accumulate=65537", "at most 65536"),
        ("temporal.milestones=[5,1000000001]", "at most 1000000000"),
        ("temporal.milestones=[-1]", "must not be negative"),
        ("temporal.learning_rate=1.1e12", "at most 1e\\+12"),
        ("fusion.spatial_weight=1.0e38", "at most 1e\\+12"),
    ],
)
def test_numbers_beyond_their_limit(override: str, limit: str) -> None:
    with pytest.raises(UsageError, match=f"{override.partition('=')[0]} is .*; it must .*{limit}|{limit}"):
        load_recipe("nano", [override])


def test_a_clip_has_a_largest_number_of_pixels() -> None:
    """64 frames of 1024 × 1024 px are 2^26 pixels."""
    assert load_recipe("nano", ["model.num_frames=64", "input.size=1024"]).input.size == 1024
    with pytest.raises(
        UsageError, match=r"65 frames .*1024×1024 px has 68,157,440 pixels; .* at most 67,108,864"
    ):
        load_recipe("nano", ["model.num_frames=65", "input.size=1024"])
    with pytest.raises(UsageError, match="at most 67,108,864"):  # an automatic size may be as large as that
        load_recipe("nano", ["model.num_frames=65", "input.max_size=1024"])
