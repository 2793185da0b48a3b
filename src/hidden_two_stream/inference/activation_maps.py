"""Where a stream saw its evidence for a class: gradient-weighted class activation maps.

Source: Selvaraju et al., Grad-CAM, arXiv 1610.02391, with two changes:

- The explained number is the log odds of the class, logit − log Σ exp(logits of the other classes), not its
  logit. What raises all logits alike is no evidence.
- A stream of the form "sequence" pools about the moving part of each pair. So each position keeps its own
  gradient there (HiResCAM, Draelos and Carin, arXiv 2011.08891) instead of the mean over the positions.

Where one average pooling and one linear layer follow the features, the sum of a map before its negative
values are dropped is what the features contribute to the log odds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from hidden_two_stream.recognition.backbones import VGG16, ResNet, SmallNet
from hidden_two_stream.recognition.image_encoder import EncoderBackbone
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.sequence import SequenceStream
from hidden_two_stream.recognition.streams import ActionBranch

__all__ = ["Activation", "activation_maps", "activations", "log_odds", "mapped_layer"]

_PATCHES = 8  # rows and columns of the map of an image encoder


@dataclass(frozen=True)
class Activation:
    """Features of one stream and the gradient of a class's log odds with respect to them.

    Attributes:
        features: (B, P, C, h, w); P is 1 where the stream has one map per clip, otherwise T − 1, one for
            each pair of frames.
        gradient: the same shape.
        is_pooled_everywhere: whether positions have equal rights, so that a channel has one weight.
    """

    features: Tensor
    gradient: Tensor
    is_pooled_everywhere: bool

    def maps(self) -> Tensor:
        """Return the evidence for the class at each position, (B, P, h, w), not negative."""
        weights = self.gradient
        if self.is_pooled_everywhere:
            weights = weights.mean(dim=(1, 3, 4), keepdim=True)
        return (weights * self.features).sum(dim=2).clamp(min=0)


def activation_maps(
    model: HiddenTwoStream, frames: Tensor, target: int, streams: Sequence[str]
) -> dict[str, Tensor]:
    """Return the maps of each stream, (B, P, h, w), see `Activation`.

    Weights, buffers and gradients of the model stay as they are, whether it is frozen or not.

    Args:
        model: the model, in evaluation mode.
        frames: (B, T, 3, H, W), preprocessed.
        target: number of the class to explain.
        streams: the streams to explain: "spatial", "temporal".
    """
    return {name: found.maps() for name, found in activations(model, frames, target, streams).items()}


def activations(
    model: HiddenTwoStream, frames: Tensor, target: int, streams: Sequence[str]
) -> dict[str, Activation]:
    """Return features and gradients of each stream; the arguments are those of `activation_maps`."""
    found: dict[str, Activation] = {}
    with torch.inference_mode(False), torch.enable_grad():
        clips = frames.clone() if frames.is_inference() else frames.detach()
        tensors = _without_gradients(model)
        for name in streams:
            stream = cast(nn.Module, getattr(model, f"{name}_stream"))
            layer = mapped_layer(stream)
            if layer is None:
                found[name] = _of_encoder(stream, clips, target)
            else:
                leaf, logits = _replayed(model, tensors, layer, clips, name)
                gradient = torch.autograd.grad(log_odds(logits, target).sum(), leaf)[0]
                found[name] = _shaped(stream, leaf.detach(), gradient, len(clips))
    return found


def log_odds(logits: Tensor, target: int) -> Tensor:
    """Return the log odds (B,) of class `target` from logits (B, classes); its logit if it is alone."""
    others = torch.cat((logits[:, :target], logits[:, target + 1 :]), dim=1)
    return logits[:, target] - (others.logsumexp(dim=1) if others.shape[1] else 0)


def mapped_layer(stream: nn.Module) -> nn.Module | None:
    """Return the layer of a stream whose output is mapped: the last one with positions.

    None: the stream is an image encoder, whose layers differ between families.
    """
    if isinstance(stream, SequenceStream):
        return stream.encoder
    network = stream.layers if isinstance(stream, ActionBranch) else stream.backbone
    if isinstance(network, SmallNet):
        return network.features
    if isinstance(network, ResNet):
        return network.get_submodule("layer4")
    if isinstance(network, VGG16):
        return network.features[-2]  # before the last pooling, as in the paper
    if isinstance(network, nn.Sequential):  # an action branch of fc6 to fc8, or of two convolutions
        return network[0] if isinstance(network[0], nn.AdaptiveAvgPool2d) else network[5]
    assert isinstance(network, EncoderBackbone)
    return None


def _without_gradients(module: nn.Module) -> dict[str, Tensor]:
    """Return weights and buffers that autograd can read and that need no gradient.

    Tensors made in inference mode cannot be saved for a backward pass, so they are copied.
    """
    named = (*module.named_parameters(), *module.named_buffers())
    return {name: x.clone() if x.is_inference() else x.detach() for name, x in named}


def _replayed(
    model: nn.Module, tensors: Mapping[str, Tensor], layer: nn.Module, clips: Tensor, stream: str
) -> tuple[Tensor, Tensor]:
    """Return the output of a layer as a leaf of the graph, and the stream's logits (B, classes) from it."""
    leaves: list[Tensor] = []

    def replace(_layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        leaves.append(output.detach().clone().requires_grad_())
        return leaves[-1]

    with ExitStack() as stack:
        stack.callback(layer.register_forward_hook(replace).remove)
        logits: Mapping[str, Tensor] = functional_call(model, dict(tensors), (clips,))
    return leaves[-1], logits[stream]


def _shaped(stream: nn.Module, features: Tensor, gradient: Tensor, batch: int) -> Activation:
    """Return features and gradient with an axis of pairs."""
    shape: Callable[[Tensor], Tensor]
    if isinstance(stream, SequenceStream):
        shape = lambda x: x.unflatten(0, (batch, -1))  # noqa: E731
    elif features.ndim == 5:  # (B, C, T−1, h, w)
        shape = lambda x: x.transpose(1, 2)  # noqa: E731
    else:
        shape = lambda x: x[:, None]  # noqa: E731
    return Activation(shape(features), shape(gradient), not isinstance(stream, SequenceStream))


def _of_encoder(stream: nn.Module, clips: Tensor, target: int) -> Activation:
    """Return an image encoder's input and gradient, multiplied and averaged over square parts of the frame.

    Transformers have no last layer with positions: their class token alone is read. Gradient × input is the
    evidence against a frame of the mean color.
    """
    backbone = cast(EncoderBackbone, stream.backbone)
    leaf = clips[:, clips.shape[1] // 2].detach().clone().requires_grad_()
    logits: Tensor = functional_call(backbone, _without_gradients(backbone), (leaf,))
    gradient = torch.autograd.grad(log_odds(logits, target).sum(), leaf)[0]
    evidence = (gradient * leaf.detach()).sum(dim=1, keepdim=True)
    parts = functional.adaptive_avg_pool2d(evidence, _PATCHES)[:, None]
    return Activation(parts, torch.ones_like(parts), False)
