"""Learn and test labels of frames on generated video with several behaviors at once.

    python examples/behaviors_generated.py [--out runs/behaviors] [--train 12] [--test 4] [--seconds 60]

Two people stand side by side. Each rests, or does one of two things of their own, for one to three seconds,
in a random order that the other does not know. So up to two of the four behaviors happen in a frame. Every
bout shows another person in front of another background; while they rest, the picture stands still. Training
and test recordings have different seeds. Labels are in DeepEthogram's layout; `hts train-frames` learns them,
with and without `--grid 1x2`: features of the left and the right half beside those of the whole frame.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hidden_two_stream.environment import machine
from hidden_two_stream.files import make_folder
from hidden_two_stream.synthetic.motion_library import LIBRARY_CLASSES, generate_library_clip
from hidden_two_stream.training.frame_runs import evaluate_annotator, train_frames
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video

ACTORS = (("wave_both", "jumping_jack"), ("squats", "punch"))
FPS, SIDE = 25, 96


def recording(seed: int, num_frames: int) -> tuple[RawClip, npt.NDArray[np.int8]]:
    """Return frames (T, SIDE, 2·SIDE, 3) uint8 and labels (T, 4): 1 where a behavior happens."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((num_frames, SIDE, 2 * SIDE, 3), np.uint8)
    labels = np.zeros((num_frames, 4), np.int8)
    for place, behaviors in enumerate(ACTORS):
        first, rests = 0, bool(rng.integers(2))
        while first < num_frames:
            length = min(int(rng.integers(FPS, 3 * FPS)), num_frames - first)
            number = int(rng.integers(2))
            label = LIBRARY_CLASSES.index(behaviors[number])
            seed = int(rng.integers(1 << 30))
            clip = generate_library_clip(label, seed, num_frames=max(2, length), size=SIDE)[:length]
            if rests:
                clip = np.repeat(clip[:1], length, axis=0)
            else:
                labels[first : first + length, 2 * place + number] = 1
            frames[first : first + length, :, SIDE * place : SIDE * (place + 1)] = clip
            first, rests = first + length, not rests
    return frames, labels


def write(folder: Path, seeds: range, num_frames: int) -> Path:
    """Write recordings in DeepEthogram's layout, unless they are there."""
    names = [name for behaviors in ACTORS for name in behaviors]
    for seed in seeds:
        inner = make_folder(folder / f"recording_{seed}")
        if (inner / f"{inner.name}_labels.csv").exists():
            continue
        frames, labels = recording(seed, num_frames)
        write_video(inner / f"{inner.name}.mp4", frames, FPS)
        with (inner / f"{inner.name}_labels.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["", "background", *names])
            for number, row in enumerate(labels.tolist()):
                rows.writerow([number, int(not any(row)), *row])
    return folder


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/behaviors"))
    parser.add_argument("--train", type=int, default=12, help="recordings to learn from")
    parser.add_argument("--test", type=int, default=4, help="recordings to test")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a recording")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count = round(arguments.seconds * FPS)
    train = write(arguments.out / "train", range(arguments.train), count)
    test = write(arguments.out / "test", range(1000, 1000 + arguments.test), count)
    for grid in ((1, 1), (1, 2)):
        name = "x".join(map(str, grid))
        run = arguments.out / f"run_{name}_{arguments.seed}"
        result = train_frames(train, run, grid=grid, seed=arguments.seed)
        print(f"--grid {name}, training recordings: {result.cross_fitted}\n")
        print(f"--grid {name}: {evaluate_annotator(result.annotator, test)}\n", flush=True)
    print(f"{FPS} frames per second, {SIDE}×{2 * SIDE} px. Machine: {machine()}.")


if __name__ == "__main__":
    main()
