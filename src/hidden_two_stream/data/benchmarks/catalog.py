"""What the readers of published lists share: the result, reading lines, and finding the videos.

Lists hold names with brackets, ampersands and other characters that are patterns to a glob, so folders are
listed once each and names looked up. A video that is nowhere keeps the path at which it was expected.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import VIDEO_SUFFIXES

__all__ = ["Catalog", "VideoFinder", "broken", "find_list", "read_lines", "require_folder", "unique"]


@dataclass(frozen=True)
class Catalog:
    """A data set as its lists have it, whether or not the videos are there.

    Attributes:
        classes: all classes, in the data set's own order.
        samples: what trains and what tests.
        lists: files or folders that the lists were read from.
        videos: folders in which videos were looked for.
        unused: listed videos of neither part; their label may be empty.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    lists: tuple[str, ...]
    videos: tuple[str, ...]
    unused: tuple[Sample, ...] = ()


def require_folder(root: Path, name: str) -> None:
    """Check that the data set's folder is there.

    Raises:
        UsageError: it isn't.
    """
    if not root.is_dir():
        raise UsageError(f"no folder at {str(root)!r}; expected the one that holds {name}: check the path")


def find_list(root: Path, folders: Sequence[str], name: str, source: str) -> Path:
    """The first of `root/folder/name` that is there.

    Args:
        root: folder of the data set.
        folders: sub-folders to look into, "" for `root` itself.
        name: of the file.
        source: where such lists are published, and how they are called there.

    Raises:
        DataError: it is in none of them.
    """
    for folder in folders:
        if (root / folder / name).is_file():
            return root / folder / name
    places = ", ".join(folder for folder in folders if folder)
    raise DataError(
        f"no {name} in {str(root)!r} nor in its folders {places}; get {source} and put its files into "
        f"{str(root / folders[1])!r}"
    )


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines of a text file, stripped, without the empty ones.

    Raises:
        DataError: it cannot be read, or is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error}") from error
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line]


def broken(path: Path, line: int, got: str, expected: str) -> DataError:
    """The error for a line that cannot be understood."""
    return DataError(f"{path}, line {line}: got {got!r}; expected {expected}")


def unique(samples: Iterable[Sample], source: object) -> tuple[Sample, ...]:
    """The samples, each once: one that is listed twice alike is one.

    Raises:
        DataError: one video is listed with two classes, or for training and for the test.
    """
    kept: dict[str, Sample] = {}
    for sample in samples:
        first = kept.setdefault(sample.name, sample)
        if (first.label, first.split) != (sample.label, sample.split):
            both = " and as ".join(f"{s.label!r} ({s.split})" for s in (first, sample))
            raise DataError(f"{source}: {sample.name!r} is listed as {both}; remove one of the two")
    return tuple(kept.values())


class VideoFinder:
    """Looks up videos by name in a few folders, each listed once.

    Args:
        bases: folders to look into, the usual one first; those that are not there are passed over.
        ignore_case: names may differ in the case of their letters.
    """

    def __init__(self, bases: Sequence[Path], ignore_case: bool = False) -> None:
        self.bases = bases
        self._ignore_case = ignore_case
        self._entries: dict[str, dict[str, str]] = {}
        self._places: dict[tuple[str, ...], list[str]] = {}

    def find(self, names: Sequence[str], folders: Sequence[str] = ("",)) -> str:
        """The path of the first of `names` in one of `folders` of a base; else where it was expected.

        A name may have a suffix; a video of that stem with another suffix serves, too, and so does a folder
        of frames called like the stem.
        """
        places = self._places_of(tuple(folders))
        for name in names:
            stem = _stem(name)
            keys = (name, stem, name.casefold(), stem.casefold()) if self._ignore_case else (name, stem)
            for place in places:
                entries = self._entries[place]
                for key in keys:
                    if key in entries:
                        return os.path.join(place, entries[key])
        expected = names[0] if names[0] != _stem(names[0]) else f"{names[0]}.mp4"
        return os.path.join(places[0] if places else os.path.join(self.bases[0], folders[0]), expected)

    def _places_of(self, folders: tuple[str, ...]) -> list[str]:
        """Existing folders of these names, listed."""
        if folders not in self._places:
            found = (self._folder(base, folder) for folder in folders for base in self.bases)
            places = list(dict.fromkeys(place for place in found if place is not None))
            for place in places:
                if place not in self._entries:
                    self._entries[place] = self._listed(place)
            self._places[folders] = places
        return self._places[folders]

    def _folder(self, base: Path, folder: str) -> str | None:
        if (base / folder).is_dir():
            return str(base / folder)
        if self._ignore_case and base.is_dir():
            alike = [entry for entry in os.scandir(base) if entry.name.casefold() == folder.casefold()]
            return next((entry.path for entry in alike if entry.is_dir()), None)
        return None

    def _listed(self, place: str) -> dict[str, str]:
        """Names in a folder by the keys under which they are found, the closest match for each key."""
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        videos = [e.name for e in entries if os.path.splitext(e.name)[1].lower() in VIDEO_SUFFIXES]
        others = set(videos)
        folders = [e.name for e in entries if e.name not in others and e.is_dir()]
        keys = {name: name for name in videos}
        for name in videos:
            keys.setdefault(_stem(name), name)
        for name in folders:
            keys.setdefault(name, name)
        if self._ignore_case:
            for key, name in list(keys.items()):
                keys.setdefault(key.casefold(), name)
        return keys


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES else name
