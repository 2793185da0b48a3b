"""What the readers of published lists share: their result, reading lines, and finding videos.

Published lists hold names with brackets, ampersands and other characters that are special in glob patterns.
Each folder is therefore listed once, and names are looked up in the result. The path of a missing video is
where it was expected.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.text_files import read_text
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import is_video, video_stem

__all__ = ["Catalog", "VideoFinder", "broken", "find_list", "read_lines", "require_folder", "unique"]


@dataclass(frozen=True)
class Catalog:
    """The content of a dataset's lists, whether or not the videos exist.

    Attributes:
        classes: all classes, in the dataset's own order.
        samples: training and test samples.
        lists: files or folders that the lists were read from.
        videos: folders that were searched for videos.
        unused: listed videos that are in neither part; their label may be empty.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    lists: tuple[str, ...]
    videos: tuple[str, ...]
    unused: tuple[Sample, ...] = ()


def require_folder(root: Path, name: str) -> None:
    """Check that the folder of dataset `name` exists.

    Raises:
        UsageError: it does not exist.
    """
    if not root.is_dir():
        raise UsageError(f"no folder at {str(root)!r}; expected the folder that holds {name}: check the path")


def find_list(root: Path, folders: Sequence[str], name: str, source: str) -> Path:
    """The first existing file `root/folder/name`.

    Args:
        root: folder of the dataset.
        folders: sub-folders to search, "" for `root` itself.
        name: of the file.
        source: what to download, and from where, for the error message.

    Raises:
        DataError: the file is in none of the folders.
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
    """Lines of a text file with their numbers, stripped; empty lines are left out.

    Raises:
        DataError: as `read_text`.
    """
    text = read_text(path)
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line]


def broken(path: Path, line: int, got: str, expected: str) -> DataError:
    """The error for a line of a list that cannot be parsed."""
    return DataError(f"{path}, line {line}: got {got!r}; expected {expected}")


def unique(samples: Iterable[Sample], source: object) -> tuple[Sample, ...]:
    """The samples without repetitions.

    Raises:
        DataError: a video is listed with two classes, or both for training and for the test.
    """
    kept: dict[str, Sample] = {}
    for sample in samples:
        first = kept.setdefault(sample.name, sample)
        if (first.label, first.split) != (sample.label, sample.split):
            both = " and as ".join(f"{s.label!r} ({s.split})" for s in (first, sample))
            raise DataError(f"{source}: {sample.name!r} is listed as {both}; remove one of the two")
    return tuple(kept.values())


class VideoFinder:
    """Looks up videos by name in a few folders, each of which is listed only once.

    Args:
        bases: folders to search, the usual one first; missing ones are skipped.
        ignore_case: ignore the case of folder and file names.
    """

    def __init__(self, bases: Sequence[Path], ignore_case: bool = False) -> None:
        self.bases = bases
        self._ignore_case = ignore_case
        self._entries: dict[str, dict[str, str]] = {}
        self._places: dict[tuple[str, ...], list[str]] = {}

    def find(self, names: Sequence[str], folders: Sequence[str] = ("",)) -> str:
        """The path of the first of `names` that exists in `folders` of a base; else the expected path.

        A video with the same stem and another suffix also matches, and so does a frame folder named like the
        stem.
        """
        places = self._places_of(tuple(folders))
        for name in names:
            stem = video_stem(name)
            keys = (name, stem, name.casefold(), stem.casefold()) if self._ignore_case else (name, stem)
            for place in places:
                entries = self._entries[place]
                for key in keys:
                    if key in entries:
                        return os.path.join(place, entries[key])
        expected = names[0] if names[0] != video_stem(names[0]) else f"{names[0]}.mp4"
        return os.path.join(places[0] if places else os.path.join(self.bases[0], folders[0]), expected)

    def _places_of(self, folders: tuple[str, ...]) -> list[str]:
        """Existing folders with these names; lists their entries on the first call."""
        if folders not in self._places:
            found = (self._folder(base, folder) for folder in folders for base in self.bases)
            places = list(dict.fromkeys(place for place in found if place is not None))
            for place in places:
                if place not in self._entries:
                    self._entries[place] = self._listed(place)
            self._places[folders] = places
        return self._places[folders]

    def _folder(self, base: Path, folder: str) -> str | None:
        if os.path.isdir(base / folder):  # `Path.is_dir` raises an error about a very long name
            return str(base / folder)
        if self._ignore_case and base.is_dir():
            alike = [entry for entry in os.scandir(base) if entry.name.casefold() == folder.casefold()]
            return next((entry.path for entry in alike if entry.is_dir()), None)
        return None

    def _listed(self, place: str) -> dict[str, str]:
        """Names in a folder, by the keys that find them; for each key the closest match."""
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        videos = [e.name for e in entries if is_video(e.name)]
        others = set(videos)
        folders = [e.name for e in entries if e.name not in others and e.is_dir()]
        keys = {name: name for name in videos}
        for name in videos:
            keys.setdefault(video_stem(name), name)
        for name in folders:
            keys.setdefault(name, name)
        if self._ignore_case:
            for key, name in list(keys.items()):
                keys.setdefault(key.casefold(), name)
        return keys
