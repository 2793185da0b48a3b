"""The windows of a test protocol that overlap, scored at the cost of their different pairs of frames.

Ten windows of a short video, or 25 of a longer one, show the same frames again and again. If MotionNet sees
each pair of frames by itself, every pair goes through it once per crop. Scores are those of
`windows.scored`, up to rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.inference.windows import (
    Protocol,
    ScoredWindow,
    crops_of,
    finite_numbers,
    protocol_clips,
)
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.pair_states import PairStates, pairs_of
from hidden_two_stream.watchdog import progressed

__all__ = ["scored_sharing", "scored_sharing_together", "windows_share_pairs"]

_FRAMES = 128  # new frames of a group of windows, counting each crop
_CLIPS = 16  # windows and crops per forward pass of the streams

Clip = tuple[int, ...]
"""The numbers of the frames of a window."""

Calibrated = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Logits of each stream → the same, divided by temperatures."""


def windows_share_pairs(
    model: HiddenTwoStream, streams: Sequence[str], recipe: Recipe, protocol: Protocol, num_frames: int
) -> bool:
    """Return whether windows of a video with this number of frames have pairs in common to share."""
    if "temporal" not in streams or not model.pairs_are_independent:
        return False
    pairs = [pair for clip in protocol_clips(recipe, protocol, num_frames) for pair in pairs_of(clip)]
    return len(set(pairs)) < len(pairs)


def scored_sharing(
    model: HiddenTwoStream,
    streams: Sequence[str],
    calibrated: Calibrated,
    video: DecodedVideo,
    recipe: Recipe,
    protocol: Protocol,
) -> Iterator[ScoredWindow]:
    """Yield the logits of each window of a decoded video, in order.

    Args:
        model: its pairs must be independent, see `HiddenTwoStream.pairs_are_independent`.
        streams: the streams to score.
        calibrated: logits of each stream → the same, divided by temperatures.
        video: the video.
        recipe: recipe of the run.
        protocol: chooses windows and crops.

    Raises:
        CheckpointError: a logit is not finite.
    """
    crops = protocol.for_run(recipe).crops
    groups = _groups(protocol_clips(recipe, protocol, video.num_frames), crops)
    frames = [_numbers(group) for group in groups]
    images = (crops_of(clip, recipe, crops) for clip in video.read_clips(frames, recipe.input.resize))
    found = _logits_of_windows(_Scorer(model, streams), calibrated, groups, images, crops)
    for clip, logits in zip(itertools.chain.from_iterable(groups), found, strict=True):
        yield _scored_window(video, clip, logits)


def scored_sharing_together(
    model: HiddenTwoStream,
    streams: Sequence[str],
    calibrated: Calibrated,
    videos: Sequence[DecodedVideo],
    recipe: Recipe,
    protocol: Protocol,
) -> Iterator[list[ScoredWindow]]:
    """Yield the scored windows of each video, with frames of several videos in one forward pass.

    The videos are scored as if they followed each other in one long video.

    Args:
        model, streams, calibrated, recipe, protocol: as for `scored_sharing`.
        videos: decoded videos.

    Raises:
        CheckpointError: a logit is not finite.
    """
    crops = protocol.for_run(recipe).crops
    firsts = [0, *itertools.accumulate(video.num_frames for video in videos)]
    clips = [protocol_clips(recipe, protocol, video.num_frames) for video in videos]
    shifted = [
        tuple(first + number for number in clip)
        for first, of_video in zip(firsts, clips, strict=False)
        for clip in of_video
    ]

    def images_of(numbers: Sequence[int]) -> Tensor:
        parts = []
        for video, first, after in zip(videos, firsts, firsts[1:], strict=False):
            own = [number - first for number in numbers if first <= number < after]
            if own:
                parts.append(crops_of(video.read(own, recipe.input.resize), recipe, crops))
        return torch.cat(parts, dim=1)

    groups = _groups(shifted, crops)
    images = (images_of(_numbers(group)) for group in groups)
    scorer = _Scorer(model, streams, joins_runs=True)
    found = _logits_of_windows(scorer, calibrated, groups, images, crops)
    for video, of_video in zip(videos, clips, strict=True):
        yield [_scored_window(video, clip, logits) for clip, logits in zip(of_video, found, strict=False)]


_Logits = Mapping[str, npt.NDArray[np.float64]]


def _logits_of_windows(
    scorer: _Scorer,
    calibrated: Calibrated,
    groups: Sequence[Sequence[Clip]],
    images: Iterable[Tensor],
    crops: int,
) -> Iterator[_Logits]:
    """Yield the logits of each window, averaged over its crops; `images` are those of each group."""
    for group, of_group in zip(groups, images, strict=True):
        logits = calibrated(scorer.logits(group, _numbers(group), of_group))
        progressed()
        rows = {name: finite_numbers(name, found) for name, found in logits.items()}
        for place in range(len(group)):
            of_window = slice(place * crops, (place + 1) * crops)
            yield {name: values[of_window].mean(axis=0) for name, values in rows.items()}


def _numbers(group: Sequence[Clip]) -> list[int]:
    """Return the frames of all windows of a group, ascending."""
    return sorted({number for clip in group for number in clip})


def _scored_window(video: DecodedVideo, clip: Clip, logits: _Logits) -> ScoredWindow:
    return ScoredWindow(float(video.pts_seconds[clip[0]]), video.frame_end_seconds(clip[-1]), logits)


def _groups(clips: Sequence[Clip], crops: int) -> list[list[Clip]]:
    """Return neighboring windows that are scored together: as many as have few new frames."""
    groups: list[list[Clip]] = []
    seen: set[int] = set()
    new = 0
    for clip in clips:
        added = len(set(clip) - seen) * crops
        if not groups or new + added > _FRAMES:
            groups.append([])
            new = 0
        groups[-1].append(clip)
        seen.update(clip)
        new += added
    return groups


class _Scorer:
    """Scores groups of windows; keeps the states of pairs from one group to the next."""

    def __init__(self, model: HiddenTwoStream, streams: Sequence[str], *, joins_runs: bool = False) -> None:
        self._model, self._streams = model, streams
        self._device = next(model.parameters()).device
        self._pairs = PairStates(model, self._frames_of, joins_runs=joins_runs)
        self._places: dict[int, int] = {}
        self._images = torch.empty(0)

    @torch.inference_mode()
    def logits(self, group: Sequence[Clip], numbers: Sequence[int], images: Tensor) -> dict[str, Tensor]:
        """Return logits (windows · crops, classes) of each stream.

        Args:
            group: the windows.
            numbers: the frames of all of them, ascending.
            images: (crops, len(numbers), 3, size, size) uint8.
        """
        self._places = {number: place for place, number in enumerate(numbers)}
        self._images = images.to(self._device)
        found = {"spatial": self._spatial, "temporal": self._temporal}
        return {name: found[name](group) for name in self._streams}

    def _spatial(self, group: Sequence[Clip]) -> Tensor:
        middle = self._frames_of([clip[len(clip) // 2] for clip in group]).transpose(0, 1)
        single = middle.flatten(0, 1)[:, None].split(_CLIPS)
        return torch.cat([self._model.spatial(frames) for frames in single])

    def _temporal(self, group: Sequence[Clip]) -> Tensor:
        self._pairs.forget(group[0][0])
        windows = [pairs_of(clip) for clip in group]
        self._pairs.add(pair for pairs in windows for pair in pairs)
        size = self._images.shape[-1]
        logits = []
        at_once = max(1, _CLIPS // len(self._images))
        for begin in range(0, len(windows), at_once):
            states = [self._pairs.of(pairs) for pairs in windows[begin : begin + at_once]]
            joined = tuple(torch.cat(parts) for parts in zip(*states, strict=True))
            logits.append(self._model.temporal_of_pairs(joined, size, size))
        return torch.cat(logits)

    def _frames_of(self, numbers: Sequence[int]) -> Tensor:
        frames: Tensor = self._model.preprocess(self._images[:, [self._places[n] for n in numbers]])
        return frames
