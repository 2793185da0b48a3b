"""The one optimization loop, for all stages.

Every random number of a step comes from (seed, stage, step), so a run that is resumed from its saved state
continues exactly as if it had never stopped.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from hidden_two_stream.batch_share import sharing
from hidden_two_stream.config.schema import Recipe, StageConfig
from hidden_two_stream.config.stages import STAGE_NAMES, STAGES
from hidden_two_stream.data.training_set import (
    Augmentation,
    CachedClips,
    StepSampler,
    TrainingClips,
    mix_seed,
    training_batches,
)
from hidden_two_stream.errors import Terminated, TrainingError
from hidden_two_stream.motion.losses.presets import loss_preset
from hidden_two_stream.progress import ProgressLine, note, number_of
from hidden_two_stream.tensors import not_finite, on_device
from hidden_two_stream.training.embeddings import EmbeddingStore
from hidden_two_stream.training.interrupt import StopRequest
from hidden_two_stream.training.launcher import Distribution
from hidden_two_stream.training.log import MetricsLog, delete_log
from hidden_two_stream.training.logistic import LAST_LAYER, fit_last_layer
from hidden_two_stream.training.loss_scale import INITIAL_LOSS_SCALE, LossScale
from hidden_two_stream.training.lost_videos import left_out_reporter
from hidden_two_stream.training.optimizer import build_optimizer, learning_rate_factor, set_learning_rates
from hidden_two_stream.training.regroup import regrouped, same_batches
from hidden_two_stream.training.stages import StageObjective, leaves_unused, select_trained
from hidden_two_stream.training.state import (
    DONE,
    STATE_FILE,
    TrainingState,
    check_state,
    load_state,
    model_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)
from hidden_two_stream.training.synchronized import synchronized
from hidden_two_stream.training.together import agreed_signal, mean_scalars

__all__ = ["Stopped", "TrainingRun", "optimize"]

LOG_EVERY = 10  # steps


class Stopped(Terminated):
    """Training was interrupted, by Ctrl-C or another signal, after its state was saved."""

    def __init__(self, stage: str, step: int, signal_number: int = signal.SIGINT) -> None:
        super().__init__(signal_number, f"stopped in stage {stage} after step {step}")


@dataclass(frozen=True)
class TrainingRun:
    """The inputs and settings that all stages of a run share.

    Attributes:
        folder: the run folder, for state and logs.
        recipe: with the input size filled in.
        cache: training videos, of the type that `clips` takes: a `ClipCache` by default.
        labels: class number of each video of the cache.
        seed: seed of all random numbers.
        stages: names of the stages to train, in order.
        workers: decoding processes, used if the cache is not in memory.
        save_seconds: longest time between two saved states; the state is also saved after every stage.
        quiet: show no progress on stderr.
        teacher: a trained, frozen MotionNet whose flow is the distillation target of stage motion.
        clips: makes the dataset of a stage from the cache, with the arguments of `TrainingClips`.
        is_pretrained: whether the temporal stream begins with pre-trained weights. Stage temporal then fits
            the last layer before it trains all layers: a random last layer would spoil the others. The
            stream's normalization layers keep their statistics.
        initial_loss_scale: loss scale of each stage's first step, in precision "16-mixed" only.
        purpose: what a run inside another run trains for; errors and progress begin with it.
        processes: how many processes the run began with: a step has `batch_size` · `accumulate` clips of
            each. 0: as many as the saved state says, or as there are.
        shares: configurations of stages that are not those of the recipe, because the number of processes is
            another one, see `regroup`.
        embeddings: what the fits of last layers share; runs inside this one take it along.
    """

    folder: Path
    recipe: Recipe
    cache: Any
    labels: Sequence[int]
    seed: int = 0
    stages: Sequence[str] = STAGE_NAMES
    workers: int = 0
    save_seconds: float = 30.0
    quiet: bool = False
    teacher: nn.Module | None = None
    clips: Callable[..., CachedClips] = TrainingClips
    is_pretrained: bool = False
    initial_loss_scale: float = INITIAL_LOSS_SCALE
    purpose: str = ""
    processes: int = 0
    shares: Mapping[str, StageConfig] = field(default_factory=dict)
    embeddings: EmbeddingStore = field(default_factory=EmbeddingStore, compare=False, repr=False)

    def titled(self, task: str) -> str:
        """Return the title of a task's progress."""
        return f"{self.purpose} {task}" if self.purpose else task

    def steps(self) -> dict[str, int]:
        """Return the number of steps of each stage that has any, in order."""
        return {name: steps for name in self.stages if (steps := self.recipe.stage(name).steps)}

    def origin(self) -> dict[str, Any]:
        """Return what a saved state must agree in, as plain data."""
        return {"recipe": self.recipe.to_dict(), "stages": list(self.steps()), "seed": self.seed}

    def diverged(
        self,
        place: str,
        what: str,
        advice: str = "Lower the stage's learning rate or clip_norm and train again",
    ) -> TrainingError:
        """Return the error about a training that diverged; it names the last good state if there is one."""
        if self.purpose:  # its folder is the business of the other run
            return TrainingError(f"{self.purpose}: {place}: {what}. {advice}")
        saved = (self.folder / STATE_FILE).exists()
        kept = f"; the last good state is in {str(self.folder)!r}" if saved else ""
        return TrainingError(f"{place}: {what}{kept}. {advice}")


def optimize(
    model: nn.Module, run: TrainingRun, fabric: Fabric, resume: bool = False, until: str | None = None
) -> Mapping[str, float]:
    """Train the stages of a run one after the other.

    In precision "16-mixed", a step whose gradient overflows is skipped, counted and logged; see `LossScale`.

    Args:
        model: a `HiddenTwoStream` or a baseline, trained in place.
        run: what to train on and how.
        fabric: a launched Lightning Fabric (device, precision, distribution).
        resume: continue from the state in the run folder, if there is one.
        until: stop before this stage; a second call with `resume` trains the rest. None trains all stages.

    Returns:
        Seconds of training per stage.

    Raises:
        CheckpointError: the state in the run folder is damaged, or is in a stage that the run does not train.
        UsageError: the run began with another number of processes, and its steps cannot be shared among
            these.
        TrainingError: the loss or the gradient is not finite, and a smaller loss scale does not help. The
            last saved state is kept.
        Stopped: interrupted by Ctrl-C, after the state was saved.
    """
    stages = list(run.steps())
    state = load_state(run.folder) if resume else None
    seconds: dict[str, float] = dict(state.seconds) if state else {}
    if state is not None:
        check_state(state, run.folder, model, run.steps(), run.origin())
        model.load_state_dict(dict(state.model))
        stages = stages[stages.index(state.stage) :] if state.stage != DONE else []
    elif fabric.is_global_zero:
        delete_log(run.folder)
    run = _shared_among(run, state, fabric, stages)
    fabric.barrier()  # the first process must not replace the state before all have read it
    with StopRequest() as stop, sharing(fabric.global_rank, fabric.world_size):
        for position, name in enumerate(stages):
            if until is not None and STAGE_NAMES.index(name) >= STAGE_NAMES.index(until):
                break
            continued = state if position == 0 else None
            config = run.recipe.stage(name)
            if config.optimizer == "logistic":
                seconds[name] = _fit_last_layer(model, run, fabric, name, config)
            else:
                if run.is_pretrained and name == "temporal" and not (continued and continued.step):
                    seconds[name] = _fit_last_layer(model, run, fabric, name, LAST_LAYER)
                stage_run = _StageRun(model, run, fabric, name, continued, seconds)
                seconds[name] = stage_run.optimize(stop)
            following = stages[position + 1] if position + 1 < len(stages) else DONE
            _require_finite_weights(model, run, name)
            if fabric.is_global_zero:
                _save(
                    run, TrainingState(following, 0, seconds, model_tensors(model), {}), f"after stage {name}"
                )
    model.eval().requires_grad_(False)
    return seconds


def _shared_among(
    run: TrainingRun, state: TrainingState | None, fabric: Fabric, stages: Sequence[str]
) -> TrainingRun:
    """Return the run with the clips of its steps shared among the processes that there are.

    Raises:
        UsageError: they cannot be shared equally.
    """
    began, now = run.processes or (state.processes if state else fabric.world_size), fabric.world_size
    run = dataclasses.replace(run, processes=began)
    if began == now:
        return run
    before = {name: run.recipe.stage(name) for name in stages}
    shares = regrouped(before, began, now)
    if shares and not run.purpose:
        groups = "" if same_batches(before, shares) else ", but in other batches (accumulate)"
        note(
            f"the run began with {number_of(began, 'process', 'processes')}, now there "
            f"{'is' if now == 1 else 'are'} {now}: each step has the same clips{groups}",
            quiet=run.quiet,
        )
    return dataclasses.replace(run, shares=shares)


def _fit_last_layer(
    model: nn.Module, run: TrainingRun, fabric: Fabric, name: str, config: StageConfig
) -> float:
    """Fit the last layer of the temporal stream, and return the seconds; log it if this is the stage."""
    on_device(model, fabric.device)
    numbers = fit_last_layer(model, run, config)
    if fabric.is_global_zero and config is run.recipe.stage(name):
        log = MetricsLog(run.folder, name, 0)
        log.write(name, config.steps, numbers)
        log.close()
    return numbers["seconds"]


def _save(run: TrainingRun, state: TrainingState, place: str) -> None:
    """Save a state of a run.

    Raises:
        TrainingError: it is not finite; the message names the place.
    """
    try:
        save_state(run.folder, dataclasses.replace(state, origin=run.origin(), processes=run.processes or 1))
    except TrainingError as error:
        raise run.diverged(place, str(error)) from error


def _require_finite_weights(model: nn.Module, run: TrainingRun, name: str) -> None:
    """Check the weights after a stage, in every process: after its last step no loss would show that."""
    broken = not_finite(model.state_dict())
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise run.diverged(f"stage {name}, last step", f"{', '.join(broken[:3])}{more} not finite")


class _FromPixels(nn.Module):
    """A stage's objective, computed from clips as they are stored.

    In half precision, Fabric rounds the floating-point inputs of a wrapped module, which would change frames
    by up to half a gray level. Therefore the module takes the stored integers and converts them itself.
    """

    def __init__(self, objective: StageObjective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, clips: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the scalars of `StageObjective` for `clips` (B·K, T, C, H, W) and `labels` (B,).

        Clips are uint8 frames, or float16 flow for a baseline over precomputed flow.
        """
        scalars: dict[str, Tensor] = self.objective(self.objective.model.preprocess(clips), labels)
        return scalars


def _stage_config(run: TrainingRun, name: str) -> StageConfig:
    """Return the configuration of a stage; a pre-trained temporal stream is trained more gently."""
    config = run.shares.get(name, run.recipe.stage(name))
    if not (run.is_pretrained and name == "temporal"):
        return config
    return dataclasses.replace(config, learning_rate=config.learning_rate * config.fine_tuning_factor)


class _StageRun:
    """One stage of a run: its optimizer, its data, and the loop."""

    def __init__(
        self,
        model: nn.Module,
        run: TrainingRun,
        fabric: Fabric,
        name: str,
        continued: TrainingState | None,
        seconds: Mapping[str, float],
    ) -> None:
        self.model, self.run, self.fabric, self.name = model, run, fabric, name
        self.first_step, self.seconds = continued.step if continued else 0, dict(seconds)
        self.config = _stage_config(run, name)
        self.seed = mix_seed(run.seed, STAGE_NAMES.index(name))
        select_trained(
            model,
            STAGES[name],
            train_encoder=self.config.encoder_learning_rate > 0,
            keep_statistics=run.is_pretrained,
        )
        on_device(model, fabric.device)
        optimizer = build_optimizer(model, self.config)
        preset = loss_preset(run.recipe.loss)
        objective = StageObjective(
            model, STAGES[name], self.config, preset, run.teacher, run.recipe.motion_target
        )
        from_pixels = _FromPixels(objective)
        if isinstance(fabric.strategy, Distribution):
            fabric.strategy.find_unused_parameters = leaves_unused(model, STAGES[name], self.config)
        self.objective, self.optimizer = fabric.setup(from_pixels, optimizer)
        self.loss_scale = LossScale(fabric, run.initial_loss_scale)
        self.stop_signal = 0  # that any of the processes had received in the last step
        self.stop: StopRequest | None = None
        if continued is not None:
            self.loss_scale.restore(continued.loss_scale)
            if continued.optimizer:
                restore_optimizer(self.optimizer, continued.optimizer)

    def optimize(self, stop: StopRequest) -> float:
        """Run all remaining steps and return the training time of the whole stage, s."""
        self.stop = stop
        earlier_seconds = self.seconds.get(self.name, 0.0)
        start = last_save = time.monotonic()
        batches = self._batches()
        is_first = self.fabric.is_global_zero
        log = MetricsLog(self.run.folder, self.name, self.first_step) if is_first else None
        quiet = self.run.quiet or not is_first
        try:
            with (
                synchronized(self.model),
                ProgressLine(
                    self.run.titled(self.name), self.config.steps, self.first_step, quiet
                ) as progress,
            ):
                for step in range(self.first_step, self.config.steps):
                    numbers = self._step(step, batches)
                    done = step + 1
                    self.seconds[self.name] = earlier_seconds + time.monotonic() - start
                    if log is not None and (done % LOG_EVERY == 0 or done == self.config.steps):
                        log.write(self.name, done, numbers | {"seconds": self.seconds[self.name]})
                    progress.update(done, f"loss {numbers['loss']:.3f}")
                    # Of several processes, all must stop after the same step.
                    wanted = self.stop_signal if self.fabric.world_size > 1 else self.signal_here()
                    if done == self.config.steps:  # no further step asks the others
                        wanted = agreed_signal(self.fabric, self.signal_here())
                    if wanted or time.monotonic() - last_save >= self.run.save_seconds:
                        self._save(done)
                        last_save = time.monotonic()
                    if wanted:
                        raise Stopped(self.name, done, wanted)
        finally:
            if log is not None:
                log.close()
        return self.seconds.get(self.name, 0.0)

    def signal_here(self) -> int:
        """Return the signal that this process has received; 0: none."""
        return self.stop.signal_number if self.stop is not None and self.stop.wanted else 0

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        recipe, stage = self.run.recipe, STAGES[self.name]
        jitter = recipe.input.color_jitter if stage.jitters_color else 0.0
        augmentation = Augmentation(recipe.input.size, recipe.input.crop_scales, recipe.input.flip, jitter)
        # The spatial stream sees one frame, but contrast normalization needs the whole clip.
        single = stage.stream == "spatial" and not recipe.input.normalize_contrast
        num_frames = 1 if single else recipe.model.num_frames
        clips = self.run.clips(
            self.run.cache,
            self.run.labels,
            num_frames,
            recipe.input.frame_stride,
            augmentation,
            segments=recipe.input.segments if stage.stream is not None else 1,
        )
        sampler = StepSampler(
            len(self.run.labels),
            self.config.batch_size,
            self.config.accumulate,
            self.first_step,
            self.config.steps,
            self.seed,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        report = left_out_reporter(self.run.folder)
        return training_batches(clips, sampler, self.run.workers, report)

    def _step(self, step: int, batches: Iterator[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Run one optimizer step over `accumulate` batches and return the means of its scalars."""
        torch.manual_seed(mix_seed(self.seed, -2, step, 0))  # in all processes, see `batch_share.draw`
        factor = learning_rate_factor(self.config, step)
        set_learning_rates(self.optimizer, factor)
        numbers: dict[str, float] = {"learning_rate_factor": factor}
        for part in range(self.config.accumulate):
            clips, labels = next(batches)
            clips = clips.flatten(0, 1).to(self.fabric.device)  # the segments of a video stay together
            last = part + 1 == self.config.accumulate
            with self.fabric.no_backward_sync(self.objective, enabled=not last):
                scalars = self.objective(clips, labels.to(self.fabric.device))
                means, self.stop_signal = mean_scalars(self.fabric, scalars, self.signal_here())
                for name, value in means.items():
                    numbers[name] = numbers.get(name, 0.0) + value / self.config.accumulate
                # Before the backward pass, because that of grid_sample crashes on NaN coordinates.
                self._require_finite(step, numbers)
                self.fabric.backward(scalars["loss"] / self.config.accumulate)
        numbers["gradient_norm"] = self._clip_gradients()
        if not self.loss_scale.in_use:  # a scaled gradient may overflow; the scaler then skips the step
            self._require_finite(step, numbers)
        try:
            self.loss_scale.step(self.optimizer, math.isfinite(numbers["gradient_norm"]))
        except TrainingError as error:
            advice = "Train with --precision bf16-mixed or 32-true, or lower the stage's learning rate"
            raise self.run.diverged(f"stage {self.name}, step {step + 1}", str(error), advice) from error
        self.optimizer.zero_grad()
        return numbers | self.loss_scale.numbers()

    def _clip_gradients(self) -> float:
        """Clip the unscaled gradient and return its norm before clipping."""
        limit = self.config.clip_norm if self.config.clip_norm > 0 else math.inf
        trained: nn.Module = self.objective
        norm = self.fabric.clip_gradients(trained, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        return float(norm) if norm is not None else 0.0

    def _require_finite(self, step: int, numbers: Mapping[str, float]) -> None:
        broken = [name for name, value in numbers.items() if not math.isfinite(value)]
        if broken:
            raise self.run.diverged(f"stage {self.name}, step {step + 1}", f"{', '.join(broken)} not finite")

    def _save(self, step: int) -> None:
        if self.fabric.is_global_zero:
            state = TrainingState(
                self.name,
                step,
                self.seconds,
                model_tensors(self.model),
                optimizer_tensors(self.optimizer),
                self.loss_scale.tensors(),
            )
            _save(self.run, state, f"stage {self.name}, step {step}")
