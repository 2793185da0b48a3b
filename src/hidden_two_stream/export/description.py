"""The description inside an exported file: that of the checkpoint, without paths of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hidden_two_stream.checkpoint import RunInfo
from hidden_two_stream.inference.onnx_recognizer import INPUT
from hidden_two_stream.inference.scoring import Scoring

__all__ = ["description", "without_folders"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_FOLDERS = re.compile(r"(?:^|(?<=[\s:=\"'(]))(?:[A-Za-z]:|~|\.{1,2})?[\\/](?:[^\\/:\"']*[\\/])*")


def description(info: RunInfo, outputs: Sequence[str], precision: str) -> dict[str, Any]:
    """Return the JSON-ready description of an exported model.

    It is that of a checkpoint, so that `checkpoint.run_info` reads it, with one more entry, "export": the
    facts that a host in another language needs.

    Args:
        info: description of the run.
        outputs: names of the graph's outputs.
        precision: "float32" or "int8".
    """
    recipe, plain = info.recipe, info.to_dict()
    scoring = Scoring.of(info)
    return {
        **plain,
        "recipe": without_folders(plain["recipe"]),
        "provenance": without_folders(plain["provenance"]) | _names_only(plain["provenance"]),
        "export": {
            "input": INPUT,
            "layout": "batch, frame, row, column, color (red, green, blue), uint8",
            "num_frames": recipe.model.num_frames,
            "size": recipe.input.size,
            "resize": recipe.input.resize,
            "frame_stride": recipe.input.frame_stride,
            "fps": recipe.input.fps,
            "outputs": list(outputs),
            "threshold": scoring.threshold(None),
            "least_similarity": scoring.least_similarity(None),
            "precision": precision,
        },
    }


def without_folders(value: Any) -> Any:
    """Return plain data with every absolute path in its texts cut down to its last part; URLs stay."""
    if isinstance(value, str):
        return value if _URL.match(value) else _FOLDERS.sub("", value)
    if isinstance(value, Mapping):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    return value


def _names_only(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of the provenance that name runs and data: their last parts, for relative paths."""
    runs = {part: _last_part(run) for part, run in provenance["warm_start"].items()}
    return {"data": _last_part(provenance["data"]), "warm_start": runs}


def _last_part(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]
