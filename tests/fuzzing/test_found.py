"""Faults that `make fuzz` found, each in its smallest form."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from av import codecs_available

from fuzz import readers, writers
from fuzz.kinds import KINDS
from hidden_two_stream.checkpoint import read_metrics
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.annotations.clock import clock_seconds
from hidden_two_stream.data.annotations.files import read_annotations
from hidden_two_stream.data.benchmarks.kinetics import read_kinetics
from hidden_two_stream.data.splits import _natural_key
from hidden_two_stream.errors import (
    CheckpointError,
    DataError,
    HiddenTwoStreamError,
    UsageError,
    VideoError,
    unexpected,
)
from hidden_two_stream.files import parse_json, read_limited
from hidden_two_stream.video.sources.images import decode_image

DEEP = "[" * 100_000
LONG = "9" * 5000  # `int` refuses more than 4300 digits


def damaged(tmp_path: Path, kind: str, change: Callable[[bytes], bytes], file: str | None = None) -> str:
    """Change a whole file, and return the message of the refusal."""
    found = KINDS[kind]
    for module in found.needs:
        pytest.importorskip(module, reason="an extra is not installed")
    found.write(tmp_path)
    (path,) = [tmp_path / file] if file else found.targets(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(HiddenTwoStreamError) as caught:
        found.read(tmp_path / found.entry)
    return str(caught.value)


# -- numbers


def test_a_whole_number_that_no_float_can_take() -> None:
    assert parse_json(f"[{10**299}]") == [10**299]
    assert parse_json(json.dumps({"a": "0" * 600, "b": -5})) == {"a": "0" * 600, "b": -5}
    for text in (f"[{10**300}]", f'{{"a": -{LONG}}}'):
        with pytest.raises(ValueError, match=r"a whole number of (301|5001) digits; expected at most 300"):
            parse_json(text)


def test_numbers_of_thousands_of_digits_in_texts(tmp_path: Path) -> None:
    assert clock_seconds(f"{LONG}:00:01") is None
    assert _natural_key(f"a{LONG}") > _natural_key("a10") > _natural_key("a9") > _natural_key("a007")
    (tmp_path / "a.txt").write_text(f"person01_boxing_d1 frames 1-{LONG}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.txt, line 1: the frame number is '9999"):
        read_annotations(tmp_path / "a.txt", "kth", fps=25)


@pytest.mark.parametrize("value", ['"fast"', "[1]", "{}", "true"])
def test_a_log_line_whose_values_are_no_numbers_ends_the_log(tmp_path: Path, value: str) -> None:
    lines = [
        '{"stage": "motion", "step": 1, "loss": null, "seconds": 1}',
        f'{{"stage": "motion", "step": 2, "loss": {value}}}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]


def test_a_stage_that_is_no_text_ends_the_log(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"stage": [], "step": 1}', encoding="utf-8")
    assert read_metrics(tmp_path) == []


# -- nesting, types, texts


def test_nesting_is_refused_wherever_json_is_read(tmp_path: Path) -> None:
    nested = lambda _: DEEP.encode()  # noqa: E731
    assert "nested too deeply" in damaged(tmp_path, "activitynet-set", nested)
    (tmp_path / "a").mkdir()
    writers.write_run(tmp_path / "a")
    (tmp_path / "a" / "run" / "samples.json").write_text(DEEP, encoding="utf-8")
    assert "samples.json' is damaged: it is nested too deeply" in str(
        readers.inspect_run(tmp_path / "a" / "run")
    )


def test_a_taxonomy_that_is_no_list(tmp_path: Path) -> None:
    def change(data: bytes) -> bytes:
        return json.dumps(json.loads(data) | {"taxonomy": 0.5}).encode()

    assert "the taxonomy is '0.5'; expected a list" in damaged(tmp_path, "activitynet-set", change)


def test_a_subset_that_is_no_text(tmp_path: Path) -> None:
    message = damaged(tmp_path, "activitynet-set", lambda data: data.replace(b'"training"', b"{}"))
    assert "'v0' has subset '{}'; expected" in message


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("config.json", {"model_type": {}}, "the model_type '{}'; expected a text"),
        ("preprocessor_config.json", {"size": float("inf")}, "preprocessor_config.json of .* cannot be used"),
    ],
)
def test_values_of_an_image_encoder(
    tmp_path: Path, file: str, change: dict[str, object], reason: str
) -> None:
    def changed(data: bytes) -> bytes:
        return json.dumps(json.loads(data) | change).encode()

    message = damaged(tmp_path, "image-encoder", changed, f"encoder/{file}")
    assert re.search(reason, message)


def test_a_description_that_is_not_utf_8(tmp_path: Path) -> None:
    message = damaged(tmp_path, "onnx", lambda data: data.replace(b"format_version", b"format_versio\xff"))
    assert "model.onnx' is damaged: a text in it is not UTF-8" in message


def test_a_protocol_that_does_not_exist_names_its_file(tmp_path: Path) -> None:
    message = damaged(tmp_path, "plan", lambda data: data.replace(b'"10x1"', b'"10x9"'))
    assert "plan.json' is damaged: its protocol cannot be used" in message


def test_a_base_that_is_no_recipe_names_the_recipe_that_wants_it(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("text", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("base: other\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"the base of recipe '.*mine\.yaml': recipe '.*other' is str"):
        load_recipe(tmp_path / "mine.yaml")


def test_an_empty_label_names_its_file(tmp_path: Path) -> None:
    message = damaged(tmp_path, "labels-feral", lambda data: data.replace(b'"walk"', b'" "'))
    assert "clip.json: a label is empty" in message


def test_names_of_label_files_that_are_empty_or_too_long(tmp_path: Path) -> None:
    empty = damaged(tmp_path, "frame-dataset", lambda data: data.replace(b"clip.json", b""), "labels.csv")
    assert "labels.csv, line 2: labels is empty" in empty
    (tmp_path / "b").mkdir()
    long = damaged(
        tmp_path / "b", "frame-dataset", lambda data: data.replace(b"0.mp4", b"0" * 300), "labels.csv"
    )
    assert "labels.csv, line 2: there is no '000" in long


def test_classes_of_a_list_whose_names_are_too_long_for_a_folder(tmp_path: Path) -> None:
    text = f"label,youtube_id\n{'x' * 70_000},a\nwalk,b\n"
    (tmp_path / "train.csv").write_text(text, encoding="utf-8")
    assert read_kinetics(tmp_path / "train.csv").classes == ("walk", "x" * 70_000)


def test_a_label_file_of_no_format_names_its_list(tmp_path: Path) -> None:
    message = damaged(tmp_path, "frame-dataset", lambda data: data.replace(b"clip.json", b".."), "labels.csv")
    assert "labels.csv: the labels of" in message


# -- messages


@pytest.mark.parametrize("error", [DataError, CheckpointError, lambda text: VideoError("a.mp4", text)])
def test_a_message_is_one_line_of_bounded_length(error: Callable[[str], HiddenTwoStreamError]) -> None:
    assert "\n" not in str(error("one\r\ntwo\u2028three"))
    long = error("begin " + "x" * 100_000 + " end")
    assert len(str(long)) <= 2000
    assert str(long).endswith(" end")
    assert "characters) …" in str(long)
    again = pickle.loads(pickle.dumps(long))  # worker processes send them
    assert (str(again), type(again)) == (str(long), type(long))


def test_a_path_that_the_system_refuses_is_not_unexpected(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        os.stat(tmp_path / ("x" * 300))
    assert unexpected(caught.value).endswith(f"{'x' * 300}': File name too long; check the path")
    assert unexpected(OSError(5, "Input/output error")) == "unexpected OSError: [Errno 5] Input/output error"


# -- files that are none


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_run_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(CheckpointError, match="it is no regular file"):
        read_metrics(tmp_path)
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="it is no regular file"):
        read_limited(tmp_path / "endless")


def test_a_log_of_any_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "metrics.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no room on the disk
    with pytest.raises(CheckpointError, match="1,099,511,627,776 bytes"):
        read_metrics(tmp_path)


def test_an_image_without_a_decoder(tmp_path: Path) -> None:
    """FFmpeg knows JPEG XL by its first bytes, and most builds cannot decode it."""
    image = tmp_path / "000.jpg"
    image.write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60))
    if {"jpegxl", "libjxl"} & codecs_available:
        pytest.skip("this build of FFmpeg decodes JPEG XL")
    with pytest.raises(VideoError, match=r"000\.jpg.*no decoder for this kind of image"):
        decode_image(image)
