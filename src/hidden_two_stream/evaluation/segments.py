"""Tests a run on untrimmed videos: are the right things found at the right times?"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.config.stages import require_trained
from hidden_two_stream.data.benchmarks.reference import parse_reference
from hidden_two_stream.data.segment_truth import SegmentTruth, read_segment_truth
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.accuracy import check_known
from hidden_two_stream.evaluation.evaluate import PARTS
from hidden_two_stream.evaluation.temporal import (
    TIOUS,
    LabeledVideo,
    boundary_errors,
    mean_average_precision,
)
from hidden_two_stream.evaluation.temporal_labels import (
    OVERLAPS,
    TimeAccuracy,
    edit_score,
    segmental_f1,
    time_accuracy,
)
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.segments import TimedScores
from hidden_two_stream.progress import note, number_of, with_progress
from hidden_two_stream.types import Segment
from hidden_two_stream.video.finding import is_url

__all__ = ["SegmentEvaluation", "evaluate_segments", "segment_figures"]

_PART = re.compile(r"\[[^\[\]]+ s\]$")
"""The part in seconds at the end of a sample's name."""


@dataclass(frozen=True)
class SegmentEvaluation:
    """How good segments are.

    Attributes:
        videos: the truth of each video, and what was found.
        method: how average precision was computed, a key of `evaluation.temporal.AP_METHODS`.
        mean_ap: mean average precision over classes, by tIoU.
        ap: average precision of each class at tIoU 0.5.
        time: shares of the time that are labeled rightly.
        edit: mean edit score, 0…1.
        f1: segmental F1, by overlap.
        boundary_seconds: mean distance of the starts and ends of matched segments (tIoU 0.5) from the truth;
            None: no segment is matched.
        num_matched: number of matched segments.
        tested: which part of the data was tested, in words.
        unreadable: videos that could not be read, and why.
        trained_on: videos of which the run was trained on a part; None: the run does not say.
    """

    videos: tuple[LabeledVideo, ...]
    method: str
    mean_ap: Mapping[float, float]
    ap: Mapping[str, float]
    time: TimeAccuracy
    edit: float
    f1: Mapping[float, float]
    boundary_seconds: float | None
    num_matched: int
    tested: str = "all videos"
    unreadable: Mapping[str, str] | None = None
    trained_on: tuple[str, ...] | None = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures."""
        return {
            "videos": self.tested,
            "num_test_videos": len(self.videos),
            "num_segments": sum(len(video.truth) for video in self.videos),
            "num_found": sum(len(video.found) for video in self.videos),
            "seconds": sum(video.seconds for video in self.videos),
            "average_precision": self.method,
            "map": {f"{tiou:g}": value for tiou, value in self.mean_ap.items()},
            "ap_at_0.5": dict(self.ap),
            **asdict(self.time),
            "edit_score": self.edit,
            "segmental_f1": {f"{overlap:g}": value for overlap, value in self.f1.items()},
            "mean_boundary_error_seconds": self.boundary_seconds,
            "num_matched": self.num_matched,
            "num_trained_on": None if self.trained_on is None else len(self.trained_on),
            "unreadable": dict(self.unreadable or {}),
        }

    def __str__(self) -> str:
        figures = self.to_dict()
        counts = f"{number_of(figures['num_segments'], 'segment')}, {figures['num_found']} found"
        labeled = self.time.labeled_accuracy
        boundary = self.boundary_seconds
        f1 = ", ".join(f"@{100 * overlap:g} {value:.3f}" for overlap, value in self.f1.items())
        lines = [
            f"{number_of(len(self.videos), 'video')} ({self.tested}), {figures['seconds']:.0f} s, {counts}",
            f"  mAP ({self.method})  "
            + ", ".join(f"@{tiou:g} {value:.3f}" for tiou, value in self.mean_ap.items()),
            f"  time labeled rightly {self.time.frame_accuracy:.1%}"
            + ("" if labeled is None else f", of the labeled time {labeled:.1%}"),
            f"  macro F1 over time {self.time.macro_f1:.3f}, edit score {self.edit:.3f}, segmental F1 {f1}",
            "  no segment is matched at tIoU 0.5"
            if boundary is None
            else f"  boundaries are off by {boundary:.2f} s on average "
            f"({number_of(self.num_matched, 'matched segment')})",
        ]
        if self.trained_on is None:
            lines.append(
                "the run does not list the videos it was trained on; some of these may be among them"
            )
        elif self.trained_on:
            lines.append(
                f"the run was trained on parts of {len(self.trained_on)} of these videos: the figures are "
                "not those of unseen videos"
            )
        if self.unreadable:
            lines.append(f"{number_of(len(self.unreadable), 'unreadable video')} not counted")
        return "\n".join(lines)


def segment_figures(videos: Sequence[LabeledVideo], method: str = "activitynet") -> SegmentEvaluation:
    """Return the figures of segments that were found, by this package or by another.

    Args:
        videos: truth and segments.
        method: a key of `evaluation.temporal.AP_METHODS`.

    Raises:
        UsageError: the method is unknown, or no video has a labeled segment.
    """
    starts, ends = boundary_errors(videos)
    return SegmentEvaluation(
        tuple(videos),
        method,
        {tiou: mean_average_precision(videos, tiou, method)[0] for tiou in TIOUS},
        mean_average_precision(videos, 0.5, method)[1],
        time_accuracy(videos),
        edit_score(videos),
        {overlap: segmental_f1(videos, overlap) for overlap in OVERLAPS},
        float(np.mean(np.abs([*starts, *ends]))) if starts else None,
        len(starts),
    )


def evaluate_segments(
    run: str | Path | Recognizer,
    data: str | Path,
    split: str | None = None,
    settings: SegmentSettings | None = None,
    *,
    ignore: str | Path | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> SegmentEvaluation:
    """Find the segments of untrimmed videos with a run, and compare them with the truth.

    Only videos that the data names are looked at. Time without a label counts as time in which nothing
    happens, unless `ignore` lists it.

    Args:
        run: a run folder, a checkpoint file, or a loaded recognizer.
        data: a CSV with the columns path, start_seconds, end_seconds and label, or "thumos14:ROOT" or
            "activitynet:ROOT". Average precision is computed as THUMOS14 does for the former, else as
            ActivityNet does.
        split: "test", "train", "val" or "all"; None: "test", or "all" for data without a split of its own.
        settings: of the segments; None: `SegmentSettings()`.
        ignore: a CSV (path, start_seconds, end_seconds) of times that are neither right nor wrong.
        device: where to compute if `run` is not a loaded recognizer.
        quiet: show no progress on stderr.

    Raises:
        UsageError: an argument is wrong.
        CheckpointError: the run is damaged or has no trained stream.
        DataError: the data has no such segments, or classes that the recognizer does not know; or no video
            can be read.
    """
    if split is not None and split not in PARTS:
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join(PARTS)}")
    recognizer = run if isinstance(run, Recognizer) else load(run, device)
    require_trained(recognizer.trained_streams, recognizer.name)
    chosen = settings or SegmentSettings()
    number = recognizer.segment_rule(chosen).background
    background = None if number is None else recognizer.classes[number]
    truth = read_segment_truth(data, split, ignore, background)
    if truth.unused:
        note(f"{number_of(truth.unused, 'interval')} of {str(ignore)!r} lie in videos that are not tested")
    check_known({s.label for found in truth.segments.values() for s in found}, recognizer.classes)
    videos, unreadable = _find_all(recognizer, truth, chosen, quiet)
    reference = parse_reference(data)
    is_thumos = reference is not None and reference.name == "thumos14"
    figures = segment_figures(videos, "thumos14" if is_thumos else "activitynet")
    return replace(
        figures, tested=truth.rule, unreadable=unreadable, trained_on=_trained_on(recognizer, truth)
    )


def _find_all(
    recognizer: Recognizer, truth: SegmentTruth, settings: SegmentSettings, quiet: bool
) -> tuple[list[LabeledVideo], dict[str, str]]:
    """Return the truth and the segments of each video, and why others could not be read.

    Raises:
        DataError: no video can be read.
    """
    videos: list[LabeledVideo] = []
    unreadable: dict[str, str] = {}

    def work(progress: Any) -> None:
        for done, (path, segments) in enumerate(truth.segments.items(), start=1):
            try:
                videos.append(_find(recognizer, path, segments, truth, settings))
            except HiddenTwoStreamError as error:
                unreadable[path] = getattr(error, "reason", str(error))
                note(f"unreadable: {path}: {unreadable[path]}")
            progress(done, len(truth.segments))

    with_progress("segment", len(truth.segments), quiet, work)
    if not videos:
        raise DataError(f"none of the {len(unreadable)} videos can be read; check the paths")
    return videos, unreadable


def _find(
    recognizer: Recognizer,
    path: str,
    segments: tuple[Segment, ...],
    truth: SegmentTruth,
    settings: SegmentSettings,
) -> LabeledVideo:
    seconds = 0.0

    def watch(piece: TimedScores) -> None:
        nonlocal seconds
        seconds = piece.end_seconds

    warnings: list[str] = []
    found = tuple(recognizer.segment(path, settings, on_scores=watch, on_warning=warnings.append))
    for warning in warnings:
        note(f"{path}: {warning}")
    late = [segment for segment in segments if segment.start_seconds >= seconds]
    if late:
        note(f"{path}: {number_of(len(late), 'labeled segment')} after its end, {seconds:.2f} s")
    kept = tuple(s if s in late else replace(s, end_seconds=min(s.end_seconds, seconds)) for s in segments)
    ignored = tuple(
        (start, min(end, seconds)) for start, end in truth.ignored.get(path, ()) if start < seconds
    )
    return LabeledVideo(path, seconds, kept, found, ignored)


def _trained_on(recognizer: Recognizer, truth: SegmentTruth) -> tuple[str, ...] | None:
    """Return the videos of which the run was trained on a part, by their names; None: it does not say."""
    record = recognizer.record
    if record is None or record.unknown:
        return None
    trained = {_PART.sub("", name) for name in record.trained_names()}
    paths = dict.fromkeys(sample.path for sample in truth.samples)
    return tuple(path for path in paths if (path if is_url(path) else os.path.abspath(path)) in trained)
