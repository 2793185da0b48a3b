"""Train Nano-MotionNet without each of its parts, and with each loss preset; print errors on unseen clips.

    .venv/bin/python examples/nano_ablation.py [STEPS]

All rows use the same generated clips and seed, AdamW with a one-cycle schedule to 4e-3 (1e-3 from the
shipped weights), batches of 8 clips of 6 frames, and gradients clipped to norm 1. The error is the
end-point error on 96 other clips, on moving pixels (the patch) and on all, in px of the 64-pixel videos.
Prints the table of docs/nano.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.config.stages import STAGES
from hidden_two_stream.environment import machine
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses.presets import LOSS_PRESETS, LossPreset, loss_preset
from hidden_two_stream.motion.metrics import endpoint_error
from hidden_two_stream.motion.networks import nano
from hidden_two_stream.motion.networks.nano import lucas_kanade
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.clips import CLASSES, generate_clip
from hidden_two_stream.training.optimizer import learning_rate_factor
from hidden_two_stream.training.stages import StageObjective, select_trained
from hidden_two_stream.video.transforms import normalize, to_tensor
from hidden_two_stream.weights.motion import load_motion_weights

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


def without_step(dx: Tensor, dy: Tensor, difference: Tensor, share: Tensor, contrast: Tensor) -> Tensor:
    """Replaces the measurement by its result where the second image equals the first."""
    return lucas_kanade(dx, dy, 0 * difference, share, contrast)


def damped_by_contrast(dx: Tensor, dy: Tensor, difference: Tensor, share: Tensor, contrast: Tensor) -> Tensor:
    """The measurement, damped by the contrast of the images instead of by their difference."""
    unlike = nano.neighborhood_sums(nano.block_sums(difference * difference)) / 36
    return lucas_kanade(dx, dy, difference, 0.05 * share * contrast / (unlike + 1e-9), contrast)


def unfiltered(flow: Tensor) -> Tensor:
    """Replaces the median filter: returns the flow as it is."""
    return flow


@contextmanager
def replaced(functions: Mapping[str, Callable[..., Tensor]]) -> Iterator[None]:
    """Replace functions of the `nano` module by others, and restore them afterwards."""
    originals = {name: getattr(nano, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(nano, name, function)
        yield
    finally:
        for name, function in originals.items():
            setattr(nano, name, function)


@dataclass(frozen=True)
class Row:
    """One line: losses, steps, what stands in for parts of nano, and whether shipped weights begin."""

    title: str
    preset: LossPreset
    steps: int
    parts: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)
    shipped: bool = False


def rows(steps: int) -> list[Row]:
    """All lines but that of no motion."""
    robust, census = loss_preset("robust"), loss_preset("census")
    listed = [
        Row("untrained", robust, 0),
        Row("`robust`", robust, steps),
        Row("`robust`, without the measurement", robust, steps, {"lucas_kanade": without_step}),
        Row("`robust`, damped by the image's contrast", robust, steps, {"lucas_kanade": damped_by_contrast}),
        Row("`robust`, without the median filter", robust, steps, {"median_filter": unfiltered}),
        Row("`robust`, edge-aware smoothness", replace(robust, edge_weight=census.edge_weight), steps),
    ]
    listed += [Row(f"`{name}`", loss_preset(name), steps) for name in LOSS_PRESETS if name != "robust"]
    return [
        *listed,
        Row("`census`, smoothness not edge-aware", replace(census, edge_weight=0.0), steps),
        Row("`census`, without the median filter", census, steps, {"median_filter": unfiltered}),
        Row("shipped weights", robust, 0, shipped=True),
        Row(
            "shipped weights, without the median filter",
            robust,
            0,
            {"median_filter": unfiltered},
            shipped=True,
        ),
        Row("shipped weights, then `robust`", robust, steps, shipped=True),
        Row("shipped weights, then `census`", census, steps, shipped=True),
    ]


def train(training: Tensor, row: Row) -> nano.NanoMotionNet:
    """The network of a row, trained for the row's steps."""
    torch.manual_seed(0)
    model = HiddenTwoStream("nano", "small", 2, FRAMES, streams=("temporal",))
    network: nano.NanoMotionNet = model.motion_net  # type: ignore[assignment]
    if row.shipped:
        load_motion_weights(network, "nano")
    select_trained(model, STAGES["motion"])
    objective = StageObjective(model, STAGES["motion"], StageConfig(), row.preset)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    schedule, draw = StageConfig(steps=max(row.steps, 1)), torch.Generator().manual_seed(1)
    for step in range(row.steps):
        rate = 1e-3 if row.shipped else 4e-3
        optimizer.param_groups[0]["lr"] = rate * learning_rate_factor(schedule, step)
        frames = normalize(training[torch.randint(len(training), (8,), generator=draw)])
        loss = objective(frames, torch.zeros(8, dtype=torch.int64))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network.eval()


@torch.inference_mode()
def errors(network: nano.NanoMotionNet, test: Clips) -> tuple[float, float]:
    """The end-point error in px, on moving pixels and on all."""
    frames, truth, moving = test
    flow = resize_flow(network(normalize(frames))[0], *truth.shape[-2:])
    return endpoint_error(flow, truth, moving).item(), endpoint_error(flow, truth).item()


def main(steps: int) -> None:
    """Train all rows and print the table."""
    training, test = clips(40, 0)[0], clips(12, 1_000_000)
    truth, moving = test[1], test[2]
    zero = torch.zeros_like(truth)
    print(f"{steps} steps; {machine()}\n")
    print("| nano | moving px | all px |\n|---|---|---|")
    print(f"| no motion | {endpoint_error(zero, truth, moving):.2f} | {endpoint_error(zero, truth):.2f} |")
    for row in rows(steps):
        with replaced(row.parts):
            on_moving, on_all = errors(train(training, row), test)
        print(f"| {row.title} | {on_moving:.2f} | {on_all:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("steps", nargs="?", type=int, default=200, help="of each row (default: %(default)s)")
    main(parser.parse_args().steps)
