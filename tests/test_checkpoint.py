"""Checkpoints: what was saved comes back bit for bit, and anything else is refused for what it is."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import hidden_two_stream
from hidden_two_stream import checkpoint, tensors
from hidden_two_stream.checkpoint import (
    FORMAT_VERSION,
    RunInfo,
    RunMetadata,
    build_model,
    load_run,
    read_metrics,
    save_run,
)
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.errors import CheckpointError, OutputError, TrainingError, UsageError
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.tensors import read_tensors, write_tensors

CLASSES = ("gehen", "走る", 'say "hi", don\'t')
METADATA = RunMetadata(
    stages=("spatial", "temporal"), data="größe/labels.csv", seed=3, warm_start={"spatial": "é"}
)
RECIPE = Recipe(
    model=ModelConfig(num_frames=4), input=InputConfig(size=32, resize=(32, 48), crop_scales=[1.0])
)


def trained() -> HiddenTwoStream:
    """A model whose every weight and buffer is a number of its own, as after training."""
    torch.manual_seed(0)
    model = build_model(RECIPE, len(CLASSES))
    model.train()
    for _ in range(2):
        model(torch.randn(2, 4, 3, 32, 32))  # moves the statistics of the batch normalisations
    return model


@pytest.fixture(scope="module")
def model() -> HiddenTwoStream:
    return trained()


@pytest.fixture
def run(model: HiddenTwoStream, tmp_path: Path) -> Path:
    save_run(tmp_path, model, RunInfo(RECIPE, CLASSES, METADATA))
    return tmp_path


def rewritten(run: Path, change: Mapping[str, Any] | str) -> Path:
    """The run with another description in its checkpoint: some keys changed, or the whole text."""
    path = run / "model.safetensors"
    tensors, metadata = read_tensors(path)
    data = json.loads(metadata["hidden_two_stream"])
    text = change if isinstance(change, str) else json.dumps(data | change)
    save_file(tensors, path, {"hidden_two_stream": text})
    return run


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert list(first) == list(second)
    for name in first:
        assert first[name].dtype == second[name].dtype
        assert torch.equal(first[name], second[name]), name


# -- there and back --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_what_was_saved_comes_back(model: HiddenTwoStream, run: Path, name: str) -> None:
    loaded, info = load_run(run / name)
    same(loaded.state_dict(), model.state_dict())
    buffers = dict(loaded.named_buffers())
    assert len(buffers) == 30
    assert float(buffers["temporal_stream.backbone.bn0.running_mean"].abs().max()) > 0
    assert int(buffers["spatial_stream.backbone.bn0.num_batches_tracked"]) == 2
    assert not any(part.training for part in loaded.modules())
    assert model.training, "saving leaves the model as it was"
    assert info == RunInfo(info.recipe, CLASSES, METADATA)
    assert json.dumps(info.recipe.to_dict()) == json.dumps(RECIPE.to_dict())


def test_a_loaded_run_says_the_same(run: Path) -> None:
    clip = generate_clip("grow", 1, num_frames=9, size=40).frames
    before = Recognizer(trained(), RunInfo(RECIPE, CLASSES)).predict(clip, "2x10")
    after = load(run).predict(clip, "2x10")
    np.testing.assert_allclose(before.scores, after.scores, rtol=1e-5)
    for name in ("spatial", "temporal"):
        np.testing.assert_allclose(before.streams[name], after.streams[name], rtol=1e-5)
    assert after.classes == CLASSES


def test_dropout_leaves_no_trace(tmp_path: Path) -> None:
    recipe = Recipe(model=ModelConfig("nano", "small", 4, 0.75, 0.25))
    save_run(tmp_path, build_model(recipe, 2), RunInfo(recipe, ("a", "b")))
    loaded, _ = load_run(tmp_path)
    found = [
        part.p
        for stream in (loaded.temporal_stream, loaded.spatial_stream)
        for part in stream.modules()
        if isinstance(part, torch.nn.Dropout)
    ]
    assert found == [0.75, 0.25]


@pytest.mark.parametrize("motion", ["tiny", "nano"])
def test_other_networks(tmp_path: Path, motion: str) -> None:
    recipe = load_recipe("nano", [f"model.motion={motion}", "model.num_frames=3"])
    made = build_model(recipe, 5)
    save_run(tmp_path, made, RunInfo(recipe, tuple("abcde")))
    loaded, info = load_run(str(tmp_path))
    same(loaded.state_dict(), made.state_dict())
    assert (info.recipe, info.metadata) == (recipe, RunMetadata())


def test_the_folder_repeats_the_description_for_people(run: Path) -> None:
    text = (run / "config.json").read_text(encoding="utf-8")
    described = json.loads(text)
    assert described["format_version"] == FORMAT_VERSION == 1
    assert described["classes"] == list(CLASSES)
    assert "走る" in text
    with safe_open(run / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["hidden_two_stream"]) == described
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_run_can_be_read_by_whom_the_folder_allows(run: Path) -> None:
    (run / "plain").touch()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run.iterdir()}
    assert set(modes.values()) == {modes["plain"]}, modes


def test_prediction_needs_the_one_file_alone(run: Path) -> None:
    (run / "config.json").write_text("nonsense", encoding="utf-8")
    moved = run / "mein Modell.safetensors"
    (run / "model.safetensors").rename(moved)
    assert load_run(moved)[1].classes == CLASSES


def test_views_and_gradients_are_saved_as_plain_numbers(tmp_path: Path) -> None:
    table = torch.arange(12.0).view(3, 4)
    tensors = {"t": table.T, "w": torch.nn.Parameter(torch.ones(2, requires_grad=True)), "n": torch.tensor(7)}
    write_tensors(tmp_path / "x.safetensors", tensors, {"a": "ü"})
    found, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {"a": "ü"}
    assert found["t"].tolist() == table.T.tolist()
    assert (int(found["n"]), found["n"].shape, found["n"].dtype) == (7, torch.Size([]), torch.int64)


# -- what is refused -------------------------------------------------------------------------------


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run at .*nowhere.*hts train"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors; expected a folder made by"):
        load_run(tmp_path)
    (tmp_path / "plan.json").touch()
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors; continue .*--resume"):
        load_run(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 8, 200, -1, -100_000])
def test_a_cut_off_file(run: Path, kept: int) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors' is not a complete safetensors file"):
        load_run(run)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a pickle, perhaps", b"\xff" * 4096, b"{}", bytes(64)])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pt' is not a complete safetensors file"):
        load_run(path)


def test_a_damaged_header(run: Path) -> None:
    path = run / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[8:40] = b"\x00" * 32
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_run(run)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_another_package(run: Path, metadata: dict[str, str] | None) -> None:
    tensors, _ = read_tensors(run / "model.safetensors")
    save_file(tensors, run / "model.safetensors", metadata)
    with pytest.raises(CheckpointError, match="is not a checkpoint of this package"):
        load_run(run)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, None, "1"])
def test_another_format_version(run: Path, version: object) -> None:
    with pytest.raises(
        CheckpointError, match=f"format version {version}, this package reads {FORMAT_VERSION}"
    ):
        load_run(rewritten(run, {"format_version": version}))


def test_weights_that_do_not_fit_the_description(run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not fit.*fc\.(bias|weight) has shape \(3.*, not \(2"):
        load_run(rewritten(run, {"classes": ["a", "b"]}))


@pytest.mark.parametrize(
    ("change", "message"),
    [("missing", "spatial_stream.backbone.fc.bias is missing"), ("unknown", "extra is unknown")],
)
def test_missing_and_unknown_weights(run: Path, change: str, message: str) -> None:
    tensors, metadata = read_tensors(run / "model.safetensors")
    if change == "missing":
        del tensors["spatial_stream.backbone.fc.bias"]
    else:
        tensors["extra"] = torch.zeros(1)
    save_file(tensors, run / "model.safetensors", metadata)
    with pytest.raises(CheckpointError, match=f"does not fit its own description: {message}"):
        load_run(run)


# -- writing ---------------------------------------------------------------------------------------


def test_a_second_save_replaces_the_first(run: Path, model: HiddenTwoStream) -> None:
    other = build_model(RECIPE, 3)
    save_run(run, other, RunInfo(RECIPE, ("x", "y", "z")))
    loaded, info = load_run(run)
    same(loaded.state_dict(), other.state_dict())
    assert info.classes == ("x", "y", "z")


@pytest.mark.parametrize(
    "failure", [SafetensorError("No space left on device"), OSError(28, "No space left on device")]
)
def test_a_failed_save_leaves_the_old_run_whole(
    run: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}

    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half of it")
        raise failure

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(OutputError, match=r"cannot write .*model\.safetensors.*No space left on device"):
        save_run(run, build_model(RECIPE, 3), RunInfo(RECIPE, ("x", "y", "z")))
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_an_interrupted_save_leaves_the_old_run_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}

    def stopped(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(tensors, "save_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        save_run(run, build_model(RECIPE, 3), RunInfo(RECIPE, CLASSES))
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_folder_that_cannot_be_written_to(model: HiddenTwoStream, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for folder in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(OutputError, match=r"cannot write .*config\.json"):
            save_run(folder, model, RunInfo(RECIPE, CLASSES))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# -- safety ----------------------------------------------------------------------------------------


def test_nothing_in_the_package_unpickles() -> None:
    """Loading a file must not be able to run code: no pickle, no torch.load, no allow_pickle."""
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    files = sorted(Path(hidden_two_stream.__file__).parent.rglob("*.py"))
    assert len(files) > 40
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}, line {getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not unsafe & {name.name.split(".")[0] for name in node.names}, where
            elif isinstance(node, ast.ImportFrom):
                names = {name.name for name in node.names}
                if names != {"UnpicklingError"}:  # what torch.load raises, and no way to unpickle
                    assert not unsafe & ({(node.module or "").split(".")[0]} | names), where
                assert not (node.module == "torch" and names & {"load", "save"}), where
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("torch", "save"), where
            elif isinstance(node, ast.keyword):
                assert node.arg != "allow_pickle", where
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                # Published weights are .pth files; with this, PyTorch reads tensors and nothing else.
                asked = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert asked.get("weights_only") == "True", where


# -- descriptions that are not what they seem ----------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ("abc", "its classes are 'abc'; expected a list of names"),
        ({"a": 0, "b": 1, "c": 2}, "expected a list of names"),
        (None, "its classes are 'None'"),
        (["a", "b", 3], "its classes include '3'; expected names"),
        (["a", "b", ["c"]], "expected names"),
        (["a", "b", ""], "its classes include ''; expected names"),
        (["a", "b", "a"], "its classes include 'a' twice"),
        ([], "it has no classes"),
    ],
)
def test_classes_that_are_no_list_of_names(classes: object, reason: str, run: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"the description in .* is damaged: .*{re.escape(reason)}"):
        load_run(rewritten(run, {"classes": classes}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stages", "motion"), ("stages", ""), ("stages", ["motion", "dance"]), ("data", 3), ("split", []),
        ("test_fraction", "a"), ("held_out", 1), ("num_training_videos", "x"), ("seed", None),
        ("precision", {}), ("warm_start", "x"), ("motion_init", "x"), ("motion_teacher", []),
        ("versions", "x"), ("imported_from", 3),
        ("min_fps", "x"), ("max_fps", []), ("calibration", 3), ("calibration", {"temperatures": {}}),
    ],
)  # fmt: skip
def test_provenance_of_another_type(field: str, value: object, run: Path) -> None:
    with pytest.raises(CheckpointError, match=f"is damaged: its {field}"):
        load_run(rewritten(run, {"provenance": METADATA.to_dict() | {field: value}}))


def test_the_type_of_every_field_of_the_provenance_is_checked() -> None:
    names = {item.name for item in dataclasses.fields(checkpoint.RunMetadata)}
    assert {"stages", *checkpoint._METADATA_TYPES} == names


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("input", "size", 16384), ("input", "size", 2080), ("input", "resize", 20000),
        ("input", "resize", [64, 20000]), ("input", "max_size", 10**6), ("input", "frame_stride", 10**9),
        ("input", "segments", 10**6), ("model", "num_frames", 10**6), ("model", "num_frames", 10**30),
        ("model", "motion_frames", 10**6), ("input", "crop_scales", [0.5] * 2000),
        ("motion", "steps", 10**12),
        ("fusion", "temporal_weight", math.nan), ("motion", "learning_rate", math.inf),
    ],
)  # fmt: skip
def test_absurd_numbers(section: str, field: str, value: object, run: Path) -> None:
    recipe = json.loads(json.dumps(RECIPE.to_dict()))
    recipe[section][field] = value
    with pytest.raises(CheckpointError, match=rf"the description in .* is damaged: .*{section}\.{field}"):
        load_run(rewritten(run, {"recipe": recipe}))


@pytest.mark.parametrize(
    "field", [name for name in RECIPE.to_dict() if isinstance(RECIPE.to_dict()[name], dict)]
)
def test_a_checkpoint_reads_no_other_file(field: str, run: Path, tmp_path: Path) -> None:
    """A path in place of a table of fields made the parser read that file."""
    secret = tmp_path / "secret.yaml"
    secret.write_text(json.dumps(RECIPE.to_dict()[field], default=list))
    recipe = RECIPE.to_dict() | {field: str(secret)}
    with pytest.raises(CheckpointError, match=f"field {field} is the text .*; expected a table of fields"):
        load_run(rewritten(run, {"recipe": recipe}))
    with pytest.raises(CheckpointError, match=r"it is the text .*; expected a table of fields"):
        load_run(rewritten(run, {"recipe": str(secret)}))


def test_files_that_a_recipe_names_are_not_needed(run: Path) -> None:
    """They were needed to train; a checkpoint loads without them, and whatever they hold."""
    recipe = json.loads(json.dumps(RECIPE.to_dict()))
    recipe |= dict.fromkeys(("init", "motion_init", "motion_teacher"), str(run / "named.yaml"))
    (run / "named.yaml").write_text("motion: {steps: 3}")
    rewritten(run, {"recipe": recipe})
    info = load_run(run)[1]
    (run / "named.yaml").unlink()
    assert load_run(run)[1] == info
    assert info.recipe.init == info.recipe.motion_teacher == str(run / "named.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format_version": ' + "9" * 5000 + "}", "{", "null", "3"])
def test_descriptions_that_no_parser_likes(text: str, run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"description in .* is damaged|has format version None"):
        load_run(rewritten(run, text))


# -- weights that cannot be used -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (torch.float16, "float16"), (torch.bfloat16, "bfloat16"), (torch.float64, "float64"),
        (torch.int32, "int32"), (torch.bool, "bool"), (torch.complex64, "complex64"),
        (torch.float8_e4m3fn, "float8_e4m3fn"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("all_of_them", [True, False])
def test_weights_of_another_type(kind: torch.dtype, shown: str, all_of_them: bool, run: Path) -> None:
    tensors, metadata = read_tensors(run / "model.safetensors")
    one = "spatial_stream.backbone.fc.weight"
    changed = {name: t.to(kind) for name, t in tensors.items() if all_of_them or name == one}
    save_file(tensors | changed, run / "model.safetensors", metadata)
    with pytest.raises(CheckpointError, match=rf"{shown}(; expected|, not) float32|{shown}, not int64"):
        load_run(run)


@pytest.mark.parametrize(
    "name",
    [
        "motion_net.refine2.look.weight",
        "temporal_stream.backbone.fc.bias",
        "spatial_stream.backbone.bn0.running_var",
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite(name: str, value: float, run: Path, model: HiddenTwoStream) -> None:
    tensors, metadata = read_tensors(run / "model.safetensors")
    tensors[name].view(-1)[-1] = value
    save_file(tensors, run / "model.safetensors", metadata)
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=rf"cannot be used: {name} is not finite"):
        load_run(run)

    broken = trained()
    broken.load_state_dict(tensors)
    with pytest.raises(TrainingError, match=rf"cannot save the model: {name} is not finite"):
        save_run(run, broken, RunInfo(RECIPE, CLASSES, METADATA))
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "bad",
    ["3", "[]", "{}", '{"stage": "motion"}', '{"step": "x", "stage": "motion"}', "[" * 50_000, "{", "\ufffd"],
)
def test_a_damaged_log_is_read_up_to_the_damage(bad: str, tmp_path: Path) -> None:
    good = '{"stage": "motion", "step": 10}'
    (tmp_path / "metrics.jsonl").write_text(f"{good}\n{bad}\n{good}\n", encoding="utf-8")
    assert read_metrics(tmp_path) == [{"stage": "motion", "step": 10}]
    (tmp_path / "metrics.jsonl").write_bytes(f"{good}\n".encode() + b"\xff\xfe")
    assert read_metrics(tmp_path) == [{"stage": "motion", "step": 10}]
