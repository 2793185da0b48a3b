"""Datasets in shards: their index, and what is known of their videos without decoding them."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.clip_cache import Choice, DecodedVideo, Resize, require_resizable
from hidden_two_stream.data.content import Content
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.errors import HiddenTwoStreamError, VideoError
from hidden_two_stream.types import Image, LazyFrame
from hidden_two_stream.video.crops import short_side_size
from hidden_two_stream.video.shards.addresses import member_address
from hidden_two_stream.video.shards.entries import Member, PartFacts
from hidden_two_stream.video.shards.index import open_pack
from hidden_two_stream.video.shards.opening import find_member
from hidden_two_stream.video.times import at_rate, index_times, unsampled_warning

__all__ = ["KnownVideo", "fact_times", "known_content", "known_video", "read_packed"]

KnownVideo = DecodedVideo | HiddenTwoStreamError


def read_packed(index: str, source: str) -> DatasetIndex:
    """Return the samples of a packed dataset, in their order before packing.

    Args:
        index: path or URL of the index.
        source: how the dataset is named.

    Raises:
        DataError: the index is damaged, or a shard is missing or truncated.
        UsageError, StoreError, MissingDependencyError: the index or a shard cannot be reached.
    """
    pack = open_pack(index)
    pack.require_shards()
    samples = tuple(
        Sample(
            member_address(index, pack.members[part.member].name),
            part.label,
            part.split,
            part.start_seconds,
            part.end_seconds,
            part.columns,
        )
        for part in pack.samples
    )
    return DatasetIndex(source, samples, class_order=pack.class_order)


def known_content(sample: Sample) -> Content | None:
    """Return the content of a packed sample as its index has it; None: it is not known."""
    found = _found(sample)
    return None if found is None or not isinstance(found[1], PartFacts) else _content(found[1])


def known_video(sample: Sample, size: Resize, fps: float, choose: Choice | None) -> KnownVideo | None:
    """Return what decoding a packed sample would give, without its frames, or why it cannot be decoded.

    Args:
        sample, size, fps, choose: as for `data.clip_cache.decode_video`.

    Returns:
        None if the sample must be decoded: it is not packed, it is not a sample of the packed dataset, or its
        time stamps were replaced and frames are to be sampled by time.
    """
    found = _found(sample)
    if found is None:
        return None
    member, facts = found
    if isinstance(facts, str):
        return VideoError(sample.path, facts)
    rate = fps if member.fps else 0.0
    if rate and facts.times_repaired:
        return None
    before = (member.height, member.width)
    try:
        require_resizable(sample.path, before, size)
    except VideoError as error:
        return error
    times = fact_times(facts, member.fps)
    numbers = np.arange(facts.first_frame, facts.first_frame + facts.num_frames)
    if rate:
        sampled = list(at_rate(_frames(numbers, times), rate))
        times = np.array([frame.pts_seconds for frame in sampled])
        numbers = np.array([frame.index for frame in sampled])
    is_whole = sample.start_seconds is None and sample.end_seconds is None
    kept = len(frozenset(choose(len(numbers)))) if choose is not None and is_whole else len(numbers)
    height, width = short_side_size(*before, size) if isinstance(size, int) else size
    return DecodedVideo(
        source=sample.path,
        num_frames=len(numbers),
        first_frame=int(numbers[0]),
        size=before,
        fps=member.fps,
        warning="; ".join(filter(None, (facts.warning, unsampled_warning(member.fps, fps)))) or None,
        frames=None,
        pts_seconds=np.zeros(0) if facts.times_repaired and not fps else times,
        num_bytes=kept * 3 * height * width,
        numbers=numbers if fps else np.zeros(0, np.int64),
        content=_content(facts),
        times_repaired=facts.times_repaired,
    )


def fact_times(facts: PartFacts, fps: float | None) -> npt.NDArray[np.float64]:
    """Return the time of each frame of a part, (num_frames,) float64 s."""
    if facts.times:
        return np.array(facts.times)
    first = facts.first_frame
    if facts.step is None:
        return index_times(first + facts.num_frames, fps)[first:]
    above, below = facts.step
    return np.array([number * above / below for number in range(first, first + facts.num_frames)])


def _found(sample: Sample) -> tuple[Member, PartFacts | str] | None:
    """Return the packed video of a sample, and the facts about its part, or why it is unreadable."""
    found = find_member(sample.path)
    if found is None:
        return None
    pack, member = found
    part = pack.part(member.name, sample.start_seconds, sample.end_seconds)
    if member.unreadable is not None:
        return member, member.unreadable
    if part is None:
        return None
    if part.unreadable is not None:
        return member, part.unreadable
    return None if part.facts is None else (member, part.facts)


def _content(facts: PartFacts) -> Content:
    outline = np.frombuffer(base64.b64decode(facts.outline), np.uint8).reshape(16, 8, 8)
    return Content(facts.digest, outline, facts.num_frames)


def _frames(numbers: npt.NDArray[np.int64], times: npt.NDArray[np.float64]) -> Iterator[LazyFrame]:
    for number, seconds in zip(numbers.tolist(), times.tolist(), strict=True):
        yield LazyFrame(_no_image, number, seconds)


def _no_image() -> Image:
    raise AssertionError("the frames of a known video have no images")
