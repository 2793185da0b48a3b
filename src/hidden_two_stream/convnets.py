"""The convolutional layers of VGG16 and ResNet, which the streams and the motion networks share.

Functions make and run the layers inside the module that owns them. The parameters keep torchvision's names,
so that published weights load. Written from the papers.
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
    """Return the 13 convolutions and 5 poolings of VGG16 (arXiv 1409.1556, configuration D)."""
    layers: list[nn.Module] = []
    inputs = in_channels
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def vgg16_pyramid(features: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Return the features of (B, C, H, W) images at 1/1, 1/2 … 1/32 of the size, finest level first.

    The levels are the output of each block before its pooling, and the output of the last pooling.
    """
    levels = []
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            levels.append(x)
        x = layer(x)
    return [*levels, x]


class BasicBlock(nn.Module):
    """Residual block of two 3×3 convolutions (He et al., arXiv 1512.03385, figure 5, left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, width, H / stride, W / stride) of `x` (B, inputs, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """Residual block of 1×1, 3×3 and 1×1 convolutions (figure 5, right).

    As in torchvision, the 3×3 convolution has the stride.
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
        """Return features (B, 4 · width, H / stride, W / stride) of `x` (B, inputs, H, W)."""
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
    """Add the layers of a ResNet to `module`, without the classifier.

    Args:
        module: gets the layers conv1, bn1, maxpool and layer1 to layer4.
        name: "resnet18" or "resnet50".
        in_channels: channels of the input.

    Returns:
        The number of output channels of layer4.
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
    """Return the features of (B, C, H, W) images at 1/2, 1/4 … 1/32 of the size, finest level first.

    The levels are the output of the stem before its pooling, and the outputs of the four stages.
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
    """Initialize convolutions by He's fan-out rule, linear layers by a narrow normal, and biases to zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
