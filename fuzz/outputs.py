"""Commands that write results, which `fuzz.kills` interrupts: exports, features, labels, flow, reports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hidden_two_stream.cli.main import main as hts

__all__ = ["OUTPUTS", "Output", "write_inputs"]


@dataclass(frozen=True)
class Output:
    """A command that writes into a folder.

    Attributes:
        name: what is written.
        words: the arguments; DATA, IN and OUT stand for folders.
        in_folder: whether OUT must be there before.
    """

    name: str
    words: tuple[str, ...]
    in_folder: bool = True

    def command(self, data: Path, inputs: Path) -> Callable[[Path], list[str]]:
        """Return a function from the folder OUT to the arguments of `hts`."""

        def arguments(out: Path) -> list[str]:
            if self.in_folder:
                out.mkdir(exist_ok=True)
            folders = {"DATA": data, "IN": inputs, "OUT": out}
            words = []
            for word in self.words:
                for name, folder in folders.items():
                    word = word.replace(name, str(folder)) if word.startswith(name) else word
                words.append(word)
            return words

        return arguments


def _outputs() -> dict[str, Output]:
    found = [
        Output("scores", ("evaluate", "IN/run", "--data", "DATA/labels.csv", "--save-scores",
                          "OUT/scores.npz", "--workers", "0", "--quiet")),
        Output("explanation", ("predict", "IN/run", "IN/long.mp4", "--explain", "OUT/why", "--quiet")),
        Output("segments", ("segment", "IN/run", "IN/long.mp4", "--out", "OUT/found.csv", "--timeline",
                            "OUT/line.png", "--overlay", "OUT/shown.mp4", "--quiet")),
        Output("frame-annotations", ("annotate", "IN/annotator", "IN/long.mp4", "--out", "OUT/labels",
                                     "--format", "boris", "--quiet")),
        Output("features-npz", ("features", "IN/run", "IN/long.mp4", "-o", "OUT/features.npz", "--quiet")),
        Output("flow-video", ("flow", "IN/run", "IN/long.mp4", "-o", "OUT/flow.mp4", "--quiet")),
        Output("flow-files", ("flow", "IN/run", "IN/short.mp4", "-o", "OUT/flow", "--quiet")),
        Output("track", ("track", "--network", "nano", "IN/long.mp4", "--point", "16,16", "-o", "OUT/t.csv",
                         "--overlay", "OUT/track.mp4", "--quiet")),
        Output("table", ("predict", "IN/run", "DATA/recordings", "--out", "OUT/table.jsonl", "--quiet")),
        Output("segment-table", ("segment", "IN/run", "DATA/recordings", "--out", "OUT/found.jsonl",
                                 "--quiet")),
        Output("shards", ("pack", "DATA/labels.csv", "OUT/shards", "--workers", "0", "--quiet")),
        Output("label-file", ("labels", "IN/labels/long.boris", "--out", "OUT/labels.eaf", "--lossy")),
    ]  # fmt: skip
    if find_spec("pyarrow"):
        found.append(
            Output(
                "features-parquet", ("features", "IN/run", "IN/long.mp4", "-o", "OUT/f.parquet", "--quiet")
            )
        )
    if find_spec("huggingface_hub"):
        card = ("push", "IN/run", "somebody/moves", "--dry-run", "OUT/card", "--quiet")
        found.append(Output("model-card", card))
    if find_spec("onnx") and find_spec("onnxscript"):
        found.append(Output("onnx", ("export", "IN/run", "-o", "OUT/model.onnx", "--quiet")))
        found.append(Output("pt2", ("export", "IN/run", "--format", "pt2", "-o", "OUT/model.pt2", "--quiet")))
    return {output.name: output for output in found}


OUTPUTS: dict[str, Output] = _outputs()
"""By name."""


def write_inputs(data: Path, inputs: Path) -> int:
    """Train a small run and an annotator, copy two videos, and return the exit code."""
    inputs.mkdir()
    small = ["--set", "input.size=32", "--set", "calibration.method=none", "--workers", "0", "--quiet"]
    run = [
        "train",
        "--data",
        str(data / "labels.csv"),
        "--out",
        str(inputs / "run"),
        "--recipe",
        "quick",
        *small,
    ]
    annotator = [
        *("train-frames", "--data", str(data / "segments.csv"), "--out", str(inputs / "annotator")),
        *("--unlabeled", "background", "--size", "32", "--steps", "5", "--quiet"),
    ]
    shutil.copy(data / "recordings" / "0.mp4", inputs / "long.mp4")
    shutil.copy(next((data / "videos" / "up").glob("*.mp4")), inputs / "short.mp4")
    labeled = [
        *("annotate", str(inputs / "annotator"), str(inputs / "long.mp4"), "--format", "boris"),
        *("--out", str(inputs / "labels"), "--quiet"),
    ]
    os.chdir(inputs)
    for command in (run, annotator, labeled):
        code = hts(command)
        if code != 0:
            return code
    return 0
