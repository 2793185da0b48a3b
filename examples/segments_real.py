"""Find what happens when in real untrimmed recordings, dates that the networks did not see.

    python examples/segments_real.py [--data thermal_untrimmed ceiling_rgb] [--root FOLDER] [--seeds N]

thermal_untrimmed: 300 recordings of a thermal array, seven labels. ceiling_rgb: 15 color recordings from
above, nine labels, at 8 frames per second. One date in turn is for the test, the others are for training.

All methods label every frame; runs of one label are the segments, with their mean scores. "Hidden motion" are
the vectors of pairs of frames of the package's temporal stream, which stays as it is. "Stacked frames" are
five frames of 12×12 px about each frame, less the median of the recording. On both, the same network over
time is trained as by `hts train-frames`. "Nearest neighbors" are the five nearest of the stacked frames after
a principal component analysis (48 numbers), averaged over one second. "Most frequent label" is the best
answer without a look.

Where somebody is in view and nothing is labeled (unannotated.csv), frames teach nothing, count as neither
right nor wrong, and neither do segments that lie there for the most part. Other time without a label is time
in which nothing happens.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.data.frame_dataset import FrameDataset, read_frame_dataset
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.frame_metrics import FrameEvaluation, LabeledFrames, evaluate_frames
from hidden_two_stream.files import make_folder
from hidden_two_stream.inference.frame_features import frame_features
from hidden_two_stream.progress import ProgressLine
from hidden_two_stream.recognition.frame_head import frame_logits, frame_scores
from hidden_two_stream.training.frame_labels import FeatureVideo, FrameLabelSettings, fit_frame_labels
from hidden_two_stream.training.frame_runs import feature_networks
from hidden_two_stream.video.reader import read_video

SIDE, OFFSETS = 12, (-4, -2, 0, 2, 4)
NEIGHBORS, COMPONENTS, KEPT = 5, 48, 40_000


@dataclass(frozen=True)
class Data:
    """How a data set is read.

    Attributes:
        size: side of the frames, px.
        fps: frames per second that are used; 0: all.
        steps: optimizer steps of the network over time.
        ignored: file of the times at which it is unknown what happens; None: there are none.
    """

    size: int
    fps: float
    steps: int
    ignored: str | None = None


DATA = {
    "thermal_untrimmed": Data(64, 0, 1000, "unannotated.csv"),
    "ceiling_rgb": Data(128, 8, 300),
}


@dataclass(frozen=True, eq=False)
class Recorded:
    """What is known of one recording: labels of its frames, and their features by name."""

    path: str
    date: str
    labels: npt.NDArray[np.int8]
    features: dict[str, Tensor]


def listed(root: Path, out: Path) -> tuple[FrameDataset, Data]:
    """Return the recordings of a data set, with the column date."""
    data = DATA[root.name]
    if not (root / "segments.csv").is_file():
        raise UsageError(
            f"there is no {str(root / 'segments.csv')!r}; give the data sets' folder with --root"
        )
    with (root / "videos.csv").open(newline="", encoding="utf-8") as file:
        dates = {row["path"]: row["date"] for row in csv.DictReader(file)}
    table = make_folder(out) / f"{root.name}.csv"
    with (root / "segments.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            {
                "path": str((root / row["path"]).resolve()),
                "label": row["label"],
                "start_seconds": row["start_seconds"],
                "end_seconds": row["end_seconds"],
                "date": dates[row["path"]],
            }
            for row in csv.DictReader(file)
        ]
    with table.open("w", newline="", encoding="utf-8") as file:
        written = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        written.writeheader()
        written.writerows(rows)
    ignore = None if data.ignored is None else root.resolve() / data.ignored
    return read_frame_dataset(table, ignore=ignore), data


def stacked_frames(
    path: str, pts_seconds: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]
) -> Tensor:
    """Return (N, len(OFFSETS)·SIDE²) gray values about the wanted frames, less the recording's median."""
    gray = torch.from_numpy(read_video(path)[0].mean(axis=3, dtype=np.float32))
    small = functional.adaptive_avg_pool2d(gray[:, None], SIDE).flatten(1)
    small = (small - small.median(dim=0).values)[np.searchsorted(pts_seconds, wanted - 1e-6)]
    steps = torch.arange(len(small))
    return torch.cat([small[(steps + offset).clamp(0, len(small) - 1)] for offset in OFFSETS], dim=1)


def read_all(dataset: FrameDataset, data: Data) -> list[Recorded]:
    """Return labels and features of all recordings."""
    networks, info = feature_networks(None, dataset.names, data.size, data.fps, "cpu")
    read = []
    with ProgressLine("features", len(dataset.recordings)) as line:
        for number, recording in enumerate(dataset.recordings, start=1):
            found = frame_features(networks, info, recording.path)
            labels = recording.frame_labels(dataset.names, found.sampled_seconds, found.fps, "background")
            # One pair of labels overlaps for a few frames; all others exclude each other.
            labels[(labels == 1).sum(axis=1) > 1] = -1
            frames = stacked_frames(recording.path, found.pts_seconds, found.sampled_seconds)
            features = {
                "hidden motion": found.features,
                "stacked frames": frames,
                "both": torch.cat((found.features, frames), dim=1),
            }
            read.append(Recorded(recording.path, recording.columns["date"], labels, features))
            line.update(number)
    return read


# -- methods ---------------------------------------------------------------------------------------

Scores = list[npt.NDArray[np.float32]]
"""(N, K) scores of the frames of each test recording; the rest up to 1 is the background."""


def trained(kind: str, data: Data) -> Callable[[Sequence[Recorded], Sequence[Recorded], int], Scores]:
    """Return the method that trains the network over time on features of one kind."""

    def method(train: Sequence[Recorded], test: Sequence[Recorded], seed: int) -> Scores:
        videos = [FeatureVideo(one.path, one.features[kind], one.labels) for one in train]
        fitted = fit_frame_labels(videos, FrameLabelSettings(steps=data.steps, folds=0), seed)
        return [frame_scores(frame_logits(fitted.head, one.features[kind]), True, 1.0) for one in test]

    return method


def nearest(train: Sequence[Recorded], test: Sequence[Recorded], seed: int) -> Scores:
    """Label frames as their nearest neighbors among the training frames."""
    features = torch.cat([one.features["stacked frames"] for one in train])
    labels = np.concatenate([one.labels for one in train])
    known = np.flatnonzero((labels >= 0).all(axis=1))
    kept = np.random.default_rng(seed).permutation(known)[:KEPT]
    features, shares = features[kept], torch.from_numpy(labels[kept].astype(np.float32))
    center = features.mean(dim=0)
    _, _, axes = torch.pca_lowrank(features - center, COMPONENTS, center=False)
    points, result = (features - center) @ axes, []
    for one in test:
        queries = (one.features["stacked frames"] - center) @ axes
        places = torch.cdist(queries, points).topk(NEIGHBORS, largest=False).indices
        votes = shares[places].mean(dim=1).T[None]
        smooth = functional.avg_pool1d(functional.pad(votes, (4, 4), mode="replicate"), 9, 1)
        result.append(smooth[0].T.numpy())
    return result


def figures(names: Sequence[str], test: Sequence[Recorded], scores: Scores) -> FrameEvaluation:
    """Return the figures of the most likely label of each frame."""
    videos = []
    for one, values in zip(test, scores, strict=True):
        best = values.argmax(axis=1)[:, None] == np.arange(len(names))
        chosen = best & (values > 1 - values.sum(axis=1, keepdims=True))
        videos.append(LabeledFrames(one.labels, chosen.astype(np.int8), values))
    return evaluate_frames(names, videos)


def print_table(name: str, root: Path, out: Path, seeds: int) -> None:
    """Print one row for each method and date, and the means over dates."""
    begin = perf_counter()
    dataset, data = listed(root / name, out)
    read = read_all(dataset, data)
    methods = {
        "nearest neighbors": nearest,
        "stacked frames": trained("stacked frames", data),
        "hidden motion": trained("hidden motion", data),
        "both": trained("both", data),
    }
    print(f"\n| {name}: test date | method | mAP@0.3 | mAP@0.5 | frames right | macro F1 |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    rows: dict[str, list[tuple[float, ...]]] = {}
    for date in sorted({one.date for one in read}):
        train = [one for one in read if one.date != date]
        test = [one for one in read if one.date == date]
        for title, method in methods.items():
            tested = [figures(dataset.names, test, method(train, test, seed)) for seed in range(seeds)]
            if title == "nearest neighbors":
                rows.setdefault("most frequent label", []).append((0.0, 0.0, tested[0].majority, 0.0))
                print_row(date, "most frequent label", rows["most frequent label"][-1])
            values = [(t.detection_map[0.3], t.detection_map[0.5], t.accuracy, t.macro_f1) for t in tested]
            rows.setdefault(title, []).append(tuple(map(mean, zip(*values, strict=True))))
            print_row(date, title, rows[title][-1])
    for title, found in rows.items():
        print_row("mean", title, tuple(map(mean, zip(*found, strict=True))))
    labeled = sum(int((one.labels >= 0).all(axis=1).sum()) for one in read)
    print(
        f"\n{len(read)} recordings, {labeled} frames that count; mean of {seeds} seeds, {data.steps} steps; "
        f"{perf_counter() - begin:.0f} s. Machine: {machine()}.",
        flush=True,
    )


def print_row(date: str, title: str, values: Sequence[float]) -> None:
    """Print one row of a table."""
    detected_3, detected_5, accuracy, f1 = values
    print(
        f"| {date} | {title} | {detected_3:.3f} | {detected_5:.3f} | {accuracy:.1%} | {f1:.3f} |", flush=True
    )


def main() -> None:
    """Print a table for each data set."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=tuple(DATA), default=tuple(DATA))
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("HTS_TEST_DATA") or beside))
    parser.add_argument("--out", type=Path, default=Path("runs/segments-real"))
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    for name in arguments.data:
        print_table(name, arguments.root, arguments.out, arguments.seeds)


if __name__ == "__main__":
    try:
        main()
    except HiddenTwoStreamError as error:
        sys.exit(f"segments_real: {error}")
