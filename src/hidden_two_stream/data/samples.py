"""A labeled video, and the index of a dataset: all of its labeled videos."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import HiddenTwoStreamError
from hidden_two_stream.progress import note, number_of
from hidden_two_stream.video.finding import is_video

__all__ = [
    "SPLITS",
    "DatasetIndex",
    "LeftOut",
    "Sample",
    "below_common_folder",
    "clean_text",
    "left_out_lines",
    "look_alike_lines",
    "look_alikes",
    "note_facts",
    "unreadable_lines",
]

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation"),
    "test": ("test", "testing"),
}
"""The parts of a dataset's own split, and the names that folders and CSV files give them, in lower case."""


def clean_text(text: str) -> str:
    r"""Return `text` as labels, columns and their values are compared: composed, and valid Unicode.

    "é" can be one character or "e" and an accent; both become the first (NFC). Bytes of a file name that are
    not UTF-8 become escapes such as `\udce9`.
    """
    return unicodedata.normalize("NFC", text.encode("utf-8", "backslashreplace").decode())


def look_alikes(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of different labels that differ only in case, spaces or invisible characters."""
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        compatible = unicodedata.normalize("NFKC", label).casefold()
        shown = "".join(character for character in compatible if unicodedata.category(character) != "Cf")
        key = " ".join(shown.split())
        groups.setdefault(key, []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def look_alike_lines(labels: Iterable[str]) -> list[str]:
    """One line for each group of `look_alikes`."""
    return [
        f"the classes {' and '.join(map(repr, group))} differ only in case or spaces; give them one name if "
        "they are one class"
        for group in look_alikes(labels)
    ]


@dataclass(frozen=True)
class Sample:
    """A labeled video, or a labeled part of one.

    Attributes:
        path: the video file or frame folder.
        label: class name, as `clean_text` returns it.
        split: a key of `SPLITS` in the dataset's own split; None: it has none.
        start_seconds, end_seconds: the labeled part; None: from the first frame, to the last frame.
        columns: all columns of the CSV, for example subject or date.
    """

    path: str
    label: str
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", clean_text(self.label))

    @property
    def name(self) -> str:
        """The path, followed by the labeled part in seconds if there is one."""
        if self.start_seconds is None and self.end_seconds is None:
            return self.path
        end = "end" if self.end_seconds is None else f"{self.end_seconds:.12g}"
        return f"{self.path}[{self.start_seconds or 0:.12g}-{end} s]"


@dataclass(frozen=True)
class LeftOut:
    """The files of a dataset's folder that are not part of any sample.

    Attributes:
        root: the folder.
        files: paths of the files, sorted.
        num_hidden: hidden files and folders, such as .DS_Store; they are only counted.
    """

    root: str = ""
    files: tuple[str, ...] = ()
    num_hidden: int = 0

    def by_suffix(self) -> dict[str, list[str]]:
        """Names below the root by suffix in lower case, "" for none; the most frequent suffix first."""
        found: dict[str, list[str]] = {}
        for file in self.files:
            name = Path(file).relative_to(self.root).as_posix() if self.root else file
            found.setdefault(Path(file).suffix.lower(), []).append(name)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    def __str__(self) -> str:
        kinds = [
            f"{len(names)} {suffix or 'without suffix'} ({', '.join(names[:_NUM_NAMED])}"
            f"{', …' if len(names) > _NUM_NAMED else ''})"
            for suffix, names in self.by_suffix().items()
        ]
        return ", ".join(kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready counts by suffix, with the first names of each."""
        return {
            "num_files": len(self.files),
            "num_hidden": self.num_hidden,
            "suffixes": {
                suffix: {"num_files": len(names), "first": names[:_NUM_LISTED]}
                for suffix, names in self.by_suffix().items()
            },
        }


def left_out_lines(left_out: LeftOut) -> list[str]:
    """Lines that tell a user which files are not used; none if all are."""
    videos = [file for file in left_out.files if is_video(file)]
    others = [file for file in left_out.files if not is_video(file)]
    lines = []
    for files, why in ((videos, "videos outside the class folders"), (others, "neither videos nor frames")):
        if files:
            lines.append(f"not used, {why}: {replace(left_out, files=tuple(files))}")
    if left_out.num_hidden:
        number = number_of(left_out.num_hidden, "hidden file or folder", "hidden files or folders")
        lines.append(f"not looked at: {number}")
    return lines


_NUM_NAMED = 3  # files of each suffix that a line names
_NUM_LISTED = 20  # the same in JSON


@dataclass(frozen=True)
class DatasetIndex:
    """All samples of a dataset, in a fixed order; the index in `classes` is the class number.

    Attributes:
        source: the folder, the CSV, or the dataset by name.
        samples: labeled videos.
        empty: folders that could be classes but hold no video.
        class_order: all classes in the dataset's own order; empty: those of the samples, alphabetically.
        left_out: files of the dataset's folder that are neither videos nor their frames.
    """

    source: str
    samples: tuple[Sample, ...]
    empty: tuple[str, ...] = ()
    class_order: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_order", tuple(map(clean_text, self.class_order)))

    @property
    def test_split(self) -> str:
        """The split that is the test part: "test", or "val" where no sample is in "test"."""
        splits = {sample.split for sample in self.samples}
        return "val" if "val" in splits and "test" not in splits else "test"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the dataset's own order if it has one, else in alphabetical order."""
        return self.class_order or tuple(sorted({sample.label for sample in self.samples}))

    def fingerprint(self) -> str:
        """Return a text that tells this list of samples from others by names, labels and splits."""
        root = Path(self.source).parent.as_posix()
        tested = {self.test_split: "test"}  # earlier versions had no split "val"
        text = "\n".join(
            f"{s.name.removeprefix(root)}\t{s.label}\t{tested.get(s.split or '', s.split)}"
            for s in self.samples
        )
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def counts(self) -> dict[str, int]:
        """Number of samples of each class."""
        found = Counter(sample.label for sample in self.samples)
        return {name: found[name] for name in self.classes}


def note_facts(index: DatasetIndex) -> None:
    """Name on stderr what of a dataset is not used, and classes that look like one."""
    for empty in index.empty:
        note(f"no videos in {empty!r}: not counted as a class")
    for line in left_out_lines(replace(index.left_out, num_hidden=0)):
        note(line)
    for line in look_alike_lines(index.classes):
        note(line)


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
