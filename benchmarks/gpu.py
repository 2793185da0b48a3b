"""Check and time the package on one GPU: one command, at most eight minutes.

    python benchmarks/gpu.py --out results/
    python benchmarks/gpu.py --out results/ --device cpu --small     # a tiny form, in under a minute

Each section writes OUT/SECTION.json as it goes, and OUT/gpu.md holds the tables of all sections. What does
not fit into --minutes is left out and named. The exit code is 0 if every section ran and every check passed.

machine      the machine, and its ceilings: the rate of a large matrix product in each precision (TFLOP/s,
             random data) and the bandwidth of a large copy (GB/s, bytes read plus bytes written)
correctness  outputs and gradients of networks, whole models and losses against float64 on the CPU, as
             |found - reference| / |reference|, each with its bound; and a float16 run of the training loop
             that passes its first overflows and resumes
training     the training loop of `hts train` on generated scenes: the loss curve of MotionNet (loss.csv), and
             the end-point error on held-out scenes before and after, beside that of zero flow, in px
throughput   clips per second of MotionNet, of the whole model (both streams), and of a training step (losses
             of stage joint, gradient, optimizer) by recipe, batch size and configuration. FLOPs are those of
             convolutions and matrix products as torch counts them, two for each multiply-add. percent_of_rate
             is FLOPs per second over the rate of a matrix product in the same precision. The mark ** in the
             column best is at the fastest row
profile      where the time of the whole model and of a training step goes, by kind of kernel and by kernel
data         generated scenes per second, clips per second that the loader cuts, and a training step with and
             without loading

Times are medians over repeated runs after warm-up runs, taken with device events on a GPU; ms_range is their
interquartile range.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import dataclasses
import gc
import itertools
import json
import math
import os
import platform
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.checkpoint import build_model, read_metrics
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGES
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.training_set import Augmentation, StepSampler, TrainingClips
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses.distillation import Crop, distillation_loss
from hidden_two_stream.motion.losses.occlusion import backward_pyramid
from hidden_two_stream.motion.losses.presets import LOSS_PRESETS, loss_preset
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss
from hidden_two_stream.motion.metrics import endpoint_error
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.training_scenes import generate_scene, write_scenes
from hidden_two_stream.training.loop import Stopped, TrainingRun, optimize
from hidden_two_stream.training.optimizer import build_optimizer
from hidden_two_stream.training.stages import StageObjective, select_trained
from hidden_two_stream.video.transforms import normalize
from hidden_two_stream.weights.motion import find_motion_weights, load_motion_weights

NUM_CLASSES = 101
SHIPPED = ("nano", "tiny")
"""MotionNets that have weights in the package; others start at random."""
GIB, TERA = 2**30, 1e12


# -- results -----------------------------------------------------------------------------------------


class OutOfTimeError(Exception):
    """The time of a section, or of one measurement, is over."""


@dataclass
class Section:
    """The results of one section, written to disk at each change.

    Attributes:
        name: of the section and its file.
        folder: where the file goes.
        on_change: called after each change, to write the tables of all sections.
        status: "running", "done", "out of time", "left out", or an error.
        seconds: how long it took.
        facts: named single results.
        tables: rows by the title of their table.
        notes: sentences for the reader.
    """

    name: str
    folder: Path
    on_change: Callable[[], None]
    status: str = "running"
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, table: str, **values: Any) -> dict[str, Any]:
        """Add a row to a table, print it, and save."""
        self.tables.setdefault(table, []).append(values)
        print(f"  {table}: " + ", ".join(f"{k} {shown(v)}" for k, v in values.items()), flush=True)
        self.save()
        return values

    def fact(self, name: str, value: Any) -> None:
        """Set a single result, print it, and save."""
        self.facts[name] = value
        print(f"  {name}: {shown(value)}", flush=True)
        self.save()

    def note(self, text: str) -> None:
        """Add a sentence, print it, and save."""
        self.notes.append(text)
        print(f"  {text}", flush=True)
        self.save()

    def check(self, what: str, precision: str, quantity: str, error: float, bound: float) -> None:
        """Add a row to the table of checks: `error` must not exceed `bound`, and NaN never passes."""
        passed = error <= bound
        self.row(
            "checks",
            what=what,
            precision=precision,
            quantity=quantity,
            error=error if math.isfinite(error) else str(error),
            bound=bound,
            passed=passed,
        )

    def failed_checks(self) -> list[str]:
        """Name each check that did not pass."""
        return [
            f"{row['what']}, {row['precision']}, {row['quantity']}: {shown(row['error'])} > {row['bound']:g}"
            for row in self.tables.get("checks", ())
            if not row["passed"]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        names = ("status", "seconds", "facts", "tables", "notes")
        return {"section": self.name} | {name: getattr(self, name) for name in names}

    def save(self) -> None:
        """Write the section's JSON file and the tables of all sections."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        (self.folder / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        self.on_change()

    def markdown(self) -> str:
        """Return the section as Markdown."""
        lines = [f"## {self.name}", "", f"{self.status}, {self.seconds:.0f} s", ""]
        lines += [f"- {name}: {shown(value)}" for name, value in self.facts.items()]
        lines += [f"- {note}" for note in self.notes]
        for title, rows in self.tables.items():
            columns = list(dict.fromkeys(name for row in rows for name in row))
            lines += ["", f"**{title}**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
            lines += [f"| {' | '.join(shown(row.get(name, '')) for name in columns)} |" for row in rows]
        return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Format a value for people: four significant digits, yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if not 1000 <= abs(value) < 1e6 else f"{value:.0f}"
    return str(value).replace("|", "/")


@dataclass
class Bench:
    """The settings of the whole run, and what later sections need of earlier ones.

    Attributes:
        device: what is measured.
        small: the tiny form.
        seed: of all random numbers.
        workers: processes that generate scenes.
        folder: of the results.
        scratch: folder of what is not kept.
        rates: measured rate of a matrix product by precision, TFLOP/s.
        flops: floating-point operations per clip by recipe, size and work.
        best: fastest row by recipe, size and work.
        scenes: generated clips for training, once they are there.
    """

    device: torch.device
    small: bool
    seed: int
    workers: int
    folder: Path
    scratch: Path
    rates: dict[str, float] = field(default_factory=dict)
    flops: dict[tuple[str, int, str], float] = field(default_factory=dict)
    best: dict[tuple[str, int, str], dict[str, Any]] = field(default_factory=dict)
    scenes: ClipCache | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA GPU."""
        return self.device.type == "cuda"


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` after `seconds` in the main thread, where there are POSIX signals; nests."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise OutOfTimeError

    began, handler = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    outer = signal.getitimer(signal.ITIMER_REAL)[0]
    wait = max(0.01, min(seconds, outer or seconds))
    signal.setitimer(signal.ITIMER_REAL, wait, 3.0)  # again, where an exception is lost in a callback
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, outer - (time.monotonic() - began)), 3.0)


# -- timing and numbers -------------------------------------------------------------------------------


def synchronize(device: torch.device) -> None:
    """Wait for all work of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def release(device: torch.device) -> None:
    """Give unused memory of the device back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def time_ms(bench: Bench, work: Callable[[], Any]) -> tuple[float, float]:
    """Return the median time of `work` and the interquartile range, in ms.

    It runs 3 to 50 times, which together take about half a second, after warm-up runs.
    """
    seconds, warm_up = (0.02, 1) if bench.small else (0.5, 2)
    device = bench.device
    for _ in range(warm_up):
        work()
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    count = min(50, max(3, int(seconds / max(1e-6, time.perf_counter() - began))))
    if device.type != "cuda":
        times = []
        for _ in range(count):
            began = time.perf_counter()
            work()
            times.append(1000 * (time.perf_counter() - began))
        return median_and_range(times)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    synchronize(device)
    return median_and_range([one.elapsed_time(two) for one, two in itertools.pairwise(events)])


def median_and_range(times: Sequence[float]) -> tuple[float, float]:
    """Return the median and the interquartile range."""
    low, middle, high = statistics.quantiles(times, n=4)
    return middle, high - low


def allow_tf32(allowed: bool) -> None:
    """Switch TF32 on or off for matrix products and convolutions in float32."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextlib.contextmanager
def precision_context(name: str, device: torch.device) -> Iterator[None]:
    """Run in "fp32", "tf32", or under autocast in "bf16" or "fp16"."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
    allow_tf32(name == "tf32")
    try:
        with torch.autocast(device.type, half) if half else contextlib.nullcontext():
            yield
    finally:
        allow_tf32(False)


def relative_error(found: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Return |found - reference| / |reference| over all tensors together, NaN if any number is NaN."""
    apart = scale = 0.0
    for one, two in zip(found, reference, strict=True):
        exact = two.detach().to(one.device, torch.float64)
        apart += float((one.detach().double() - exact).square().sum())
        scale += float(exact.square().sum())
    return math.sqrt(apart / scale)


# -- section machine -----------------------------------------------------------------------------------


def measure_machine(bench: Bench, section: Section) -> None:
    """Name the machine; measure matrix products and a copy."""
    device = bench.device
    section.fact("python", platform.python_version())
    section.fact("torch", torch.__version__)
    section.fact("processors", os.cpu_count())
    if bench.on_gpu:
        properties = torch.cuda.get_device_properties(device)
        section.fact("gpu", properties.name)
        section.fact("gpu_memory_gib", properties.total_memory / GIB)
        section.fact("multiprocessors", properties.multi_processor_count)
        section.fact("cuda", torch.version.cuda)
        section.fact("cudnn", torch.backends.cudnn.version())
    measure_rates(bench, section)
    count = (1 << 22) if bench.small else (1 << 30)
    source = torch.randint(0, 255, (count,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    ms, _ = time_ms(bench, lambda: target.copy_(source))
    section.fact("copy_gb_per_s", 2 * count / ms * 1000 / 1e9)


def measure_rates(bench: Bench, section: Section) -> None:
    """Measure the rate of a large matrix product in each precision."""
    size = 256 if bench.small else 8192
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "fp32": torch.float32}
    for name, dtype in kinds.items():
        # Random data, because a matrix product of zeros can run faster.
        one, two = (torch.randn(size, size, device=bench.device, dtype=dtype) for _ in range(2))
        multiply = partial(torch.mm, one, two, out=torch.empty_like(one))
        allow_tf32(name == "tf32")
        ms, spread = time_ms(bench, multiply)
        allow_tf32(False)
        bench.rates[name] = 2 * size**3 / ms * 1000 / TERA
        rate = bench.rates[name]
        section.row(
            "matrix product", precision=name, size=size, ms=ms, ms_range=spread, tflops_per_s=rate
        )  # fmt: skip


# -- section correctness -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Precision:
    """A way to compute, and how far its results may be from float64 on the CPU.

    Gradients of these networks jump: medians, bilinear samples and rectifiers take another branch where
    rounding changes a number. So the bound on gradients is tight in float64 only.
    """

    name: str
    dtype: torch.dtype
    autocast: torch.dtype | None
    output_bound: float
    gradient_bound: float


PRECISIONS = (
    Precision("float64", torch.float64, None, 1e-10, 1e-8),
    Precision("float32", torch.float32, None, 1e-4, 0.1),
    Precision("bf16 autocast", torch.float32, torch.bfloat16, 0.05, 0.6),
    Precision("fp16 autocast", torch.float32, torch.float16, 0.01, 0.3),
)
LOSS_PRECISIONS = (
    Precision("float64", torch.float64, None, 1e-10, 1e-8),
    Precision("float32", torch.float32, None, 1e-4, 0.05),
)


def copy_to(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a module."""
    return copy.deepcopy(module).to(device, dtype)


def check_correctness(bench: Bench, section: Section) -> None:
    """Compare the device with float64 on the CPU."""
    allow_tf32(False)
    frames = generated_frames(bench, 2, 32 if bench.small else 64)
    torch.manual_seed(bench.seed)
    for name in ("nano", "tiny") if bench.small else ("nano", "tiny", "full"):
        network = build_motion(name)
        if name in SHIPPED:
            load_motion_weights(network, find_motion_weights(name, 11).file)
        compare_module(bench, section, f"MotionNet {name}", network, frames)
    for name in ("nano",) if bench.small else ("nano", "tiny", "paper"):
        compare_module(bench, section, f"model {name}", initial_model(load_recipe(name)), frames)
        release(bench.device)
    compare_losses(bench, section, frames)
    train_in_float16(bench, section)


def generated_frames(bench: Bench, count: int, side: int) -> Tensor:
    """Return `frames` (count, 11, 3, side, side) float32 of scenes that no other section uses, on the CPU."""
    seeds = range(9_000_000 + 1000 * bench.seed, 9_000_000 + 1000 * bench.seed + count)
    clips = np.stack([generate_scene(seed, height=side, width=side).frames for seed in seeds])
    return normalize(torch.from_numpy(clips).permute(0, 1, 4, 2, 3))


def initial_model(recipe: Recipe) -> HiddenTwoStream:
    """Return a model with random streams, and MotionNet as the package has it."""
    model = build_model(recipe, NUM_CLASSES)
    if recipe.model.motion in SHIPPED:
        load_motion_weights(model.motion_net, find_motion_weights(recipe.model.motion, 11).file)
    return model


def compare_module(bench: Bench, section: Section, what: str, module: nn.Module, frames: Tensor) -> None:
    """Check outputs and gradients of a module on the device, in each precision."""
    module.eval()
    cpu = torch.device("cpu")
    outputs, gradients = outputs_and_gradients(copy_to(module, cpu, torch.float64), frames, None)
    outputs, gradients = ([x.to(bench.device) for x in part] for part in (outputs, gradients))
    for precision in PRECISIONS:
        moved = copy_to(module, bench.device, precision.dtype)
        found, slopes = outputs_and_gradients(moved, frames, precision.autocast)
        error = max(relative_error([one], [two]) for one, two in zip(found, outputs, strict=True))
        section.check(what, precision.name, "output", error, precision.output_bound)
        error = relative_error(slopes, gradients)
        section.check(what, precision.name, "gradient", error, precision.gradient_bound)


def outputs_and_gradients(
    module: nn.Module, frames: Tensor, autocast: torch.dtype | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Return all outputs, and the gradient of their means with random weights by each parameter."""
    weight = next(module.parameters())
    context = torch.autocast(weight.device.type, autocast) if autocast else contextlib.nullcontext()
    with context:
        result = module(frames.to(weight.device, weight.dtype))
    outputs = list(result.values()) if isinstance(result, dict) else list(result)
    generator = torch.Generator().manual_seed(0)
    means = []
    for output in outputs:
        factors = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        means.append((output.double() * factors.to(output.device)).mean())
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        torch.stack(means).sum(), learned, allow_unused=True
    )
    return outputs, [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(learned, gradients, strict=True)
    ]


def compare_losses(bench: Bench, section: Section, frames: Tensor) -> None:
    """Check the terms of all loss presets and their gradient by the flow."""
    network = build_motion("nano").double()
    load_motion_weights(network, find_motion_weights("nano", 11).file)
    network.double()
    with torch.no_grad():
        clip = frames.double()
        pyramid, backward = network(clip), backward_pyramid(network, clip)
    cpu = torch.device("cpu")
    for name in LOSS_PRESETS:
        terms, slopes = loss_and_gradient(name, clip, pyramid, backward, cpu, torch.float64)
        for precision in LOSS_PRECISIONS:
            found, gradient = loss_and_gradient(name, clip, pyramid, backward, bench.device, precision.dtype)
            error = relative_error([torch.stack(found)], [torch.stack(terms)])
            section.check(f"loss {name}", precision.name, "terms", error, precision.output_bound)
            error = relative_error(gradient, slopes)
            section.check(f"loss {name}", precision.name, "gradient", error, precision.gradient_bound)


def loss_and_gradient(
    name: str,
    frames: Tensor,
    pyramid: Sequence[Tensor],
    backward: Sequence[Tensor],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the terms of a preset and the gradient of their sum by each level of the pyramid."""
    preset = loss_preset(name)
    flows = [flow.to(device, dtype, copy=True).requires_grad_() for flow in pyramid]
    returning = [flow.to(device, dtype) for flow in backward]
    terms = unsupervised_loss(frames.to(device, dtype), flows, preset, backward=returning)
    if preset.distill_weight:
        height, width = frames.shape[-2:]
        crop = Crop(3, 5, height - 12, width - 12)
        constants = (preset.smooth_epsilon, preset.smooth_exponent)
        terms["distillation"] = distillation_loss(
            0.9 * flows[0], flows[0], crop, (height, width), preset.border, constants, returning[0]
        )
        terms["total"] = terms["total"] + terms["distillation"]
    gradients = torch.autograd.grad(terms["total"], flows)
    return [term.detach() for term in terms.values()], list(gradients)


def train_in_float16(bench: Bench, section: Section) -> None:
    """Train in float16 from a loss scale that overflows; a resumed run must equal a whole one.

    On a GPU some backward passes add in no fixed order, and torch has no deterministic form of them. So the
    run is done twice. A resumed run may differ from the first ten times as much as the second does; if the
    second equals the first bit by bit, the resumed run has to, too.
    """
    steps, stop_at = (12, 9) if bench.small else (24, 13)
    runs, interrupted = {}, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        for name in ("whole", "again", "resumed"):
            model, run = float16_run(bench, name, steps)
            if name == "resumed":
                try:
                    with interrupted_at(model.motion_net, stop_at):
                        optimize(model, run, half_precision_fabric(bench.device))
                except Stopped:
                    interrupted = True
                model, run = float16_run(bench, name, steps)
            optimize(model, run, half_precision_fabric(bench.device), resume=name == "resumed")
            (line,) = [line for line in read_metrics(run.folder) if line["step"] == steps]
            runs[name] = line, [parameter.detach().cpu() for parameter in model.parameters()]
    finally:
        torch.use_deterministic_algorithms(False)
    last = runs["whole"][0]
    section.fact("fp16_skipped_steps", last["skipped_steps"])
    section.fact("fp16_last_loss_scale", last["loss_scale"])
    what = "training in float16"
    section.check(what, "fp16", "steps trained (missing)", float(last["skipped_steps"] >= steps), 0.0)
    section.check(what, "fp16", "overflows passed (missing)", float(last["skipped_steps"] < 1), 0.0)
    section.check(what, "fp16", "interruption (missing)", float(not interrupted), 0.0)
    repeated = relative_error(runs["again"][1], runs["whole"][1])
    resumed = relative_error(runs["resumed"][1], runs["whole"][1])
    section.check(what, "fp16", "weights of two runs", repeated, 1e-3)
    section.check(what, "fp16", "weights after a resume", resumed, 10 * repeated)
    apart = abs(runs["resumed"][0]["loss_scale"] - last["loss_scale"])
    section.check(what, "fp16", "loss scale after a resume", apart, 0.0)


def float16_run(bench: Bench, name: str, steps: int) -> tuple[HiddenTwoStream, TrainingRun]:
    """Return a small model and its run in a folder of its own; the same for every name."""
    # The CPU is slow at Tiny-MotionNet in float16.
    network, frames = ("nano", 3) if bench.small else ("tiny", 11)
    overrides = [f"model.motion={network}", f"model.num_frames={frames}", "input.size=64", "input.resize=64"]
    overrides += [f"motion.steps={steps}", "motion.batch_size=2", "motion.motion_learning_rate=1e-4"]
    recipe = load_recipe("motion/nano", overrides)
    torch.manual_seed(bench.seed)
    model = build_model(recipe, 2)
    folder = bench.scratch / f"float16-{name}"
    folder.mkdir(exist_ok=True)
    scenes = [generate_scene(bench.seed + number, num_frames=12, height=64, width=64) for number in range(4)]
    run = TrainingRun(
        folder,
        recipe,
        clip_cache([scene.frames for scene in scenes]),
        [0] * len(scenes),
        bench.seed,
        ("motion",),
        save_seconds=math.inf,
        quiet=True,
        initial_loss_scale=2.0**24,
    )
    return model, run


def half_precision_fabric(device: torch.device) -> Fabric:
    """Return a Fabric in precision "16-mixed", which Fabric by that name offers on a GPU only."""
    plugin = MixedPrecision("16-mixed", device.type)
    fabric = Fabric(accelerator="gpu" if device.type == "cuda" else "cpu", devices=1, plugins=plugin)
    fabric.launch()
    return fabric


@contextlib.contextmanager
def interrupted_at(network: nn.Module, call: int) -> Iterator[None]:
    """Press Ctrl-C in the network's forward pass number `call`."""
    passes = iter(range(1, sys.maxsize))

    def press(*_: object) -> None:
        if next(passes) == call:
            signal.raise_signal(signal.SIGINT)

    hook = network.register_forward_hook(press)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        hook.remove()


def clip_cache(clips: Sequence[np.ndarray[Any, Any]]) -> ClipCache:
    """Return clips (T, H, W, 3) uint8 as if they had been decoded."""
    videos = tuple(
        DecodedVideo(
            f"scene {number}",
            len(clip),
            0,
            (clip.shape[1], clip.shape[2]),
            25.0,
            None,
            torch.from_numpy(clip).permute(0, 3, 1, 2),
        )
        for number, clip in enumerate(clips)
    )
    samples = tuple(Sample(path=str(video.source), label="scene") for video in videos)
    return ClipCache(samples, videos, (), clips[0].shape[1])


# -- section throughput --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Configuration:
    """How a model is run.

    Attributes:
        precision: "fp32", "tf32", "bf16" or "fp16"; the last two under autocast.
        channels_last: memory format of the weights, and so of what convolutions give.
        autotune: let cuDNN try its algorithms for each shape (`torch.backends.cudnn.benchmark`).
        compiled: mode of `torch.compile`, or "no".
    """

    precision: str
    channels_last: bool = True
    autotune: bool = False
    compiled: str = "no"


BASE = Configuration("bf16")
VARIANTS = (
    Configuration("bf16", autotune=True),
    Configuration("bf16", channels_last=False),
    Configuration("tf32"),
    Configuration("fp32", channels_last=False),
    Configuration("fp16"),
)
MOTION, WHOLE, STEP = "MotionNet", "whole model", "training step"
GOALS = {WHOLE: 50, STEP: 35}
"""Percent of the bf16 rate that the paper's model should reach."""


def measure_throughput(bench: Bench, section: Section) -> None:
    """Find the best batch in the base configuration, then vary the configuration at that batch."""
    if not bench.rates:
        measure_rates(bench, section)
    models = [("nano", 64)] if bench.small else [("paper", 224), ("nano", 128), ("tiny", 224), ("nano", 224)]
    # Compiling takes long: that of the paper's model comes early, that of the others last.
    cases = [(*model, kind) for kind in ("eager", "compiled") for model in models]
    if not bench.small:
        cases.insert(1, cases.pop(len(models)))
    for name, size, kind in cases:
        try:
            with deadline(0.6 * time_left() if kind == "compiled" else time_left()):
                measure_recipe(bench, section, name, size, kind)
        except OutOfTimeError:
            section.note(f"{name} at {size} px, {kind}: out of time, the rest is left out")
            if time_left() < 1:
                raise
        finally:
            mark_best(bench, section)
            release(bench.device)


def mark_best(bench: Bench, section: Section) -> None:
    """Mark the fastest row of each table, and set the paper's model against the goals."""
    for rows in section.tables.values():
        for row in rows:
            row.pop("best", None)
    for row in bench.best.values():
        row["best"] = "**"
    for work, goal in GOALS.items():
        percents = [
            row.get("percent_of_rate", 0.0)
            for row in section.tables.get(table_name("paper", 224, work), ())
            if row["precision"] == "bf16"
        ]
        if percents:
            section.facts[f"paper, {work}: percent of the bf16 rate, goal {goal}"] = max(percents)
    section.save()


def table_name(name: str, size: int, work: str) -> str:
    """Return the title of a table."""
    return f"{name}, {size} px, {work}"


def measure_recipe(bench: Bench, section: Section, name: str, size: int, kind: str) -> None:
    """Measure one recipe, either uncompiled in all configurations, or compiled at the best batch size."""
    recipe = load_recipe(name)
    for work in (WHOLE, STEP, MOTION):
        if kind == "eager":
            for batch in batches(bench, name, work):
                measure(bench, section, recipe, name, size, work, batch, BASE)
        best = bench.best.get((name, size, work))
        if best is None:
            continue
        batch = best["batch"]
        if kind == "eager":
            for variant in VARIANTS:
                if not (variant.precision == "fp16" and work == STEP):  # would need a scaler
                    measure(bench, section, recipe, name, size, work, batch, variant)
        else:
            # Launching many small kernels bounds nano; a graph of them is launched at once.
            mode = "reduce-overhead" if name == "nano" and work != STEP else "default"
            compiled = Configuration("bf16", autotune=True, compiled=mode)
            measure(bench, section, recipe, name, size, work, batch, compiled)


def batches(bench: Bench, name: str, work: str) -> tuple[int, ...]:
    """Return the batch sizes to try, smallest first."""
    if bench.small:
        return (2,)
    if work == STEP:
        return (16, 64, 128) if name == "nano" else (16, 64)
    return (16, 128, 512) if name == "nano" else (16, 64, 256)


def measure(
    bench: Bench,
    section: Section,
    recipe: Recipe,
    name: str,
    size: int,
    work: str,
    batch: int,
    configuration: Configuration,
) -> None:
    """Time one kind of work in one configuration; a failure becomes a row of its own."""
    table = table_name(name, size, work)
    shared = {"batch": batch, **dataclasses.asdict(configuration)}
    release(bench.device)
    torch.backends.cudnn.benchmark = configuration.autotune
    try:
        flops = batch * flops_per_clip(bench, recipe, name, size, work)
        run = prepared(bench, recipe, size, work, batch, configuration)
        began = time.perf_counter()
        run()
        synchronize(bench.device)
        first = time.perf_counter() - began
        if bench.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        ms, spread = time_ms(bench, run)
    except OutOfTimeError:
        section.row(table, **shared, failed="out of time")
        raise
    except Exception as error:  # such as too little memory, or what the compiler cannot do
        section.row(table, **shared, failed=f"{type(error).__name__}: {str(error)[:120]!r}")
        return
    finally:
        torch.backends.cudnn.benchmark = False
        if configuration.compiled != "no":
            torch.compiler.reset()
    tflops = flops / ms * 1000 / TERA
    row = shared | {"ms": ms, "ms_range": spread, "clips_per_s": 1000 * batch / ms}
    row |= {"gflop_per_clip": flops / batch / 1e9, "tflops_per_s": tflops}
    row["percent_of_rate"] = 100 * tflops / bench.rates[configuration.precision]
    if bench.on_gpu:
        row["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
    if configuration.compiled != "no":
        row["first_run_s"] = first  # with compiling
    row = section.row(table, **row)
    best = bench.best.get((name, size, work))
    if best is None or row["clips_per_s"] > best["clips_per_s"]:
        bench.best[name, size, work] = row


def flops_per_clip(bench: Bench, recipe: Recipe, name: str, size: int, work: str) -> float:
    """Return the floating-point operations for one clip, counted once."""
    key = name, size, work
    if key not in bench.flops:
        with bench.device:
            model = build_model(recipe, NUM_CLASSES)
            clips = torch.zeros(2, recipe.model.num_frames, 3, size, size)
            labels = torch.zeros(2, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            if work == STEP:
                TrainingStep(model, recipe, Configuration("fp32")).objective(clips, labels)["loss"].backward()
            else:
                model.eval().requires_grad_(False)
                (model if work == WHOLE else model.motion)(clips)
        bench.flops[key] = counter.get_total_flops() / 2
    return bench.flops[key]


def prepared(
    bench: Bench, recipe: Recipe, size: int, work: str, batch: int, configuration: Configuration
) -> Callable[[], None]:
    """Return the work to time. It starts from clips as they are stored, uint8, on the device."""
    device = bench.device
    torch.manual_seed(bench.seed)
    with device:
        model = build_model(recipe, NUM_CLASSES)
    if configuration.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    shape = (batch, recipe.model.num_frames, 3, size, size)
    # Two inputs in turn, so that neither stays in a cache.
    clips = itertools.cycle(torch.randint(0, 256, shape, dtype=torch.uint8, device=device) for _ in range(2))
    compiled = compile_function(bench, configuration)

    if work == STEP:
        labels = torch.arange(batch, device=device) % NUM_CLASSES
        step = TrainingStep(model, recipe, configuration)
        step.objective = compiled(step.objective)
        return lambda: step(next(clips), labels)

    model.eval().requires_grad_(False)
    function = compiled(model if work == WHOLE else model.motion)

    def infer() -> None:
        frames = model.preprocess(next(clips))
        with torch.no_grad(), precision_context(configuration.precision, device):
            function(frames)

    return infer


def compile_function(bench: Bench, configuration: Configuration) -> Callable[[Any], Any]:
    """Return `torch.compile` as configured; the small form only traces, and generates no code."""
    if configuration.compiled == "no":
        return lambda function: function
    if bench.small:
        return partial(torch.compile, backend="eager", dynamic=False)
    return partial(torch.compile, mode=configuration.compiled, dynamic=False)


class TrainingStep:
    """One step of stage joint as the training loop does it: losses, gradient, clipping, optimizer.

    Args:
        model: with its weights on the device.
        recipe: gives the losses, the optimizer and the limit of the gradient norm.
        configuration: gives the precision.
        stage: name of the stage.
    """

    def __init__(
        self, model: HiddenTwoStream, recipe: Recipe, configuration: Configuration, stage: str = "joint"
    ) -> None:
        self.config = recipe.stage(stage)
        self.model, self.configuration = model, configuration
        select_trained(model, STAGES[stage])
        self.objective: nn.Module = StageObjective(
            model, STAGES[stage], self.config, loss_preset(recipe.loss)
        )
        self.optimizer = build_optimizer(model, self.config)
        self.parameters = [
            parameter for group in self.optimizer.param_groups for parameter in group["params"]
        ]

    def __call__(self, clips: Tensor, labels: Tensor) -> None:
        """Take a step on `clips` (B, T, 3, H, W) uint8 and `labels` (B,), both on the device."""
        frames = self.model.preprocess(clips)
        with precision_context(self.configuration.precision, clips.device):
            loss = self.objective(frames, labels)["loss"]
        allow_tf32(self.configuration.precision == "tf32")
        loss.backward()
        allow_tf32(False)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad()


# -- section profile -----------------------------------------------------------------------------------

KINDS = (
    (
        "convolution and matrix product",
        r"gemm|xmma|cutlass|wgrad|dgrad|fprop|winograd|cublas|conv(?!ert)|mm_",
    ),
    ("pooling, sampling and resizing", r"grid_sampl|upsampl|interpolate|adaptive|max_pool"),
    ("layout and copies", r"copy|nchw|nhwc|transpose|memcpy|memset|cat|CatArray"),
    ("reduction", r"reduce|norm|softmax|red_|per_"),
    ("elementwise", r"elementwise|vectorized|poi_|foreach|multi_tensor|fill|Pointwise|Functor"),
)
"""Kinds of kernels by their names, the first that fits."""


def measure_profile(bench: Bench, section: Section) -> None:
    """List where the time of the whole model and of a training step goes, in the base configuration."""
    name, size, steps = ("nano", 64, 1) if bench.small else ("paper", 224, 3)
    recipe = load_recipe(name)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.on_gpu else [])]
    for work in (WHOLE, STEP):
        best = bench.best.get((name, size, work), {})
        batch = 1 if bench.small else min(64, best.get("batch", 64))
        release(bench.device)
        run = prepared(bench, recipe, size, work, batch, BASE)
        for _ in range(2):
            run()
        synchronize(bench.device)
        with profile(activities=activities) as profiler:
            for _ in range(steps):
                run()
            synchronize(bench.device)
        kernels = [
            (event.key, event.count / steps, time_us(event, bench.on_gpu) / 1000 / steps)
            for event in profiler.key_averages()
            if time_us(event, bench.on_gpu) > 0 and (not bench.on_gpu or "CUDA" in str(event.device_type))
        ]
        total = sum(ms for _, _, ms in kernels)
        title = f"{table_name(name, size, work)}, batch {batch}"
        section.fact(f"{title}: ms of all kernels", total)
        kinds: dict[str, float] = {}
        for key, _, ms in kernels:
            kinds[kind_of(key)] = kinds.get(kind_of(key), 0.0) + ms
        for kind, ms in sorted(kinds.items(), key=lambda item: -item[1]):
            section.row(f"{title}, kinds", kind=kind, ms=ms, percent=100 * ms / total)
        for key, count, ms in sorted(kernels, key=lambda kernel: -kernel[2])[:20]:
            share = {"calls": count, "ms": ms, "percent": 100 * ms / total}
            section.row(f"{title}, kernels", kernel=key[:100], kind=kind_of(key), **share)


def time_us(event: Any, on_gpu: bool) -> float:
    """Return the profiled time of an event itself, on the GPU or the CPU, in microseconds."""
    return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)


def kind_of(kernel: str) -> str:
    """Return the kind of a kernel, by its name."""
    for kind, pattern in KINDS:
        if re.search(pattern, kernel, re.IGNORECASE):
            return kind
    return "other"


# -- section data --------------------------------------------------------------------------------------


def training_recipe(bench: Bench) -> Recipe:
    """Return the recipe of the sections data and training: the paper's MotionNet, without labels."""
    if bench.small:
        overrides = ["motion.steps=3", "motion.batch_size=2", "input.size=64", "input.resize=72"]
        return load_recipe("motion/full", ["model.motion=tiny", *overrides])
    return load_recipe("motion/full", ["motion.steps=300"])


def training_scenes(bench: Bench, section: Section) -> ClipCache:
    """Return the clips to train on, generated at the first call."""
    if bench.scenes is None:
        recipe = training_recipe(bench)
        side, count = int(recipe.input.resize), 4 if bench.small else 384  # type: ignore[arg-type]
        began = time.perf_counter()
        folder = write_scenes(
            bench.scratch / "scenes",
            count,
            1_000_000 * (bench.seed + 1),
            bench.workers,
            num_frames=recipe.model.num_frames + 1,
            height=side,
            width=side,
        )
        seconds = time.perf_counter() - began
        section.row(
            "generated scenes", scenes=count, frames=recipe.model.num_frames + 1, side=side,
            workers=bench.workers, seconds=seconds, scenes_per_s=count / seconds,
        )  # fmt: skip
        bench.scenes = clip_cache(list(np.load(folder / "frames.npy")))
    return bench.scenes


def measure_data(bench: Bench, section: Section) -> None:
    """Time the generator, the loader, and a training step with and without loading."""
    recipe, store = training_recipe(bench), training_scenes(bench, section)
    batch, settings = recipe.motion.batch_size, recipe.input
    clips = TrainingClips(
        store,
        [0] * len(store.samples),
        recipe.model.num_frames,
        settings.frame_stride,
        Augmentation(settings.size, settings.crop_scales, settings.flip, 0.0),
    )

    def loader(workers: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        sampler = StepSampler(len(clips), batch, 1, 0, steps, bench.seed)
        return iter(DataLoader(clips, batch_sampler=sampler, num_workers=workers, pin_memory=bench.on_gpu))

    choices = (0, 1) if bench.small else (0, 4, 8)
    steps = 2 if bench.small else 60
    for workers in choices:
        loaded = loader(workers, steps + 1)
        next(loaded)  # processes have started
        began = time.perf_counter()
        for _ in range(steps):
            next(loaded)
        seconds = time.perf_counter() - began
        section.row("loading alone", workers=workers, batch=batch, clips_per_s=steps * batch / seconds)

    with torch.device(bench.device):
        model = build_model(recipe, 2)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = TrainingStep(model, recipe, BASE, "motion")
    resident = next(loader(0, 1))[0].flatten(0, 1).to(bench.device)
    labels = torch.zeros(batch, dtype=torch.int64, device=bench.device)
    for workers in (None, *choices):
        loaded = loader(workers or 0, steps + 2)
        for number in range(steps + 2):
            if number == 2:
                synchronize(bench.device)
                began = time.perf_counter()
            if workers is None:
                step(resident, labels)
            else:
                step(next(loaded)[0].flatten(0, 1).to(bench.device, non_blocking=True), labels)
        synchronize(bench.device)
        seconds = time.perf_counter() - began
        section.row(
            "training step of stage motion, bf16, channels last",
            loading="none, one batch again" if workers is None else f"{workers} workers",
            batch=batch,
            ms=1000 * seconds / steps,
            clips_per_s=steps * batch / seconds,
        )


# -- section training ----------------------------------------------------------------------------------


def measure_training(bench: Bench, section: Section) -> None:
    """Train MotionNet in the real loop; compare its flow of held-out scenes before and after."""
    recipe, store = training_recipe(bench), training_scenes(bench, section)
    count = 2 if bench.small else 32
    size = recipe.input.size
    folder = write_scenes(
        bench.scratch / "held-out",
        count,
        500_000_000 + bench.seed,
        bench.workers,
        num_frames=recipe.model.num_frames,
        height=size,
        width=size,
        ground_truth=True,
    )
    frames = torch.from_numpy(np.load(folder / "frames.npy")).permute(0, 1, 4, 2, 3)
    truth = torch.from_numpy(np.load(folder / "flow.npy")).float()
    torch.manual_seed(bench.seed)
    model = build_model(recipe, 2).to(bench.device)
    section.fact("held_out_scenes", count)
    section.fact("zero_flow_px", float(endpoint_error(torch.zeros_like(truth), truth)))
    section.fact("before_px", held_out_error(model, frames, truth, bench.device))
    precision = "bf16-mixed"
    fabric = Fabric(accelerator="gpu" if bench.on_gpu else "cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    run_folder = bench.scratch / "training"
    run_folder.mkdir(exist_ok=True)
    run = TrainingRun(
        run_folder, recipe, store, [0] * len(store.samples), bench.seed, ("motion",),
        save_seconds=math.inf, quiet=True,
    )  # fmt: skip
    section.facts |= {"network": recipe.model.motion, "precision": precision, "loss": recipe.loss}
    try:
        seconds = optimize(model, run, fabric)["motion"]
    finally:
        write_curve(bench.folder / "loss.csv", read_metrics(run_folder))
    section.fact("steps", recipe.motion.steps)
    section.fact("batch", recipe.motion.batch_size)
    section.fact("seconds", seconds)
    section.fact("clips_per_s", recipe.motion.steps * recipe.motion.batch_size / seconds)
    section.fact("after_px", held_out_error(model, frames, truth, bench.device))
    for line in read_metrics(run_folder):
        section.tables.setdefault("loss curve", []).append(
            {name: line[name] for name in ("step", "loss", "gradient_norm", "seconds")}
        )
    section.save()


@torch.no_grad()
def held_out_error(model: HiddenTwoStream, clips: Tensor, truth: Tensor, device: torch.device) -> float:
    """Return the mean end-point error of the finest flow, resized to the clips, in px; in float32."""
    model.eval()
    errors = []
    for start in range(0, len(clips), 8):
        frames = normalize(clips[start : start + 8].to(device))
        flow = resize_flow(model.motion(frames)[0], *truth.shape[-2:])
        pairs = zip(flow.cpu(), truth[start : start + 8], strict=True)
        errors += [float(endpoint_error(found, true)) for found, true in pairs]
    return statistics.mean(errors)


def write_curve(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write logged lines as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(name for line in lines for name in line))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


# -- the whole run -------------------------------------------------------------------------------------

SECTIONS: dict[str, tuple[Callable[[Bench, Section], None], float]] = {
    "machine": (measure_machine, 20),
    "correctness": (check_correctness, 100),
    "training": (measure_training, 130),
    "throughput": (measure_throughput, 200),
    "profile": (measure_profile, 30),
    "data": (measure_data, 50),
}
"""What each section runs, and the seconds that the sections before it leave to it."""

_ends = math.inf


def time_left() -> float:
    """Return the seconds that the running section still has."""
    return _ends - time.monotonic()


def run_sections(bench: Bench, names: Sequence[str], minutes: float) -> list[Section]:
    """Run the sections one after the other; none stops another."""
    global _ends
    last = time.monotonic() + 60 * minutes
    sections: list[Section] = []

    def write_tables() -> None:
        text = "# On one device\n\n" + "\n".join(section.markdown() for section in sections)
        (bench.folder / "gpu.md").write_text(text, encoding="utf-8")

    for position, name in enumerate(names):
        work, budget = SECTIONS[name]
        section = Section(name, bench.folder, write_tables)
        sections.append(section)
        left = last - time.monotonic()
        if left < 5:
            section.status = "left out"
            section.note("no time was left")
            continue
        later = sum(SECTIONS[other][1] for other in names[position + 1 :])
        most = min(left, max(budget, left - later))
        print(f"{name} (at most {most:.0f} s)", flush=True)
        began = time.monotonic()
        _ends = began + most
        try:
            with deadline(time_left()):
                work(bench, section)
            section.status = "done"
        except OutOfTimeError:
            section.status = "out of time"
        except Exception as error:
            section.status = f"{type(error).__name__}: {str(error)[:300]}"
            section.notes.append(traceback.format_exc(limit=-4).replace("\n", " / "))
            traceback.print_exc()
        section.seconds = time.monotonic() - began
        section.save()
        release(bench.device)
        print(f"{name}: {section.status}, {section.seconds:.0f} s", flush=True)
    return sections


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, run the sections, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="a tiny form of every section")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="time for all sections (default: %(default)s)"
    )
    parser.add_argument("--sections", default=",".join(SECTIONS), help="in this order (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--workers", type=int, help="processes that generate scenes (default: one per processor, at most 16)"
    )
    options = parser.parse_args(arguments)
    names = options.sections.split(",")
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown section {unknown[0]!r}; choose from {', '.join(SECTIONS)}")
    workers = options.workers
    if workers is None:
        workers = 0 if options.small else min(16, os.cpu_count() or 1)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hts-gpu-") as scratch:
        bench = Bench(
            torch.device(options.device), options.small, options.seed, workers, options.out, Path(scratch)
        )
        sections = run_sections(bench, names, options.minutes)
    failed = [f"{section.name}: {section.status}" for section in sections if section.status != "done"]
    failed += [check for section in sections for check in section.failed_checks()]
    print("\n".join([f"{options.out / 'gpu.md'}: {len(failed)} failed", *failed]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
