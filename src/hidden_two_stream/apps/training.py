"""The task that trains a project, with the package's own training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import PLAN_FILE
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import resume, train

__all__ = ["train_project"]


def train_project(data: str, out: str, recipe: str, changes: list[str], again: bool) -> dict[str, Any]:
    """Train a recognizer on a project's clips, and return its results, as `results.json` holds them.

    Args:
        data: the list of clips, see `apps.projects`.
        out: the run folder.
        recipe: name of a recipe.
        changes: changes of single fields, such as "temporal.steps=50".
        again: continue the run in `out`, which was stopped.

    Raises:
        UsageError, DataError, CheckpointError, TrainingError: as `training.runner.train`.
        Stopped: the task was stopped; the state is saved.
    """
    folder = Path(out)
    if again and (folder / PLAN_FILE).exists():  # else it stopped before it had begun
        result = resume(folder, Resources(quiet=True))
    else:
        result = train(data, folder, recipe, changes, resources=Resources(quiet=True))
    return result.to_dict() | {"run": str(folder), "classes": list(result.recognizer.classes)}
