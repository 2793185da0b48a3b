"""Calibrates a run on clips that were held back: trains the labeled stages on parts of the training videos.

The parts of the training videos are held back in turn. For each, new streams are trained on the other
parts, with the run's recipe and its MotionNet as stage motion left it, which saw no labels. The streams
score the part and are thrown away. The scores of all parts are those of models that did not see the videos
(cross-fitting), and the run's own streams, which are trained on all videos, get the temperatures that fit
these scores.

Each cross-fit is a run of its own in a sub-folder of the run folder, so that an interrupted run goes on in
the middle of it. What remains is one file of scores, `held_back.npz`.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.stages import MODULES, STAGES
from hidden_two_stream.data.held_back import held_back_parts
from hidden_two_stream.data.samples import Sample, below_common_folder
from hidden_two_stream.data.training_set import mix_seed
from hidden_two_stream.errors import CheckpointError, DataError, OutputError
from hidden_two_stream.evaluation.accuracy import Evaluation, load_scores, merge
from hidden_two_stream.evaluation.calibration import fit_calibration
from hidden_two_stream.files import make_folder
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import Protocol, parse_protocol
from hidden_two_stream.progress import note, number_of, with_progress
from hidden_two_stream.recognition.calibration import Calibration, degenerate
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.loop import TrainingRun, optimize
from hidden_two_stream.training.together import evaluate_together
from hidden_two_stream.training.warm_start import initialize

__all__ = ["HELD_BACK_FILE", "CrossFit", "delete_cross_fits", "labeled_stages"]

HELD_BACK_FILE = "held_back.npz"
"""In the run folder: the scores of the held-back videos, without temperatures."""

CROSS_FIT_FOLDER = "calibration"
_LARGE_SET_PARTS = 10


def labeled_stages(stages: Sequence[str]) -> tuple[str, ...]:
    """Return those of `stages` that see labels."""
    return tuple(name for name in stages if STAGES[name].stream is not None)


def delete_cross_fits(folder: Path) -> None:
    """Delete what the calibration of an earlier run left in a run folder.

    Raises:
        OutputError: it cannot be deleted.
    """
    try:
        (folder / HELD_BACK_FILE).unlink(missing_ok=True)
        if (folder / CROSS_FIT_FOLDER).is_dir():
            shutil.rmtree(folder / CROSS_FIT_FOLDER)
    except OSError as error:
        raise OutputError(f"cannot delete {str(error.filename or folder)!r}: {error.strerror}") from error


@dataclasses.dataclass(frozen=True)
class CrossFit:
    """The calibration of one run.

    Attributes:
        run: the run that is calibrated; its cache holds all training videos.
        classes: class names, in the order of the logits.
        protocol: test protocol of the run; the held-back videos are tested with one crop.
        column: column whose values stay together, see `data.held_back`; None: there is none.
        fabric: a launched Fabric.
        resume: keep the finished cross-fits, and go on with an unfinished one.
    """

    run: TrainingRun
    classes: tuple[str, ...]
    protocol: str
    column: str | None
    fabric: Fabric
    resume: bool = False

    @property
    def folder(self) -> Path:
        """The folder of the cross-fits."""
        return self.run.folder / CROSS_FIT_FOLDER

    def calibrate(self, model: HiddenTwoStream, begun: bool = False) -> Calibration | None:
        """Return the calibration; None if too few videos can be held back, which is named on stderr.

        The weights of `model`, and the random numbers of whatever comes next, stay as they are.

        Args:
            model: the model of the run after stage motion.
            begun: whether a labeled stage of the run has begun. Then the scores must be there, because
                MotionNet may have seen labels.

        Raises:
            CheckpointError, DataError: files of finished or unfinished cross-fits are damaged.
            TrainingError, Stopped: as `training.loop.optimize`.
        """
        parts = self._parts()
        held = [sample for part in parts for sample in part]
        reason = degenerate(np.array([self.classes.index(sample.label) for sample in held]))
        if reason is not None:
            note(f"not calibrated: {reason}", quiet=self.run.quiet)
            return None
        file = self.run.folder / HELD_BACK_FILE
        scores = self._stored(file, held)
        if scores is None and begun:
            raise CheckpointError(f"{str(file)!r} is missing; train again into another folder")
        scores = scores or self._all_scores(model, parts)
        if self.fabric.is_global_zero:
            _delete_folder(self.folder)
        self.fabric.barrier()
        calibration = fit_calibration(scores.logits, scores.truth, self.run.recipe.fusion)
        if calibration is not None and calibration.threshold is None:
            note("no threshold of unknown actions: too few held-back videos", quiet=self.run.quiet)
        return calibration

    def _parts(self) -> list[tuple[Sample, ...]]:
        config, samples = self.run.recipe.calibration, self.run.cache.samples
        large = len(samples) > config.largest_set
        number = _LARGE_SET_PARTS if large else config.folds
        parts = held_back_parts(samples, number, self.run.seed, self.column)
        return parts[:1] if large else parts

    def _all_scores(self, model: HiddenTwoStream, parts: Sequence[tuple[Sample, ...]]) -> Evaluation:
        """Return the scores of all parts, and write them into one file."""
        rows = [self._scores(model, number, parts) for number in range(len(parts))]
        scores = merge(rows)
        if self.fabric.is_global_zero:
            scores.save_scores(self.run.folder / HELD_BACK_FILE)
        return scores

    def _scores(self, model: HiddenTwoStream, number: int, parts: Sequence[tuple[Sample, ...]]) -> Evaluation:
        """Return the scores of one part, of streams that were trained on the others."""
        part, quiet = parts[number], self.run.quiet
        folder, file = self.folder / f"part-{number + 1}", self.folder / f"part-{number + 1}.npz"
        stored = self._stored(file, part)
        if stored is not None:
            return stored
        note(
            f"calibrate {number + 1} of {len(parts)}: {number_of(len(part), 'video')} held back", quiet=quiet
        )
        make_folder(folder)
        fitted = self._trained(model, folder, number, part)
        recipe, stages = self.run.recipe, tuple(self.run.steps())
        recognizer = Recognizer(fitted, RunInfo(recipe, self.classes, RunMetadata(stages=stages)))
        clips = parse_protocol(self.protocol).clips
        protocol = Protocol("center" if self.protocol == "center" else f"{clips}x1", clips, 1)
        videos = self.run.cache.select(part)
        scores = with_progress(
            f"calibrate {number + 1} test",
            len(videos.samples),
            quiet,
            lambda progress: evaluate_together(self.fabric, recognizer, videos, protocol, progress),
        )
        if self.fabric.is_global_zero:
            scores.save_scores(file)
            _delete_folder(folder)
        self.fabric.barrier()
        return scores

    def _trained(
        self, model: HiddenTwoStream, folder: Path, number: int, part: Sequence[Sample]
    ) -> HiddenTwoStream:
        """Return a model whose streams were trained on all videos but those of `part`."""
        held = {sample.name for sample in part}
        videos = self.run.cache.select(s for s in self.run.cache.samples if s.name not in held)
        seed = mix_seed(self.run.seed, -3, number)
        run = dataclasses.replace(
            self.run,
            folder=folder,
            cache=videos,
            labels=[self.classes.index(sample.label) for sample in videos.samples],
            seed=seed,
            stages=labeled_stages(tuple(self.run.steps())),
            teacher=None,
            purpose=f"calibrate {number + 1}",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix_seed(seed))
            fitted = build_model(run.recipe, len(self.classes))
            # A calibrated run has no streams from other runs. MotionNet is the run's own.
            begins = dataclasses.replace(run.recipe, motion_init="none")
            initialize(fitted, begins, self.classes, {}, None, quiet=True)
            motion = MODULES["motion"]
            if hasattr(fitted, motion):
                fitted.get_submodule(motion).load_state_dict(model.get_submodule(motion).state_dict())
            optimize(fitted, run, self.fabric, self.resume)
        return fitted

    def _stored(self, file: Path, samples: Sequence[Sample]) -> Evaluation | None:
        """Return the scores in a file if they are there, after a check of their videos.

        Raises:
            CheckpointError: they are of other videos or other streams.
        """
        if not (self.resume and file.exists()):
            return None
        try:
            scores = load_scores(file)
        except DataError as error:
            raise CheckpointError(f"{error}; train again into another folder") from error
        streams = {STAGES[name].stream for name in self.run.steps()} - {None}
        # The data may have been moved since.
        ours = sorted(below_common_folder([sample.name for sample in samples]))
        same = (
            sorted(below_common_folder([*scores.names, *scores.unreadable])) == ours
            and set(scores.logits) == streams
        )
        if not (same and scores.classes == self.classes):
            raise CheckpointError(
                f"{str(file)!r} holds scores of other videos, streams or classes; train again into another "
                "folder"
            )
        return scores


def _delete_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # what cannot be deleted does no harm
