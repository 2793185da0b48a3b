"""The nouns of a data set: one labelled video, and the list of all of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

__all__ = ["DatasetIndex", "Sample", "below_common_folder"]


@dataclass(frozen=True)
class Sample:
    """One labelled video, or a part of one.

    Attributes:
        path: the video file or frame folder.
        label: class name.
        split: "train" or "test" where the data set says so.
        start_seconds, end_seconds: the labelled part; None: from the first, to the last frame.
        columns: further columns of the CSV, for example subject or date.
    """

    path: str
    label: str
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The path, with the part in seconds where there is one."""
        if self.start_seconds is None and self.end_seconds is None:
            return self.path
        end = "end" if self.end_seconds is None else f"{self.end_seconds:.12g}"
        return f"{self.path}[{self.start_seconds or 0:.12g}-{end} s]"


@dataclass(frozen=True)
class DatasetIndex:
    """All samples of a data set, in a fixed order; the index in `classes` is the class number.

    Attributes:
        source: the folder, CSV or data set by name.
        samples: labelled videos.
        empty: folders that could be classes but hold no video.
        class_order: all classes in the data set's own order; empty: those of the samples, alphabetical.
    """

    source: str
    samples: tuple[Sample, ...]
    empty: tuple[str, ...] = ()
    class_order: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the data set's own order where it has one, else in alphabetical order."""
        return self.class_order or tuple(sorted({sample.label for sample in self.samples}))

    def fingerprint(self) -> str:
        """Return a text that tells this list of samples from others by names, labels and splits."""
        root = Path(self.source).parent.as_posix()
        text = "\n".join(f"{s.name.removeprefix(root)}\t{s.label}\t{s.split}" for s in self.samples)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def counts(self) -> dict[str, int]:
        """Samples per class."""
        found = Counter(sample.label for sample in self.samples)
        return {name: found[name] for name in self.classes}


def below_common_folder(names: Sequence[str]) -> list[str]:
    """Names of samples without the folder that all are in, for data that is reached by another path."""
    parts = [Path(name).parts for name in names]
    folders = zip(*(path[:-1] for path in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, folders))
    return [Path(*path[shared:]).as_posix() for path in parts]
