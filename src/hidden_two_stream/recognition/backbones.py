"""The convolutional networks behind both streams, with torchvision's parameter names.

Each takes (B, C, H, W) for any number of input channels C and returns logits (B, classes).
Names and shapes of parameters are those of torchvision's `resnet18`, `resnet50` and `vgg16`, so published
weights load by key. `inflate` makes any of them one over (B, C, T, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hidden_two_stream.convnets import VGG16_WIDTHS, add_resnet, init_trunk, resnet_pyramid, vgg16_features
from hidden_two_stream.errors import UsageError

__all__ = ["BACKBONES", "VGG16", "ResNet", "SmallNet", "build_backbone", "inflate"]


class ResNet(nn.Module):
    """ResNet (arXiv 1512.03385): 7×7 stem, four stages, average pooling, dropout, one linear layer."""

    def __init__(self, name: str, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        width = add_resnet(self, name, in_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)
        init_trunk(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, classes)."""
        logits: Tensor = self.fc(self.dropout(_mean(resnet_pyramid(self, x)[-1])))
        return logits


class VGG16(nn.Module):
    """VGG16 (arXiv 1409.1556, configuration D). fc6 and fc7 have 4096 units.

    Dropout is 0.9 and 0.8 for the temporal stream in the reference, 0.5 in the original. Inputs other than
    224×224 are pooled to 7×7 before fc6. `widths` and `hidden` shrink it for tests.
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

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return logits


SMALL_STAGES = ((32, 2), (64, 2), (128, 2), (192, 1))


class SmallNet(nn.Module):
    """Our own for CPUs: four 3×3 stages (0.4 M parameters), average pooling, dropout, one linear layer.

    The input is batch-normalised, so that no stream has to care for the scale of its input. `stages` are
    the width and the stride of each.
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

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, classes)."""
        logits: Tensor = self.fc(self.dropout(_mean(self.features(self.bn0(x)))))
        return logits


def _mean(x: Tensor) -> Tensor:
    """(B, C, ...) → (B, C), the mean over space, and over time where there is one."""
    return x.mean(dim=tuple(range(2, x.ndim)))


def inflate(module: nn.Module) -> nn.Module:
    """Give a 2-D network a time axis, in place: (B, C, H, W) → (B, C, T, H, W).

    Carreira and Zisserman's inflation (arXiv 1705.07750): a k×k convolution becomes 3×k×k with its weights
    repeated over time and divided by 3, so a video that stands still gives what its frame gave, away from
    its ends. 1×1 convolutions and poolings stay within a frame; time keeps its length until the end, where
    it is averaged: a clip has ten flow fields, too few to shorten. Our reading of the paper's I3D variant.
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
    # The reference drops 0.9 behind fc6 and 0.8 behind fc7: a difference of 0.1.
    "vgg16": lambda channels, classes, dropout: VGG16(channels, classes, (dropout, max(0.0, dropout - 0.1))),
}


def build_backbone(name: str, in_channels: int, num_classes: int, dropout: float) -> nn.Module:
    """A fresh backbone: "small", "resnet18", "resnet50" or "vgg16".

    Raises:
        UsageError: the name is unknown.
    """
    if name not in BACKBONES:
        raise UsageError(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name](in_channels, num_classes, dropout)
