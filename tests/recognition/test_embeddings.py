"""Embeddings: the input of each stream's last layer, for all forms and backbones; logits have not changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hidden_two_stream.convnets import resnet_pyramid
from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition import streams
from hidden_two_stream.recognition.backbones import (
    BACKBONES,
    VGG16,
    ResNet,
    SmallNet,
    build_backbone,
    inflate,
)
from hidden_two_stream.recognition.image_encoder import (
    EncoderBackbone,
    EncoderConfig,
    encoder_features,
    plain_config,
)
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.sequence import SequenceStream

from ..encoders import TINY, require_transformers

FORMS = ("stacked", "inflated", "branched", "sequence")
CLASSES = 5
FRAMES = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.5


def narrow_vgg16(channels: int, classes: int, dropout: float) -> VGG16:
    """VGG16 with few channels: the real one has 134 million weights."""
    return VGG16(channels, classes, (dropout, dropout), widths=(4, 4, 8, 8, 8), hidden=16)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "vgg16", narrow_vgg16)


def last_layer(module: nn.Module) -> nn.Linear:
    """The last linear layer, found without the module's help."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.usefixtures("narrow")
def test_the_last_layer_maps_embeddings_to_logits(form: str, backbone: str) -> None:
    """A sequence has no backbone; the spatial stream beside it has."""
    torch.manual_seed(1)
    model = HiddenTwoStream("nano", backbone, CLASSES, 3, temporal=form).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for name, embed, score in (
            ("temporal_stream", model.temporal_embedding, model.temporal),
            ("spatial_stream", model.spatial_embedding, model.spatial),
        ):
            layer = last_layer(model.get_submodule(name))
            layer.weight.normal_()  # a new layer has small weights, which would hide a difference
            embedding = embed(FRAMES)
            assert embedding.shape == (2, layer.in_features)
            assert embedding.std() > 0
            logits = embedding @ layer.weight.T + layer.bias
            torch.testing.assert_close(logits, score(FRAMES), rtol=0, atol=1e-5)
            stream: Any = model.get_submodule(name)
            assert torch.equal(stream.classify(embedding), score(FRAMES))


def test_a_model_without_a_stream_has_no_embedding_of_it() -> None:
    model = HiddenTwoStream("nano", "small", CLASSES, 3, streams=("spatial",))
    with pytest.raises(UsageError, match="this model has no temporal_stream"):
        model.temporal_embedding(FRAMES)


# -- logits as before ------------------------------------------------------------------------------


def mean(x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.ndim)))


def resnet_before(network: ResNet, x: Tensor) -> Tensor:
    return network.fc(network.dropout(mean(resnet_pyramid(network, x)[-1])))


def small_before(network: SmallNet, x: Tensor) -> Tensor:
    return network.fc(network.dropout(mean(network.features(network.bn0(x)))))


def vgg16_before(network: VGG16, x: Tensor) -> Tensor:
    return network.classifier(torch.flatten(network.avgpool(network.features(x)), 1))


BEFORE: dict[str, Callable[..., Tensor]] = {
    "small": small_before, "resnet18": resnet_before, "resnet50": resnet_before, "vgg16": vgg16_before,
}  # fmt: skip


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("inflated", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.usefixtures("narrow")
def test_logits_of_backbones_are_bit_identical(name: str, inflated: bool, train: bool) -> None:
    """Also in training, where the dropout must draw the same numbers."""
    torch.manual_seed(2)
    network = build_backbone(name, 3, CLASSES, 0.5)
    x = torch.rand(2, 3, 4, 32, 32) if inflated else torch.rand(2, 3, 32, 32)
    network = (inflate(network) if inflated else network).train(train)
    torch.manual_seed(3)
    expected = BEFORE[name](network, x)
    torch.manual_seed(3)
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize("backbone", ["vgg16", "small", "resnet18"])
def test_logits_of_branches_are_bit_identical(backbone: str) -> None:
    torch.manual_seed(2)
    branch = streams.ActionBranch(2, 8, backbone, CLASSES, 0.5).train()
    x = torch.rand(2, 2, 8, 8)
    torch.manual_seed(3)
    expected = branch.layers(x)
    torch.manual_seed(3)
    assert torch.equal(branch(x), expected)


def test_logits_of_sequences_are_bit_identical() -> None:
    torch.manual_seed(2)
    stream = SequenceStream(12, CLASSES, 0.5).train()
    pairs = torch.rand(3, 4, 12, 16, 16)
    torch.manual_seed(3)
    expected = stream.fc(stream.dropout(stream.embed(stream.encode(pairs)).mean(dim=1)))
    torch.manual_seed(3)
    assert torch.equal(stream(pairs), expected)


@pytest.mark.parametrize("family", ["resnet", "vit", "clip_vision_model"])
def test_image_encoders_have_embeddings(family: str) -> None:
    require_transformers()
    statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    config = EncoderConfig(family, plain_config(family, TINY[family]), 32, 32, 1 / 255, *statistics)
    torch.manual_seed(2)
    model = HiddenTwoStream("nano", "small", CLASSES, 3, streams=("spatial",), encoder=config).eval()
    network = model.spatial_stream.backbone
    assert isinstance(network, EncoderBackbone)
    with torch.no_grad():
        network.fc.weight.normal_()
        embedding = model.spatial_embedding(FRAMES)
        features = encoder_features(network.image_encoder, network.prepare(FRAMES[:, 1]))
        expected = nn.functional.layer_norm(features, features.shape[1:])  # a new norm changes nothing else
        torch.testing.assert_close(embedding, expected, rtol=0, atol=1e-5)
        logits = model.spatial(FRAMES)
        assert torch.equal(logits, network.fc(network.norm(features)))
        torch.testing.assert_close(
            logits, embedding @ network.fc.weight.T + network.fc.bias, rtol=0, atol=1e-5
        )
