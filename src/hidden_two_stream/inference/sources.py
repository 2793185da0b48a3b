"""`hts predict`: labels for files, folders, globs, frame folders and URLs."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.types import Prediction
from hidden_two_stream.video.reader import find_videos, is_frame_folder

__all__ = ["expand_sources", "predict_command"]


def expand_sources(sources: Sequence[str]) -> list[str]:
    """Single videos from what a user names: a folder gives the videos in it, a glob what it matches.

    Raises:
        UsageError: a name matches nothing.
    """
    found: list[str] = []
    for source in sources:
        path = Path(source)
        if "://" in source or path.is_file() or (path.is_dir() and is_frame_folder(path)):
            found.append(source)
        elif path.is_dir():
            inside = sorted(
                str(entry) for entry in path.rglob("*") if entry.is_dir() and is_frame_folder(entry)
            )
            videos = sorted([str(video) for video in find_videos(path)] + inside)
            if not videos:
                raise UsageError(f"no videos in the folder {source!r}")
            found += videos
        else:
            matches = sorted(glob.glob(source, recursive=True))
            if not matches:
                raise UsageError(f"no file, folder or match for {source!r}; check the path")
            found += expand_sources(matches)
    return list(dict.fromkeys(found))


def predict_command(
    recognizer: Recognizer, sources: Sequence[str], protocol: str
) -> Iterator[Prediction | VideoError]:
    """Label one video after the other; an unreadable one gives its error instead of stopping the rest."""
    for source in sources:
        try:
            yield recognizer.predict(source, protocol)
        except VideoError as error:
            yield error
