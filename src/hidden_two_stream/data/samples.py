"""A labeled video, and the index of a dataset: all of its labeled videos."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from hidden_two_stream.errors import HiddenTwoStreamError

__all__ = ["DatasetIndex", "Sample", "below_common_folder", "unreadable_lines"]


@dataclass(frozen=True)
class Sample:
    """A labeled video, or a labeled part of one.

    Attributes:
        path: the video file or frame folder.
        label: class name.
        split: "train" or "test" in the dataset's own split; None: it has none.
        start_seconds, end_seconds: the labeled part; None: from the first frame, to the last frame.
        columns: all columns of the CSV, for example subject or date.
    """

    path: str
    label: str
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The path, followed by the labeled part in seconds if there is one."""
        if self.start_seconds is None and self.end_seconds is None:
            return self.path
        end = "end" if self.end_seconds is None else f"{self.end_seconds:.12g}"
        return f"{self.path}[{self.start_seconds or 0:.12g}-{end} s]"


@dataclass(frozen=True)
class DatasetIndex:
    """All samples of a dataset, in a fixed order; the index in `classes` is the class number.

    Attributes:
        source: the folder, the CSV, or the dataset by name.
        samples: labeled videos.
        empty: folders that could be classes but hold no video.
        class_order: all classes in the dataset's own order; empty: those of the samples, alphabetically.
    """

    source: str
    samples: tuple[Sample, ...]
    empty: tuple[str, ...] = ()
    class_order: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the dataset's own order if it has one, else in alphabetical order."""
        return self.class_order or tuple(sorted({sample.label for sample in self.samples}))

    def fingerprint(self) -> str:
        """Return a text that tells this list of samples from others by names, labels and splits."""
        root = Path(self.source).parent.as_posix()
        text = "\n".join(f"{s.name.removeprefix(root)}\t{s.label}\t{s.split}" for s in self.samples)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def counts(self) -> dict[str, int]:
        """Number of samples of each class."""
        found = Counter(sample.label for sample in self.samples)
        return {name: found[name] for name in self.classes}


def below_common_folder(names: Sequence[str]) -> list[str]:
    """Names of samples relative to the deepest folder that holds all of them.

    They stay the same when the dataset is moved or reached by another path.
    """
    parts = [Path(name).parts for name in names]
    folders = zip(*(path[:-1] for path in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, folders))
    return [Path(*path[shared:]).as_posix() for path in parts]


def unreadable_lines(failed: Sequence[tuple[Sample, HiddenTwoStreamError]]) -> list[str]:
    """One line for each unreadable sample: its name and the reason."""
    return [f"{sample.name}: {getattr(error, 'reason', error)}" for sample, error in failed]
