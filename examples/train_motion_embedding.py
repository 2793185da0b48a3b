"""Train the motion embedding that ships: a temporal stream that tells generated motions apart.

The clips are those of `synthetic.motion_library`. The generator knows their classes, so no video and no human
label is involved. MotionNet is the shipped nano, frozen. The log has the loss and the accuracy on clips of
other seeds; the last lines are the table of `docs/few-clips.md`.

    python examples/train_motion_embedding.py --out runs/embedding --save embedding.safetensors

An existing pool of clips in `--out` is used again, and so are the weights of a finished training.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.environment import machine
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.motion_library import LIBRARY_CLASSES, generate_library
from hidden_two_stream.video.transforms import normalize
from hidden_two_stream.weights.motion import load_motion_weights, motion_weights_info
from hidden_two_stream.weights.temporal import save_temporal_weights

NUM_FRAMES, SIZE = 16, 112
SIDES = (32, 64, 96, 128)  # px that the network sees
SIDE_CHANCES = (0.08, 0.17, 0.1, 0.65)
SMALLEST_CROP = 0.75
LUMA = (0.299, 0.587, 0.114)

Pool = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def load_pool(folder: Path, name: str, count: int, seed: int, workers: int) -> Pool:
    """Return gray clips (N, T, size, size) uint8 and their labels, generated if there are none yet."""
    clips, labels = folder / f"{name}-clips.npy", folder / f"{name}-labels.npy"
    if not labels.exists():
        known = []
        pool = np.lib.format.open_memmap(clips, "w+", np.uint8, (count, NUM_FRAMES, SIZE, SIZE))
        for number, start in enumerate(range(0, count, 1024)):
            some = min(1024, count - start)
            pixels, found = generate_library(
                some, seed * 1000 + number, workers=workers, num_frames=NUM_FRAMES, size=SIZE
            )
            for place, clip in enumerate(pixels, start):
                pool[place] = np.rint(clip.astype(np.float32) @ np.array(LUMA, np.float32))
            known.append(found)
        pool.flush()
        np.save(labels, np.concatenate(known))
    return np.load(clips, mmap_mode="r"), np.load(labels)


def frames_of(clips: npt.NDArray[np.uint8], side: int, generator: torch.Generator | None) -> Tensor:
    """Return `frames` (B, T, 3, side, side) of gray clips; with a generator, a random crop of each."""
    cut = []
    for clip in torch.from_numpy(np.array(clips)).float():
        if generator is not None:
            scale, down, right = torch.rand(3, generator=generator).tolist()
            crop = round(SIZE * (SMALLEST_CROP + (1 - SMALLEST_CROP) * scale))
            top, left = round(down * (SIZE - crop)), round(right * (SIZE - crop))
            clip = clip[:, top : top + crop, left : left + crop]
        cut.append(
            functional.interpolate(
                clip[:, None], (side, side), mode="bilinear", antialias=True, align_corners=False
            )
        )
    return normalize(torch.stack(cut).expand(-1, -1, 3, -1, -1))


@torch.inference_mode()
def accuracy(model: HiddenTwoStream, pool: Pool, side: int) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the accuracy on a pool, and the accuracy of each class."""
    model.eval()
    found = [
        model.temporal(frames_of(pool[0][i : i + 32], side, None)).argmax(dim=1).numpy()
        for i in range(0, len(pool[0]), 32)
    ]
    right = np.concatenate(found) == pool[1]
    model.temporal_stream.train()
    return float(right.mean()), np.array([right[pool[1] == k].mean() for k in range(len(LIBRARY_CLASSES))])


def train(model: HiddenTwoStream, pool: Pool, held_out: Pool, arguments: argparse.Namespace) -> None:
    """Train the temporal stream on a pool; write a line of the log every `--every` steps."""
    rng = np.random.default_rng(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    stream: nn.Module = model.temporal_stream
    model.eval().requires_grad_(False)
    stream.train().requires_grad_(True)
    groups = [
        {"params": [p for p in stream.parameters() if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in stream.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=arguments.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.learning_rate, total_steps=arguments.steps, pct_start=0.05
    )
    start, losses = time.monotonic(), []
    with (arguments.out / "log.csv").open("w", newline="", encoding="utf-8") as file:
        log = csv.writer(file, lineterminator="\n")
        log.writerow(["step", "loss", "held_out_accuracy", "seconds"])
        for step in range(1, arguments.steps + 1):
            chosen = np.sort(rng.choice(len(pool[0]), arguments.batch, replace=False))
            side = SIDES[int(rng.choice(len(SIDES), p=SIDE_CHANCES))]
            first = int(rng.integers(0, 6))  # 11 to 16 frames
            frames = frames_of(pool[0][chosen, first:], side, generator)
            labels = torch.from_numpy(pool[1][chosen])
            loss = functional.cross_entropy(model.temporal(frames), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(stream.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if step % arguments.every == 0 or step == arguments.steps:
                held, _ = accuracy(model, held_out, 128)
                seconds = time.monotonic() - start
                log.writerow([step, f"{np.mean(losses):.4f}", f"{held:.4f}", f"{seconds:.0f}"])
                file.flush()
                print(
                    f"step {step}: loss {np.mean(losses):.3f}, held out {held:.1%}, {seconds:.0f} s",
                    flush=True,
                )
                losses = []
                torch.save(stream.state_dict(), arguments.out / "stream.pt")


def finished(arguments: argparse.Namespace) -> bool:
    """Return whether `--out` holds the weights of a training of so many steps."""
    log = arguments.out / "log.csv"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else [""]
    return lines[-1].startswith(f"{arguments.steps},") and (arguments.out / "stream.pt").exists()


def provenance(arguments: argparse.Namespace, held_out_accuracy: float) -> dict[str, object]:
    """Return where the weights come from, for the header of their file."""
    return {
        "script": "examples/train_motion_embedding.py",
        "data": f"{arguments.clips} generated clips of synthetic.motion_library, {NUM_FRAMES} frames of "
        f"{SIZE} px, no video and no human label",
        "steps": arguments.steps,
        "batch": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
        "held_out_accuracy": round(held_out_accuracy, 4),
        "motion_weights": motion_weights_info("nano").to_dict()["sha256"],
        "machine": machine(),
        "license": "Apache-2.0",
    }


def main() -> None:
    """Generate, train, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/embedding"))
    parser.add_argument("--clips", type=int, default=30300)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--save", type=Path, help="write the weights to this .safetensors file")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    held_out = load_pool(arguments.out, "held-out", 6 * len(LIBRARY_CLASSES), 900, arguments.workers)
    pool = load_pool(arguments.out, "training", arguments.clips, 1, arguments.workers)
    torch.manual_seed(arguments.seed)
    model = HiddenTwoStream(
        "nano", "small", len(LIBRARY_CLASSES), NUM_FRAMES, temporal="sequence", streams=("temporal",),
        temporal_dropout=0.1,
    )  # fmt: skip
    load_motion_weights(model.motion_net, "nano")
    if finished(arguments):
        weights = torch.load(arguments.out / "stream.pt", weights_only=True)
        model.temporal_stream.load_state_dict(weights)
    else:
        train(model, pool, held_out, arguments)
    print("\n| side, px | held-out accuracy |\n|---:|---:|")
    for side in SIDES:
        print(f"| {side} | {accuracy(model, held_out, side)[0]:.1%} |")
    held_out_accuracy, classes = accuracy(model, held_out, 128)
    hardest = ", ".join(f"{LIBRARY_CLASSES[k]} {classes[k]:.0%}" for k in np.argsort(classes)[:12])
    print(
        f"\n{len(LIBRARY_CLASSES)} classes, {len(pool[0])} clips, {arguments.steps} steps of "
        f"{arguments.batch}, seed {arguments.seed}. Hardest: {hardest}. Machine: {machine()}."
    )
    if arguments.save is not None:
        origin = provenance(arguments, held_out_accuracy)
        save_temporal_weights(arguments.save, model.temporal_stream, "nano", LIBRARY_CLASSES, origin)


if __name__ == "__main__":
    main()
