"""The temporal stream as a sequence: one vector per pair of frames, then convolutions over time.

pair features → small 2-D encoder → pooling about the moving part → one vector per pair
→ dilated temporal convolutions → logits per step → mean: logits of the clip

This form is ours, not the paper's. A pair's vector doesn't depend on the other pairs of a clip if MotionNet
sees each pair by itself, as nano does. So overlapping windows can share vectors, and a new frame costs one
pair.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.convnets import init_trunk

__all__ = ["FLOW_CHANNELS", "SequenceStream", "flow_channels", "motion_windows"]

FLOW_CHANNELS = 8
"""Channels of `flow_channels`: u of 2×2 points, then v of the same points."""

_DILATIONS = (1, 2, 4)  # with kernels of 3, a step sees 7 pairs on each side
_STILL = 0.1  # share of the largest speed up to which a point counts as still
_SPREAD = (0.08, 0.4)  # limits of the moving part's standard deviation, as shares of the frame
_OFFSETS = (-1.2, 0.0, 1.2)  # centers of the windows along each axis, in standard deviations
_WINDOW = 0.6  # standard deviation of a window relative to that of the moving part


def flow_channels(flow: Tensor) -> Tensor:
    """Return flow (N, 2, h, w) as `FLOW_CHANNELS` channels at half the resolution, rounded up.

    Channel 4c + 2y + x is component c of the point in row y and column x of each 2×2 block. Odd sides repeat
    their last points.
    """
    height, width = flow.shape[-2:]
    if height % 2 or width % 2:
        flow = functional.pad(flow, (0, width % 2, 0, height % 2), mode="replicate")
    return functional.pixel_unshuffle(flow, 2)


def motion_windows(flow: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return windows about the moving part of a frame.

    The camera's motion is the median of the flow. What moves otherwise has a center and a spread: mean and
    standard deviation of its points, weighted by their speed. Nine Gaussian windows lie on a 3×3 grid about
    the center, with distances in proportion to the spread. So the windows follow a person through the frame,
    near or far. Without motion they cover the whole frame.

    Args:
        flow: (N, 8, h, w), see `flow_channels`.
        height, width: grid of the windows.

    Returns:
        Rows (N, 3, height) and columns (N, 3, width). Window (i, j) is the outer product of row i and
        column j, and its values sum to 1.
    """
    vectors = flow.detach().unflatten(1, (2, 4))
    # The median is the largest of the lower half, which needs no sorting.
    lower_half = (vectors[0, 0].numel() + 1) // 2
    camera = vectors.flatten(2).topk(lower_half, dim=2, largest=False, sorted=False).values.amax(dim=2)
    speed = (vectors - camera[..., None, None, None]).square().sum(dim=1).mean(dim=1).sqrt()
    speed = functional.adaptive_avg_pool2d(speed[:, None], (height, width))[:, 0]
    moving = (speed - _STILL * speed.amax(dim=(1, 2), keepdim=True)).clamp(min=0) + 1e-4
    moving = moving / moving.sum(dim=(1, 2), keepdim=True)
    along_y = (torch.arange(height, device=flow.device, dtype=flow.dtype) + 0.5) / height
    along_x = (torch.arange(width, device=flow.device, dtype=flow.dtype) + 0.5) / width
    rows, columns = moving.sum(dim=2), moving.sum(dim=1)
    center_y, spread_y = _moments(rows, along_y)
    center_x, spread_x = _moments(columns, along_x)
    spread = torch.maximum(spread_y, spread_x)
    return _windows(along_y, center_y, spread), _windows(along_x, center_x, spread)


def _moments(weights: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (N,), and the standard deviation (N,) within its limits, of weights (N, L)."""
    mean = (weights * positions).sum(dim=1)
    variance = (weights * (positions - mean[:, None]).square()).sum(dim=1)
    return mean, variance.sqrt().clamp(*_SPREAD)


def _windows(positions: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    """Return three windows along one axis, (N, 3, L), each with sum 1."""
    offsets = torch.tensor(_OFFSETS, device=positions.device, dtype=positions.dtype)
    centers = center[:, None] + offsets * spread[:, None]
    distance = (positions - centers[..., None]) / (_WINDOW * spread)[:, None, None]
    return functional.softmax(-0.5 * distance.square(), dim=2)


class SequenceStream(nn.Module):
    """Temporal stream that encodes each pair of frames, then convolves over time.

    Args:
        in_channels: channels of the pair features, C; the last eight are those of `flow_channels`.
        num_classes: number of actions.
        dropout: probability in front of the last layer.
        width: length of a pair's vector, D.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float, width: int = 128) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(in_channels)
        self.encoder = nn.Sequential(
            *_convolution(in_channels, 32, 1), *_convolution(32, 48, 3, 2), *_convolution(48, 128, 3)
        )
        self.project = nn.Sequential(
            nn.Linear(128 * len(_OFFSETS) ** 2, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.temporal = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(),
            )
            for dilation in _DILATIONS
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)
        init_trunk(self)
        for layer in (self.project[0], *(block[0] for block in self.temporal)):  # type: ignore[index]
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def encode(self, pairs: Tensor) -> Tensor:
        """Map pair features (B, P, C, h, w) to one vector per pair, (B, P, D)."""
        flat = pairs.flatten(0, 1)
        maps = self.encoder(self.bn0(flat))
        rows, columns = motion_windows(flat[:, -FLOW_CHANNELS:], *maps.shape[-2:])
        pooled = torch.einsum("nchw,nih,njw->ncij", maps, rows.to(maps.dtype), columns.to(maps.dtype))
        vectors: Tensor = self.project(pooled.flatten(1)).unflatten(0, pairs.shape[:2])
        return vectors

    def embed(self, vectors: Tensor) -> Tensor:
        """Map the vectors of neighboring pairs (B, P, D) to one embedding per step, (B, P, D)."""
        steps = vectors.transpose(1, 2)
        for block in self.temporal:
            steps = steps + block(steps)
        embedded: Tensor = steps.transpose(1, 2)
        return embedded

    def steps(self, vectors: Tensor) -> Tensor:
        """Map the vectors of neighboring pairs (B, P, D) to logits per step, (B, P, classes)."""
        return self.classify(self.embed(vectors))

    def embedding(self, pairs: Tensor) -> Tensor:
        """Map pair features (B, P, C, h, w) to the embeddings of clips, (B, D): the mean over steps."""
        return self.embed(self.encode(pairs)).mean(dim=1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (…, D) to logits (…, classes)."""
        logits: Tensor = self.fc(self.dropout(embedding))
        return logits

    def pool(self, vectors: Tensor) -> Tensor:
        """Map the vectors of neighboring pairs (B, P, D) to the logits of clips, (B, classes).

        They are those of the mean embedding, and so the mean over steps of `steps`.
        """
        return self.classify(self.embed(vectors).mean(dim=1))

    def forward(self, pairs: Tensor) -> Tensor:
        """Map pair features (B, P, C, h, w) to the logits of clips, (B, classes)."""
        return self.classify(self.embedding(pairs))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
