"""Lists of research data sets, generated truth, shipped weights and projects of the application."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fuzz.readers import used
from fuzz.writers import _small_run

__all__ = [
    "read_app_project",
    "read_ground_truth",
    "read_hmdb51_lists",
    "read_pretrained",
    "read_tsn_lists",
    "read_ucf101_lists",
    "write_app_project",
    "write_ground_truth",
    "write_hmdb51",
    "write_pretrained",
    "write_tsn",
    "write_ucf101",
]

_CLASSES = ("Archery", "Bowling")


def write_ucf101(folder: Path) -> None:
    """Write the lists of UCF101, and empty videos."""
    lists = folder / "set" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in _CLASSES for group in (1, 2)]
    for name in names:
        video = folder / "set" / "UCF-101" / name
        video.parent.mkdir(parents=True, exist_ok=True)
        video.touch()
    _write(lists / "classInd.txt", *(f"{n} {name}" for n, name in enumerate(_CLASSES, 1)))
    _write(lists / "trainlist01.txt", *(f"{name} {n // 2 + 1}" for n, name in enumerate(names) if n % 2))
    _write(lists / "testlist01.txt", *names[::2])


def read_ucf101_lists(path: Path) -> object:
    from hidden_two_stream.data.benchmarks.clips import read_ucf101

    return read_ucf101(path, 1)


def write_hmdb51(folder: Path) -> None:
    """Write the lists of HMDB51, and empty videos."""
    lists = folder / "set" / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for name in ("climb", "kick_ball"):
        (folder / "set" / "hmdb51_org" / name).mkdir(parents=True)
        for n in range(3):
            (folder / "set" / "hmdb51_org" / name / f"x_{name}_{n}.avi").touch()
        _write(lists / f"{name}_test_split1.txt", *(f"x_{name}_{n}.avi {n} " for n in range(3)))


def read_hmdb51_lists(path: Path) -> object:
    from hidden_two_stream.data.benchmarks.clips import read_hmdb51

    return read_hmdb51(path, 1)


def write_tsn(folder: Path) -> None:
    """Write lists of the form "path frames label", without class names."""
    for part in ("train", "test"):
        _write(folder / f"{part}.txt", *(f"{part}/video {n} 12 {n % 3}" for n in range(6)))


def read_tsn_lists(path: Path) -> object:
    from hidden_two_stream.data.benchmarks.tsn import read_tsn

    return read_tsn([path, path.with_name("test.txt")])


def write_ground_truth(folder: Path) -> None:
    """Write the exact motion of a generated clip."""
    flow = np.zeros((2, 2, 8, 8), np.float32)
    np.savez_compressed(folder / "clip.flow.npz", flow=flow, moving=flow[:, 0] > 0)


def read_ground_truth(path: Path) -> object:
    from hidden_two_stream.synthetic.dataset import load_ground_truth

    return load_ground_truth(path.with_name("clip.mp4"))


def write_pretrained(folder: Path) -> None:
    """Write weights of a temporal stream as they come with the package."""
    from hidden_two_stream.weights.temporal import save_temporal_weights

    model, info = _small_run()
    save_temporal_weights(
        folder / "temporal.safetensors", model.temporal_stream, "nano", info.classes, {"license": "CC0-1.0"}
    )


def read_pretrained(path: Path) -> object:
    from hidden_two_stream.checkpoint import build_model
    from hidden_two_stream.weights.temporal import find_temporal_weights, load_temporal_weights

    model = build_model(_small_run()[1].recipe, 2)
    found = find_temporal_weights("nano", "sequence", path)
    return load_temporal_weights(model.temporal_stream, found, last_layer=True)


def write_app_project(folder: Path) -> None:
    """Write a project of `hts app`."""
    clip = {"id": "00ff", "file": "00ff-a.mp4", "name": "a.mp4", "seconds": 2.5, "label": None}
    labeled = {"start": 0.5, "end": 1.5, "label": "wave"}
    parts = [dict(clip, id=name, intervals=[labeled]) for name in ("00", "01")]
    wholes = [dict(clip, id=name, label="sit", intervals=[]) for name in ("02", "03")]
    (folder / "projects" / "one").mkdir(parents=True)
    data = {"name": "One", "classes": ["wave", "sit"], "clips": parts + wholes}
    (folder / "projects" / "one" / "project.json").write_text(json.dumps(data), encoding="utf-8")


def read_app_project(path: Path) -> object:
    """Open it, and write the labels of its clips, as the page does before a training."""
    from hidden_two_stream.apps.projects import ProjectStore

    store = ProjectStore(path)
    project = store.get("one")
    return store.all(), project.to_dict(), used(lambda: project.write_labels(project.folder / "run"))


def _write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
