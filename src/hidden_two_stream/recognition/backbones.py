"""The convolutional networks behind both streams, with torchvision's parameter names.

Each takes (B, C, H, W) for any number of input channels C and returns logits (B, classes).
Names and shapes of parameters are those of torchvision's `resnet18`, `resnet50` and `vgg16`, so published
weights load by key; the code is ours, from the papers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError

__all__ = ["BACKBONES", "VGG16", "ResNet", "SmallNet", "build_backbone"]


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut (He et al., arXiv 1512.03385, figure 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class _Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions with a shortcut; the stride sits at the 3×3, as in torchvision."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.relu(self.bn2(self.conv2(x)), inplace=True)
        return functional.relu(self.bn3(self.conv3(x)) + shortcut, inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """ResNet (arXiv 1512.03385): 7×7 stem, four stages, average pooling, dropout, one linear layer."""

    def __init__(
        self,
        block: type[_BasicBlock] | type[_Bottleneck],
        depths: tuple[int, int, int, int],
        in_channels: int,
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for stage, (depth, width) in enumerate(zip(depths, (64, 128, 256, 512), strict=True), start=1):
            blocks = []
            for index in range(depth):
                blocks.append(block(inputs, width, stride=2 if stage > 1 and index == 0 else 1))
                inputs = width * block.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, num_classes)
        _init(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, classes)."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        logits: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return logits


class VGG16(nn.Module):
    """VGG16 (arXiv 1409.1556, configuration D). fc6 and fc7 have 4096 units.

    Dropout is 0.9 and 0.8 for the temporal stream in the reference, 0.5 in the original. Inputs other than
    224×224 are pooled to 7×7 before fc6.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: tuple[float, float]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_channels
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout[0]),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout[1]),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        _init(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, classes)."""
        x = functional.adaptive_avg_pool2d(self.features(x), (7, 7))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


class SmallNet(nn.Module):
    """Our own for CPUs: four 3×3 stages (0.4 M parameters), average pooling, dropout, one linear layer.

    The input is batch-normalised, so that no stream has to care for the scale of its input.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(in_channels)
        layers: list[nn.Module] = []
        inputs = in_channels
        for width, stride in ((32, 2), (64, 2), (128, 2), (192, 1)):
            convolution = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, num_classes)
        _init(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, classes)."""
        x = self.features(self.bn0(x))
        logits: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return logits


def _init(module: nn.Module) -> None:
    """He initialisation of convolutions (fan-out), small normal for linear layers; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


BACKBONES: dict[str, Callable[[int, int, float], nn.Module]] = {
    "small": SmallNet,
    "resnet18": lambda channels, classes, dropout: ResNet(
        _BasicBlock, (2, 2, 2, 2), channels, classes, dropout
    ),
    "resnet50": lambda channels, classes, dropout: ResNet(
        _Bottleneck, (3, 4, 6, 3), channels, classes, dropout
    ),
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
