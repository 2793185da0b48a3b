"""What the index of shards holds: shards, packed videos, and the labeled parts of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FORMAT", "FORMAT_VERSION", "Member", "PartFacts", "PartOfMember", "Shard"]

FORMAT = "hidden-two-stream shards"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file beside the index, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """A packed video.

    Attributes:
        name: its path below the folder that was packed, with "/".
        shard: number of its shard; None: the file could not be read when it was packed.
        key: its name in the tar file without suffix.
        suffix: its suffix there, without the dot.
        offset, size: where its bytes lie in the shard.
        sha256: of its bytes, as 64 hexadecimal digits.
        frames: number of decoded frames; None: it cannot be decoded.
        fps: mean frames per second; None: unknown.
        height, width: of its frames as shown, px; 0: it cannot be decoded.
        unreadable: why it cannot be read or decoded; None: it can.
    """

    name: str
    shard: int | None
    key: str
    suffix: str
    offset: int
    size: int
    sha256: str
    frames: int | None
    fps: float | None
    height: int
    width: int
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What decoding a labeled part of a video has shown, as `data.clip_cache.DecodedVideo` holds it.

    Attributes:
        num_frames, first_frame: its frames, and the number of the first of them in the video.
        digest, outline: its content; the outline is (16, 8, 8) gray levels as base64.
        times_repaired: whether time stamps were replaced.
        step: numerator and denominator of the constant time between two frames, s; None: see `times`.
        times: the time of each frame, s; empty: they follow from `step`, or from the frame rate.
        warning: what was wrong; None: nothing.
    """

    num_frames: int
    first_frame: int
    digest: str
    outline: str = field(repr=False)
    times_repaired: bool = False
    step: tuple[int, int] | None = None
    times: tuple[float, ...] = field(default=(), repr=False)
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class PartOfMember:
    """A sample of the packed dataset: a labeled video or a labeled part of one.

    Attributes:
        member: number of its video.
        label, split, start_seconds, end_seconds, columns: as in `data.samples.Sample`.
        facts: what decoding has shown; None: it cannot be decoded.
        unreadable: why not; None: it can.
    """

    member: int
    label: str
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    facts: PartFacts | None = None
    unreadable: str | None = None
