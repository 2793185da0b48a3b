"""Accuracy and what belongs to it, against figures that were worked out another way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import RunInfo, build_model
from hidden_two_stream.config.schema import FusionConfig, InputConfig, ModelConfig, Recipe
from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import DataError, OutputError
from hidden_two_stream.evaluation.accuracy import (
    Evaluation,
    confusion_matrix,
    evaluate_videos,
    load_scores,
    merge,
    wilson_interval,
)
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

CLASSES = ("a", "b", "c", "d")
RECIPE = Recipe(
    model=ModelConfig(num_frames=4),
    input=InputConfig(size=32, resize=32),
    fusion=FusionConfig("softmax", 1.0, 1.5),
)


def made(num_videos: int = 60, seed: int = 0, without: int | None = 2) -> Evaluation:
    """Random scores; no test video of class `without`."""
    rng = np.random.default_rng(seed)
    others = [n for n in range(4) if n != without]
    logits = {name: rng.normal(size=(num_videos, 4)).astype(np.float32) for name in ("spatial", "temporal")}
    return Evaluation(
        classes=CLASSES,
        names=tuple(f"{seed}/vidéo {n}.mp4" for n in range(num_videos)),
        truth=rng.choice(others, num_videos),
        logits=logits,
        fused=rng.dirichlet(np.ones(4), num_videos).astype(np.float32),
        protocol="10x1",
        unreadable=(f"{seed}/gone.mp4",),
    )


# -- figures ---------------------------------------------------------------------------------------


def test_confusion_is_counted_row_by_truth_and_column_by_prediction() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 3, 50), rng.integers(0, 4, 50)
    counted = [[0] * 5 for _ in range(5)]
    for row, column in zip(truth.tolist(), predicted.tolist(), strict=True):
        counted[row][column] += 1
    assert confusion_matrix(truth, predicted, 5).tolist() == counted
    assert confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist() == [[1, 1], [0, 1]]
    assert confusion_matrix(np.zeros(0, int), np.zeros(0, int), 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("name", ["spatial", "temporal", "fused"])
@pytest.mark.parametrize("without", [None, 2])
def test_accuracy_and_class_means(name: str, without: int | None) -> None:
    result = made(without=without)
    right: dict[int, list[bool]] = {}
    for truth, scores in zip(result.truth.tolist(), result.scores()[name].tolist(), strict=True):
        right.setdefault(truth, []).append(scores.index(max(scores)) == truth)
    every = [hit for hits in right.values() for hit in hits]
    assert result.accuracy[name] == pytest.approx(sum(every) / len(every))
    means = [sum(hits) / len(hits) for hits in right.values()]
    assert len(means) == (4 if without is None else 3)
    assert result.mean_class_accuracy[name] == pytest.approx(sum(means) / len(means))
    per_class = result.per_class(name)
    assert [n for n in range(4) if np.isnan(per_class[n])] == ([] if without is None else [without])
    for label, hits in right.items():
        assert per_class[label] == pytest.approx(sum(hits) / len(hits))
    assert result.confusion(name).sum(axis=1).tolist() == [len(right.get(n, [])) for n in range(4)]
    assert np.diag(result.confusion(name)).sum() == sum(every)


@pytest.mark.parametrize(
    ("right", "count", "expected"),
    [
        (50, 100, (0.4038, 0.5962)),
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0)),
    ],
)
def test_wilson_interval(right: int, count: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(right / count, count) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 1), (0.3, 7), (0.97, 3783), (1.0, 36)])
def test_the_ends_of_the_interval_solve_its_equation(fraction: float, count: int) -> None:
    """|p - fraction| = z sqrt(p (1 - p) / n) holds for p at both ends."""
    for p in wilson_interval(fraction, count):
        assert 0 <= p <= 1
        assert abs(p - fraction) == pytest.approx(1.959964 * (p * (1 - p) / count) ** 0.5, abs=1e-9)


def test_report_survives_json_with_a_class_that_was_not_tested() -> None:
    result = made()
    report = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (report["num_test_videos"], report["num_unreadable"], report["unreadable"]) == (
        60,
        1,
        ["0/gone.mp4"],
    )
    assert (report["protocol"], report["chance"]) == ("10x1", 0.25)
    assert report["accuracy"] == result.accuracy
    assert set(report["accuracy"]) == {"spatial", "temporal", "fused"}
    assert report["per_class"]["c"] == {"spatial": None, "temporal": None, "fused": None}
    assert report["per_class"]["a"]["fused"] == pytest.approx(float(result.per_class()[0]))
    assert report["confusion"] == {"classes": list(CLASSES), "fused": result.confusion().tolist()}
    low, high = report["accuracy_interval_95"]["fused"]
    assert low < report["accuracy"]["fused"] < high


# -- score files -----------------------------------------------------------------------------------


def same(first: Evaluation, second: Evaluation) -> None:
    assert (first.classes, first.names, first.protocol) == (second.classes, second.names, second.protocol)
    np.testing.assert_array_equal(first.truth, second.truth)
    assert list(first.scores()) == list(second.scores())
    for name, scores in first.scores().items():
        assert scores.dtype == second.scores()[name].dtype
        np.testing.assert_array_equal(scores, second.scores()[name])


def test_scores_come_back(tmp_path: Path) -> None:
    result = made()
    result.save_scores(tmp_path / "scores.npz")
    loaded = load_scores(tmp_path / "scores.npz", "10x1")
    same(result, loaded)
    assert loaded.accuracy == result.accuracy
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]


def test_scores_of_one_stream_come_back(tmp_path: Path) -> None:
    both = made()
    one = Evaluation(
        CLASSES, both.names, both.truth, {"spatial": both.logits["spatial"]}, both.fused, "center"
    )
    one.save_scores(tmp_path / "scores.npz")
    same(one, load_scores(tmp_path / "scores.npz", "center"))


def test_scores_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        made().save_scores(tmp_path / "missing" / "scores.npz")


@pytest.mark.parametrize("content", [b"accuracy: 1.0\n", b"\x80\x04K\x01."])
def test_another_file_holds_no_scores(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"scores\.npz' holds no scores"):
        load_scores(path, "center")
    with pytest.raises(DataError, match="holds no scores"):
        load_scores(tmp_path / "missing.npz", "center")


def test_an_archive_of_other_arrays_holds_no_scores(tmp_path: Path) -> None:
    np.savez(tmp_path / "flow.npz", flow=np.zeros(3))
    with pytest.raises(DataError, match="holds no scores"):
        load_scores(tmp_path / "flow.npz", "center")


def test_merged_folds_are_counted_video_by_video() -> None:
    folds = [made(10, 0, without=2), made(30, 1, without=None), made(1, 2, without=0)]
    pooled = merge(folds)
    assert pooled.names == tuple(name for fold in folds for name in fold.names)
    assert pooled.unreadable == ("0/gone.mp4", "1/gone.mp4", "2/gone.mp4")
    assert (pooled.classes, pooled.protocol) == (CLASSES, "10x1")
    for name in ("spatial", "temporal", "fused"):
        expected = sum(fold.accuracy[name] * len(fold.names) for fold in folds) / 41
        assert pooled.accuracy[name] == pytest.approx(expected)
        np.testing.assert_array_equal(pooled.confusion(name), sum(fold.confusion(name) for fold in folds))
    same(merge([folds[1]]), folds[1])


# -- a model on videos -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    torch.manual_seed(6)
    model = build_model(RECIPE, 3)
    for stream in (model.spatial_stream, model.temporal_stream):
        torch.nn.init.normal_(
            stream.get_parameter("backbone.fc.weight"), std=1.0
        )  # scores that differ between videos
    return Recognizer(model, RunInfo(RECIPE, ("grow", "left", "up")))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    root = tmp_path_factory.mktemp("videos")
    found = []
    for n, label in enumerate(("up", "grow", "left", "up", "grow")):
        path = root / f"{n}.mp4"
        write_video(path, generate_clip(label, n, num_frames=3 + 4 * n, size=32).frames)
        found.append(Sample(str(path), label))
    return found


def by_hand(
    recognizer: Recognizer, store: ClipCache, starts: list[list[int]]
) -> dict[str, list[list[float]]]:
    """Mean logits, one clip at a time, straight from the networks."""
    means: dict[str, list[list[float]]] = {"spatial": [], "temporal": []}
    for index, firsts in enumerate(starts):
        last = store.videos[index].num_frames - 1
        sums = {name: torch.zeros(3) for name in means}
        for first in firsts:
            pixels = store.clip(index, [min(first + n, last) for n in range(4)]).float()
            mean = torch.tensor([123.0, 117.0, 104.0])[:, None, None]
            with torch.no_grad():
                outputs = recognizer.model(((pixels - mean) / 255)[None])
            for name in sums:
                sums[name] += outputs[name][0]
        for name in means:
            means[name].append((sums[name] / len(firsts)).tolist())
    return means


@pytest.mark.parametrize(
    ("protocol", "starts"),
    [
        # videos of 3, 7, 11, 15 and 19 frames have 1, 4, 8, 12 and 16 starts
        ("center", [[0], [1], [3], [5], [7]]),
        ("3x1", [[0], [0, 1, 2], [0, 2, 4], [0, 4, 8], [0, 5, 10]]),
        ("8x1", [[0], [0], list(range(8)), list(range(8)), list(range(0, 16, 2))]),
    ],
)
@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_a_video_is_judged_by_its_mean_logits(
    recognizer: Recognizer, samples: list[Sample], protocol: str, starts: list[list[int]], budget: int
) -> None:
    store = open_clip_cache(samples, 32, budget_bytes=budget)
    seen: list[tuple[int, int]] = []
    result = evaluate_videos(
        recognizer, store, parse_protocol(protocol), lambda *numbers: seen.append(numbers)
    )
    assert seen == [(n, 5) for n in range(1, 6)]
    assert (result.protocol, result.classes) == (protocol, ("grow", "left", "up"))
    assert result.names == tuple(sample.path for sample in samples)
    assert result.truth.tolist() == [2, 0, 1, 2, 0]
    expected = by_hand(recognizer, store, starts)
    for name, means in expected.items():
        np.testing.assert_allclose(result.logits[name], means, rtol=1e-4, atol=1e-4)
        hits = [row.index(max(row)) == truth for row, truth in zip(means, (2, 0, 1, 2, 0), strict=True)]
        assert result.accuracy[name] == sum(hits) / 5
    shares = [torch.softmax(torch.tensor(expected[name]), 1) for name in ("spatial", "temporal")]
    np.testing.assert_allclose(result.fused, (shares[0] + 1.5 * shares[1]) / 2.5, rtol=1e-3, atol=1e-5)
    best = {int(row.argmax()) for logits in result.logits.values() for row in logits}
    assert len(best) > 1, "the model tells videos apart, so the comparison means something"


def test_evaluation_says_of_a_video_what_prediction_says(
    recognizer: Recognizer, samples: list[Sample]
) -> None:
    result = evaluate_videos(recognizer, open_clip_cache(samples, 32), parse_protocol("2x10"))
    for index, sample in enumerate(samples):
        prediction = recognizer.predict(sample.path, "2x10")
        np.testing.assert_allclose(prediction.scores, result.fused[index], rtol=1e-5, atol=1e-6)


def test_unreadable_videos_are_named_and_not_counted(
    recognizer: Recognizer, samples: list[Sample], tmp_path: Path
) -> None:
    gone = Sample(str(tmp_path / "gone.mp4"), "left")
    result = evaluate_videos(recognizer, open_clip_cache([gone, *samples[:2]], 32), parse_protocol("center"))
    assert (len(result.names), result.unreadable) == (2, (gone.path,))
    with pytest.raises(DataError, match=r"no readable test videos \(1 unreadable\)"):
        evaluate_videos(recognizer, open_clip_cache([gone], 32), parse_protocol("center"))


def test_a_class_that_the_recogniser_does_not_know(recognizer: Recognizer, samples: list[Sample]) -> None:
    other = Sample(samples[0].path, "jump")
    with pytest.raises(DataError, match=r"unknown classes \['jump'\]; the recognizer knows grow, left, up"):
        evaluate_videos(recognizer, open_clip_cache([samples[1], other], 32), parse_protocol("center"))
