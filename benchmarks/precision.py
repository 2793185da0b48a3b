"""How far bfloat16 is from float32: flow, scores of each stream, fused scores, and labels.

    python benchmarks/precision.py [--clips 4] [--size 64] [--device cpu] [--json FILE]

Trains a small recognizer of both streams on generated clips in float32, and computes the test clips twice
with it: in float32, and under `torch.autocast` in bfloat16. Exit code 1: a difference is beyond its bound.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import hidden_two_stream as hts
from hidden_two_stream.environment import machine
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.video.reader import read_video

__all__ = ["BOUNDS", "Difference", "measure"]

BOUNDS: dict[str, float] = {
    "flow, mean": 0.01,
    "flow, 99th percentile": 0.05,
    "temporal": 0.05,
    "spatial": 0.05,
    "fused": 0.05,
    "labels": 0.05,
}
"""Largest difference that counts as agreement: flow in px of its own grid, scores 0…1.

Labels: the lead of the better label, in fused score, that bfloat16 may overturn.
"""

_SETTINGS: dict[str, object] = {
    "spatial.steps": 40, "temporal.optimizer": "logistic", "temporal.weight_decay": 0.003,
    "calibration.method": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """The largest difference between two precisions over all clips.

    Attributes:
        name: a key of `BOUNDS`.
        value: in its unit.
        beside: what the float32 value is about, for scale.
    """

    name: str
    value: float
    beside: str

    @property
    def is_within(self) -> bool:
        """Whether it is within its bound."""
        return self.value <= BOUNDS[self.name]


def measure(folder: Path, clips: int = 4, size: int = 64, device: str = "cpu") -> list[Difference]:
    """Train a recognizer, and return the differences on its test clips.

    Args:
        folder: an empty folder for data and run.
        clips: training clips of each class; half as many are tested.
        size: side of the clips, px.
        device: where to compute.
    """
    data = write_dataset(
        folder / "data", train_per_class=clips, test_per_class=max(1, clips // 2), num_frames=16, size=size
    )
    resources = Resources(workers=0, quiet=True, accelerator="cpu")
    run = hts.train(data, folder / "run", "nano", _SETTINGS | {"input.size": size}, resources=resources)
    recognizer = hts.load(run.folder, device)
    paths = sorted((folder / "data" / "videos").glob("*/test_*.mp4"))
    return _differences(recognizer, [read_video(path)[0] for path in paths])


def _differences(recognizer: hts.Recognizer, videos: Sequence[np.ndarray]) -> list[Difference]:
    pairs = [tuple(_computed(recognizer, video, half) for half in (False, True)) for video in videos]
    errors = np.concatenate([np.linalg.norm(a["flow"] - b["flow"], axis=1).ravel() for a, b in pairs])
    lengths = np.concatenate([np.linalg.norm(a["flow"], axis=1).ravel() for a, _ in pairs])
    long = f"flow of {lengths.mean():.2f} px, at most {lengths.max():.1f}"
    found = [
        Difference("flow, mean", float(errors.mean()), long),
        Difference("flow, 99th percentile", float(np.quantile(errors, 0.99)), long),
    ]
    for name in ("temporal", "spatial", "fused"):
        gap = max(float(np.abs(a[name] - b[name]).max()) for a, b in pairs)
        best = np.mean([a[name].max() for a, _ in pairs])
        found.append(Difference(name, gap, f"best score {best:.2f}"))
    leads = [float(a["fused"].max() - a["fused"][b["fused"].argmax()]) for a, b in pairs]
    changed = sum(lead > 0 for lead in leads)
    return [*found, Difference("labels", max(leads), f"{changed} of {len(leads)} labels differ")]


@torch.inference_mode()
def _computed(recognizer: hts.Recognizer, video: np.ndarray, half: bool) -> dict[str, np.ndarray]:
    """Return flow (T-1, 2, h, w), and scores (classes,) of each stream and fused."""
    model = recognizer.model
    device = next(model.parameters()).device
    clip = torch.from_numpy(video).permute(0, 3, 1, 2)[None].to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        frames = model.preprocess(clip)
        flow = _numbers(model.motion(frames)[0][0])
        logits = {
            "spatial": _numbers(model.spatial(frames)[0]),
            "temporal": _numbers(model.temporal(frames)[0]),
        }
    scores = {name: np.exp(values - np.logaddexp.reduce(values)) for name, values in logits.items()}
    return {"flow": flow, "fused": recognizer.fuse(logits), **scores}


def _numbers(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.clips, options.size, options.device)
    print(machine(), f"torch {torch.__version__}", sep="; ")
    print("| what | largest difference | bound | float32 |\n|---|---:|---:|---|")
    for one in found:
        print(f"| {one.name} | {one.value:.4f} | {BOUNDS[one.name]:g} | {one.beside} |")
    if options.json:
        options.json.write_text(json.dumps([vars(one) for one in found], indent=2) + "\n", encoding="utf-8")
    return 0 if all(one.is_within for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
