"""Runs with an image encoder: what is trained, and that they need neither its folder nor a network."""

from __future__ import annotations

import functools
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream import load
from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.tensors import read_tensors, write_tensors
from hidden_two_stream.training import loop

from ..encoders import PREPROCESSING, require_transformers, save_encoder, tiny_model

Hts = Callable[..., tuple[int, str, str]]
FAMILIES = ("resnet", "convnext", "vit", "dinov2")
STAGES = ("motion", "spatial", "temporal", "joint")
ENCODER = "spatial_stream.backbone.image_encoder."


def options(encoder: Path | str, **changes: object) -> list[str]:
    """Options of a quick run of the spatial stream; `motion__steps=2` changes motion.steps."""
    fields: dict[str, object] = {
        "model.num_frames": 3, "input.size": 32, "input.resize": 32, "motion_init": "none",
        "model.backbone": f"hf:{encoder}", "spatial.learning_rate": 1e-2, "calibration.method": "none",
    }  # fmt: skip
    for stage in STAGES:
        fields |= {f"{stage}.batch_size": 4, f"{stage}.steps": 3 if stage == "spatial" else 0}
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    pairs = [f"{name}={value}" for name, value in fields.items()]
    return ["--workers", "0", "--protocol", "center", *(part for pair in pairs for part in ("--set", pair))]


SPATIAL = {"model__streams": "[spatial]"}


@pytest.fixture(autouse=True)
def _transformers() -> None:
    require_transformers()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something went online")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def run_of(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, float], Path]:
    """The run of a family's encoder, frozen (rate 0) or tuned. The folder of the encoder is gone."""
    root = tmp_path_factory.mktemp("encoder_runs")

    @functools.cache
    def train(family: str, rate: float) -> Path:
        out, encoder = root / f"{family}-{rate}", save_encoder(root / "encoder", family)
        changes = {**SPATIAL, "spatial__encoder_learning_rate": rate}
        command = ["train", "--data", str(small_data), "--out", str(out), *options(encoder, **changes)]
        assert main([*command, "--quiet"]) == 0
        shutil.rmtree(encoder)
        return out

    return train


def weights(run: Path) -> dict[str, Tensor]:
    return read_tensors(run / "model.safetensors")[0]


def encoder_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(ENCODER): value for k, value in tensors.items() if k.startswith(ENCODER)}


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_encoder_stays_bit_for_bit_the_same(
    family: str, run_of: Callable[[str, float], Path]
) -> None:
    """Weights and running statistics; the layers behind it learn."""
    found, published = encoder_of(weights(run_of(family, 0.0))), tiny_model(family).state_dict()
    pooler = {name for name in published if name.startswith("pooler.dense")}  # BERT's, which is taken out
    assert found.keys() == published.keys() - pooler
    assert all(torch.equal(found[name], published[name]) for name in found)
    if family == "resnet":
        assert any(name.endswith("running_mean") for name in found)
    scale = weights(run_of(family, 0.0))["spatial_stream.backbone.norm.weight"]
    assert not torch.equal(scale, torch.ones_like(scale))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tuned_encoder_moves_in_all_its_parts(family: str, run_of: Callable[[str, float], Path]) -> None:
    found, published = encoder_of(weights(run_of(family, 1e-3))), tiny_model(family).state_dict()
    still = {name for name in found if torch.equal(found[name], published[name])}
    # The mask token stands for hidden parts of an image, and there are none.
    assert {name for name in still if not name.endswith("mask_token")} == set()
    moved = max((found[n] - published[n]).abs().max() for n in found if n.endswith("weight"))
    assert moved < 3 * 1.1e-3  # AdamW moves by about the learning rate in each of three steps


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rate", [0.0, 1e-3])
def test_predict_needs_neither_the_folder_nor_a_network(
    family: str, rate: float, run_of: Callable[[str, float], Path], small_data: Path, hts: Hts
) -> None:
    run = run_of(family, rate)
    code, output, errors = hts(
        "evaluate", run, "--data", small_data, "--protocol", "center", "--json", "--workers", "0"
    )
    assert code == 0, errors
    trained = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert json.loads(output)["accuracy"] == trained["accuracy"]
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    code, output, errors = hts("predict", run, video)
    assert code == 0, errors
    assert "left/test_0000.mp4: " in output


def test_the_run_sees_what_the_encoder_sees(run_of: Callable[[str, float], Path]) -> None:
    """The scores of a run, computed once more with the library's own model and by hand."""
    recognizer = load(run_of("vit", 0.0))
    video = np.random.default_rng(0).integers(60, 196, (3, 32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(video[1]).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(PREPROCESSING[f"image_{name}"])[:, None, None] for name in ("mean", "std"))
    tensors = weights(run_of("vit", 0.0))
    head: Any = {name.rpartition("backbone.")[2]: value for name, value in tensors.items()}
    with torch.no_grad():
        token = tiny_model("vit")(pixel_values=((pixels - mean) / std)[None]).last_hidden_state[:, 0]
        features = torch.nn.functional.layer_norm(
            token, token.shape[1:], head["norm.weight"], head["norm.bias"]
        )
        expected = torch.softmax(features @ head["fc.weight"].T + head["fc.bias"], dim=1)[0]
    found = recognizer.predict(video, protocol="center").streams["spatial"]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_both_streams_and_what_is_said_of_them(small_data: Path, tmp_path: Path, hts: Hts) -> None:
    encoder = save_encoder(tmp_path / "encoder", "dinov2")
    steps = {f"{stage}__steps": 1 for stage in STAGES}
    contrast = {
        "input__normalize_contrast": "true", "model__temporal": "stacked", "temporal_init": "none",
    }  # fmt: skip
    run = tmp_path / "run"
    code, _, errors = hts("train", "--data", small_data, "--out", run, *options(encoder, **steps, **contrast))
    assert code == 0, errors
    assert f"the spatial stream is the image encoder {encoder} (dinov2, 0.0 M parameters, frozen)" in errors
    assert "it sees frames resized to 32×32 px" in errors
    assert "the temporal stream has the backbone small" in errors
    found, published = encoder_of(weights(run)), tiny_model("dinov2").state_dict()
    assert all(torch.equal(found[name], published[name]) for name in published)
    recognizer = load(run)
    assert type(recognizer.model.temporal_stream.backbone).__name__ == "SmallNet"
    versions = recognizer.info.metadata.versions
    assert versions["transformers"] == require_transformers().__version__


def test_small_crops_are_resized_to_the_encoder(small_data: Path, tmp_path: Path, hts: Hts) -> None:
    preprocessing = PREPROCESSING | {"size": 64}
    encoder = save_encoder(tmp_path / "encoder", "vit", preprocessing, image_size=64)
    run = tmp_path / "run"
    code, _, errors = hts("train", "--data", small_data, "--out", run, *options(encoder, **SPATIAL))
    assert code == 0, errors  # the encoder would refuse 32×32 px
    assert "it sees frames resized to 64×64 px" in errors


# -- going on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 1e-3])
def test_a_resumed_run_is_that_of_a_run_without_a_stop(
    rate: float,
    run_of: Callable[[str, float], Path],
    small_data: Path,
    tmp_path: Path,
    hts: Hts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folder of the encoder is gone when the run goes on."""

    class Stop:
        wanted, signal_number = False, 2

        def __enter__(self) -> Stop:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    original = loop._StageRun._step

    def step_and_stop(self: loop._StageRun, number: int, batches: Any) -> dict[str, float]:
        Stop.wanted = number == 1
        return original(self, number, batches)

    encoder, run = save_encoder(tmp_path / "encoder", "resnet"), tmp_path / "run"
    changes = {**SPATIAL, "spatial__encoder_learning_rate": rate}
    with monkeypatch.context() as patch:
        patch.setattr(loop._StageRun, "_step", step_and_stop)
        patch.setattr(loop, "StopRequest", Stop)
        code, _, errors = hts("train", "--data", small_data, "--out", run, *options(encoder, **changes))
    assert code == 130, errors
    shutil.rmtree(encoder)
    code, _, errors = hts("train", "--resume", "--out", run, "--workers", "0")
    assert code == 0, errors
    found, expected = weights(run), weights(run_of("resnet", rate))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_warm_start_brings_the_tuned_encoder(
    run_of: Callable[[str, float], Path], small_data: Path, tmp_path: Path, hts: Hts
) -> None:
    """From another folder with the same encoder; the weights are those of the run, not of the folder."""
    source, run = run_of("resnet", 1e-3), tmp_path / "run"
    encoder = save_encoder(tmp_path / "moved", "resnet")
    changes = {"temporal__steps": 1, "model__temporal": "stacked", "temporal_init": "none"}
    command = ["train", "--data", small_data, "--out", run, "--spatial-from", source]
    code, _, errors = hts(*command, *options(encoder, **changes))
    assert code == 0, errors
    found, expected = weights(run), weights(source)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_warm_start_of_another_encoder_is_refused(
    run_of: Callable[[str, float], Path], small_data: Path, tmp_path: Path, hts: Hts
) -> None:
    source, run = run_of("resnet", 0.0), tmp_path / "run"
    for encoder in (
        save_encoder(tmp_path / "vit", "vit"),
        save_encoder(tmp_path / "other", "resnet", PREPROCESSING | {"resample": 3}),
    ):
        command = ["train", "--data", small_data, "--out", run, "--spatial-from", source]
        code, _, errors = hts(*command, *options(encoder, temporal__steps=1))
        assert code == 2
        assert len(errors.splitlines()) == 1, errors
        assert "has another image encoder than" in errors
        assert len(errors) < 600


def test_a_temporal_stream_of_a_small_run_fits(
    small_run: Path, small_data: Path, tmp_path: Path, hts: Hts
) -> None:
    encoder, run = save_encoder(tmp_path / "encoder", "vit"), tmp_path / "run"
    command = ["train", "--data", small_data, "--out", run, "--temporal-from", small_run]
    code, _, errors = hts(*command, *options(encoder))
    assert code == 0, errors
    found, expected = weights(run), weights(small_run)
    names = [name for name in found if name.startswith("temporal_stream.")]
    assert names
    assert all(torch.equal(found[name], expected[name]) for name in names)


@pytest.mark.parametrize("methods", ["spatial", "frames"])
def test_compare(methods: str, small_data: Path, tmp_path: Path, hts: Hts) -> None:
    encoder, out = save_encoder(tmp_path / "encoder", "convnext"), tmp_path / "out"
    command = ["compare", "--data", small_data, "--out", out, "--methods", methods, "--seeds", "1"]
    code, _, errors = hts(*command, *options(encoder, temporal__steps=1), "--quiet")
    assert code == 0, errors
    (run,) = (out / "runs" / "spatial").glob("*/seed_0")
    found, published = encoder_of(weights(run)), tiny_model("convnext").state_dict()
    assert all(torch.equal(found[name], published[name]) for name in published)
    if methods == "frames":
        (run,) = (out / "runs" / "frames").glob("*/seed_0")
        assert not encoder_of(weights(run))
        assert json.loads((run / "config.json").read_text())["recipe"]["model"]["backbone"] == "small"


# -- one line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"init": "imagenet"}, "init is imagenet, but the image encoder"),
        ({"model__backbone": "small", "spatial__encoder_learning_rate": 1e-3}, "but model.backbone is small"),
        ({"joint__encoder_learning_rate": 1e-3}, "only stage spatial trains an image encoder"),
        ({"model__streams": "[temporal]", "spatial__steps": 0}, "model.streams has no 'spatial'"),
        ({"model__backbone": "hf:"}, "name an image encoder: hf:facebook/dinov2-small"),
        ({"model__backbone": "hf:no/such/folder"}, "give a folder with config.json"),
        ({"model__backbone": "resnet"}, "choose one of small, resnet18, resnet50, vgg16, or hf:NAME"),
        ({"model__encoder": "{}"}, "model.encoder does not describe an image encoder"),
        ({"model__backbone": "small", "model__encoder": "{}"}, "model.encoder is set, but model.backbone is"),
    ],
)
def test_contradictions_are_one_line(
    changes: dict[str, object], named: str, small_data: Path, tmp_path: Path, hts: Hts
) -> None:
    encoder = save_encoder(tmp_path / "encoder", "resnet")
    code, _, errors = hts(
        "train", "--data", small_data, "--out", tmp_path / "run", *options(encoder, **changes)
    )
    assert code == 2
    assert named in errors
    assert len(errors.splitlines()) == 1, errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "timm_wrapper"}, "cannot be rebuilt: .*its model_type is 'timm_wrapper'"),
        ({"config": {"hidden_size": 65536, "intermediate_size": 65536}}, "cannot be rebuilt: .*parameters"),
        ({"config": {"auto_map": "evil.Model"}}, "cannot be rebuilt: .*has no field 'auto_map'"),
        ({"config": {"hidden_size": 32}}, "does not fit its own description"),
        (None, "cannot be rebuilt: .*does not describe an image encoder"),
    ],
)
def test_a_checkpoint_from_elsewhere_cannot_ask_for_more(
    changes: dict[str, Any] | None, named: str, run_of: Callable[[str, float], Path], tmp_path: Path
) -> None:
    tensors, metadata = read_tensors(run_of("vit", 0.0) / "model.safetensors")
    description = json.loads(metadata["hidden_two_stream"])
    model = description["recipe"]["model"]
    encoder = json.loads(model["encoder"])
    config = encoder["config"] | (changes or {}).get("config", {})
    changed = json.dumps(encoder | (changes or {}) | {"config": config})
    model["encoder"] = "" if changes is None else changed
    write_tensors(tmp_path / "model.safetensors", tensors, {"hidden_two_stream": json.dumps(description)})
    with pytest.raises(CheckpointError, match=named) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_the_library_training_and_prediction_say_so(
    run_of: Callable[[str, float], Path],
    small_data: Path,
    tmp_path: Path,
    hts: Hts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, encoder = run_of("vit", 0.0), save_encoder(tmp_path / "encoder", "vit")
    monkeypatch.setitem(sys.modules, "transformers", None)
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    for command in (
        ["predict", run, video],
        ["train", "--data", small_data, "--out", tmp_path / "run", *options(encoder)],
    ):
        code, _, errors = hts(*command)
        assert code == 1
        assert "needs transformers" in errors
        assert "pip install 'hidden-two-stream[hf]'" in errors
        assert len(errors.splitlines()) == 1


def test_other_runs_do_not_import_the_library(small_run: Path, small_data: Path) -> None:
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    code = (
        "import sys; from hidden_two_stream import load; "
        f"load({str(small_run)!r}).predict({str(video)!r}); "
        "print(sorted({'transformers', 'huggingface_hub'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr
