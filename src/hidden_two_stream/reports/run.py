"""The report of a run: gathers the contents of its page from the run folder, the test, and the videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.checkpoint import UNREADABLE_FILE
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.environment import machine, versions
from hidden_two_stream.evaluation.accuracy import Evaluation, shown_streams
from hidden_two_stream.evaluation.calibration import calibration_figures
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.metrics import endpoint_error
from hidden_two_stream.progress import number_of
from hidden_two_stream.reports.curves import run_curves
from hidden_two_stream.reports.data import ExampleVideo, FlowStrip, Image, ReportData, Timing
from hidden_two_stream.reports.explanation import evidence_images
from hidden_two_stream.reports.images import color_wheel_image
from hidden_two_stream.reports.page import write_report
from hidden_two_stream.synthetic.dataset import load_ground_truth
from hidden_two_stream.video.sampling import center_start, clip_indices

__all__ = ["write_run_report"]

_REPORT_FILE = "report.html"
_NUM_EXAMPLES = 8
_NUM_THUMBNAILS = 4
_MAX_WARNINGS = 50


def write_run_report(
    folder: Path,
    recognizer: Recognizer,
    evaluation: Evaluation | None,
    seconds: Mapping[str, float],
    videos: ClipCache,
    title: str,
    *,
    headline: Sequence[tuple[str, str, str]] = (),
    timings: Sequence[Timing] = (),
    timings_protocol: str = "",
    folds: Sequence[Mapping[str, float | str]] | None = None,
) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        folder: the run folder.
        recognizer: the trained recognizer.
        evaluation: its test result, or None without a test.
        seconds: training time of each stage.
        videos: the test videos; without a test, other videos to show.
        title: heading of the page.
        headline: cards of (number, its meaning, small print); by default the accuracies.
        timings, timings_protocol: contents of the speed section.
        folds: rows of the cross-validation table.

    Raises:
        OutputError: the file cannot be written.
    """
    metadata = recognizer.info.metadata
    unreadable = folder / UNREADABLE_FILE
    warnings = unreadable.read_text(encoding="utf-8").splitlines() if unreadable.exists() else []
    per_class = {}
    if evaluation is not None and evaluation.trained_on:
        seen = number_of(len(evaluation.trained_on), "test video")
        warnings.insert(0, f"trained on {seen} too: the accuracy is not that of unseen videos")
    if evaluation is not None:
        per_class = {name: evaluation.per_class(name).tolist() for name in shown_streams(evaluation.scores())}
    chosen = _choose_examples(videos, evaluation)
    strips = []
    if hasattr(recognizer.model, "motion_net"):
        strips = [_flow_strip(recognizer, videos.samples[i].label, videos.videos[i]) for i in chosen]
    data = ReportData(
        title=title,
        subtitle=f"A recognizer of {len(recognizer.classes)} classes: {', '.join(recognizer.classes[:12])}",
        headline=headline or _headline(evaluation),
        accuracy={name: evaluation.accuracy[name] for name in shown_streams(evaluation.accuracy)}
        if evaluation
        else {},
        chance=1 / len(recognizer.classes),
        protocol=evaluation.protocol if evaluation else "",
        num_test_videos=len(evaluation.names) if evaluation else 0,
        classes=recognizer.classes,
        confusion=evaluation.confusion() if evaluation else None,
        per_class=per_class,
        curves=run_curves(folder),
        flow_strips=strips,
        wheel=color_wheel_image(),
        # The videos of all folds were scored by several runs, so none of these can explain them.
        examples=_examples(recognizer, videos, evaluation, chosen, is_explained=not folds),
        timings=timings,
        timings_protocol=timings_protocol,
        seconds=seconds,
        facts={
            "data": metadata.data,
            "split": metadata.split,
            "training videos": str(metadata.num_training_videos),
            "seed": str(metadata.seed),
            # The videos of all folds were scored with the temperatures of several runs.
            **({} if folds else _calibration_facts(recognizer, evaluation)),
            "machine": machine(),
            **versions(),
        },
        configuration=recognizer.info.recipe.to_dict(),
        warnings=warnings[:_MAX_WARNINGS],
        folds=folds,
    )
    return write_report(folder / _REPORT_FILE, data)


def _headline(evaluation: Evaluation | None) -> list[tuple[str, str, str]]:
    if evaluation is None:
        return []
    small = f"{len(evaluation.names)} test videos, chance {1 / len(evaluation.classes):.1%}"
    accuracy = evaluation.accuracy
    return [(f"{accuracy[name]:.1%}", f"{name} accuracy", small) for name in shown_streams(accuracy)]


def _calibration_facts(recognizer: Recognizer, evaluation: Evaluation | None) -> dict[str, str]:
    """Return what calibration changed, on the held-back videos and on those of the test."""
    figures = calibration_figures(recognizer, evaluation)
    if figures is None:
        return {}
    temperatures = figures["temperatures"] | {"fused": figures["fused_temperature"]}
    facts = {"temperatures": ", ".join(f"{name} {value:.3g}" for name, value in temperatures.items())}
    if figures["least_similarity"] is not None:
        facts["no class fits below"] = f"a similarity of {figures['least_similarity']:.2f}"
    elif figures["threshold"] is not None:
        facts["no class fits below"] = f"a score of {figures['threshold']:.2f}"
    held = number_of(figures["num_clips"], "held-back video")
    for place, found in {held: figures, "test videos": figures.get("test")}.items():
        if found:
            facts[f"calibration error, {place}"] = ", ".join(
                f"{name} {before:.1%} → {found['ece_after'][name]:.1%}"
                for name, before in found["ece_before"].items()
            )
    return facts


def _choose_examples(videos: ClipCache, evaluation: Evaluation | None) -> list[int]:
    """Indices of the videos to show: one of each class first, wrong predictions before correct ones."""
    wrong = set()
    if evaluation is not None:
        best = evaluation.fused.argmax(axis=1)
        wrong = {evaluation.names[i] for i in range(len(best)) if best[i] != evaluation.truth[i]}
    seen: dict[str, int] = {}
    ranked = []
    for index, sample in enumerate(videos.samples):
        ranked.append((seen.get(sample.label, 0), sample.name not in wrong, index))
        seen[sample.label] = seen.get(sample.label, 0) + 1
    return [index for _, _, index in sorted(ranked)[:_NUM_EXAMPLES]]


def _middle_clip(recognizer: Recognizer, video: DecodedVideo) -> tuple[tuple[int, ...], torch.Tensor]:
    """Frame numbers (T,) and (T, 3, h, w) uint8 frames of the uncropped middle clip."""
    length, settings = recognizer.info.recipe.model.num_frames, recognizer.info.recipe.input
    start = center_start(video.num_frames, length, settings.frame_stride)
    indices = clip_indices(start, length, settings.frame_stride, video.num_frames)
    return tuple(indices), video.read(indices, settings.resize)


@torch.inference_mode()
def _flow_strip(recognizer: Recognizer, label: str, video: DecodedVideo) -> FlowStrip:
    """Return the middle frame pair of the middle clip, with its learned flow and, if known, its true flow.

    The true flow is known between consecutive frames, so it is shown only if a clip has such frames.
    """
    indices, clip = _middle_clip(recognizer, video)
    pair = (len(set(indices)) - 1) // 2  # a short video repeats its last frame
    device = next(recognizer.model.parameters()).device
    frames = recognizer.model.preprocess(clip[None].to(device))
    height, width = clip.shape[-2:]
    flow = resize_flow(recognizer.model.motion(frames)[0][0, pair].float().cpu(), height, width)
    numbers = video.file_numbers(indices)
    consecutive = numbers[pair + 1] - numbers[pair] == 1
    known = load_ground_truth(str(video.source)) if consecutive else None
    truth, note = None, ""
    fastest = float(np.percentile(flow.norm(dim=0).numpy(), 99))
    if known is not None:
        target = resize_flow(torch.from_numpy(known[0][numbers[pair]]), height, width)
        fastest = float(np.percentile(target.norm(dim=0).numpy(), 99))
        truth = flow_to_color(target.numpy(), max_px=max(fastest, 0.5))
        error = endpoint_error(flow, target).item()
        note = f"end-point error {error:.2f} px; zero flow {target.norm(dim=0).mean().item():.2f} px"
    images = clip.permute(0, 2, 3, 1).numpy()
    return FlowStrip(
        title=Path(str(video.source)).name,
        frame=images[pair],
        next_frame=images[pair + 1],
        flow=flow_to_color(flow.numpy(), max_px=max(fastest, 0.5)),
        truth=truth,
        note=note or f"full color: {max(fastest, 0.5):.1f} px",
        label=label,
    )


def _examples(
    recognizer: Recognizer,
    videos: ClipCache,
    evaluation: Evaluation | None,
    chosen: Sequence[int],
    is_explained: bool,
) -> list[ExampleVideo]:
    if evaluation is None:
        return []
    rows = {name: row for row, name in enumerate(evaluation.names)}
    examples = []
    for index in chosen:
        sample, video = videos.samples[index], videos.videos[index]
        row = rows[sample.name]
        logits = {name: vectors[row] for name, vectors in evaluation.logits.items()}
        prediction = recognizer.prediction(video, logits, parse_protocol(evaluation.protocol))
        clip = _middle_clip(recognizer, video)[1].permute(0, 2, 3, 1).numpy()
        evidence: Sequence[tuple[str, Image]] = ()
        if is_explained:
            why = recognizer.explanation(video, prediction.best, parse_protocol("center"), 1)
            evidence = evidence_images(why.windows[0])
        shown = np.linspace(0, len(clip) - 1, _NUM_THUMBNAILS).round().astype(int)
        streams = {
            name: (recognizer.classes[int(scores.argmax())], float(scores.max()))
            for name, scores in prediction.streams.items()
        }
        examples.append(
            ExampleVideo(
                title=Path(sample.path).name,
                thumbnails=[clip[i] for i in shown],
                truth=sample.label,
                top=prediction.top(3),
                streams=streams,
                evidence=evidence,
            )
        )
    return examples
