"""Distillation: a network learns flow from the flow of a teacher, without labels.

`teacher_loss` is knowledge distillation: the teacher is another network, trained before.

`distillation_loss` is self-distillation: the network is its own teacher. The teacher's flow is that of the
whole clip, without gradient. The student is the same network on a crop, enlarged to the size of the clip,
with changed light and with noise. It must infer the motion that leaves the crop or is lost in noise (DDFlow,
arXiv 1902.09145; SelFlow, arXiv 1904.09117; enlarged crops: UFlow, arXiv 2006.04902). All random draws come
from torch's global generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.batch_share import draw
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses.occlusion import forward_backward_mask, inside_mask
from hidden_two_stream.motion.losses.paper import border_mask, charbonnier, masked_mean
from hidden_two_stream.motion.warp import full_precision

__all__ = ["Crop", "distillation_loss", "random_crop", "student_frames", "teacher_loss"]

SMALLEST_CROP, LARGEST_CROP = 0.7, 0.9
GAIN, OFFSET, NOISE = 0.2, 0.05, 0.02
TEACHER_EPSILON_PX, TEACHER_COARSE_FACTOR = 0.1, 0.5


@dataclass(frozen=True)
class Crop:
    """A rectangle of an image, px: rows from `top`, columns from `left`."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, images: Tensor) -> Tensor:
        """The crop of `images` (..., H, W), as a view."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]


def random_crop(height: int, width: int) -> Crop:
    """A crop at a random place, with 0.7 to 0.9 of both sides."""
    share, down, right = torch.rand(3).tolist()
    scale = SMALLEST_CROP + share * (LARGEST_CROP - SMALLEST_CROP)
    rows, columns = max(1, round(scale * height)), max(1, round(scale * width))
    return Crop(round(down * (height - rows)), round(right * (width - columns)), rows, columns)


@torch.no_grad()
def student_frames(frames: Tensor, crop: Crop) -> Tensor:
    """The student's input: the enlarged crop, with changed light and noise.

    Convention: bilinear with `align_corners=False`, so the edges of the crop become the edges of the clip.

    Args:
        frames: (B, T, 3, H, W) in units of 255.
        crop: part of the frames.

    Returns:
        (B, T, 3, H, W). Brightness and contrast change by the same amount in all frames of a clip.
    """
    size, clip = frames.shape[-2:], crop.cut(frames).flatten(0, 1)
    enlarged = functional.interpolate(clip, size=size, mode="bilinear", align_corners=False)
    draws = draw(torch.rand, 2, len(frames), 1, 1, 1, 1, dim=1, device=frames.device)
    gain, offset = (2 * draws - 1).unbind()
    changed = (1 + GAIN * gain) * enlarged.unflatten(0, frames.shape[:2]) + OFFSET * offset
    noise = draw(torch.randn, *changed.shape, device=changed.device, dtype=changed.dtype)
    noisy: Tensor = changed + NOISE * noise
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
    """Mean Charbonnier penalty of student − teacher where the teacher is reliable.

    The teacher is reliable where its motion stays inside the whole image, apart from the border; with
    `backward`, only where it passes the forward-backward check. Only the student gets a gradient.

    Convention: both flows are brought to the student's grid, in pixels of that grid. Cutting a flow keeps its
    values; resizing scales them.

    Args:
        student: (B, T−1, 2, h, w), flow of `student_frames`, in pixels of its own grid.
        teacher: (B, T−1, 2, h', w'), flow of the whole clip, in pixels of its own grid.
        crop: the student's part of the clip.
        size: height and width of the clip, px.
        border: part of the clip's shorter side that is left out at each edge.
        constants: ε (px of the student's grid) and α of the penalty.
        backward: (B, T−1, 2, h', w'), the teacher's flow t+1 → t.

    Returns:
        A scalar.
    """
    with torch.autocast(student.device.type, enabled=False):
        found = full_precision(student).flatten(0, 1)
        with torch.no_grad():
            whole = resize_flow(full_precision(teacher).flatten(0, 1), *size)
            reliable = inside_mask(whole)
            if backward is not None:
                returning = resize_flow(full_precision(backward).flatten(0, 1), *size)
                reliable = forward_backward_mask(whole, returning)
            reliable = crop.cut(reliable * border_mask(whole, border))
            mask = functional.interpolate(reliable, size=found.shape[-2:], mode="area")
            target = resize_flow(crop.cut(whole), *found.shape[-2:])
        return masked_mean(charbonnier(found - target, *constants), mask)


def teacher_loss(
    pyramid: list[Tensor], target: Tensor, width: int, epsilon: float = TEACHER_EPSILON_PX
) -> Tensor:
    """Distance of a flow pyramid from a teacher's flow, the distillation target.

    Knowledge distillation: Hinton et al., arXiv 1503.02531. The mean of √(d² + ε²) at each level, with the
    end-point distance d in pixels of the input. Each level has half the weight of the next finer one. Only
    `pyramid` gets a gradient.

    Args:
        pyramid: flows (B, T−1, 2, h, w), finest first, each in pixels of its own grid.
        target: (B, T−1, 2, h', w'), in pixels of its own grid.
        width: width of the input, px.
        epsilon: ε, px of the input; distances well below it hardly count.

    Returns:
        A scalar, px.
    """
    terms = []
    with torch.autocast(target.device.type, enabled=False):
        wanted = full_precision(target.detach()).flatten(0, 1)
        for position, level in enumerate(pyramid):
            found = full_precision(level).flatten(0, 1)
            scale = width / found.shape[-1]
            difference = scale * (found - resize_flow(wanted, *found.shape[-2:]))
            squared = difference.square().sum(dim=1)
            terms.append(TEACHER_COARSE_FACTOR**position * (squared + epsilon**2).sqrt().mean())
    return torch.stack(terms).sum()
