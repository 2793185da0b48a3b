"""What is written about a packed video: beside it in its shard, and in the index."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.clip_cache import DecodedVideo, Resize, decode_video
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import HiddenTwoStreamError, VideoError, unexpected
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.shards.entries import PartFacts
from hidden_two_stream.video.times import index_times
from hidden_two_stream.watchdog import ended_when_stuck

__all__ = ["PlannedVideo", "describe", "describe_lost", "file_facts", "index_samples", "part_facts", "unread"]

_BLOCK_BYTES = 1 << 20
_MOST_DENOMINATOR = 1 << 24  # of the time between two frames, s


@dataclass(frozen=True)
class PlannedVideo:
    """A video to pack.

    Attributes:
        path: the file.
        name: its path below the dataset's folder, with "/".
        key, suffix: its name in the tar file, and its suffix without the dot.
        size: bytes when packing began; 0 if it cannot be read.
        samples: the dataset's samples of this video, each with its number.
        unreadable: why its file cannot be read; None: it can.
        changed_ns: time of the last change of the file when packing began, ns.
    """

    path: str
    name: str
    key: str
    suffix: str
    size: int
    samples: tuple[tuple[int, Sample], ...]
    unreadable: str | None = None
    changed_ns: int = 0


def describe(video: PlannedVideo) -> dict[str, Any]:
    """Decode a video and all its labeled parts, and return what is written about it, as JSON-ready data.

    What cannot be decoded is described as such; that is no error.
    """
    if video.unreadable is not None:
        return unread(video, video.unreadable)
    with ended_when_stuck():
        try:
            size, sha256 = file_facts(video.path)
        except OSError as error:
            return unread(video, f"cannot be read: {error.strerror or error}")
        whole = _decoded(
            video.path, None, None, identify=any(_is_whole(sample) for _, sample in video.samples)
        )
        if isinstance(whole, str):
            return unread(video, whole, size, sha256)
        parts = []
        for number, sample in video.samples:
            times = (sample.start_seconds, sample.end_seconds)
            found = whole if _is_whole(sample) else _decoded(video.path, *times, identify=True)
            parts.append(_sample_entry(number, sample, found))
    height, width = whole.size
    facts = {
        "size": size,
        "sha256": sha256,
        "frames": whole.num_frames,
        "fps": whole.fps,
        "height": height,
        "width": width,
        "unreadable": None,
    }
    return {"name": video.name, "video": facts, "samples": parts}


def describe_lost(video: PlannedVideo) -> dict[str, Any]:
    """Return what is written about a video over which its worker process died."""
    from hidden_two_stream.parallel import LOST_WORKER

    size, sha256 = file_facts(video.path)
    return unread(video, LOST_WORKER, size, sha256)


def unread(video: PlannedVideo, reason: str, size: int = 0, sha256: str = "0" * 64) -> dict[str, Any]:
    """Return what is written about a video that cannot be decoded; by default, without bytes."""
    facts = {
        "size": size,
        "sha256": sha256,
        "frames": None,
        "fps": None,
        "height": 0,
        "width": 0,
        "unreadable": reason,
    }
    samples = [_sample_entry(number, sample, reason) for number, sample in video.samples]
    return {"name": video.name, "video": facts, "samples": samples}


def file_facts(path: str) -> tuple[int, str]:
    """Return the size of a file in bytes, and the SHA-256 of its content.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _is_whole(sample: Sample) -> bool:
    return sample.start_seconds is None and sample.end_seconds is None


def _decoded(path: str, start: float | None, end: float | None, *, identify: bool) -> DecodedVideo | str:
    """Decode a part of a video without keeping frames; return why not if that fails."""
    try:
        return decode_video(path, (1, 1), 0, start, end, identify=identify, resizer=_one_pixel)
    except VideoError as error:
        return error.reason
    except HiddenTwoStreamError as error:
        return str(error)
    except Exception as error:  # one file must not end the work on all others
        return unexpected(error)


def _one_pixel(clip: RawClip, _size: Resize) -> npt.NDArray[np.uint8]:
    return np.zeros((len(clip), 3, 1, 1), np.uint8)


def _sample_entry(number: int, sample: Sample, found: DecodedVideo | str) -> dict[str, Any]:
    return {
        "number": number,
        "label": sample.label,
        "split": sample.split,
        "start_seconds": sample.start_seconds,
        "end_seconds": sample.end_seconds,
        "columns": dict(sample.columns),
        "facts": None if isinstance(found, str) else asdict(part_facts(found)),
        "unreadable": found if isinstance(found, str) else None,
    }


def part_facts(video: DecodedVideo) -> PartFacts:
    """Return what is written about a decoded part."""
    assert video.content is not None
    step, times = _times(video)
    return PartFacts(
        video.num_frames,
        video.first_frame,
        video.content.digest,
        base64.b64encode(video.content.outline.tobytes()).decode(),
        video.times_repaired,
        step,
        times,
        video.warning,
    )


def _times(video: DecodedVideo) -> tuple[tuple[int, int] | None, tuple[float, ...]]:
    """Return the times of the frames in the shortest form that gives exactly the same numbers."""
    first, count = video.first_frame, video.num_frames
    times = video.pts_seconds
    if np.array_equal(times, index_times(first + count, video.fps)[first:]):
        return None, ()
    if first + count > 1:
        step = Fraction(float(times[-1]) / (first + count - 1)).limit_denominator(_MOST_DENOMINATOR)
        above, below = step.numerator, step.denominator
        if above and times.tolist() == [n * above / below for n in range(first, first + count)]:
            return (above, below), ()
    return None, tuple(times.tolist())


def index_samples(descriptions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the samples of all members, in the order of the dataset."""
    found = [
        (entry["number"], {"member": member, **{key: entry[key] for key in entry if key != "number"}})
        for member, description in enumerate(descriptions)
        for entry in description["samples"]
    ]
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]
