"""Image encoders on disk and on the hub: every family loads, and what cannot be used is named in one line."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hidden_two_stream.errors import CheckpointError, HiddenTwoStreamError, UsageError
from hidden_two_stream.recognition.image_encoder import (
    FAMILIES,
    EncoderBackbone,
    EncoderConfig,
    encoder_features,
)
from hidden_two_stream.weights.image_encoder import describe_encoder, load_encoder

from ..encoders import PREPROCESSING, TINY, require_transformers, save_encoder, tiny_model


@pytest.fixture(autouse=True)
def _transformers() -> None:
    require_transformers()


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def expected_features(family: str, model: Any) -> Tensor:
    """What each family's own classifier looks at, from the model of the library itself."""
    with torch.no_grad():
        output = model(pixel_values=images())
    if family in ("vit", "deit", "vit_msn"):  # the classifiers of these read the class token
        return output.last_hidden_state[:, 0]
    if family == "ijepa":
        return output.last_hidden_state.mean(dim=1)
    return output.pooler_output.flatten(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_and_comes_back_from_its_description(family: str, tmp_path: Path) -> None:
    expected = expected_features(family, tiny_model(family))
    folder = save_encoder(tmp_path / "encoder", family)
    config = describe_encoder(str(folder))
    assert EncoderConfig.from_json(config.to_json()) == config
    torch.manual_seed(5)
    backbone = EncoderBackbone(config, 3, 0.5).eval()
    with torch.no_grad():
        random = encoder_features(backbone.image_encoder, images())
        load_encoder(backbone, str(folder))
        found = encoder_features(backbone.image_encoder, images())
        logits = backbone(images())
    assert not torch.allclose(random, expected, atol=1e-3)
    torch.testing.assert_close(found, expected)
    assert expected.std(dim=0).mean() > 1e-4  # it does look at the images

    with torch.device("meta"):  # as a checkpoint is loaded: without a second copy of the weights
        again = EncoderBackbone(EncoderConfig.from_json(config.to_json()), 3, 0.5)
    again.load_state_dict(backbone.state_dict(), assign=True)
    assert not [name for name, tensor in again.state_dict().items() if tensor.is_meta]
    with torch.no_grad():
        assert torch.equal(again.eval()(images()), logits)


def test_all_families_are_tried() -> None:
    assert set(TINY) == set(FAMILIES)


@pytest.mark.parametrize(
    ("whole", "part"), [("clip", "clip_vision_model"), ("siglip", "siglip_vision_model")]
)
def test_the_image_part_of_an_image_text_model(whole: str, part: str, tmp_path: Path) -> None:
    transformers = require_transformers()
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    kind = transformers.CONFIG_MAPPING[whole]
    model = transformers.MODEL_MAPPING[kind](kind(text_config=text, vision_config=TINY[part]))
    model.save_pretrained(tmp_path)
    config = describe_encoder(str(tmp_path))
    assert config.model_type == part
    backbone = EncoderBackbone(config, 3, 0.0)
    load_encoder(backbone, str(tmp_path))
    with torch.no_grad():
        expected = model.eval().vision_model(pixel_values=images()).pooler_output
        torch.testing.assert_close(encoder_features(backbone.image_encoder, images()), expected)


def test_weights_of_a_classifier_in_half_precision(tmp_path: Path) -> None:
    """As most are published: with a head, and with the prefix of the base model."""
    transformers = require_transformers()
    kind = transformers.CONFIG_MAPPING["vit"]
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(kind(**TINY["vit"])).half()
    model.save_pretrained(tmp_path)
    assert any(name.startswith("classifier") for name in load_file(tmp_path / "model.safetensors"))
    backbone = EncoderBackbone(describe_encoder(str(tmp_path)), 3, 0.0)
    load_encoder(backbone, str(tmp_path))
    assert {tensor.dtype for tensor in backbone.state_dict().values()} == {torch.float32}
    with torch.no_grad():
        expected = model.float().eval().vit(pixel_values=images()).last_hidden_state[:, 0]
        torch.testing.assert_close(encoder_features(backbone.image_encoder, images()), expected)


def test_sharded_weights(tmp_path: Path) -> None:
    model = tiny_model("vit")
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    backbone = EncoderBackbone(describe_encoder(str(tmp_path)), 3, 0.0)
    load_encoder(backbone, str(tmp_path))
    found = encoder_features(backbone.image_encoder, images()).detach()
    torch.testing.assert_close(found, expected_features("vit", model))
    first = min(tmp_path.glob("*.safetensors"))
    first.unlink()
    with pytest.raises(CheckpointError, match=f"has no file '{first.name}'"):
        load_encoder(backbone, str(tmp_path))


# -- preprocessing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"height": 32, "width": 32, "interpolation": "bilinear", "scale": 1 / 255}),
        ({"size": 64}, {"height": 64, "width": 64}),
        ({"size": {"shortest_edge": 64}, "crop_pct": 0.875}, {"height": 64, "width": 64}),
        ({"size": {"height": 32, "width": 64}}, {"height": 32, "width": 64}),
        ({"size": 64, "crop_size": 32}, {"height": 64}),
        ({"size": {"shortest_edge": 64}, "do_center_crop": True, "crop_size": 32}, {"height": 32}),
        ({"do_center_crop": True, "crop_size": {"height": 32, "width": 48}}, {"height": 32, "width": 48}),
        ({"resample": 3}, {"interpolation": "bicubic"}),
        ({"resample": 0}, {"interpolation": "nearest-exact"}),
        ({"do_rescale": False}, {"scale": 1.0}),
        ({"rescale_factor": 1 / 128}, {"scale": 1 / 128}),
        ({"do_normalize": False}, {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}),
        ({}, {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}),
    ],
)
def test_fields_of_the_preprocessing(
    changes: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    config = describe_encoder(str(save_encoder(tmp_path, "resnet", PREPROCESSING | changes)))
    assert {name: getattr(config, name) for name in expected} == expected


def test_without_preprocessing_it_is_that_of_imagenet_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = describe_encoder(str(save_encoder(tmp_path, "vit", None)))
    assert (config.height, config.width) == (32, 32)
    assert config.mean == (0.485, 0.456, 0.406)
    assert config.std == (0.229, 0.224, 0.225)
    errors = capsys.readouterr().err
    assert "has no preprocessor_config.json; its input is normalized by the mean" in errors


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"do_flip_channel_order": True}, "do_flip_channel_order is not supported"),
        ({"resample": 1}, "its resample is 1; expected one of 0, 2, 3"),
        ({"image_mean": [0.5]}, "mean"),
        ({"image_mean": 0.5}, "preprocessor_config.json"),
        ({"image_std": [0.0, 1.0, 1.0]}, "std"),
        ({"size": {"longest_edge": 3}}, "preprocessor_config.json"),
        ({"size": 5000}, "its height is 5000; expected 1 to 1024 px"),
    ],
)
def test_preprocessing_that_cannot_be_used_is_named(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        describe_encoder(str(save_encoder(tmp_path, "resnet", PREPROCESSING | changes)))
    assert "\n" not in str(caught.value)


# -- what cannot be used ---------------------------------------------------------------------------


def broken(folder: Path, kind: str) -> None:
    weights, config = folder / "model.safetensors", folder / "config.json"
    tensors = load_file(weights)
    name = max(tensors)
    if kind == "pickle":
        weights.unlink()
        torch.save(tensors, folder / "pytorch_model.bin")
    elif kind == "damaged":
        weights.write_bytes(weights.read_bytes()[:500])
    elif kind == "not finite":
        save_file(tensors | {name: tensors[name] * float("nan")}, weights, {"format": "pt"})
    elif kind == "incomplete":
        save_file({key: value for key, value in tensors.items() if key != name}, weights, {"format": "pt"})
    elif kind == "other shape":
        save_file(tensors | {name: tensors[name][:1].clone()}, weights, {"format": "pt"})
    else:
        changed = json.loads(config.read_text()) | json.loads(kind)
        config.write_text(json.dumps(changed))


@pytest.mark.parametrize(
    ("kind", "error", "named"),
    [
        ("pickle", UsageError, r"has no model\.safetensors; other formats are not read, because pickles"),
        ("damaged", CheckpointError, "cannot load the weights of"),
        ("not finite", CheckpointError, "is not finite"),
        ("incomplete", CheckpointError, r"lack encoder\.stages"),
        ("other shape", CheckpointError, "cannot load the weights of"),
        ('{"model_type": "llama"}', UsageError, "type 'llama'; expected an image encoder: resnet, convnext"),
        ('{"model_type": "timm_wrapper"}', UsageError, "type 'timm_wrapper'"),
        ('{"model_type": null}', UsageError, "type None"),
        ('{"hidden_sizes": "many"}', UsageError, "hidden_sizes"),
        ('{"num_channels": 4}', UsageError, "num_channels is 4; expected 3"),
        ('{"embedding_size": 100000}', UsageError, "embedding_size is 100000; expected at most 65536"),
        ('{"depths": [1, 1000]}', UsageError, "depths is 1000; expected at most 256"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_named(
    kind: str, error: type[HiddenTwoStreamError], named: str, tmp_path: Path
) -> None:
    folder = save_encoder(tmp_path, "resnet")
    broken(folder, kind)
    with pytest.raises(error, match=named) as caught:
        load_encoder(EncoderBackbone(describe_encoder(str(folder)), 3, 0.0), str(folder))
    assert "\n" not in str(caught.value)


def test_a_config_cannot_bring_code_or_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that make transformers run code, or fetch kernels, do not reach it."""
    folder = save_encoder(tmp_path, "vit")
    (folder / "evil.py").write_text("raise SystemExit('code of the folder was run')")
    broken(
        folder,
        json.dumps(
            {
                "auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"},
                "attn_implementation": "someone/kernels",
                "_attn_implementation": "someone/kernels",
                "quantization_config": {"quant_method": "gptq"},
            }
        ),
    )
    config = describe_encoder(str(folder))
    assert not {"auto_map", "attn_implementation", "quantization_config"} & set(config.config)
    backbone = EncoderBackbone(config, 3, 0.0)
    load_encoder(backbone, str(folder))
    attention: Any = backbone.image_encoder.config
    assert attention._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize("name", ["no/such/folder", "./nothing", "/nowhere/at/all", "a b", "hf:x", "../up"])
def test_what_is_neither_a_folder_nor_an_id_is_refused_at_once(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"give a folder with config\.json, or an id of the Hugging Face Hub"
    ):
        describe_encoder(name)


# -- the hub ---------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, str], str]], None]:
    """Puts a function in place of downloads."""
    module = importlib.import_module("huggingface_hub")

    def replace(download: Callable[[str, str], str]) -> None:
        monkeypatch.setattr(module, "hf_hub_download", download)

    return replace


def test_an_encoder_of_the_hub(hub: Callable[..., None], tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "snapshot", "dinov2")
    asked = []

    def download(name: str, file: str) -> str:
        asked.append((name, file))
        return str(folder / file)

    hub(download)
    backbone = EncoderBackbone(describe_encoder("someone/dinov2-tiny"), 3, 0.0)
    load_encoder(backbone, "someone/dinov2-tiny")
    found = encoder_features(backbone.image_encoder, images()).detach()
    torch.testing.assert_close(found, expected_features("dinov2", tiny_model("dinov2")))
    files = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert asked == [("someone/dinov2-tiny", file) for file in files]


def test_without_a_network_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    message = (
        r"cannot get config\.json of the image encoder 'someone/unknown-model' .*; try again, or download"
    )
    with pytest.raises(CheckpointError, match=message) as caught:
        describe_encoder("someone/unknown-model")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("kind", "error", "named"),
    [
        ("RepositoryNotFoundError", UsageError, "no image encoder 'a/b' on the Hugging Face Hub"),
        ("GatedRepoError", UsageError, "accept its license"),
        ("EntryNotFoundError", UsageError, r"'a/b' has no config\.json"),
        ("TimeoutError", CheckpointError, "cannot get config.json .*: line 1; try again"),
    ],
)
def test_what_the_hub_answers(
    kind: str, error: type[HiddenTwoStreamError], named: str, hub: Callable[..., None]
) -> None:
    errors = importlib.import_module("huggingface_hub.errors")
    kinds = getattr(errors, kind, TimeoutError)

    def fail(name: str, file: str) -> str:
        raised = kinds.__new__(kinds)
        raised.args = ("line 1.\nline 2",)
        raise raised

    hub(fail)
    with pytest.raises(error, match=named) as caught:
        describe_encoder("a/b")
    assert "\n" not in str(caught.value)
