"""Training, testing and predicting from shards: the same as from the files, also after damage and a stop."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import UNREADABLE_FILE, build_model
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.packing import pack
from hidden_two_stream.data.training_set import Augmentation, StepSampler, TrainingClips, training_batches
from hidden_two_stream.errors import VideoError
from hidden_two_stream.training import loop
from hidden_two_stream.training.loop import TrainingRun, optimize
from hidden_two_stream.video.shards.addresses import INDEX_NAME

from ..serving_parts import serve_parts
from .conftest import QUICK

Run = Callable[..., tuple[int, str, str]]
SIZE = 32
HOW = Augmentation(SIZE, (1.0, 0.875), True, 0.2)


@pytest.fixture(scope="module")
def packed(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 videos of 8 classes in several shards, with the split of `small_data`."""
    out = tmp_path_factory.mktemp("packed") / "out"
    assert pack(small_data, out, 20_000, workers=0, quiet=True).num_shards > 3
    return out


@pytest.fixture
def damaged(packed: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """A copy of `packed` in which a training video and a test video have another byte; their names."""
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in packed.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    index = json.loads((copy / INDEX_NAME).read_text())
    names = []
    for split in ("train", "test"):
        number = next(entry["member"] for entry in index["samples"] if entry["split"] == split)
        entry = index["members"][number]
        names.append(entry["name"])
        shard = copy / index["shards"][entry["shard"]]["name"]
        content = bytearray(shard.read_bytes())
        content[entry["offset"] + entry["size"] // 2] ^= 0xFF
        shard.write_bytes(content)
    return copy, names[0], names[1]


def cache_of(data: Path | str, budget: int) -> ClipCache:
    index = read_dataset_index(data)
    train = [sample for sample in index.samples if sample.split == "train"]
    return open_clip_cache(train, SIZE, budget_bytes=budget)


def labels_of(cache: ClipCache) -> list[int]:
    names = sorted({sample.label for sample in cache.samples})
    return [names.index(sample.label) for sample in cache.samples]


def batches_of(cache: ClipCache, sampler: StepSampler, workers: int = 0) -> list[tuple[Any, Any]]:
    clips = TrainingClips(cache, labels_of(cache), 3, 1, HOW)
    return list(training_batches(clips, sampler, workers))


# -- one epoch -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "workers"), [(1 << 30, 0), (0, 0), (0, 2)])
def test_an_epoch_over_shards_is_an_epoch_over_files(
    small_data: Path, packed: Path, budget: int, workers: int
) -> None:
    files, shards = cache_of(small_data, budget), cache_of(packed, budget)
    assert shards.in_memory == bool(budget)
    sampler = StepSampler(16, 2, 1, 0, 8, seed=3)
    assert Counter(key.video for batch in sampler for key in batch) == Counter(range(16))
    for file, shard in zip(batches_of(files, sampler), batches_of(shards, sampler, workers), strict=True):
        assert torch.equal(file[0], shard[0])
        assert torch.equal(file[1], shard[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_over_remote_shards_is_the_same(small_data: Path, packed: Path, workers: int) -> None:
    """With two processes that were forked after this one had talked to the server."""
    files, sampler = cache_of(small_data, 1 << 30), StepSampler(16, 2, 1, 0, 8, seed=3)
    with serve_parts(packed) as url:
        shards = cache_of(url, 0)
        for file, shard in zip(batches_of(files, sampler), batches_of(shards, sampler, workers), strict=True):
            assert torch.equal(file[0], shard[0])
            assert torch.equal(file[1], shard[1])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_each_clip_is_seen_once_in_an_epoch_whatever_the_processes_and_the_stop(
    packed: Path, world: int
) -> None:
    """Two epochs of 16 clips in 48 / (2·world) steps, stopped after five; every clip of each, once each."""
    cache = cache_of(packed, 0)
    steps = 48 // (2 * world)
    seen: list[tuple[int, int, int]] = []
    for rank in range(world):
        for start, stop in ((0, 5), (5, steps)):
            sampler = StepSampler(16, 2, 1, start, stop, 7, rank, world)
            workers = int(rank == 0 and start > 0)
            found = batches_of(cache, sampler, workers)
            for step, (keys, (clips, labels)) in enumerate(zip(sampler, found, strict=True), start):
                assert clips.shape == (2, 1, 3, 3, SIZE, SIZE)
                assert labels.tolist() == [labels_of(cache)[key.video] for key in keys]
                seen += [(step, rank, key.video) for key in keys]
    order = [video for _, _, video in sorted(seen, key=lambda entry: entry[:2])]
    for epoch in range(3):
        assert sorted(order[16 * epoch : 16 * (epoch + 1)]) == list(range(16))
    assert order[:16] != order[16:32]


def recipe(steps: int) -> Recipe:
    stage = StageConfig(steps=steps, batch_size=3, learning_rate=1e-3)
    return Recipe(
        model=ModelConfig(num_frames=3),
        input=InputConfig(size=SIZE, resize=SIZE, color_jitter=0.2),
        motion=StageConfig(steps=0),
        spatial=StageConfig(steps=0),
        temporal=stage,
        joint=StageConfig(steps=0),
    )


def test_a_stop_in_mid_epoch_repeats_and_drops_nothing(
    small_data: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven steps over files equal three and four over shards, weight by weight, bit for bit."""

    def trained(data: Path, folder: Path, stop_after: int) -> dict[str, torch.Tensor]:
        folder.mkdir()
        cache = cache_of(data, 0)
        run = TrainingRun(folder, recipe(7), cache, labels_of(cache), seed=5, quiet=True)
        with monkeypatch.context() as patch:
            _StopAfter(stop_after, patch)
            with pytest.raises(loop.Stopped) if stop_after else nullcontext():
                return optimized(run)
        return optimized(run)

    def optimized(run: TrainingRun) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = build_model(recipe(7), 8)
        optimize(model, run, Fabric(accelerator="cpu", devices=1), resume=True)
        return model.state_dict()

    files = trained(small_data, tmp_path / "files", 0)
    shards = trained(packed, tmp_path / "shards", 3)
    for name, value in files.items():
        assert torch.equal(value, shards[name]), name


class _StopAfter:
    """Stands in for `StopRequest`: wants a stop after some steps; 0: never."""

    signal_number = 2

    def __init__(self, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wanted = False
        original = loop._StageRun._step

        def step_and_count(stage_run: Any, number: int, batches: Any) -> dict[str, float]:
            self.wanted = number + 1 == steps
            return original(stage_run, number, batches)

        monkeypatch.setattr(loop._StageRun, "_step", step_and_count)
        monkeypatch.setattr(loop, "StopRequest", lambda: self)

    def __enter__(self) -> _StopAfter:
        return self

    def __exit__(self, *_: object) -> None:
        pass


# -- commands --------------------------------------------------------------------------------------


def without_times(metrics: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_training_on_shards_gives_the_same_losses_and_the_same_test(
    hts: Run, small_data: Path, small_run: Path, packed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _, stderr = hts("train", "--data", packed, "--out", run, *QUICK, "--cache-mb", 0)
    assert code == 0, stderr
    assert without_times(run / "metrics.jsonl") == without_times(small_run / "metrics.jsonl")
    results = [json.loads((folder / "results.json").read_text()) for folder in (run, small_run)]
    assert results[0]["accuracy"] == results[1]["accuracy"]
    assert results[0]["confusion"] == results[1]["confusion"]
    scores = []
    for trained, data in ((run, packed), (run, small_data), (small_run, packed)):
        code, stdout, stderr = hts("evaluate", trained, "--data", data, "--json", "--workers", 0)
        assert code == 0, stderr
        scores.append(
            {name: json.loads(stdout)[name] for name in ("num_test_videos", "accuracy", "confusion")}
        )
    assert scores[0] == scores[1] == scores[2]
    assert scores[0]["num_test_videos"] == 8


def test_predict_reads_shards(hts: Run, small_data: Path, small_run: Path, packed: Path) -> None:
    code, stdout, stderr = hts("predict", small_run, packed, "--json")
    assert code == 0, stderr
    found = {p["source"].partition(f"{INDEX_NAME}/")[2]: p for p in json.loads(stdout)["predictions"]}
    assert len(found) == 24
    name = sorted(found)[0]
    source = next(path for path in small_data.parent.rglob(Path(name).name) if path.as_posix().endswith(name))
    code, stdout, _ = hts("predict", small_run, source, "--json")
    (expected,) = json.loads(stdout)["predictions"]
    assert {**found[name], "source": ""} == {**expected, "source": ""}


def test_cross_validation_on_shards(hts: Run, small_data: Path, tmp_path: Path) -> None:
    lines = small_data.read_text().splitlines()
    rows = [f"{small_data.parent}/{line.split(',')[0]},{line.split(',')[1]}" for line in lines[1:]]
    grouped = [f"{row},{'ab'[n % 2]}" for n, row in enumerate(rows)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,subject", *grouped]))
    pack(tmp_path / "labels.csv", tmp_path / "packed", workers=0, quiet=True)
    arguments = ("--group", "subject", "--out", tmp_path / "folds", *QUICK, "--json")
    code, stdout, stderr = hts("cross-validate", "--data", tmp_path / "packed", *arguments)
    assert code == 0, stderr
    assert json.loads(stdout)["num_test_videos"] == 24


# -- damage ----------------------------------------------------------------------------------------


def test_check_finds_what_the_index_hides(hts: Run, damaged: tuple[Path, str, str]) -> None:
    data, *names = damaged
    code, stdout, _ = hts("check", data, "--no-motion", "--workers", 0, "--json")
    assert code == 1
    found = json.loads(stdout)["unreadable"]
    assert [any(name in line for line in found) for name in names] == [True, True]
    assert len(found) == 2


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_training_goes_on_past_a_corrupt_member_and_reports_it(
    hts: Run, damaged: tuple[Path, str, str], tmp_path: Path, cache_mb: int
) -> None:
    data, trained_on, tested_on = damaged
    run = tmp_path / "run"
    steps = ("--set", "temporal.steps=12")  # enough to meet every video
    code, _, stderr = hts("train", "--data", data, "--out", run, *QUICK, *steps, "--cache-mb", cache_mb)
    assert code == 0, stderr
    unreadable = (run / UNREADABLE_FILE).read_text()
    assert stderr.count(f"{trained_on}: its bytes in the shard") == 1
    assert f"{tested_on}: its bytes in the shard" in stderr
    assert trained_on in unreadable
    results = json.loads((run / "results.json").read_text())
    assert (results["num_test_videos"], results["num_unreadable"]) == (7, 1)
    assert (run / "report.html").exists()
    code, _, stderr = hts("predict", run, data, "--quiet", "--json")
    assert code == 1
    assert stderr.count("have changed since it was packed") == 2


def test_what_takes_the_place_of_a_corrupt_member_is_known(damaged: tuple[Path, str, str]) -> None:
    """All other clips stay as they are; the place goes to the next video of the class, with any workers."""
    data, name, _ = damaged
    cache = cache_of(data, 0)
    labels = labels_of(cache)
    lost = next(n for n, sample in enumerate(cache.samples) if sample.path.endswith(name))
    (other,) = (n for n, label in enumerate(labels) if label == labels[lost] and n != lost)
    sampler = StepSampler(16, 4, 1, 0, 4, seed=1)
    reported: list[VideoError] = []
    clips = TrainingClips(cache, labels, 3, 1, HOW)
    found = list(training_batches(clips, sampler, 0, reported.append))
    assert [error.source for error in reported] == [cache.samples[lost].path]
    for keys, (batch, numbers) in zip(sampler, found, strict=True):
        for key, clip, number in zip(keys, batch, numbers.tolist(), strict=True):
            stand_in = type(key)(other if key.video == lost else key.video, key.seed)
            assert torch.equal(clip, clips[stand_in][0])
            assert number == labels[key.video]
    again = list(training_batches(clips, sampler, 2, reported.append))
    assert all(torch.equal(one[0], two[0]) for one, two in zip(found, again, strict=True))


def test_a_class_without_a_readable_video_stops_the_training(damaged: tuple[Path, str, str]) -> None:
    data, name, _ = damaged
    cache = cache_of(data, 0)
    one = cache.select(sample for sample in cache.samples if sample.path.endswith(name))
    with pytest.raises(VideoError, match="have changed since it was packed"):
        batches_of(one, StepSampler(1, 1, 1, 0, 1, seed=1))
