"""Checks the arguments of a training before anything heavy is imported, read or decoded.

Nothing here needs PyTorch, whose import takes seconds: a wrong path or field is named at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hidden_two_stream.checkpoint import MODEL_FILE, PLAN_FILE, UNREADABLE_FILE
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.config.validation import require_seed
from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import is_temporary
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.training.lock import LOCK_FILE

__all__ = ["checked_recipe", "require_run_folder"]


def checked_recipe(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    stage: str = "all",
    protocol: str = DEFAULT_PROTOCOL,
    seed: int = 0,
    data_license: str | None = None,
) -> Recipe:
    """Return the recipe of a training, after a check of its other arguments.

    Args:
        recipe, overrides, stage, protocol, seed, data_license: as for `training.runner.train`.

    Raises:
        UsageError: the recipe, a field, the stage or the protocol is unknown, or the license is empty.
    """
    if stage != "all" and stage not in STAGE_NAMES:
        raise UsageError(f"unknown stage {stage!r}; choose all, {', '.join(STAGE_NAMES)}")
    require_seed(seed)
    if data_license is not None and not str(data_license).strip():
        raise UsageError("the license of the data is empty; give its name or leave it out")
    parse_protocol(protocol)
    return load_recipe(recipe, overrides)


def _is_begun(name: str) -> bool:
    """Whether a run can leave this file in its folder before it has written its plan."""
    return name in (LOCK_FILE, UNREADABLE_FILE) or is_temporary(name)


def require_run_folder(folder: Path) -> None:
    """Check that a folder holds no other files than those of a run, such as the videos themselves.

    Raises:
        UsageError: it does.
    """
    entries = folder.iterdir() if os.path.isdir(folder) else ()
    files = [path.name for path in entries if not _is_begun(path.name)]
    if files and not any((folder / name).exists() for name in (PLAN_FILE, MODEL_FILE)):
        raise UsageError(
            f"{str(folder)!r} holds something other than a run, such as {min(files)!r}; name a new or empty "
            "folder"
        )
