"""The runs that the page offers: those named at the start, and those of the projects."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.apps.jobs import UnknownError
from hidden_two_stream.checkpoint import (
    CONFIG_FILE,
    FRAME_LABELS_KEY,
    MODEL_FILE,
    RESULTS_FILE,
    RunInfo,
    baseline_of,
    read_config,
)
from hidden_two_stream.config.stages import trained_streams
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import read_json

__all__ = ["OfferedRun", "RunList"]


@dataclass(frozen=True)
class OfferedRun:
    """A run that the page can use.

    Attributes:
        id: its name in addresses; the same at every start.
        name: its name for people.
        folder: the run folder.
        info: its description.
        accuracy: share of its test videos that were right, 0…1; None: not tested.
    """

    id: str
    name: str
    folder: Path
    info: RunInfo
    accuracy: float | None

    @classmethod
    def read(cls, folder: Path, name: str = "") -> OfferedRun:
        """Return the run in a folder, without its weights.

        Raises:
            UsageError: there is no such folder.
            CheckpointError: it holds no run that labels clips, or a damaged one.
        """
        if not os.path.isdir(folder):  # `Path.is_dir` raises an error about a very long name
            kind = "it is a file" if os.path.exists(folder) else "there is none"
            raise UsageError(f"no run at {str(folder)!r}: {kind}; give a folder made by `hts train`")
        if not (folder / MODEL_FILE).is_file():
            raise CheckpointError(
                f"{str(folder)!r} holds no {MODEL_FILE}; expected a folder made by `hts train`"
            )
        info = read_config(folder)
        data = read_json(folder / CONFIG_FILE)
        if baseline_of(data) is not None or FRAME_LABELS_KEY in data:
            raise CheckpointError(
                f"{str(folder)!r} does not label clips by hidden motion; the page cannot use it"
            )
        place = str(folder.resolve())
        return cls(
            hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:12],
            name or folder.resolve().name,
            folder.resolve(),
            info,
            _accuracy(folder),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        recipe = self.info.recipe
        return {
            "id": self.id,
            "name": self.name,
            "folder": str(self.folder),
            "classes": list(self.info.classes),
            "streams": [
                stream
                for stream in trained_streams(self.info.metadata.stages)
                if stream in recipe.model.streams
            ],
            "size": recipe.input.size,
            "frames": recipe.model.num_frames,
            "videos": self.info.metadata.num_training_videos,
            "accuracy": self.accuracy,
        }


class RunList:
    """The runs by id, in the order in which they were added."""

    def __init__(self) -> None:
        self._runs: dict[str, OfferedRun] = {}

    def add(self, folder: Path, name: str = "") -> OfferedRun:
        """Add the run in a folder, or read it again.

        Raises:
            UsageError, CheckpointError: as `OfferedRun.read`.
        """
        run = OfferedRun.read(folder, name)
        self._runs[run.id] = run
        return run

    def get(self, name: str) -> OfferedRun:
        """Return the run of an id.

        Raises:
            UnknownError: there is none.
        """
        if name not in self._runs:
            raise UnknownError("there is no such run; load the page again")
        return self._runs[name]

    def all(self) -> list[OfferedRun]:
        """Return all runs."""
        return list(self._runs.values())


def _accuracy(folder: Path) -> float | None:
    try:
        value = read_json(folder / RESULTS_FILE).get("accuracy")
    except (OSError, ValueError, AttributeError, json.JSONDecodeError):
        return None
    value = value.get("fused") if isinstance(value, dict) else value
    return float(value) if isinstance(value, int | float) else None
