"""Which videos a run was trained and tested on, by name and by content: `samples.json` in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.data.samples import Sample, below_common_folder
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.files import write_json
from hidden_two_stream.video.finding import is_url

__all__ = ["SAMPLES_FILE", "RecordedSample", "TrainingRecord", "absolute_names", "read_record"]

SAMPLES_FILE = "samples.json"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class RecordedSample:
    """One sample of a run.

    Attributes:
        name: its name below the common folder.
        label: class name.
        digest: of its frames, see `data.content.Content`; "" for an unreadable video.
    """

    name: str
    label: str
    digest: str


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
        digests: Mapping[str, str],
        warm_start: Mapping[str, str],
    ) -> TrainingRecord:
        """Return the record of a run.

        Args:
            train, test: its samples.
            digests: digest by name of sample; unreadable ones are missing.
            warm_start: the source run of each part.
        """
        names = absolute_names([*train, *test])
        short = below_common_folder(names)
        folder = names[0].removesuffix(short[0]) if names else ""
        rows = tuple(
            RecordedSample(name, sample.label, digests.get(sample.name, ""))
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

    def trained_on(self, samples: Iterable[Sample], videos: Iterable[DecodedVideo]) -> tuple[str, ...]:
        """Names of the samples whose frames are those of a training sample."""
        known = frozenset(self.digests)
        return tuple(
            sample.name
            for sample, video in zip(samples, videos, strict=True)
            if video.content is not None and video.content.digest in known
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


def absolute_names(samples: Collection[Sample]) -> list[str]:
    """Names of samples with absolute paths; URLs stay as they are."""
    return [sample.name if is_url(sample.path) else os.path.abspath(sample.name) for sample in samples]


def read_record(run: Path) -> TrainingRecord | None:
    """Return the record of a run folder or checkpoint file; None if there is none.

    Runs of earlier versions have no record.

    Raises:
        CheckpointError: the record is damaged or has another format version.
    """
    path = (run if run.is_dir() else run.parent) / SAMPLES_FILE
    if not path.is_file():
        return None
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        if found["format_version"] != _FORMAT_VERSION:
            raise ValueError(f"its format version is {found['format_version']!r}")
        parts = {
            name: tuple(
                RecordedSample(str(row["name"]), str(row["label"]), str(row["digest"])) for row in found[name]
            )
            for name in ("train", "test")
        }
        return TrainingRecord(
            str(found["folder"]),
            parts["train"],
            parts["test"],
            tuple(map(str, found["earlier_digests"])),
            tuple(map(str, found["unknown"])),
        )
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; delete it to use the run without its list of samples"
        ) from error
