"""The log of a run: JSON lines and, if TensorBoard is installed, its event files."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import METRICS_FILE, read_metrics
from hidden_two_stream.errors import OutputError
from hidden_two_stream.files import write_text

__all__ = ["MetricsLog", "delete_log"]


def delete_log(folder: Path) -> None:
    """Delete the log of an earlier run in `folder` that ended before its first saved state, if there is one.

    Raises:
        OutputError: the file cannot be deleted.
    """
    path = folder / METRICS_FILE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot replace {str(path)!r}: {error.strerror}") from error


class MetricsLog:
    """Appends one JSON object per logged step to `metrics.jsonl`, and the same numbers to TensorBoard.

    Args:
        folder: the run folder.
        stage: the stage that begins or goes on.
        step: number of its steps that are done. Lines about later steps are deleted.
    """

    def __init__(self, folder: Path, stage: str, step: int) -> None:
        self.path = folder / METRICS_FILE
        self._delete_after(stage, step)
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """Log the `numbers` of a step of a stage. Steps count from 1.

        A number that is not finite, such as the gradient norm of a skipped step, becomes null.

        Raises:
            OutputError: the file is not writable or the disk is full.
        """
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        rounded = {name: round(finite[name], 6) if name in finite else None for name in numbers}
        line = json.dumps({"stage": stage, "step": step} | rounded)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {str(self.path)!r}: {error.strerror}") from error
        if self._board is not None:
            for name, value in finite.items():
                self._board.add_scalar(f"{stage}/{name}", value, step)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _delete_after(self, stage: str, step: int) -> None:
        """Delete lines about steps after the last saved state, which a killed run trains again."""
        if self.path.is_symlink():  # in a folder from elsewhere, it could lead to any file
            delete_log(self.path.parent)
        if self.path.exists():
            lines = read_metrics(self.path.parent)
            kept = [line for line in lines if line["stage"] != stage or line["step"] <= step]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
