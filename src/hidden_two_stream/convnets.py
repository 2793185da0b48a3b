"""The convolutional parts of VGG16 and ResNet.

The streams and the motion networks share them. Functions make the layers and run them. So each owner keeps
torchvision's parameter names, by which published weights load. Written from the papers.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "RESNET_BLOCKS",
    "VGG16_WIDTHS",
    "BasicBlock",
    "Bottleneck",
    "add_resnet",
    "init_trunk",
    "resnet_pyramid",
    "vgg16_features",
    "vgg16_pyramid",
]

VGG16_WIDTHS = (64, 128, 256, 512, 512)


def vgg16_features(in_channels: int, widths: Sequence[int] = VGG16_WIDTHS) -> nn.Sequential:
    """The 13 convolutions and 5 poolings of VGG16 (arXiv 1409.1556, configuration D)."""
    layers: list[nn.Module] = []
    inputs = in_channels
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def vgg16_pyramid(features: nn.Sequential, x: Tensor) -> list[Tensor]:
    """(B, C, H, W) → features at 1/1, 1/2 … 1/32, finest first.

    They are those of each block before its pooling, and of the last pooling.
    """
    levels = []
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            levels.append(x)
        x = layer(x)
    return [*levels, x]


class BasicBlock(nn.Module):
    """Residual block of two 3×3 convolutions.

    He et al., arXiv 1512.03385, figure 5 left.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """Residual block of 1×1, 3×3 and 1×1 convolutions (figure 5 right).

    The 3×3 convolution has the stride, as in torchvision.
    """

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
        """(B, inputs, H, W) → (B, 4 · width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.relu(self.bn2(self.conv2(x)), inplace=True)
        return functional.relu(self.bn3(self.conv3(x)) + shortcut, inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


RESNET_BLOCKS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def add_resnet(module: nn.Module, name: str, in_channels: int) -> int:
    """Add the layers of a ResNet, without its classifier, to `module`.

    Args:
        module: gets the layers conv1, bn1, maxpool and layer1 to layer4.
        name: "resnet18" or "resnet50".
        in_channels: channels of the input.

    Returns:
        The channels of layer4.
    """
    block, depths = RESNET_BLOCKS[name]
    module.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    module.bn1 = nn.BatchNorm2d(64)
    module.maxpool = nn.MaxPool2d(3, 2, 1)
    inputs = 64
    for stage, (depth, width) in enumerate(zip(depths, (64, 128, 256, 512), strict=True), start=1):
        blocks = []
        for index in range(depth):
            blocks.append(block(inputs, width, stride=2 if stage > 1 and index == 0 else 1))
            inputs = width * block.expansion
        module.add_module(f"layer{stage}", nn.Sequential(*blocks))
    return inputs


def resnet_pyramid(module: nn.Module, x: Tensor) -> list[Tensor]:
    """(B, C, H, W) → features at 1/2, 1/4 … 1/32, finest first.

    They are those of the stem before its pooling and of the four stages.
    """
    layers = {name: module.get_submodule(name) for name in ("conv1", "bn1", "maxpool")}
    x = functional.relu(layers["bn1"](layers["conv1"](x)), inplace=True)
    levels = [x]
    x = layers["maxpool"](x)
    for stage in range(1, 5):
        x = module.get_submodule(f"layer{stage}")(x)
        levels.append(x)
    return levels


def init_trunk(module: nn.Module) -> None:
    """Initialize convolutions by He's fan-out rule and linear layers by a small normal.

    Biases are zero.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
