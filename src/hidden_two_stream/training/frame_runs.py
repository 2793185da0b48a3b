"""Runs that label frames: from recordings with labels over time to a tested annotator in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hidden_two_stream.checkpoint import (
    MODEL_FILE,
    PLAN_FILE,
    RESULTS_FILE,
    UNREADABLE_FILE,
    RunInfo,
    RunMetadata,
    build_model,
)
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.stages import trained_streams
from hidden_two_stream.config.validation import require_seed
from hidden_two_stream.data.frame_dataset import FrameDataset, Recording, Unlabeled, read_frame_dataset
from hidden_two_stream.data.samples import SPLITS
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import DataError, UsageError, VideoError
from hidden_two_stream.evaluation.frame_metrics import FrameEvaluation, LabeledFrames, evaluate_frames
from hidden_two_stream.files import make_folder, write_json, write_text
from hidden_two_stream.inference.annotator import Annotator
from hidden_two_stream.inference.frame_features import FeatureParts, VideoFeatures, frame_features
from hidden_two_stream.inference.frame_scores import FrameSettings
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.progress import ProgressLine, kept_on_output_error, note, number_of
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.frame_labels import (
    FeatureVideo,
    FittedHead,
    FrameLabelSettings,
    fit_frame_labels,
)
from hidden_two_stream.training.lock import folder_lock
from hidden_two_stream.training.warm_start import initialize
from hidden_two_stream.weights.hub import run_place

__all__ = ["FrameTrainingResult", "evaluate_annotator", "feature_networks", "feature_streams", "train_frames"]

_TRAINED_ON = "the run was trained on some of these recordings: the figures are not those of unseen ones"


@dataclass(frozen=True)
class FrameTrainingResult:
    """A trained annotator and how good it is.

    Attributes:
        annotator: the annotator.
        test: figures on the test recordings; None: there are none.
        cross_fitted: figures on the training recordings, of networks that did not see them; None: there are
            too few recordings.
        folder: the run folder.
        unreadable: recordings that could not be read, and why.
    """

    annotator: Annotator
    test: FrameEvaluation | None
    cross_fitted: FrameEvaluation | None
    folder: Path
    unreadable: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures, as `results.json` holds them."""
        return {
            "behaviors": list(self.annotator.names),
            "exclusive": self.annotator.exclusive,
            "thresholds": dict(zip(self.annotator.names, self.annotator.thresholds, strict=True)),
            "temperature": self.annotator.temperature,
            "test": None if self.test is None else self.test.to_dict(),
            "cross_fitted": None if self.cross_fitted is None else self.cross_fitted.to_dict(),
            "unreadable": dict(self.unreadable),
        }


@dataclass(frozen=True, eq=False)
class _Read:
    """A recording whose features and labels are known."""

    recording: Recording
    found: VideoFeatures
    truth: npt.NDArray[np.int8]


def train_frames(
    data: str | Path,
    out: str | Path,
    *,
    base: str | Path | None = None,
    names: Sequence[str] | None = None,
    group: str | None = None,
    held_out: str | None = None,
    unlabeled: Unlabeled = "file",
    ignore: str | Path | None = None,
    settings: FrameLabelSettings | None = None,
    size: int = 128,
    grid: tuple[int, int] = (1, 1),
    fps: float = 0.0,
    seed: int = 0,
    device: str = "cpu",
    quiet: bool = False,
) -> FrameTrainingResult:
    """Train an annotator, test it, and write a run folder.

    Args:
        data: recordings with labels, see `data.frame_dataset`.
        out: the run folder; it must not hold a run yet.
        base: a run with a temporal stream of the form "sequence" whose networks give the features; its
            spatial stream does, too, if it was trained. None: the temporal stream that comes with the
            package.
        names: the behaviors to learn; None: all.
        group: column whose values stay together when recordings are held back, such as subject.
        held_out: "column=value" of the recordings to test on. Without it, the column `split` says which; if
            there is none, nothing is left for a test, and the cross-fitted figures say how good it is.
        unlabeled: what it means where no segment is.
        ignore: a CSV (path, start_seconds, end_seconds) of times at which it is unknown what happens, unless
            a behavior is labeled there.
        settings: how to train.
        size: side of the square that frames are squeezed to, px; that of `base` if it is given.
        grid: (rows, columns) of cells that give features of their own, beside the whole frame, for recordings
            in which several do something in places of their own.
        fps: frames per second that videos are sampled at; 0: all frames.
        seed: seed of everything random.
        device: where to compute.
        quiet: show no progress.

    Raises:
        UsageError: an argument is wrong, or `out` holds a run.
        DataError: the recordings or labels cannot be used.
        TrainingError: the loss is not finite.
        OutputError: the folder is not writable.
    """
    require_seed(seed)
    folder, chosen = Path(out), settings or FrameLabelSettings()
    if any((folder / name).exists() for name in (MODEL_FILE, PLAN_FILE)):
        raise UsageError(f"{str(folder)!r} already holds a run; name another folder")
    dataset = _dataset(data, names, ignore)
    train, test = _divided(dataset, held_out)
    _require_column(dataset, group)
    networks, info = feature_networks(base, dataset.names, size, fps, device)
    parts = FeatureParts(feature_streams(info), grid)
    features = partial(frame_features, networks, info, parts=parts)
    with folder_lock(make_folder(folder)):
        note(
            f"{number_of(len(train), 'recording')} to learn from, {len(test)} to test; behaviors: "
            f"{', '.join(dataset.names)}",
            quiet=quiet,
        )
        ours, unreadable = _read_all(train, features, dataset.names, unlabeled, quiet)
        theirs, unreadable_tests = _read_all(test, features, dataset.names, unlabeled, quiet)
        unreadable |= unreadable_tests
        write_text(
            folder / UNREADABLE_FILE, "".join(f"{name}: {reason}\n" for name, reason in unreadable.items())
        )
        if not ours:
            raise DataError(f"none of the {len(train)} recordings to learn from can be read")
        videos = [
            FeatureVideo(
                one.recording.path,
                one.found.features,
                _sampled(one),
                "" if group is None else one.recording.columns[group],
            )
            for one in ours
        ]
        with _shown_progress(quiet) as progress:
            fitted = fit_frame_labels(videos, chosen, seed, progress)
        info = dataclasses.replace(
            info,
            metadata=dataclasses.replace(
                info.metadata, data=str(Path(data).resolve()), num_training_videos=len(ours), seed=seed,
                versions=versions(), held_out=held_out,
            ),
        )  # fmt: skip
        annotator = Annotator(
            networks, fitted.head, info, fitted.exclusive, fitted.temperature, fitted.thresholds,
            parts,
        )  # fmt: skip
        result = FrameTrainingResult(
            annotator,
            _tested(annotator, theirs, held_out or "test part") if theirs else None,
            _cross_fitted(annotator, fitted, ours),
            folder,
            unreadable,
        )
        with kept_on_output_error(lambda: str(result.test or result.cross_fitted or "not tested")):
            write_json(folder / RESULTS_FILE, result.to_dict())
            annotator.save(folder)  # last: with it, the run is complete
    return result


def evaluate_annotator(
    annotator: Annotator,
    data: str | Path,
    *,
    split: str | None = None,
    unlabeled: Unlabeled = "file",
    ignore: str | Path | None = None,
    settings: FrameSettings | None = None,
    quiet: bool = False,
) -> FrameEvaluation:
    """Return the figures of an annotator on recordings with labels.

    Args:
        annotator: the annotator.
        data: recordings with labels, see `data.frame_dataset`.
        split: "train", "val" or "test": only these recordings; "all"; None: the test part or, if the data has
            none, the recordings that were held out when the annotator was trained on this data, else all.
        unlabeled: what it means where no segment is.
        ignore: as in `train_frames`.
        settings: thresholds, and how to treat short bouts and gaps.
        quiet: show no progress.

    Raises:
        DataError: no recording can be read, or labels are wrong or unknown.
        UsageError: an argument is wrong.
    """
    annotator.check(settings or FrameSettings())
    dataset = _dataset(data, None, ignore)
    unknown = sorted(set(dataset.names) - set(annotator.names))
    if unknown:
        note(f"not learned, so not tested: {', '.join(unknown)}", quiet=quiet)
    chosen, tested = _to_test(dataset, split, annotator.info.metadata)
    read, unreadable = _read_all(chosen, annotator.features, annotator.names, unlabeled, quiet)
    if not read:
        raise DataError(f"none of {number_of(len(chosen), 'recording')} can be read and tested")
    return dataclasses.replace(_tested(annotator, read, tested, settings), unreadable=unreadable)


# -- parts of a run --------------------------------------------------------------------------------


def _dataset(data: str | Path, names: Sequence[str] | None, ignore: str | Path | None) -> FrameDataset:
    """Read the recordings, and say which of the times to ignore are of no use."""
    dataset = read_frame_dataset(data, names, ignore)
    if dataset.unused:
        note(f"{number_of(dataset.unused, 'interval')} of {str(ignore)!r} lie in other videos")
    return dataset


def feature_networks(
    base: str | Path | None, names: tuple[str, ...], size: int, fps: float, device: str
) -> tuple[HiddenTwoStream, RunInfo]:
    """Return the networks that give the features, and the description of a run that labels frames with them.

    Args:
        base, size, fps, device: as in `train_frames`.
        names: the behaviors.

    Raises:
        UsageError, CheckpointError: as `train_frames`.
    """
    if base is None:
        if size < 32 or size > 1024:
            raise UsageError(f"the size is {size}; expected 32 to 1024 px")
        recipe = load_recipe(
            "quick",
            {"input.size": size, "input.resize": size, "input.fps": fps, "model.streams": ["temporal"]},
        )
        networks = build_model(recipe, 1)
        origins = initialize(networks, recipe, names, {}, None, quiet=True)
        metadata = RunMetadata(
            stages=("temporal",),
            motion_init=origins.get("motion_init"),
            temporal_init=origins.get("temporal_init"),
        )
    else:
        recognizer = load(base)
        recipe = recognizer.info.recipe
        if recipe.model.temporal != "sequence" or "temporal" not in recipe.model.streams:
            raise UsageError(
                f"{str(base)!r} has a temporal stream of the form {recipe.model.temporal}; expected sequence "
                "(recipe nano or quick)"
            )
        if "temporal" not in recognizer.trained_streams or not recognizer.model.pairs_are_independent:
            raise UsageError(
                f"the temporal stream of {str(base)!r} is not trained, or its pairs of frames have other "
                "vectors in other windows (model.motion other than nano, or input.normalize_contrast)"
            )
        if fps:
            recipe = dataclasses.replace(recipe, input=dataclasses.replace(recipe.input, fps=fps))
        networks = recognizer.model
        metadata = dataclasses.replace(
            recognizer.info.metadata, calibration=None, warm_start={"temporal": run_place(base)}
        )
    networks = networks.to(torch.device(device)).eval().requires_grad_(False)
    return networks, RunInfo(recipe, names, metadata)


def feature_streams(info: RunInfo) -> tuple[str, ...]:
    """Return the streams of `feature_networks` that were trained, and so give features."""
    trained = trained_streams(info.metadata.stages)
    return tuple(
        name for name in ("temporal", "spatial") if name in trained and name in info.recipe.model.streams
    )


def _divided(
    dataset: FrameDataset, held_out: str | None
) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    """Return the recordings to learn from, and those to test."""
    recordings = dataset.recordings
    if held_out is not None:
        column, equals, value = held_out.partition("=")
        if not (column and equals and value):
            raise UsageError(f"cannot hold out {held_out!r}; expected COLUMN=VALUE, such as subject=3")
        _require_column(dataset, column)
        values = {recording.columns[column] for recording in recordings}
        if value not in values:
            raise DataError(f"no recording has {column} {value!r}; there are {', '.join(sorted(values))}")
        test = tuple(one for one in recordings if one.columns[column] == value)
        return tuple(one for one in recordings if one.columns[column] != value), test
    undivided = [one for one in recordings if one.split is None]
    if undivided and len(undivided) < len(recordings):
        raise DataError(
            f"{dataset.source}: {number_of(len(undivided), 'recording')} without a split, such as "
            f"{undivided[0].path!r}; give all of them one, or none"
        )
    test = tuple(one for one in recordings if one.split == "test")
    train = tuple(one for one in recordings if one.split in (None, "train"))
    left = len(recordings) - len(train) - len(test)
    if left:
        note(f"{number_of(left, 'recording')} of the validation part are not used: thresholds come from "
             "cross-fitting")  # fmt: skip
    if not train:
        raise DataError(f"{dataset.source}: no recording is in the training part")
    return train, test


def _to_test(
    dataset: FrameDataset, split: str | None, metadata: RunMetadata
) -> tuple[tuple[Recording, ...], str]:
    """Return the recordings to test an annotator on, and what they are in words."""
    if split not in (None, "all", *SPLITS):
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join((*SPLITS, 'all'))}")
    is_same = metadata.data == str(Path(dataset.source).resolve())
    part = tuple(one for one in dataset.recordings if one.split == (split or "test"))
    if part:
        if is_same and split == "train":
            note(_TRAINED_ON)
        return part, f"{split or 'test'} part"
    if split not in (None, "all"):
        raise DataError(f"{dataset.source}: no recording is in the {split} part; use --split all")
    if split is None and is_same and metadata.held_out is not None:
        return _divided(dataset, metadata.held_out)[1], metadata.held_out
    if is_same:
        note(_TRAINED_ON)
    return dataset.recordings, "all recordings"


def _require_column(dataset: FrameDataset, column: str | None) -> None:
    if column is not None and not all(column in one.columns for one in dataset.recordings):
        known = sorted(set.intersection(*(set(one.columns) for one in dataset.recordings)))
        raise UsageError(
            f"{dataset.source} has no column {column!r}; it has {', '.join(known) or 'no such columns'}"
        )


def _read_all(
    recordings: Sequence[Recording],
    features: Callable[[str], VideoFeatures],
    names: Sequence[str],
    unlabeled: Unlabeled,
    quiet: bool,
) -> tuple[list[_Read], dict[str, str]]:
    """Return features and labels of all recordings, and those that cannot be read, with the reason."""
    read, unreadable = [], {}
    with ProgressLine("features", len(recordings), quiet=quiet) as line:
        for number, recording in enumerate(recordings, start=1):
            line.update(number)
            try:
                found = features(recording.path)
            except VideoError as error:
                unreadable[recording.path] = error.reason
                note(f"hts: {error}")
                continue
            for warning in found.warnings:
                note(f"hts: {recording.path}: {warning}", quiet=quiet)
            truth = recording.frame_labels(names, found.pts_seconds, found.fps, unlabeled)
            read.append(_Read(recording, found, truth))
    return read, unreadable


@contextmanager
def _shown_progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows the progress of one training after the other."""
    with ExitStack() as stack:
        lines: dict[str, ProgressLine] = {}

        def show(title: str, done: int, total: int) -> None:
            if title not in lines:
                stack.close()
                lines[title] = stack.enter_context(ProgressLine(title, total, quiet=quiet))
            lines[title].update(done)

        yield show


def _sampled(one: _Read) -> npt.NDArray[np.int8]:
    """Return the labels of the sampled frames: those of the nearest frame of the video."""
    times, wanted = one.found.pts_seconds, one.found.sampled_seconds
    right = np.searchsorted(times, wanted).clip(0, len(times) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(np.abs(times[left] - wanted) <= np.abs(times[right] - wanted), left, right)
    return one.truth[nearest]


def _tested(
    annotator: Annotator, read: Sequence[_Read], tested: str, settings: FrameSettings | None = None
) -> FrameEvaluation:
    """Return the figures on recordings."""
    videos = []
    for one in read:
        found = annotator.labels(one.recording.path, one.found, settings or FrameSettings())
        videos.append(LabeledFrames(one.truth, found.values, found.scores))
    return dataclasses.replace(evaluate_frames(annotator.names, videos), tested=tested)


def _cross_fitted(annotator: Annotator, fitted: FittedHead, read: Sequence[_Read]) -> FrameEvaluation | None:
    """Return the figures of networks that did not see the recordings that they label."""
    if not fitted.held_back:
        return None
    videos = []
    for one, scores in zip(read, fitted.held_back, strict=True):
        found = annotator.labels_of_scores(one.recording.path, one.found, scores, FrameSettings())
        videos.append(LabeledFrames(one.truth, found.values, found.scores))
    return dataclasses.replace(evaluate_frames(annotator.names, videos), tested="held back in turn")
