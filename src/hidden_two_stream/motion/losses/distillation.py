"""Learning flow from flow that a network found: its own, or that of a trained one, without labels.

`teacher_loss`: the teacher is another network, trained before.

`distillation_loss`, self-supervised augmentation: a student that sees less must find the flow of a teacher
that saw all. The teacher is the network's own flow of the whole clip, without gradient. The student is the
same network on a crop of it, enlarged to the clip's size, with other light and noise: what leaves the crop,
or is lost in noise, it must infer (DDFlow, arXiv 1902.09145; SelFlow, arXiv 1904.09117; enlarged crops:
UFlow, arXiv 2006.04902). Everything random comes from torch's global generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses.occlusion import forward_backward_mask, inside_mask
from hidden_two_stream.motion.losses.terms import border_mask, charbonnier, masked_mean
from hidden_two_stream.motion.warp import full_precision

__all__ = ["Crop", "distillation_loss", "random_crop", "student_view", "teacher_loss"]

SMALLEST_CROP, LARGEST_CROP = 0.7, 0.9
GAIN, OFFSET, NOISE = 0.2, 0.05, 0.02
TEACHER_EPSILON_PX, TEACHER_COARSE_FACTOR = 0.1, 0.5


@dataclass(frozen=True)
class Crop:
    """A part of a picture, px: rows from `top`, columns from `left`."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pictures: Tensor) -> Tensor:
        """The part of `pictures` (..., H, W), a view."""
        return pictures[..., self.top : self.top + self.height, self.left : self.left + self.width]


def random_crop(height: int, width: int) -> Crop:
    """A random place of a random size, 0.7 to 0.9 of both sides."""
    share, down, right = torch.rand(3).tolist()
    scale = SMALLEST_CROP + share * (LARGEST_CROP - SMALLEST_CROP)
    rows, columns = max(1, round(scale * height)), max(1, round(scale * width))
    return Crop(round(down * (height - rows)), round(right * (width - columns)), rows, columns)


@torch.no_grad()
def student_view(frames: Tensor, crop: Crop) -> Tensor:
    """What the student sees: the crop at the size of the clip, with other light, contrast and noise.

    `frames` (B, T, 3, H, W) in units of 255 → same shape. Light and contrast are the same all through a clip.
    """
    size, clip = frames.shape[-2:], crop.of(frames).flatten(0, 1)
    view = functional.interpolate(clip, size=size, mode="bilinear", align_corners=False)
    gain, offset = (2 * torch.rand(2, len(frames), 1, 1, 1, 1, device=frames.device) - 1).unbind()
    changed = (1 + GAIN * gain) * view.unflatten(0, frames.shape[:2]) + OFFSET * offset
    noisy: Tensor = changed + NOISE * torch.randn_like(changed)
    return noisy


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    crop: Crop,
    size: tuple[int, int],
    border: float,
    constants: tuple[float, float],
    backward: Tensor | None = None,
) -> Tensor:
    """Mean Charbonnier penalty of student − teacher where the teacher can be trusted.

    The teacher counts where its motion stays inside the whole picture, apart from the border, and where it
    passes the forward-backward check if `backward` is there. Only the student gets a gradient.

    Args:
        student: (B, T−1, 2, h, w), flow of `student_view`, in pixels of its grid.
        teacher: (B, T−1, 2, h', w'), flow of the whole clip, in pixels of its grid.
        crop: the student's part of the clip.
        size: height and width of the clip, px.
        border: part of the clip's shorter side that is left out at every edge.
        constants: ε (px of the student's grid) and exponent of the penalty.
        backward: (B, T−1, 2, h', w'), the teacher's flow t+1 → t.

    Returns:
        A scalar.
    """
    with torch.autocast(student.device.type, enabled=False):
        found = full_precision(student).flatten(0, 1)
        with torch.no_grad():
            whole = resize_flow(full_precision(teacher).flatten(0, 1), *size)
            trusted = inside_mask(whole)
            if backward is not None:
                returning = resize_flow(full_precision(backward).flatten(0, 1), *size)
                trusted = forward_backward_mask(whole, returning)
            trusted = crop.of(trusted * border_mask(whole, border))
            mask = functional.interpolate(trusted, size=found.shape[-2:], mode="area")
            target = resize_flow(crop.of(whole), *found.shape[-2:])
        return masked_mean(charbonnier(found - target, *constants), mask)


def teacher_loss(
    pyramid: list[Tensor], teacher: Tensor, width: int, epsilon: float = TEACHER_EPSILON_PX
) -> Tensor:
    """Distance of a flow pyramid from the flow of a teacher: knowledge distillation (arXiv 1503.02531).

    At every level the mean of √(d² + ε²), d the end-point distance in pixels of the input; each level counts
    half of the next finer one. Only `pyramid` gets a gradient.

    Args:
        pyramid: flows (B, T−1, 2, h, w), finest first, each in pixels of its own grid.
        teacher: (B, T−1, 2, h', w'), in pixels of its own grid.
        width: of the input, px.
        epsilon: ε, px of the input; distances below it hardly count.

    Returns:
        A scalar, px.
    """
    terms = []
    with torch.autocast(teacher.device.type, enabled=False):
        target = full_precision(teacher.detach()).flatten(0, 1)
        for position, level in enumerate(pyramid):
            found = full_precision(level).flatten(0, 1)
            scale = width / found.shape[-1]
            apart = scale * (found - resize_flow(target, *found.shape[-2:]))
            squared = apart.square().sum(dim=1)
            terms.append(TEACHER_COARSE_FACTOR**position * (squared + epsilon**2).sqrt().mean())
    return torch.stack(terms).sum()
