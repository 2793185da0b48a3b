"""MotionNet's decoder, which all members of the family with an encoder of their own share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = [
    "FLOW_SCALE",
    "Deconv",
    "add_decoder",
    "begin_near_zero",
    "conv",
    "decode",
    "msra_init",
    "raw_to_pixels",
]

FLOW_SCALE = 20.0
"""Network output × 20 = pixels of motion at input resolution (reference definition)."""


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, and LeakyReLU 0.1."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.LeakyReLU(0.1, inplace=True)
    )


class Deconv(nn.ConvTranspose2d):
    """4×4 deconvolution of stride 2. Its bias is a buffer: the reference never trains it (lr_mult 0)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)
        del self._parameters["bias"]
        self.register_buffer("bias", torch.zeros(outputs))


def msra_init(module: nn.Module) -> None:
    """He initialisation by fan-in (arXiv 1502.01852); biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan_in))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, Deconv):
            # At stride 2, four of the sixteen taps meet in each output pixel.
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / (4 * layer.in_channels)))


def begin_near_zero(module: nn.Module, factor: float = 0.1) -> None:
    """Multiply the weights of the decoder's flow predictors (conv_pr) by `factor`, in place.

    As `msra_init` leaves them, the first flows are tens of pixels; what training does first is to get rid of
    these, and what it leaves then is slow to learn anything but zero flow (docs/decisions.md).
    """
    with torch.no_grad():
        for name, layer in module.named_modules():
            if name.rpartition(".")[2].startswith("conv_pr"):
                layer.weight.mul_(factor)


def add_decoder(
    module: nn.Module, encoder_widths: Sequence[int], decoder_widths: Sequence[int], flow_channels: int
) -> None:
    """Give `module` the layers conv_pr, deconv, upsample_flow and smooth_conv, named by level.

    Args:
        module: gets the layers.
        encoder_widths: channels of the encoder's levels, finest first; the coarsest is level
            `len(encoder_widths)`, so level k is 2^(k−1) times coarser than the input.
        decoder_widths: channels of the decoder from the second coarsest level to the finest that has flow.
        flow_channels: 2(T−1).
    """
    coarsest = len(encoder_widths)
    previous = encoder_widths[-1]
    module.add_module(f"conv_pr{coarsest}", nn.Conv2d(previous, flow_channels, 3, padding=1))
    for level, width in zip(_levels(coarsest, len(decoder_widths)), decoder_widths, strict=True):
        skip = encoder_widths[level - 1]
        module.add_module(f"deconv{level}", nn.Sequential(Deconv(previous, width), nn.LeakyReLU(0.1)))
        module.add_module(f"upsample_flow{level + 1}to{level}", Deconv(flow_channels, flow_channels))
        # Linear: the reference has no activation behind smooth_conv.
        module.add_module(f"smooth_conv{level}", nn.Conv2d(skip + width + flow_channels, width, 3, padding=1))
        module.add_module(f"conv_pr{level}", nn.Conv2d(width, flow_channels, 3, padding=1))
        previous = width


def decode(module: nn.Module, features: Sequence[Tensor], num_levels: int) -> list[Tensor]:
    """Run the layers of `add_decoder` over the encoder's features, finest first.

    deconv{k} takes the previous smooth_conv (the coarsest: the encoder's last level), not the concatenation
    as FlowNetS does. Returns `num_levels` raw flows (B, 2(T−1), h, w), finest first; × 20 = input pixels.
    """
    coarsest = len(features)
    x = features[-1]
    raw = [module.get_submodule(f"conv_pr{coarsest}")(x)]
    for level in _levels(coarsest, num_levels - 1):
        upsampled = module.get_submodule(f"upsample_flow{level + 1}to{level}")(raw[0])
        x = module.get_submodule(f"deconv{level}")(x)
        x = torch.cat((features[level - 1], x, upsampled), dim=1)
        x = module.get_submodule(f"smooth_conv{level}")(x)
        raw.insert(0, module.get_submodule(f"conv_pr{level}")(x))
    return raw


def _levels(coarsest: int, count: int) -> range:
    return range(coarsest - 1, coarsest - 1 - count, -1)


def raw_to_pixels(raw: list[Tensor], input_width: int) -> list[Tensor]:
    """Raw outputs (B, 2(T−1), h, w) → flows (B, T−1, 2, h, w) in pixels of their own grid.

    raw × 20 is pixels at input resolution, so a grid that is s times coarser has raw × 20 / s:
    10, 5, 2.5, 1.25, 0.625 for the five levels of MotionNet.
    """
    return [
        level.unflatten(1, (level.shape[1] // 2, 2)) * (FLOW_SCALE * level.shape[-1] / input_width)
        for level in raw
    ]
