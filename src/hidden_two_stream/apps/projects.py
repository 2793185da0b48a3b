"""Projects on disk: labeled clips, and the runs that were trained on them.

hts-projects/NAME/project.json     classes, clips, labels
                  clips/           the uploaded files; thumbnails/ has small images of them
                  runs/1, runs/2   the trained runs
                  labels/1.csv     what `hts train --data` read for a run
"""

from __future__ import annotations

import csv
import io
import math
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hidden_two_stream.apps.jobs import UnknownError
from hidden_two_stream.apps.names import clean_label, disk_name
from hidden_two_stream.apps.probing import THUMBNAIL
from hidden_two_stream.errors import DataError, OutputError, UsageError
from hidden_two_stream.files import make_folder, read_json, write_json, write_text

__all__ = ["MOST_CLIPS", "MOST_INTERVALS", "Clip", "Interval", "Project", "ProjectStore"]

MOST_CLIPS = 2000
"""Clips of a project."""
MOST_INTERVALS = 500
"""Intervals of a clip."""

_FILE = "project.json"
_CLIPS, _LABELS, _RUNS, _THUMBNAILS = "clips", "labels", "runs", "thumbnails"


@dataclass(frozen=True)
class Interval:
    """A part of a clip and what happens in it, [start, end) in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Clip:
    """An uploaded video of a project.

    Attributes:
        id: its name in addresses.
        file: its name in the folder `clips`.
        name: what its owner calls it.
        seconds: how long it is, s.
        label: the class of the whole clip; None: it has none.
        intervals: parts with a class each; only if the whole has none.
    """

    id: str
    file: str
    name: str
    seconds: float
    label: str | None = None
    intervals: tuple[Interval, ...] = ()

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return its samples as path (from the folder of the labels), label, start and end."""
        path = f"../{_CLIPS}/{self.file}"
        if self.label is not None:
            return [(path, self.label, "", "")]
        return [(path, part.label, f"{part.start:g}", f"{part.end:g}") for part in self.intervals]


@dataclass(frozen=True)
class Project:
    """A folder of labeled clips.

    Attributes:
        id: name of its folder.
        folder: where it lies.
        name: its name for people.
        classes: names of the classes, in the order in which they were added.
        clips: the clips, in the order in which they were added.
    """

    id: str
    folder: Path
    name: str
    classes: tuple[str, ...] = ()
    clips: tuple[Clip, ...] = ()

    def clip(self, name: str) -> Clip:
        """Return a clip.

        Raises:
            UnknownError: there is none of this id.
        """
        for clip in self.clips:
            if clip.id == name:
                return clip
        raise UnknownError("there is no such clip in this project")

    def path(self, clip: Clip) -> Path:
        """Return where the file of a clip lies."""
        return self.folder / _CLIPS / clip.file

    def thumbnail(self, clip: Clip) -> Path:
        """Return where the small image of a clip lies."""
        return self.folder / _THUMBNAILS / f"{clip.id}.png"

    def counts(self) -> dict[str, int]:
        """Return the number of samples of each class."""
        found = Counter(row[1] for clip in self.clips for row in clip.rows())
        return {name: found.get(name, 0) for name in self.classes}

    def runs(self) -> list[Path]:
        """Return the folders of its runs, finished or not, in order."""
        found = [path for path in (self.folder / _RUNS).glob("*") if path.is_dir() and path.name.isdecimal()]
        return sorted(found, key=lambda path: int(path.name))

    def next_run(self, taken: Iterable[str] = ()) -> Path:
        """Return the folder of a new run; `taken` are names of runs that have no folder yet."""
        names = [path.name for path in self.runs()] + list(taken)
        return self.folder / _RUNS / str(1 + max(map(int, names), default=0))

    def labels_of(self, run: Path) -> Path:
        """Return where the list of samples of a run lies."""
        return self.folder / _LABELS / f"{run.name}.csv"

    def write_labels(self, run: Path) -> Path:
        """Write the list of samples for the training of a run, and return its path.

        Raises:
            DataError: there are fewer than two classes, or a class with fewer than two samples.
            OutputError: the folder is not writable.
        """
        counts = {name: number for name, number in self.counts().items() if number}
        if len(counts) < 2:
            raise DataError("a recognizer needs at least two classes with clips; add clips of another class")
        few = [name for name, number in counts.items() if number < 2]
        if few:
            raise DataError(
                f"class {few[0]!r} has a single clip; expected at least two: one to learn from "
                "and one to test with"
            )
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("path", "label", "start_seconds", "end_seconds"))
        writer.writerows(row for clip in self.clips for row in clip.rows())
        write_text(self.labels_of(run), text.getvalue(), make_parents=True)
        return self.labels_of(run)

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "folder": str(self.folder),
            "classes": list(self.classes),
            "counts": self.counts(),
            "clips": [asdict(clip) | {"intervals": list(map(asdict, clip.intervals))} for clip in self.clips],
        }


class ProjectStore:
    """The projects below a folder. All changes are written at once.

    Args:
        root: the folder; it is made with the first project.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def all(self) -> tuple[list[Project], list[str]]:
        """Return all projects, and one line about each that cannot be read."""
        found: list[Project] = []
        problems: list[str] = []
        for path in sorted(self._root.glob(f"*/{_FILE}")):
            try:
                found.append(_read(path))
            except DataError as error:
                problems.append(str(error))
        return found, problems

    def get(self, name: str) -> Project:
        """Return a project.

        Raises:
            UnknownError: there is none of this id.
            DataError: its file is damaged.
        """
        path = self._root / Path(name).name / _FILE
        if name != Path(name).name or not path.is_file():
            raise UnknownError("there is no such project")
        return _read(path)

    def add(self, name: str) -> Project:
        """Make a project.

        Raises:
            UsageError: the name is empty or too long, or there is such a project.
            OutputError: the folder cannot be made.
        """
        title = clean_label(name, "the name of the project")
        folder = self._root / disk_name(title, "project")
        if folder.exists():
            raise UsageError(f"there is a project {title!r} already; choose another name")
        make_folder(folder / _CLIPS)
        return self._written(Project(folder.name, folder, title))

    def add_clip(
        self, project: Project, upload: Path, name: str, seconds: float, label: str | None
    ) -> tuple[Project, Clip]:
        """Move an uploaded file into a project, as a clip of a class or without a label.

        Raises:
            UsageError: the label is wrong, or the project is full.
            OutputError: the file cannot be moved.
        """
        if len(project.clips) >= MOST_CLIPS:
            raise UsageError(f"the project has {MOST_CLIPS} clips, and no more fit; start another project")
        chosen = None if label is None else clean_label(label, "the class")
        key = secrets.token_hex(4)
        clip = Clip(key, f"{key}-{disk_name(name, 'video')}", name, seconds, chosen)
        make_folder(project.folder / _CLIPS)
        make_folder(project.folder / _THUMBNAILS)
        _moved(upload.with_name(THUMBNAIL), project.thumbnail(clip))
        _moved(upload, project.path(clip))
        changed = replace(project, clips=(*project.clips, clip))
        return self._written(_with_classes(changed)), clip

    def label(
        self, project: Project, clip: Clip, label: str | None, intervals: Sequence[Mapping[str, Any]]
    ) -> Project:
        """Replace the labels of a clip.

        Raises:
            UsageError: a label or a time is wrong, or the whole and parts of it are both labeled.
        """
        if label is not None and intervals:
            raise UsageError("a clip has a class, or intervals with classes; not both")
        if len(intervals) > MOST_INTERVALS:
            raise UsageError(f"got {len(intervals)} intervals of a clip; expected at most {MOST_INTERVALS}")
        parts = tuple(sorted((_interval(part, clip) for part in intervals), key=lambda part: part.start))
        chosen = None if label is None else clean_label(label, "the class")
        changed = replace(clip, label=chosen, intervals=parts)
        clips = tuple(changed if each.id == clip.id else each for each in project.clips)
        return self._written(_with_classes(replace(project, clips=clips)))

    def remove_clip(self, project: Project, clip: Clip) -> Project:
        """Delete a clip and its file."""
        clips = tuple(each for each in project.clips if each.id != clip.id)
        changed = self._written(replace(project, clips=clips))
        project.path(clip).unlink(missing_ok=True)
        project.thumbnail(clip).unlink(missing_ok=True)
        return changed

    def add_class(self, project: Project, name: str) -> Project:
        """Add a class without clips.

        Raises:
            UsageError: the name is empty, too long, or taken.
        """
        label = clean_label(name, "the class")
        if label in project.classes:
            raise UsageError(f"there is a class {label!r} already")
        return self._written(replace(project, classes=(*project.classes, label)))

    def remove_class(self, project: Project, name: str) -> Project:
        """Remove a class without clips.

        Raises:
            UsageError: the class has clips.
            UnknownError: there is no such class.
        """
        counts = project.counts()
        if name not in counts:
            raise UnknownError("there is no such class in this project")
        if counts[name]:
            raise UsageError(f"class {name!r} has clips; remove them first")
        classes = tuple(each for each in project.classes if each != name)
        return self._written(replace(project, classes=classes))

    def _written(self, project: Project) -> Project:
        data = project.to_dict()
        write_json(project.folder / _FILE, {key: data[key] for key in ("name", "classes", "clips")})
        return project


def _moved(source: Path, target: Path) -> None:
    """Move a file, also to another disk; a failure leaves nothing at `target`.

    Raises:
        OutputError: it cannot be moved.
    """
    try:
        shutil.move(source, target)
    except OSError as error:
        target.unlink(missing_ok=True)
        reason = error.strerror or error
        raise OutputError(f"cannot write {str(target)!r}: {reason}; make disk space free") from error


def _with_classes(project: Project) -> Project:
    """Return the project with the classes of all clips among its classes."""
    used = (row[1] for clip in project.clips for row in clip.rows())
    return replace(project, classes=tuple(dict.fromkeys([*project.classes, *used])))


def _interval(data: Mapping[str, Any], clip: Clip) -> Interval:
    try:
        start, end, label = float(data["start"]), float(data["end"]), data["label"]
    except (KeyError, TypeError, ValueError):
        raise UsageError("an interval needs a start, an end and a class; the times are seconds") from None
    longest = clip.seconds + 0.5  # the last frame lasts, too
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end <= longest):
        raise UsageError(
            f"an interval goes from {start:g} to {end:g} s; expected a start before the end, within the "
            f"{clip.seconds:g} s of the video"
        )
    return Interval(round(start, 3), round(end, 3), clean_label(label, "the class"))


def _read(path: Path) -> Project:
    try:
        data = read_json(path)
        clips = tuple(
            Clip(
                str(clip["id"]),
                Path(str(clip["file"])).name,
                str(clip["name"]),
                float(clip["seconds"]),
                None if clip["label"] is None else str(clip["label"]),
                tuple(
                    Interval(float(part["start"]), float(part["end"]), str(part["label"]))
                    for part in clip["intervals"]
                ),
            )
            for clip in data["clips"]
        )
        classes = tuple(map(str, data["classes"]))
        return Project(path.parent.name, path.parent, str(data["name"]), classes, clips)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise DataError(
            f"the project file {str(path)!r} is damaged ({type(error).__name__}: {error}); mend or remove it"
        ) from error
