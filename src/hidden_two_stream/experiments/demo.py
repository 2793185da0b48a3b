"""The demo: trains, tests and measures a recognizer on generated video, and reports."""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hidden_two_stream.checkpoint import RESULTS_FILE
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.experiments.timing import timed
from hidden_two_stream.files import is_temporary, make_folder, write_json, write_text
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.motion.estimators.classical import estimator
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.metrics import endpoint_error
from hidden_two_stream.parallel import threads
from hidden_two_stream.progress import kept_on_output_error, note, with_progress
from hidden_two_stream.reports.data import Timing
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.synthetic.clips import CLASSES
from hidden_two_stream.synthetic.dataset import load_ground_truth, write_dataset
from hidden_two_stream.training.fit import TrainingResult, check_run
from hidden_two_stream.training.lock import LOCK_FILE, folder_lock
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import make_plan, run_plan
from hidden_two_stream.types import FloatArray, RawClip
from hidden_two_stream.video.sampling import center_start, clip_indices

__all__ = ["DemoResult", "flow_figures", "run_demo"]

MARKER = "made-by-hts-demo.txt"
_DATA = "data"  # folder of the generated videos
TRAIN_PER_CLASS = 40
TEST_PER_CLASS = 12
_TIMED_CLIPS = 10
_CLASSICAL = ("tvl1", "dis-medium", "dis-fast")


@dataclass(frozen=True)
class DemoResult:
    """The results of the demo.

    Attributes:
        training: the recognizer and its test result.
        flow: end-point errors by name, px: of the hidden flow, of zero flow, and of the classical estimators.
        speed: median milliseconds of motion per clip by method, the number of timed clips, and how they were
            timed.
        seconds: time of each part, and the total, s.
        machine: description of the machine.
    """

    training: TrainingResult
    flow: Mapping[str, float]
    speed: Mapping[str, Any]
    seconds: Mapping[str, float]
    machine: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures, as `results.json` holds them."""
        return {
            **self.training.to_dict(),
            "flow": dict(self.flow),
            "speed": dict(self.speed),
            "seconds": dict(self.seconds),
            "machine": self.machine,
        }


def run_demo(
    out: str | Path,
    recipe: str | Path | Recipe = "demo",
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    seed: int = 0,
    resources: Resources | None = None,
) -> DemoResult:
    """Generate videos, train and test a recognizer on them, measure its flow and speed, and report.

    Args:
        out: folder for everything. An earlier demo in it is replaced.
        recipe: a recipe, its name, or a YAML file.
        overrides: changes of single fields, such as {"motion.steps": 0}.
        seed: seed of everything random.
        resources: hardware and progress.

    Raises:
        UsageError: an argument is wrong, or `out` holds something other than a demo.
        CheckpointError, TrainingError, Stopped: as `hidden_two_stream.train`.
    """
    start, folder, resources = time.monotonic(), Path(out), resources or Resources()
    resources.single_device("the demo")
    plan = make_plan(folder / _DATA / "labels.csv", recipe, overrides, seed=seed)
    check_run(plan.recipe, CLASSES)
    _require_demo(folder)
    with folder_lock(make_folder(folder)):
        _clear(folder)
        with_progress(
            "generate",
            len(CLASSES) * (TRAIN_PER_CLASS + TEST_PER_CLASS),
            resources.quiet,
            lambda progress: write_dataset(
                folder / _DATA,
                train_per_class=TRAIN_PER_CLASS,
                test_per_class=TEST_PER_CLASS,
                seed=seed,
                workers=resources.workers,
                progress=progress,
            ),
        )
        generated = time.monotonic() - start
        training, cache = run_plan(folder, plan, resources, title="Hidden Two-Stream demo")
        tests = cache.select(sample for sample in cache.samples if sample.split == "test")
        flow = flow_figures(training.recognizer, tests)
        speed, classical_errors = _speed_figures(training.recognizer, tests)
        seconds = {
            "generate": round(generated, 2),
            **training.to_dict()["seconds"],
            "total": round(time.monotonic() - start, 2),
        }
        result = DemoResult(training, {**flow, **classical_errors}, speed, seconds, machine())
        with kept_on_output_error(lambda: str(training.evaluation)):
            write_json(folder / RESULTS_FILE, result.to_dict())
            _report(result, tests)
        return result


def _require_demo(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is a file; name a folder with --out")
    if folder.is_dir() and _entries(folder) and not (folder / MARKER).exists():
        raise UsageError(f"{str(folder)!r} holds something other than a demo; name another folder with --out")


def _clear(folder: Path) -> None:
    """Delete an earlier demo in a folder that is locked."""
    for path in _entries(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    write_text(folder / MARKER, "Running `hts demo` into this folder again replaces all of it.\n")


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCK_FILE and not is_temporary(path.name)]


def flow_figures(recognizer: Recognizer, videos: ClipCache) -> dict[str, float]:
    """Return end-point errors of the hidden flow on the middle clips of generated videos, px."""
    errors: dict[str, list[float]] = {
        "epe_px": [],
        "epe_moving_px": [],
        "zero_epe_px": [],
        "zero_epe_moving_px": [],
    }
    for clip, truth, moving in _clips_with_truth(recognizer, videos):
        flow = torch.from_numpy(_hidden_flow(recognizer, clip))
        target, mask = torch.from_numpy(truth), torch.from_numpy(moving)
        for name, estimate in (("epe", flow), ("zero_epe", torch.zeros_like(target))):
            errors[f"{name}_px"].append(endpoint_error(estimate, target).item())
            if mask.any():
                errors[f"{name}_moving_px"].append(endpoint_error(estimate, target, mask).item())
    return {name: float(np.mean(values)) for name, values in errors.items()}


def _speed_figures(recognizer: Recognizer, videos: ClipCache) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time the hidden flow and the classical estimators on the same clips, and measure their errors.

    Returns:
        Median milliseconds of motion per clip by method; and end-point errors on the moving pixels of the
        timed clips by method, px.
    """
    methods: dict[str, Callable[[RawClip], FloatArray]] = {
        "hidden": lambda clip: _hidden_flow(recognizer, clip)
    }
    try:
        methods |= {name: estimator(name) for name in _CLASSICAL}
    except MissingDependencyError as error:
        note(str(error))
    times: dict[str, list[float]] = {name: [] for name in methods}
    errors: dict[str, list[float]] = {name: [] for name in methods}
    clips = itertools.islice(_clips_with_truth(recognizer, videos), 1 + _TIMED_CLIPS)
    with threads(1):  # several threads wait for each other on a busy machine
        for number, (clip, truth, moving) in enumerate(clips):
            for name, method in methods.items():
                milliseconds, flow = timed(partial(method, clip))
                if number:  # the first round warms up
                    times[name].append(milliseconds)
                    found = torch.from_numpy(flow)
                    distance = endpoint_error(found, torch.from_numpy(truth), torch.from_numpy(moving))
                    errors[name].append(distance.item())
    speed: dict[str, Any] = {
        f"{_key(name)}_ms_per_clip": round(statistics.median(values), 3) for name, values in times.items()
    }
    speed["num_timed_clips"] = len(times["hidden"])
    speed["clip"] = (
        f"{recognizer.info.recipe.model.num_frames} decoded frames, motion only, batch of one, one thread, "
        "this machine; methods in turn, each after a warm-up run"
    )
    return speed, {
        f"{_key(name)}_epe_moving_px_timed_clips": float(np.mean(values)) for name, values in errors.items()
    }


def _key(name: str) -> str:
    return {"dis-medium": "dis", "dis-fast": "dis_fast"}.get(name, name)


def _clips_with_truth(
    recognizer: Recognizer, videos: ClipCache
) -> list[tuple[RawClip, FloatArray, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Return middle clips (T, H, W, 3) with their exact flow (T−1, 2, H, W) and mask of moving pixels.

    The clips have consecutive frames even if the recipe's stride is larger, as the exact flow does.
    """
    length, found = recognizer.info.recipe.model.num_frames, []
    for video in videos.videos:
        known = load_ground_truth(str(video.source))
        if known is not None:
            start = center_start(video.num_frames, length, 1)
            clip = video.read(clip_indices(start, length, 1, video.num_frames), min(video.size))
            pairs = slice(start, start + length - 1)
            found.append((clip.permute(0, 2, 3, 1).contiguous().numpy(), known[0][pairs], known[1][pairs]))
    return found


def _hidden_flow(recognizer: Recognizer, clip: RawClip) -> FloatArray:
    """Return the flow (T−1, 2, H, W) of a clip (T, H, W, 3) from one forward pass, px of the clip."""
    flow = recognizer.flow(clip, short_side=min(clip.shape[1:3]))
    full: FloatArray = resize_flow(torch.from_numpy(flow), *clip.shape[1:3]).numpy()
    return full


def _report(result: DemoResult, tests: ClipCache) -> None:
    figures = result.to_dict()
    accuracy, flow, speed = figures["accuracy"], result.flow, result.speed
    tests_note = f"{figures['num_test_videos']} test videos, chance {figures['chance']:.1%}"
    headline = [
        (f"{accuracy['temporal']:.1%}", "accuracy from hidden motion", tests_note),
        (f"{accuracy['spatial']:.1%}", "accuracy from one frame", "the classes differ only in motion"),
        (
            f"{flow['epe_moving_px']:.2f} px",
            "motion error, learned without labels",
            f"on moving pixels; without motion {flow['zero_epe_moving_px']:.2f} px",
        ),
        (f"{result.seconds['total']:.0f} s", "from generating the videos to this report", result.machine),
    ]
    names = {"hidden": "hidden motion (nano)", "tvl1": "TV-L1", "dis": "DIS medium", "dis_fast": "DIS fast"}
    timings = [
        Timing(
            text,
            speed[f"{key}_ms_per_clip"],
            f"error {flow[f'{key}_epe_moving_px_timed_clips']:.2f} px on moving pixels",
        )
        for key, text in names.items()
        if f"{key}_ms_per_clip" in speed
    ]
    write_run_report(
        result.training.folder,
        result.training.recognizer,
        result.training.evaluation,
        {name: value for name, value in result.seconds.items() if name != "total"},
        tests,
        "Hidden Two-Stream demo",
        headline=headline,
        timings=timings,
        timings_protocol=f"{speed['clip']}; median of {speed['num_timed_clips']} clips",
    )
