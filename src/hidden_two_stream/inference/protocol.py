"""Test protocols: which clips and crops of a video are seen, before their logits are averaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.sampling import center_start, clip_indices, uniform_starts
from hidden_two_stream.video.transforms import apply_crop, center_crop_box, crop_flow, is_flow, ten_crop

__all__ = ["DEFAULT_PROTOCOL", "Protocol", "clip_batches", "parse_protocol"]

DEFAULT_PROTOCOL = "10x1"
_BATCH = 16  # clips per forward pass


@dataclass(frozen=True)
class Protocol:
    """`clips` start frames per video, `crops` (1 or 10) of each; "center" is the middle clip alone.

    The start frames of NxM are the reference's: i · ⌊number of possible starts / N⌋ for i < N, so "25x10" is
    the paper's test protocol. Ten crops are four corners and centre, and their flips.
    """

    name: str
    clips: int
    crops: int

    def starts(self, num_frames: int, length: int, stride: int) -> tuple[int, ...]:
        """First frames of the clips; repeated ones (short videos) are left out, their mean is the same."""
        if self.name == "center":
            return (center_start(num_frames, length, stride),)
        return tuple(dict.fromkeys(uniform_starts(num_frames, length, stride, self.clips)))


def parse_protocol(name: str) -> Protocol:
    """Read "center" or "NxM" with N clips and M = 1 or 10 crops.

    Raises:
        UsageError: it is neither.
    """
    if name == "center":
        return Protocol(name, 1, 1)
    found = re.fullmatch(r"([1-9]\d{0,3})x(1|10)", name)
    if found is None:
        raise UsageError(
            f"unknown protocol {name!r}; expected center, or NxM with M = 1 or 10, for example 25x10"
        )
    return Protocol(name, int(found[1]), int(found[2]))


def clip_batches(video: DecodedVideo, recipe: Recipe, protocol: Protocol) -> Iterator[Tensor]:
    """The clips of a video as (B, T, 3, size, size) uint8, in batches of bounded size."""
    settings, length = recipe.input, recipe.model.num_frames
    waiting: list[Tensor] = []
    for start in protocol.starts(video.num_frames, length, settings.frame_stride):
        indices = clip_indices(start, length, settings.frame_stride, video.num_frames)
        clip = video.read(indices, settings.resize)
        if protocol.crops == 10:
            if is_flow(clip):
                raise UsageError(
                    f"protocol {protocol.name} flips pictures, not stored flow; give Nx1 or center"
                )
            waiting.extend(ten_crop(clip, settings.size))
        else:
            box = center_crop_box(clip.shape[-2], clip.shape[-1], settings.size)
            crop = crop_flow if is_flow(clip) else apply_crop
            waiting.append(crop(clip, box, settings.size))
        while len(waiting) >= _BATCH:
            yield torch.stack(waiting[:_BATCH])
            del waiting[:_BATCH]
    if waiting:
        yield torch.stack(waiting)
