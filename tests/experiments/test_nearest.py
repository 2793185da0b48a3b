"""Nearest neighbors: descriptors of drawings, neighbors against loops, people, and a whole comparison."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hidden_two_stream.data.clip_cache import DecodedVideo, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.evaluation.accuracy import load_scores
from hidden_two_stream.experiments import compare as compare_module
from hidden_two_stream.experiments.baselines import load_baseline
from hidden_two_stream.experiments.compare import compare, method_recipe
from hidden_two_stream.experiments.nearest import (
    LENGTHS,
    NEAREST,
    NearestModel,
    describe,
    middle_frame,
    motion_energy,
    reduced_gray,
)
from hidden_two_stream.experiments.nearest_runs import load_nearest
from hidden_two_stream.files import write_json
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.reports.comparison import comparison_table
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.tensors import read_tensors, write_tensors
from hidden_two_stream.training.fit import decode_samples
from hidden_two_stream.training.resources import Resources

STAGES = ("motion", "spatial", "temporal", "joint")
QUICK = [
    "input.size=32", "model.num_frames=3", "motion_init=none", "motion.steps=0", "spatial.steps=1",
    *(f"{stage}.batch_size=2" for stage in STAGES),
]  # fmt: skip
RESOURCES = Resources(workers=0, quiet=True)


def mover(
    top: int, left: int, velocity: tuple[int, int] = (0, 2), frames: int = 8
) -> npt.NDArray[np.float32]:
    """(frames, 48, 60) gray levels: a bright patch of its own pattern that moves over black."""
    pattern = np.random.default_rng(0).integers(60, 200, (7, 5))
    video = np.zeros((frames, 48, 60), np.float32)
    for t in range(frames):
        y, x = top + velocity[0] * t, left + velocity[1] * t
        video[t, y : y + 7, x : x + 5] = pattern
    return video


# -- motion energy


@pytest.mark.parametrize(("down", "right"), [(0, 9), (11, 0), (-14, 20), (20, -3), (-15, -4)])
def test_motion_energy_is_the_same_wherever_the_mover_is(down: int, right: int) -> None:
    """Also at the border of the frame, where the window reaches beyond it."""
    here, there = motion_energy(mover(16, 4)), motion_energy(mover(16 + down, 4 + right))
    assert np.linalg.norm(here) > 1
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_motion_energy_tells_how_it_moves() -> None:
    """The patch runs at 2 px per frame, then at 3; the same amount moves in all pairs of frames."""
    for velocity, speed in (((0, 2), 2), ((0, -3), 3), ((2, 0), 0), ((1, 2), 2)):
        left = 30 if velocity[1] < 0 else 4
        found = motion_energy(mover(10, left, velocity))
        assert found.shape == (LENGTHS["nearest-motion"],)
        assert found[-2] == pytest.approx(speed, abs=1e-5)
        assert found[-1] == pytest.approx(0, abs=1e-6)
        assert np.linalg.norm(found[:-2]) == pytest.approx(1, abs=1e-6)


def test_motion_energy_of_one_change_is_where_it_is_about_its_centroid() -> None:
    """A pixel that lights up is its own centroid: pixel (16, 16) of the window, square (8, 8) of 2×2 px."""
    gray = np.zeros((2, 30, 96), np.float32)
    gray[1, 3, 90] = 100
    found = motion_energy(gray)
    expected = np.zeros((16, 16))
    expected[8, 8] = 1
    np.testing.assert_allclose(found[:-2].reshape(16, 16), expected)
    assert found[-2:].tolist() == [0, 0]


def test_two_movers_far_from_their_centroid_are_not_seen() -> None:
    gray = np.zeros((3, 48, 60), np.float32)
    gray[1, 20, [2, 57]] = 100
    assert motion_energy(gray).tolist() == [0] * LENGTHS["nearest-motion"]
    gray[2, 20, [2, 57]] = 50  # amounts 200 and 100 have mean 150 and standard deviation 50
    assert motion_energy(gray).tolist() == [0] * (LENGTHS["nearest-motion"] - 1) + [np.float32(2 / 3)]


def test_variation_is_that_of_the_amounts() -> None:
    """Amounts 30, 0, 60 have mean 30 and standard deviation √600."""
    gray = np.zeros((4, 20, 20), np.float32)
    gray[1:, 5, 5] = 30
    gray[3, 5, 5] = 90
    assert motion_energy(gray)[-1] == pytest.approx(2 * np.sqrt(600) / 30)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_still_video_has_no_motion(frames: int) -> None:
    still = np.random.default_rng(1).uniform(0, 244, (1, 20, 30)).repeat(frames, axis=0).astype(np.float32)
    noise = np.random.default_rng(2).uniform(0, 11.9, still.shape).astype(np.float32)
    for video in (still, still + noise):
        assert motion_energy(video).tolist() == [0] * LENGTHS["nearest-motion"]


# -- frames


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((144, 180), (48, 60)),
        ((240, 320), (46, 62)),
        ((64, 64), (54, 54)),
        ((1, 1), (54, 54)),
        ((2, 900), (3, 1138)),
    ],
)
def test_gray_frames_have_the_same_area_and_aspect(size: tuple[int, int], reduced: tuple[int, int]) -> None:
    color = torch.tensor([200, 100, 50], dtype=torch.uint8)[None, :, None, None].expand(2, 3, *size)
    found = reduced_gray(color)
    assert found.shape == (2, *reduced)
    np.testing.assert_allclose(found, 0.299 * 200 + 0.587 * 100 + 0.114 * 50, atol=1e-3)


def test_the_middle_frame_is_reduced_to_means() -> None:
    """Each pixel of 24×32 is the weighted mean of a neighborhood: a ramp stays one, away from the border."""
    ramp = torch.arange(128, dtype=torch.uint8).expand(3, 96, 128)
    found = middle_frame(ramp).reshape(24, 32)
    expected = 4 * np.arange(32) + 1.5  # means of the columns 4 i to 4 i + 3
    np.testing.assert_allclose(found[:, 2:-2], np.tile(expected[2:-2], (24, 1)), atol=0.01)


@pytest.mark.parametrize("method", NEAREST)
@pytest.mark.parametrize(("frames", "size"), [(1, (5, 9)), (2, (1, 40)), (3, (70, 32)), (150, (16, 16))])
def test_videos_of_any_length_and_size_have_a_descriptor(
    method: str, frames: int, size: tuple[int, int]
) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (frames, 3, *size), dtype=np.uint8))
    found = describe(method, DecodedVideo("", frames, 0, size, None, None, pixels), min(size))
    assert found.shape == (LENGTHS[method],)
    assert np.isfinite(found).all()
    if method == "nearest-motion":  # read in parts, and yet no pair of frames is left out
        np.testing.assert_array_equal(found, motion_energy(reduced_gray(pixels)))
    else:
        np.testing.assert_array_equal(found, middle_frame(pixels[frames // 2]))


# -- neighbors


def test_logits_are_those_of_loops() -> None:
    rng = np.random.default_rng(0)
    trained, tested = (
        rng.normal(size=(300, 6)).astype(np.float32),
        rng.normal(size=(20, 6)).astype(np.float32),
    )
    labels = np.arange(300) % 3
    apart = [
        min(np.linalg.norm(a - b) for j, b in enumerate(trained) if j != i) for i, a in enumerate(trained)
    ]
    scale = sorted(apart)[149]  # the lower one of the two in the middle
    expected = [
        [
            -min(np.linalg.norm(one - trained[k]) for k in range(300) if labels[k] == c) / scale
            for c in range(3)
        ]
        for one in tested
    ]
    model = NearestModel(torch.from_numpy(trained), torch.from_numpy(labels))
    np.testing.assert_allclose(model(torch.from_numpy(tested)).numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("rows", [[[3.0, 4.0]], [[3.0, 4.0], [3.0, 4.0]]])
def test_descriptors_without_distances_have_the_scale_1(rows: list[list[float]]) -> None:
    model = NearestModel(torch.tensor(rows), torch.arange(len(rows)))
    assert model(torch.zeros(1, 2)).tolist() == [[-5.0] * len(rows)]


@pytest.mark.parametrize(
    ("name", "size", "method", "least", "most"),
    [
        ("weizmann10", 128, "nearest-frame", 21, 27),  # 24 of 70 with another implementation
        ("weizmann10", 128, "nearest-motion", 60, 64),  # 62
        ("arms3", 96, "nearest-frame", 9, 13),  # 11 of 27
        ("arms3", 96, "nearest-motion", 26, 27),  # 27
    ],
)
def test_people_left_out(data_root: Path, name: str, size: int, method: str, least: int, most: int) -> None:
    """As many clips are right as with independent code that OpenCV and scikit-learn are the base of."""
    cache = open_clip_cache(read_dataset_index(data_root / name / "labels.csv").samples, size)
    found = np.stack([describe(method, video, cache.size) for video in cache.videos])
    label, person = (
        np.array([sample.label for sample in cache.samples]),
        np.array([sample.columns["subject"] for sample in cache.samples]),
    )
    right = 0
    for i, one in enumerate(found):
        others = person != person[i]
        nearest = np.linalg.norm(found[others] - one, axis=1).argmin()
        right += label[others][nearest] == label[i]
    assert least <= right <= most


# -- the whole


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of 8 classes, three training clips and one test clip each."""
    return write_dataset(
        tmp_path_factory.mktemp("data"), train_per_class=3, test_per_class=1, num_frames=6, size=32
    )


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both methods with two seeds."""
    folder = tmp_path_factory.mktemp("compared") / "out"
    compare(
        data, folder, None, ["nearest-motion", "nearest-frame"], "nano", QUICK, seeds=2, resources=RESOURCES
    )
    return folder


def rows(folder: Path) -> dict[str, Any]:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {row["name"]: row for row in results["methods"]}


def test_compare_has_a_row_for_each_neighbor(compared: Path) -> None:
    found = rows(compared)
    assert list(found) == ["spatial", "nearest-motion", "nearest-frame"]
    table = (compared / "table.md").read_text(encoding="utf-8")
    assert "Nearest" in table
    assert "learn nothing and are not fused; all seeds give their result" in table
    for method in NEAREST:
        row = found[method]
        assert row["kind"] == "nearest"
        assert row["right_fused"] is None
        assert row["right_alone"][0] == row["right_alone"][1]
        assert row["accuracy_alone"] == row["right_alone"][0].count("1") / 8
        assert row["seconds_per_clip"]["recognition"] > 0
        for seed in (0, 1):
            scores = load_scores(
                compared / "runs" / method / "fold_test" / f"seed_{seed}" / "scores.npz", "10x1"
            )
            right = scores.fused.argmax(axis=1) == scores.truth
            assert row["right_alone"][seed] == "".join("01"[int(one)] for one in right)
            np.testing.assert_allclose(scores.fused.sum(axis=1), 1, rtol=1e-5)


def test_a_run_scores_the_test_videos_as_it_did(compared: Path, data: Path) -> None:
    for method in NEAREST:
        folder = compared / "runs" / method / "fold_test" / "seed_0"
        run, scores = load_nearest(folder), load_scores(folder / "scores.npz")
        assert run.model.descriptors.shape == (24, LENGTHS[method])
        tested = [sample for sample in read_dataset_index(data).samples if sample.split == "test"]
        cache = open_clip_cache(tested, 32)
        assert tuple(sample.name for sample in cache.samples) == scores.names
        found = torch.from_numpy(np.stack([describe(method, video, 32) for video in cache.videos]))
        np.testing.assert_allclose(run.model(found).numpy(), scores.logits[method], rtol=1e-5)
        for other, hint in ((load, "load_nearest"), (load_baseline, "load_nearest")):
            with pytest.raises(CheckpointError, match=hint):
                other(folder)
    with pytest.raises(CheckpointError, match="is not a nearest neighbor"):
        load_nearest(compared / "runs" / "spatial" / "fold_test" / "seed_0")


def test_resuming_keeps_neighbors(
    compared: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(compared, tmp_path / "out"))
    before = rows(folder)
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert plan.pop("clips") is None  # earlier versions did not save it
    write_json(folder / "plan.json", plan)

    def never(*_: Any) -> None:
        raise AssertionError("the run is complete")

    for name in ("fit", "fit_nearest", "describe_videos"):
        monkeypatch.setattr(compare_module, name, never)
    again = compare(
        data, folder, None, list(NEAREST), "nano", QUICK, seeds=2, resume=True, resources=RESOURCES
    )
    assert [method.name for method in again.methods] == ["spatial", *NEAREST]
    after = rows(folder)
    for name in after:
        assert after[name]["right_alone"] == before[name]["right_alone"]


def test_neighbors_have_the_recipe_of_no_training() -> None:
    recipe = compare_module.load_recipe("nano")
    for method in NEAREST:
        found = method_recipe(recipe, method)
        assert (found.input, found.model) == (recipe.input, recipe.model)
        assert not any(found.stage(name).steps for name in STAGES)


# -- few clips


@pytest.mark.parametrize("clips", [1, 2])
def test_few_clips_are_drawn_by_each_seed(data: Path, tmp_path: Path, clips: int) -> None:
    """So many of each class train, the others do not, and the test part stays."""
    result = compare(
        data, tmp_path, None, ["nearest-motion", "frames"], "nano", [*QUICK, "temporal.steps=1"],
        seeds=2, clips=clips, resources=RESOURCES,
    )  # fmt: skip
    assert len(result.truth) == 8
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["clips_per_class"] == clips
    words = f"training on at most {clips} clip{'s' * (clips > 1)} of each class, drawn with the seed"
    assert words in comparison_table(result)
    assert "all seeds give" not in comparison_table(result)
    runs = tmp_path / "runs"
    first, second = (load_nearest(runs / "nearest-motion/fold_test" / f"seed_{n}") for n in (0, 1))
    for run in (first, second):
        assert run.model.labels.bincount().tolist() == [clips] * 8
        assert run.info.metadata.num_training_videos == 8 * clips
    assert not torch.equal(first.model.descriptors, second.model.descriptors)
    assert load(runs / "spatial/fold_test/seed_0").info.metadata.num_training_videos == 8 * clips
    assert load_baseline(runs / "frames/fold_test/seed_0").info.metadata.num_training_videos == 8 * clips
    with pytest.raises(UsageError, match="began with another number of clips"):
        compare(data, tmp_path, None, ["frames"], "nano", [*QUICK, "temporal.steps=1"], seeds=2, resume=True,
                resources=RESOURCES)  # fmt: skip


def test_folds_are_limited_and_decoded_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three groups by the number of the clip; two folds use the videos of all."""
    samples = [s for s in read_dataset_index(data).samples if s.split == "train"]
    path = tmp_path / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("path", "label", "take"), *((s.path, s.label, n % 3) for n, s in enumerate(samples))]
        )
    index = read_dataset_index(path)
    recipe = compare_module.load_recipe("nano", [*QUICK, "input.resize=32"])
    cache = decode_samples(index.samples, recipe, RESOURCES, tmp_path)
    monkeypatch.setattr(compare_module, "decode_samples", None)
    found = compare(
        path, tmp_path / "out", "take", ["nearest-motion"], "nano", QUICK, num_folds=2, decoded=cache,
        resources=RESOURCES,
    )  # fmt: skip
    assert found.folds == ("0", "1")
    assert len(found.truth) == 16
    other = cache.select(index.samples[1:])
    for decoded, folds, message in ((other, 2, "lack 1 of 24"), (cache, 4, "got 4 folds; expected 1 to 3")):
        with pytest.raises(UsageError, match=message):
            compare(path, tmp_path / f"{folds}", "take", ["nearest-motion"], "nano", QUICK,
                    num_folds=folds, decoded=decoded, resources=RESOURCES)  # fmt: skip


def test_a_damaged_neighbor_is_named(compared: Path, tmp_path: Path) -> None:
    source = compared / "runs" / "nearest-motion" / "fold_test" / "seed_0"

    tensors, metadata = read_tensors(source / "model.safetensors")
    for name, broken in (("labels", tensors["labels"][1:]), ("descriptors", tensors["descriptors"][:, 1:])):
        file = tmp_path / f"{name}.safetensors"
        write_tensors(file, {**tensors, name: broken.contiguous()}, metadata)
        with pytest.raises(CheckpointError, match="do not fit"):
            load_nearest(file)
