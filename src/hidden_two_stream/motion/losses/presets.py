"""Loss presets: named sets of weights and constants of the unsupervised loss.

`paper` follows the text of the paper. `caffe` follows the authors' published solver with its two quirks.
`census`, the default, compares neighborhoods instead of pixels and lets the flow change at image edges; the
shipped weights of nano were trained with it. `robust` compares pixels and structure, with constants that let
a network leave zero flow on small and noisy video. `occlusion`, `distill` and `multiframe` each add one later
idea to `robust` (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from hidden_two_stream.errors import UsageError

__all__ = ["LOSS_PRESETS", "LossPreset", "loss_preset"]


@dataclass(frozen=True)
class LossPreset:
    """Weights and constants of one unsupervised loss.

    `losses.paper.paper_loss` explains the symbols. Level k is the grid that is 2^(k−1) times coarser than the
    input. A weight of 0 switches a term off.

    Attributes:
        pixel_epsilon: ε of the reconstruction term, on the 0…255 scale.
        pixel_exponent: α of the reconstruction term.
        smooth_epsilon: ε of the smoothness term, in pixels of the level.
        smooth_exponent: α of the smoothness term.
        pixel_weight: λ₁, weight of the reconstruction term, the same at all levels.
        smooth_weights: λ₂, weight of the smoothness term, by level.
        ssim_weights: λ₃, weight of the SSIM term, by level.
        ssim_stride: step between SSIM windows, px.
        ssim_sum: sum SSIM over windows and channels and divide by the batch size, instead of taking the mean.
        divide_by_batch: divide both Charbonnier terms by the batch size once more (quirk of the reference
            layer).
        compare_at: grid on which frames are compared. "level": the flow's own. "input": that of the input;
            on coarser grids the subpixel motion of small video is invisible. "double": twice as fine as the
            flow's own, a quarter of the work of "input" for flow at 1/4 of the input.
        coarse_factor: c, factor on the weights of each coarser level.
        border: part of the shorter side that is left out at each edge.
        census_weight: weight of the census term (`losses.census`).
        census_radius: pixels from the center of a census patch to its edge.
        smooth_order: 1 penalizes changes of the flow, 2 changes of its slope.
        edge_weight: λ of the edge-aware smoothness (`losses.edge_aware`), for images in units of 255.
        inside: compare only pixels whose motion stays inside the image.
        occlusion: compare only pixels that also pass the forward-backward check (`losses.occlusion`), which
            needs the flow of the reversed clip.
        temporal_weight: weight of the constant-velocity term (`losses.temporal`), which needs at least 3
            frames.
        distill_weight: weight of self-distillation (`losses.distillation`). The training stage adds the term
            because it runs the network again.
    """

    pixel_epsilon: float = 1e-3
    pixel_exponent: float = 0.4
    smooth_epsilon: float = 1e-3
    smooth_exponent: float = 0.3
    pixel_weight: float = 1.0
    smooth_weights: Mapping[int, float] | float = 1.0
    ssim_weights: Mapping[int, float] | float = 1.0
    ssim_stride: int = 8
    ssim_sum: bool = False
    divide_by_batch: bool = False
    compare_at: Literal["level", "double", "input"] = "level"
    coarse_factor: float = 1.0
    border: float = 0.1
    census_weight: float = 0.0
    census_radius: int = 3
    smooth_order: int = 1
    edge_weight: float = 0.0
    inside: bool = False
    occlusion: bool = False
    temporal_weight: float = 0.0
    distill_weight: float = 0.0


_RISING = {1: 0.01, 2: 0.01, 3: 0.02, 4: 0.04, 5: 0.08, 6: 0.16, 7: 0.32}
"""The paper's weights for its levels 2 to 6, which double; level 7, the coarsest of FlowNetS, goes on so."""
_ROBUST = LossPreset(
    pixel_epsilon=5.0,
    smooth_epsilon=0.1,
    smooth_exponent=0.5,
    smooth_weights=0.1,
    ssim_weights=1.0,
    ssim_stride=4,
    compare_at="input",
    coarse_factor=0.5,
)

LOSS_PRESETS: dict[str, LossPreset] = {
    "paper": LossPreset(smooth_weights=_RISING),
    "caffe": LossPreset(ssim_weights=_RISING, ssim_sum=True, divide_by_batch=True),
    "robust": _ROBUST,
    "census": replace(
        _ROBUST,
        pixel_weight=0.0,
        ssim_weights=0.0,
        census_weight=0.06,
        census_radius=2,
        compare_at="double",
        border=0.0,
        inside=True,
        edge_weight=10.0,
        smooth_epsilon=0.01,
        smooth_weights=0.05,
    ),
    "occlusion": replace(_ROBUST, occlusion=True),
    "distill": replace(_ROBUST, distill_weight=0.3),
    "multiframe": replace(_ROBUST, temporal_weight=0.05),
}


def loss_preset(name: str) -> LossPreset:
    """The loss preset `name`, one of `LOSS_PRESETS`.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in LOSS_PRESETS:
        raise UsageError(f"unknown loss preset {name!r}; choose one of {', '.join(LOSS_PRESETS)}")
    return LOSS_PRESETS[name]
