"""Convolutional networks behind both streams, with torchvision's parameter names.

Each network maps (B, C, H, W), with any number of input channels C, to logits (B, classes). `embedding` gives
the input of its last layer, and `classify` maps that to logits.
ResNet and VGG16 have the parameter names and shapes of torchvision's `resnet18`, `resnet50` and `vgg16`, so
published weights load by key. `inflate` turns any backbone into one over (B, C, T, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from hidden_two_stream.convnets import VGG16_WIDTHS, add_resnet, init_trunk, resnet_pyramid, vgg16_features
from hidden_two_stream.errors import UsageError

__all__ = ["BACKBONES", "VGG16", "Backbone", "ResNet", "SmallNet", "build_backbone", "inflate"]


class Backbone(Protocol):
    """What all backbones offer: `classify(embedding(x))` is the network."""

    def embedding(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the input of the last layer, (B, D), before its dropout."""

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes): dropout and the last layer."""

    def __call__(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, classes)."""


class ResNet(nn.Module):
    """ResNet: 7×7 stem, four stages, average pooling, dropout, one linear layer.

    Source: He et al., arXiv 1512.03385, table 1.

    Args:
        name: "resnet18" or "resnet50".
        in_channels: input channels, C.
        num_classes: number of actions.
        dropout: probability in front of the linear layer.
    """

    def __init__(self, name: str, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        width = add_resnet(self, name, in_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)
        init_trunk(self)

    def embedding(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the averaged features of the last stage, (B, D)."""
        return _mean(resnet_pyramid(self, x)[-1])

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes)."""
        logits: Tensor = self.fc(self.dropout(embedding))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, classes)."""
        return self.classify(self.embedding(x))


class VGG16(nn.Module):
    """VGG16: 13 convolutions in five blocks, then fc6, fc7 and fc8.

    Source: Simonyan and Zisserman, arXiv 1409.1556, configuration D. Where the input is not 224×224, the
    features are pooled to 7×7 before fc6.

    Args:
        in_channels: input channels, C.
        num_classes: number of actions.
        dropout: probabilities behind fc6 and fc7. The reference uses 0.9 and 0.8 for the temporal stream; the
            original network uses 0.5.
        widths: output channels of the five blocks; smaller values make a small network for tests.
        hidden: units of fc6 and fc7.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dropout: tuple[float, float],
        widths: Sequence[int] = VGG16_WIDTHS,
        hidden: int = 4096,
    ) -> None:
        super().__init__()
        self.features = vgg16_features(in_channels, widths)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(widths[-1] * 7 * 7, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout[0]),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout[1]),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip
        init_trunk(self)

    def embedding(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the output of fc7 behind its ReLU, (B, hidden)."""
        features: Tensor = self.classifier[:-2](torch.flatten(self.avgpool(self.features(x)), 1))
        return features

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, hidden) to logits (B, classes)."""
        logits: Tensor = self.classifier[-2:](embedding)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, classes)."""
        return self.classify(self.embedding(x))


SMALL_STAGES = ((32, 2), (64, 2), (128, 2), (192, 1))


class SmallNet(nn.Module):
    """A small backbone for CPUs: four 3×3 stages, average pooling, dropout, one linear layer.

    This project's own network, with 0.4 M parameters. Batch normalization of the input makes it independent
    of the input's scale, which differs between RGB and flow.

    Args:
        in_channels: input channels, C.
        num_classes: number of actions.
        dropout: probability in front of the linear layer.
        stages: (output channels, stride) of each stage.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dropout: float,
        stages: Sequence[tuple[int, int]] = SMALL_STAGES,
    ) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(in_channels)
        layers: list[nn.Module] = []
        inputs = in_channels
        for width, stride in stages:
            convolution = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, num_classes)
        init_trunk(self)

    def embedding(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the averaged features of the last stage, (B, D)."""
        return _mean(self.features(self.bn0(x)))

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes)."""
        logits: Tensor = self.fc(self.dropout(embedding))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, classes)."""
        return self.classify(self.embedding(x))


def _mean(x: Tensor) -> Tensor:
    """Average (B, C, H, W) or (B, C, T, H, W) over all but the first two axes, to (B, C)."""
    return x.mean(dim=tuple(range(2, x.ndim)))


def inflate(module: nn.Module) -> nn.Module:
    """Give a 2-D network a time axis, in place, so that it takes (B, C, T, H, W).

    Each k×k convolution becomes 3×k×k, with its weights repeated over time and divided by 3. Away from the
    ends of a clip, a still video then gives the features of its frame. 1×1 convolutions and poolings stay
    within one frame. Time keeps its length T up to the final average, because a clip's ten flow fields are
    too few to shorten.

    Source: the inflation of Carreira and Zisserman (arXiv 1705.07750), as our reading of the paper's I3D
    variant.

    Args:
        module: a network of `Conv2d`, `BatchNorm2d`, `MaxPool2d` and `AdaptiveAvgPool2d` layers; layers of
            other types stay as they are.

    Returns:
        `module` itself, with parameters of the same names.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, _inflated_convolution(child).train(child.training))
        elif isinstance(child, nn.BatchNorm2d):
            normalization = nn.BatchNorm3d(child.num_features)
            normalization.load_state_dict(child.state_dict())
            setattr(module, name, normalization.train(child.training))
        elif isinstance(child, nn.MaxPool2d):
            kernel, stride, padding = (
                _one_number(v) for v in (child.kernel_size, child.stride, child.padding)
            )
            pooling = nn.MaxPool3d((1, kernel, kernel), (1, stride, stride), (0, padding, padding))
            setattr(module, name, pooling)
        elif isinstance(child, nn.AdaptiveAvgPool2d):
            setattr(module, name, nn.AdaptiveAvgPool3d((1, *child.output_size)))  # type: ignore[misc]
        else:
            inflate(child)
    return module


def _inflated_convolution(flat: nn.Conv2d) -> nn.Conv3d:
    rows, columns = flat.kernel_size
    frames = 3 if rows > 1 else 1
    solid = nn.Conv3d(
        flat.in_channels,
        flat.out_channels,
        (frames, rows, columns),
        (1, *flat.stride),  # type: ignore[arg-type]
        (frames // 2, *(int(side) for side in flat.padding)),  # type: ignore[arg-type]
        bias=flat.bias is not None,
    )
    with torch.no_grad():
        solid.weight.copy_(flat.weight[:, :, None] / frames)
        if solid.bias is not None and flat.bias is not None:
            solid.bias.copy_(flat.bias)
    return solid


def _one_number(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


BACKBONES: dict[str, Callable[[int, int, float], nn.Module]] = {
    "small": SmallNet,
    "resnet18": lambda channels, classes, dropout: ResNet("resnet18", channels, classes, dropout),
    "resnet50": lambda channels, classes, dropout: ResNet("resnet50", channels, classes, dropout),
    # The reference's dropout is 0.9 behind fc6 and 0.8 behind fc7: a difference of 0.1.
    "vgg16": lambda channels, classes, dropout: VGG16(channels, classes, (dropout, max(0.0, dropout - 0.1))),
}


def build_backbone(name: str, in_channels: int, num_classes: int, dropout: float) -> nn.Module:
    """Return a backbone with random weights.

    Args:
        name: "small", "resnet18", "resnet50" or "vgg16".
        in_channels: input channels, C.
        num_classes: number of actions.
        dropout: probability in front of the last layer; vgg16 has it behind fc6, and 0.1 less behind fc7.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in BACKBONES:
        raise UsageError(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name](in_channels, num_classes, dropout)
