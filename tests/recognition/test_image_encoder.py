"""Image encoders as backbones: preprocessing against each family's own, and limits of their description."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.config.stages import STAGES
from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.recognition.image_encoder import EncoderBackbone, EncoderConfig, plain_config
from hidden_two_stream.recognition.model import HiddenTwoStream, Preprocessing
from hidden_two_stream.training.optimizer import build_optimizer
from hidden_two_stream.training.stages import select_trained
from hidden_two_stream.video.crops import center_crop_box
from hidden_two_stream.video.transforms import apply_crop, normalize

from ..encoders import TINY, require_transformers

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True)
def _transformers() -> None:
    require_transformers()


def described(family: str = "resnet", **changes: Any) -> EncoderConfig:
    config = EncoderConfig(family, plain_config(family, TINY[family]), 32, 32, 1 / 255, MEAN, STD)
    return dataclasses.replace(config, **changes)


def clip(side: int) -> Tensor:
    """One frame (1, 3, side, side) uint8 of noise; interpolation does not leave the range of pixels."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(60, 196, (1, 3, side, side), generator=generator, dtype=torch.uint8)


# -- preprocessing ---------------------------------------------------------------------------------


def processed(name: str, image: Tensor, **options: Any) -> Tensor:
    """What the family's own image processor makes of a frame."""
    module = importlib.import_module(f"transformers.models.{name}.image_processing_pil_{name}")
    kind = {"vit": "ViT", "bit": "Bit", "convnext": "ConvNext"}[name]
    processor = getattr(module, f"{kind}ImageProcessorPil")(image_mean=MEAN, image_std=STD, **options)
    found: Tensor = processor(image[0].numpy(), return_tensors="pt", input_data_format="channels_first")[
        "pixel_values"
    ]
    return found


@pytest.mark.parametrize("side", [20, 32, 45, 100])
@pytest.mark.parametrize(
    ("family", "name", "interpolation", "options"),
    [
        ("vit", "vit", "bilinear", {"size": {"height": 32, "width": 32}, "resample": 2}),
        (
            "dinov2",
            "bit",
            "bicubic",
            {"size": {"shortest_edge": 32}, "resample": 3, "do_center_crop": False},
        ),
        (
            "convnext",
            "convnext",
            "bicubic",
            {"size": {"shortest_edge": 32}, "resample": 3, "crop_pct": 1.0},
        ),
        (
            "resnet",
            "convnext",
            "bicubic",
            {"size": {"shortest_edge": 32}, "resample": 3, "crop_pct": 1.0},
        ),
    ],
)
def test_frames_are_resized_as_by_the_familys_own_processor(
    family: str, name: str, interpolation: str, options: dict[str, Any], side: int
) -> None:
    """The processor rounds to whole pixels after each of its two passes, so up to one gray level differs."""
    image = clip(side)
    expected = processed(name, image, **options)
    found = EncoderBackbone(described(family, interpolation=interpolation), 3, 0.0).prepare(normalize(image))
    gray_levels = (found - expected).abs() * torch.tensor(STD)[:, None, None] * 255
    assert found.shape == expected.shape
    assert gray_levels.max() < (1.1 if side != 32 else 1e-3)
    assert expected.std() > 0.2  # one gray level is far below what the image shows


def test_our_center_crop_is_that_of_the_processor() -> None:
    """input.resize=48 and input.size=32 do what the processor does by itself, without any rounding."""
    image = clip(48)
    options = {"size": {"shortest_edge": 48}, "crop_size": {"height": 32, "width": 32}, "resample": 3}
    expected = processed("bit", image, **options)
    ours = apply_crop(image, center_crop_box(48, 48, 32), 32)
    found = EncoderBackbone(described("dinov2", interpolation="bicubic"), 3, 0.0).prepare(normalize(ours))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_each_channel_has_its_own_mean_and_deviation() -> None:
    config = described(scale=0.01, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    pixels = torch.tensor([10.0, 20.0, 30.0])[None, :, None, None].expand(1, 3, 16, 16)
    found = EncoderBackbone(config, 3, 0.0).prepare(normalize(pixels))
    expected = torch.tensor([(0.1 - 0.1) / 0.5, (0.2 - 0.2) / 1.0, (0.3 - 0.3) / 2.0])
    torch.testing.assert_close(found[0], expected[:, None, None].expand(3, 32, 32), atol=1e-5, rtol=0)
    brighter = EncoderBackbone(config, 3, 0.0).prepare(normalize(pixels + 100))
    expected = torch.tensor([1 / 0.5, 1 / 1.0, 1 / 2.0])
    torch.testing.assert_close(brighter[0, :, 0, 0], expected)


def test_the_stream_sees_the_middle_frame_with_the_contrast_of_the_clip() -> None:
    model = HiddenTwoStream(
        "nano", "small", 3, num_frames=5, streams=("spatial",), normalize_contrast=True, encoder=described()
    ).eval()
    clips = torch.randint(100, 110, (2, 5, 3, 32, 32), dtype=torch.uint8)
    frames = model.preprocess(clips)
    assert torch.equal(frames, Preprocessing(normalize_contrast=True)(clips))
    backbone: Any = model.spatial_stream.backbone
    with torch.no_grad():
        assert torch.equal(model.spatial(frames), backbone(frames[:, 2]))
        assert not torch.allclose(model.spatial(frames), backbone(normalize(clips)[:, 2]))


# -- what a stage trains ---------------------------------------------------------------------------


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("rate", [0.0, 1e-5])
def test_a_frozen_encoder_takes_no_gradient_and_a_tuned_one_has_its_own_rate(
    family: str, rate: float
) -> None:
    model = HiddenTwoStream("nano", "small", 3, num_frames=3, encoder=described(family))
    config = StageConfig(learning_rate=1e-3, encoder_learning_rate=rate, bias_factor=2.0)
    select_trained(model, STAGES["spatial"], train_encoder=rate > 0)
    backbone: Any = model.spatial_stream.backbone
    named = list(backbone.image_encoder.named_parameters())
    encoder = [parameter for name, parameter in named if not name.endswith("mask_token")]
    assert not any(parameter.requires_grad for name, parameter in named if name.endswith("mask_token"))
    assert all(module.training == (rate > 0) for module in backbone.image_encoder.modules())
    assert backbone.training
    assert backbone.dropout.training
    rates = {
        id(parameter): group["peak_lr"]
        for group in build_optimizer(model, config).param_groups
        for parameter in group["params"]
    }
    assert {rates.get(id(parameter)) for parameter in encoder} == {rate or None}
    assert (rates[id(backbone.fc.weight)], rates[id(backbone.fc.bias)]) == (1e-3, 2e-3)

    logits = model.spatial(torch.randn(2, 3, 3, 32, 32))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert {parameter.grad is not None for parameter in encoder} == {rate > 0}
    assert backbone.fc.weight.grad is not None
    if not rate:  # nothing is kept for a backward pass through the encoder
        prepared = backbone.prepare(torch.randn(2, 3, 32, 32))
        assert backbone.image_encoder(pixel_values=prepared).last_hidden_state.grad_fn is None


def test_stages_of_the_other_stream_leave_it_alone() -> None:
    model = HiddenTwoStream("nano", "small", 3, num_frames=3, encoder=described())
    for stage in ("motion", "temporal", "joint"):
        select_trained(model, STAGES[stage])
        stream = model.get_submodule("spatial_stream")
        assert not any(parameter.requires_grad for parameter in stream.parameters())
        assert not any(module.training for module in stream.modules())


# -- its description -------------------------------------------------------------------------------


def test_a_description_survives_being_written() -> None:
    config = described("vit", height=64, std=(0.5, 0.25, 1.0), interpolation="nearest-exact")
    assert EncoderConfig.from_json(config.to_json()) == config
    assert len(config.to_json()) < 4096  # the longest text that a recipe may have


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "timm_wrapper"}, "its model_type is 'timm_wrapper'; expected one of resnet"),
        ({"height": 2000}, "its height is 2000; expected 1 to 1024 px"),
        ({"width": 0}, "its width is 0"),
        ({"width": True}, "its width is True"),
        ({"scale": 0}, "its scale is 0"),
        ({"mean": [0, "x", 1]}, "its mean is"),
        ({"mean": 3}, "image encoder"),
        ({"std": [1, 1, 0]}, "above 0"),
        ({"interpolation": "lanczos"}, "its interpolation is 'lanczos'; expected one of nearest-exact"),
        ({"config": []}, "its config is not a table"),
        ({"config": {"vision": {"a": 1}}}, "its vision is"),
        ({"config": {"hidden_size": 10**6}}, "hidden_size is 1000000; expected at most 65536"),
        ({"config": {"num_hidden_layers": 257}}, "num_hidden_layers is 257; expected at most 256"),
        ({"config": {"num_channels": 1}}, "num_channels is 1; expected 3"),
        ({"extra": 1}, "its field 'extra' is unknown"),
    ],
)
def test_a_wrong_description_is_named(changes: dict[str, Any], named: str) -> None:
    data = json.loads(described().to_json()) | changes
    with pytest.raises(UsageError, match=named) as caught:
        EncoderConfig.from_json(json.dumps(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "x", "{}", '{"height": NaN}'])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"model\.encoder does not describe an image encoder"):
        EncoderConfig.from_json(text)


@pytest.mark.parametrize(
    ("family", "changes", "named"),
    [
        ("vit", {"auto_map": "evil.Model"}, "has no field 'auto_map'"),
        ("vit", {"attn_implementation": "someone/kernels"}, "has no field 'attn_implementation'"),
        ("vit", {"return_dict": False}, "has no field 'return_dict'"),
        ("vit", {"patch_size": 0}, "cannot build the image encoder vit"),
        ("vit", {"hidden_act": "no such"}, "cannot build the image encoder vit"),
        ("vit", {"image_size": 64}, "does not take images of 32×32 px"),
        ("vit", {"hidden_size": 65536, "intermediate_size": 65536}, "parameters; expected at most"),
    ],
)
def test_a_description_that_cannot_be_built_is_named(
    family: str, changes: dict[str, Any], named: str
) -> None:
    config = described(family)
    with pytest.raises(UsageError, match=named) as caught:
        EncoderBackbone(dataclasses.replace(config, config={**config.config, **changes}), 3, 0.0)
    assert "\n" not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    config = described()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'hidden-two-stream\[hf\]'"):
        EncoderBackbone(config, 3, 0.0)
