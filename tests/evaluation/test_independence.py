"""A test result does not depend on batch size, workers, memory, or the order and company of the videos."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream as hts
from hidden_two_stream.inference import windows
from hidden_two_stream.recognition.fusion import softmax
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.resources import Resources

EXACT = 0.0
ROUNDED = 1e-6
"""Kernels for other batch sizes and places in memory may add in another order; scores are 0…1."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of each class: of 40 frames, so that they have several windows."""
    return write_dataset(
        tmp_path_factory.mktemp("data"), train_per_class=1, test_per_class=2, num_frames=40, size=48
    )


@pytest.fixture(scope="module")
def recognizer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> hts.Recognizer:
    """One whose windows share pairs; both streams know something."""
    settings = {
        "input.size": 32, "model.num_frames": 5, "spatial.steps": 10, "temporal.optimizer": "logistic",
        "spatial.batch_size": 4, "calibration.method": "none",
    }  # fmt: skip
    resources = Resources(accelerator="cpu", workers=0, quiet=True)
    return hts.train(data, tmp_path_factory.mktemp("run"), "nano", settings, resources=resources).recognizer


def scores(
    recognizer: hts.Recognizer, data: Path, protocol: str = "10x1", **options: int
) -> dict[str, np.ndarray]:
    """Return the scores of each stream and fused by video, and the accuracies."""
    found = hts.evaluate(
        recognizer,
        data,
        "test",
        protocol,
        **{"workers": 0, "quiet": True, **options},  # type: ignore[arg-type]
    )
    by_stream = {stream: softmax(logits) for stream, logits in found.logits.items()}
    rows = {
        f"{stream} {Path(name).parent.name}/{Path(name).name}": values
        for stream, table in {**by_stream, "fused": found.fused}.items()
        for name, values in zip(found.names, table, strict=True)
    }
    accuracies = {f"accuracy {stream}": np.array(value) for stream, value in found.accuracy.items()}
    return rows | accuracies


def largest_difference(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> float:
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one if name.startswith("accuracy"))
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


@pytest.mark.parametrize("protocol", ["10x1", "3x5", "center"])
def test_the_memory_for_frames_does_not_matter(protocol: str, recognizer: hts.Recognizer, data: Path) -> None:
    """Frames that are read again lie elsewhere in memory, where kernels may add in another order."""
    kept = scores(recognizer, data, protocol)
    assert largest_difference(kept, scores(recognizer, data, protocol, cache_mb=0)) <= ROUNDED


def test_the_number_of_workers_does_not_matter(recognizer: hts.Recognizer, data: Path) -> None:
    assert largest_difference(scores(recognizer, data), scores(recognizer, data, workers=2)) == EXACT


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("protocol", ["10x1", "3x5"])
def test_the_batch_size_does_not_matter(
    batch_size: int, protocol: str, recognizer: hts.Recognizer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scores(recognizer, data, protocol)
    original, seen = windows.scored, []

    def scored(*arguments: object) -> object:
        seen.append(batch_size)
        return original(*arguments[:2], batch_size)  # type: ignore[arg-type]

    for module in (windows, *users_of_scored()):
        monkeypatch.setattr(module, "scored", scored)
    found = scores(recognizer, data, protocol)
    assert largest_difference(expected, found) <= ROUNDED
    assert seen or protocol == "10x1"  # windows that share pairs are scored in another way


def users_of_scored() -> list[object]:
    import sys

    return [
        module
        for name, module in sys.modules.items()
        if name.startswith("hidden_two_stream.") and getattr(module, "scored", None) is windows.scored
    ]


def test_the_order_of_the_videos_does_not_matter(recognizer: hts.Recognizer, data: Path) -> None:
    rows = list(csv.DictReader(data.read_text(encoding="utf-8").splitlines()))
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    assert shuffled != rows
    other = data.with_name("shuffled.csv")
    with other.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(shuffled)
    assert largest_difference(scores(recognizer, data), scores(recognizer, other)) == EXACT


def test_the_other_videos_do_not_matter(recognizer: hts.Recognizer, data: Path) -> None:
    """A video has the scores that it has alone, as in `predict`."""
    together = scores(recognizer, data)
    rows = csv.DictReader(data.read_text(encoding="utf-8").splitlines())
    for row in [row for row in rows if row["split"] == "test"][::5]:
        alone = recognizer.predict(data.parent / row["path"], "10x1")
        found = together[f"fused {Path(row['path']).parent.name}/{Path(row['path']).name}"]
        assert np.abs(found - np.asarray(alone.scores)).max() <= ROUNDED
