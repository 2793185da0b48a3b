"""The task behind "why?": pictures of the evidence, and the scores when parts of the video stand still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hidden_two_stream.apps.loaded import recognizer_of
from hidden_two_stream.errors import VideoError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.inference.explanation import ExplainedWindow, Explanation
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.progress import ProgressLine
from hidden_two_stream.reports.explanation import heat_overlay
from hidden_two_stream.reports.images import png_bytes
from hidden_two_stream.types import FloatArray, Image

__all__ = ["explain_label"]

_MOST_WINDOWS = 6
_PROTOCOL = "10x1"
_SLOWEST_PX = 0.5


def explain_label(path: str, name: str, run: str, label: str, folder: str, device: str) -> dict[str, Any]:
    """Explain the score of a class: where the evidence is in up to six windows, and when it is.

    Args:
        path: the video.
        name: what its owner calls it.
        run: the run folder.
        label: the class.
        folder: where the pictures go.
        device: where to compute.

    Returns:
        What `Explanation.to_dict` holds, ready for JSON, with the names of the pictures in place of the maps.

    Raises:
        VideoError: the video cannot be read.
        UsageError, CheckpointError: the run or the class cannot be used.
    """
    with ProgressLine("Evidence", 1, quiet=True) as line:
        line.update(0)
        try:
            found = recognizer_of(run, device).explain(path, label, _PROTOCOL)
        except VideoError as error:
            raise VideoError(name, error.reason) from error
        line.update(1)
    data = found.to_dict() | {"source": name}
    places = (
        np.linspace(0, len(found.windows) - 1, min(len(found.windows), _MOST_WINDOWS)).round().astype(int)
    )
    data["windows"] = [
        {
            "start": round(window.start_seconds, 3),
            "end": round(window.end_seconds, 3),
            "scores": {stream: round(score, 5) for stream, score in window.scores.items()},
            "pictures": [
                {"title": title, "file": _write(image, Path(folder) / f"{number}-{place}.png")}
                for place, (title, image) in enumerate(_pictures(found, window))
            ],
        }
        for number, window in enumerate(found.windows[place] for place in places)
    ]
    data["num_windows"] = len(found.windows)
    return data


def _pictures(found: Explanation, window: ExplainedWindow) -> Iterator[tuple[str, Image]]:
    """Yield title and picture: the frame, the spatial evidence, the flow, the temporal evidence."""
    middle, pair = window.clip[window.middle], window.strongest_pair
    yield "Frame", middle
    if "spatial" in window.maps:
        full = found.strongest_map("spatial") or 1.0
        yield "Evidence in the look", heat_overlay(middle, window.maps["spatial"][0] / full)
    if window.flow is not None:
        yield "Hidden motion", _colored(window, pair)
    if "temporal" in window.maps:
        maps, full = window.maps["temporal"], found.strongest_map("temporal") or 1.0
        heat = maps[pair if len(maps) > 1 else 0] / full
        yield "Evidence in the motion", heat_overlay(window.clip[pair], heat)


def _colored(window: ExplainedWindow, pair: int) -> Image:
    assert window.flow is not None
    large: FloatArray = resize_flow(torch.from_numpy(window.flow[pair]), *window.clip.shape[1:3]).numpy()
    fastest = max(_SLOWEST_PX, float(np.percentile(np.hypot(*large), 99)))
    return flow_to_color(large, fastest)


def _write(image: Image, path: Path) -> str:
    with atomic_write(path) as part:
        part.write_bytes(png_bytes(image))
    return path.name
