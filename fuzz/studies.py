"""Files of comparisons and cross-validations: their writers and readers, as in `writers` and `readers`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.videos import write_clip
from fuzz.writers import _small_run

__all__ = [
    "read_baseline",
    "read_flow_cache",
    "read_folds_plan",
    "read_nearest",
    "write_baseline",
    "write_flow_cache",
    "write_folds",
    "write_nearest",
]

_NEAREST = "nearest-motion"


def write_baseline(folder: Path) -> None:
    """Write a run of `hts compare` over stacked frames, with random weights."""
    from hidden_two_stream.checkpoint import save_run
    from hidden_two_stream.experiments.baselines import BaselineModel

    _, info = _small_run()
    (folder / "run").mkdir()
    save_run(folder / "run", BaselineModel("frames", info.recipe, len(info.classes)), info, baseline="frames")


def read_baseline(path: Path) -> object:
    from hidden_two_stream.experiments.baselines import load_baseline

    return load_baseline(path)


def write_nearest(folder: Path) -> None:
    """Write a run of `hts compare` that keeps descriptors."""
    import torch

    from hidden_two_stream.checkpoint import save_run
    from hidden_two_stream.experiments.nearest import LENGTHS, NearestModel

    _, info = _small_run()
    (folder / "run").mkdir()
    model = NearestModel(torch.rand(4, LENGTHS[_NEAREST]), torch.tensor([0, 1, 0, 1]))
    save_run(folder / "run", model, info, baseline=_NEAREST)


def read_nearest(path: Path) -> object:
    import torch

    from hidden_two_stream.experiments.nearest import LENGTHS
    from hidden_two_stream.experiments.nearest_runs import load_nearest

    return load_nearest(path).model(torch.zeros(1, LENGTHS[_NEAREST]))


@cache
def _decoded() -> Any:
    """Return a clip cache of one video. The file is gone afterwards, the frames are in memory."""
    import tempfile

    from hidden_two_stream.data.clip_cache import open_clip_cache
    from hidden_two_stream.data.samples import Sample

    with tempfile.TemporaryDirectory() as folder:
        write_clip("avi-raw", Path(folder))
        return open_clip_cache([Sample(f"{folder}/clip.avi", "a")], 32, workers=0)


def write_flow_cache(folder: Path) -> None:
    """Write precomputed flow of one video, as `hts compare` keeps it."""
    from hidden_two_stream.experiments.precomputed_flow import extract_flow

    extract_flow(_decoded(), "dis-fast", folder / "flow")


def read_flow_cache(path: Path) -> object:
    """Open the flow again, and look at the numbers."""
    from hidden_two_stream.experiments.precomputed_flow import extract_flow

    return [
        float(np.nansum(video.flow.float())) for video in extract_flow(_decoded(), "dis-fast", path).videos
    ]


def write_folds(folder: Path) -> None:
    """Write the folder of a cross-validation that has just begun, and its data."""
    from hidden_two_stream.experiments.folds import open_folder

    rows = "".join(f"{label}{n}.mp4,{label},{n}\n" for label in "ab" for n in range(3))
    (folder / "labels.csv").write_text("path,label,subject\n" + rows, encoding="utf-8")
    with open_folder(folder / "runs", _folds(folder), _small_run()[1].recipe, 0, "10x1", resume=False):
        pass


def read_folds_plan(path: Path) -> object:
    """Continue it."""
    from hidden_two_stream.experiments.folds import open_folder

    folds = _folds(path.parent)
    with open_folder(path, folds, _small_run()[1].recipe, 0, "10x1", resume=True):
        return [folds.folder(path, value) for value in folds.splits]


def _folds(folder: Path) -> Any:
    from hidden_two_stream.experiments.folds import read_folds

    return read_folds(folder / "labels.csv", "subject")
