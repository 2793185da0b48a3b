"""Train Nano-MotionNet without each of its parts, and with other losses; print flow errors on unseen clips.

    .venv/bin/python examples/nano_ablation.py [STEPS]

Every row: same generated clips, same seed, AdamW one-cycle 4e-3, batches of 8 clips of 6 frames; then
end-point error on 96 other clips, on moving pixels (the patch) and on all, px of the 64-pixel videos.
Prints the table of docs/nano.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hidden_two_stream.commands.console import machine
from hidden_two_stream.config import StageConfig
from hidden_two_stream.motion import nano
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses import loss_preset, unsupervised_loss
from hidden_two_stream.motion.metrics import endpoint_error
from hidden_two_stream.training.optimizer import learning_rate_factor
from hidden_two_stream.video.synthetic import CLASSES, generate_clip
from hidden_two_stream.video.transforms import normalize, to_tensor

FRAMES = 6
Clips = tuple[Tensor, Tensor, Tensor]


def clips(per_class: int, first_seed: int) -> Clips:
    """Frames (N, T, 3, 64, 64) uint8, flow (N, T−1, 2, 64, 64) px, and mask of the moving patch."""
    made = [
        generate_clip(label, first_seed + 8 * number + place, num_frames=FRAMES)
        for number in range(per_class)
        for place, label in enumerate(CLASSES)
    ]
    frames = torch.stack([to_tensor(clip.frames).contiguous() for clip in made])
    flows = torch.stack([torch.from_numpy(clip.flow) for clip in made])
    return frames, flows, torch.stack([torch.from_numpy(clip.moving) for clip in made])


def without_step(first: Tensor, _second: Tensor, damping: Tensor) -> Tensor:
    """Stands in for the Lucas-Kanade step: measures nothing."""
    return 0 * damping * first.new_ones(len(first), 3, first.shape[-2] // 2, first.shape[-1] // 2)


@contextmanager
def replaced(name: str, function: Callable[..., Tensor] | None) -> Iterator[None]:
    """Put another function in the place of one of the `nano` module's."""
    original = getattr(nano, name, None)
    if function is not None:
        setattr(nano, name, function)
    try:
        yield
    finally:
        if function is not None:
            setattr(nano, name, original)


def train(training: Tensor, steps: int, preset: str, passes: int | None) -> nano.NanoMotionNet:
    """A network after `steps` steps."""
    torch.manual_seed(0)
    network = nano.NanoMotionNet(FRAMES)
    if passes is not None:
        for refiner in (network.refine2, network.refine3):
            refiner.passes = passes
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    schedule, draw = StageConfig(steps=steps), torch.Generator().manual_seed(1)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 4e-3 * learning_rate_factor(schedule, step)
        frames = normalize(training[torch.randint(len(training), (8,), generator=draw)])
        loss = unsupervised_loss(frames, network(frames), loss_preset(preset))["total"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
    return network.eval()


@torch.inference_mode()
def errors(network: nano.NanoMotionNet, test: Clips) -> tuple[float, float]:
    """End-point error in px: on moving pixels, on all."""
    frames, truth, moving = test
    flow = resize_flow(network(normalize(frames))[0], *truth.shape[-2:])
    return endpoint_error(flow, truth, moving).item(), endpoint_error(flow, truth).item()


def main(steps: int) -> None:
    """Train all rows and print the table."""
    training, test = clips(40, 0)[0], clips(12, 1_000_000)
    truth, moving = test[1], test[2]
    zero = torch.zeros_like(truth)
    print(f"{steps} steps; {machine()}\n")
    print("| network | moving px | all px | seconds |\n|---|---|---|---|")
    print(f"| no motion | {endpoint_error(zero, truth, moving):.2f} | {endpoint_error(zero, truth):.2f} | |")
    rows = (
        ("nano", "", None, "robust", None),
        ("without Lucas-Kanade step", "lucas_kanade", without_step, "robust", None),
        ("one pass instead of two", "", None, "robust", 1),
        ("loss `paper`", "", None, "paper", None),
        ("loss `caffe`", "", None, "caffe", None),
    )
    for title, name, function, preset, passes in rows:
        began = time.monotonic()
        with replaced(name, function):
            on_moving, on_all = errors(train(training, steps, preset, passes), test)
        print(f"| {title} | {on_moving:.2f} | {on_all:.2f} | {time.monotonic() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
