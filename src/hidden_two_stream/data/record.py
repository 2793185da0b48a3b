"""Which videos a run was trained and tested on, by name and by content: `samples.json` in its folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.data.content import are_alike, file_format
from hidden_two_stream.data.samples import Sample, below_common_folder
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.files import read_json, write_json
from hidden_two_stream.video.finding import is_url

__all__ = ["SAMPLES_FILE", "RecordedSample", "TrainingRecord", "absolute_names", "read_record"]

SAMPLES_FILE = "samples.json"
_FORMAT_VERSION = 1
_FIELDS: dict[str, Any] = {
    "name": str, "label": str, "digest": str, "num_frames": int, "format": str, "outline": str,
}  # fmt: skip


@dataclass(frozen=True)
class RecordedSample:
    """One sample of a run.

    Attributes:
        name: its name below the common folder.
        label: class name.
        digest: of its frames, see `data.content.Content`; "" for an unreadable video.
        num_frames: number of its frames; 0 for an unreadable video.
        format: see `data.content.file_format`.
        outline: four of the moments of its outline, as 512 hexadecimal digits; "" for an unreadable video.
    """

    name: str
    label: str
    digest: str = ""
    num_frames: int = 0
    format: str = ""
    outline: str = ""

    @classmethod
    def of(cls, name: str, sample: Sample, video: DecodedVideo | None) -> RecordedSample:
        """Return the record of a sample; `video` is None if it cannot be read."""
        if video is None or video.content is None:
            return cls(name, sample.label)
        outline = _few_moments(video).tobytes().hex()
        content = video.content
        return cls(name, sample.label, content.digest, content.num_frames, file_format(sample.path), outline)


def _few_moments(video: DecodedVideo) -> npt.NDArray[np.uint8]:
    assert video.content is not None
    return np.ascontiguousarray(video.content.outline[::5])


@dataclass(frozen=True)
class TrainingRecord:
    """The samples of a run.

    Attributes:
        folder: the deepest folder that held all samples.
        train: training samples.
        test: test samples.
        earlier_digests: digests of the training samples of the runs that its streams began with.
        unknown: streams that began with a run without a record: "spatial", "temporal".
    """

    folder: str
    train: tuple[RecordedSample, ...]
    test: tuple[RecordedSample, ...]
    earlier_digests: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        train: Sequence[Sample],
        test: Sequence[Sample],
        videos: Mapping[str, DecodedVideo],
        warm_start: Mapping[str, str],
    ) -> TrainingRecord:
        """Return the record of a run.

        Args:
            train, test: its samples.
            videos: decoded videos by name of sample; unreadable ones are missing.
            warm_start: the source run of each part.
        """
        names = absolute_names([*train, *test])
        short = below_common_folder(names)
        folder = names[0].removesuffix(short[0]) if names else ""
        rows = tuple(
            RecordedSample.of(name, sample, videos.get(sample.name))
            for name, sample in zip(short, [*train, *test], strict=True)
        )
        streams = {part: run for part, run in warm_start.items() if part != "motion"}
        found = {part: read_record(Path(run)) for part, run in streams.items()}
        earlier = (digest for record in found.values() if record for digest in record.digests)
        return cls(
            folder,
            rows[: len(train)],
            rows[len(train) :],
            tuple(dict.fromkeys(earlier)),
            tuple(part for part, record in found.items() if record is None or record.unknown),
        )

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of all readable samples that the run was trained on, each once."""
        own = (sample.digest for sample in self.train if sample.digest)
        return tuple(dict.fromkeys((*own, *self.earlier_digests)))

    def trained_names(self) -> frozenset[str]:
        """Absolute names of the training samples, where they were when the run was trained."""
        return frozenset(self.folder + sample.name for sample in self.train)

    def trained_on(self, samples: Sequence[Sample], videos: Sequence[DecodedVideo]) -> tuple[str, ...]:
        """Names of the samples that the run was trained on, by their frames.

        These are samples with the same frames as a training sample, and those with nearly the same frames in
        another format.
        """
        known = frozenset(self.digests)
        by_length: dict[int, list[RecordedSample]] = {}
        for recorded in self.train:
            if recorded.outline:
                by_length.setdefault(recorded.num_frames, []).append(recorded)
        return tuple(
            sample.name
            for sample, video in zip(samples, videos, strict=True)
            if video.content is not None
            and (
                video.content.digest in known
                or _is_in_another_format(sample, video, by_length.get(video.content.num_frames, ()))
            )
        )

    def write(self, folder: Path) -> None:
        """Write `samples.json`.

        Raises:
            OutputError: the folder is not writable, or the disk is full.
        """
        parts = {name: [vars(sample) for sample in getattr(self, name)] for name in ("train", "test")}
        write_json(
            folder / SAMPLES_FILE,
            {
                "format_version": _FORMAT_VERSION,
                "folder": self.folder,
                **parts,
                "earlier_digests": list(self.earlier_digests),
                "unknown": list(self.unknown),
            },
        )


def _is_in_another_format(sample: Sample, video: DecodedVideo, recorded: Sequence[RecordedSample]) -> bool:
    """Whether a video has nearly the frames of a recorded sample with as many frames and another format."""
    kind = file_format(sample.path)
    others = [np.frombuffer(bytes.fromhex(row.outline), np.uint8) for row in recorded if row.format != kind]
    if not others:
        return False
    outline = _few_moments(video).reshape(-1).astype(np.int16)
    return bool(are_alike(np.stack(others).astype(np.int16), outline).any())


def absolute_names(samples: Collection[Sample]) -> list[str]:
    """Names of samples with absolute paths; URLs stay as they are."""
    return [sample.name if is_url(sample.path) else os.path.abspath(sample.name) for sample in samples]


def read_record(run: Path) -> TrainingRecord | None:
    """Return the record of a run folder or checkpoint file; None if there is none.

    Runs of earlier versions have no record.

    Raises:
        CheckpointError: the record is damaged or has another format version.
    """
    path = (run if os.path.isdir(run) else run.parent) / SAMPLES_FILE
    if not os.path.isfile(path):
        return None
    try:
        found: Any = read_json(path)
        if found["format_version"] != _FORMAT_VERSION:
            raise ValueError(f"its format version is {found['format_version']!r}")
        parts = {
            name: tuple(
                RecordedSample(**{key: kind(row[key]) for key, kind in _FIELDS.items()})
                for row in found[name]
            )
            for name in ("train", "test")
        }
        if any(len(bytes.fromhex(row.outline)) not in (0, 256) for row in parts["train"]):
            raise ValueError("an outline has another length")
        return TrainingRecord(
            str(found["folder"]),
            parts["train"],
            parts["test"],
            tuple(map(str, found["earlier_digests"])),
            tuple(map(str, found["unknown"])),
        )
    except (KeyError, OSError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; delete it to use the run without its list of samples"
        ) from error
