"""What a run leaves for people to follow: JSON lines, and TensorBoard where installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import METRICS_FILE, read_metrics
from hidden_two_stream.errors import OutputError
from hidden_two_stream.files import write_text

__all__ = ["MetricsLog"]


class MetricsLog:
    """Appends one JSON object per logged step to `metrics.jsonl`, and the same numbers to TensorBoard."""

    def __init__(self, folder: Path, stage: str, step: int) -> None:
        self.path = folder / METRICS_FILE
        self._forget_after(stage, step)
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """Log `numbers` of a stage's step (steps count from 1)."""
        line = json.dumps({"stage": stage, "step": step} | {k: round(v, 6) for k, v in numbers.items()})
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {str(self.path)!r}: {error.strerror}") from error
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"{stage}/{name}", value, step)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _forget_after(self, stage: str, step: int) -> None:
        """Drop lines that a killed run wrote after its last saved state: their steps are trained again."""
        if self.path.exists():
            lines = read_metrics(self.path.parent)
            kept = [line for line in lines if line["stage"] != stage or line["step"] <= step]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
