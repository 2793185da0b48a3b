"""Several segments per video: what reaches the objective, its loss, and exact resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.checkpoint import build_model, read_metrics
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.config.stages import STAGE_NAMES, STAGES
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.motion.losses.presets import loss_preset
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training import loop
from hidden_two_stream.training.loop import Stopped, TrainingRun, optimize
from hidden_two_stream.training.stages import StageObjective, segment_consensus
from hidden_two_stream.video.transforms import MEAN_RGB

SEGMENTS, STEPS, FRAMES = 3, 8, 12
VIDEOS = 5


@pytest.fixture(scope="module")
def store() -> ClipCache:
    """Videos whose every pixel is 20 · video + frame."""
    samples, videos = [], []
    for number in range(VIDEOS):
        grey = 20 * number + torch.arange(FRAMES, dtype=torch.uint8).view(-1, 1, 1, 1)
        frames = grey.expand(FRAMES, 3, 32, 32).contiguous()
        samples.append(Sample(f"video {number}", str(number)))
        videos.append(DecodedVideo(f"video {number}", FRAMES, 0, (32, 32), 25.0, None, frames))
    return ClipCache(tuple(samples), tuple(videos), (), 32)


def recipe(segments: int = SEGMENTS, **fields: object) -> Recipe:
    stage = StageConfig(steps=STEPS, batch_size=2, learning_rate=1e-3, motion_learning_rate=1e-3)
    stage = dataclasses.replace(stage, **fields)  # type: ignore[arg-type]
    return Recipe(
        model=ModelConfig(num_frames=3),
        input=InputConfig(size=32, resize=32, color_jitter=0.0, segments=segments),
        motion=stage,
        spatial=stage,
        temporal=dataclasses.replace(stage, optimizer="sgd"),
        joint=dataclasses.replace(stage, accumulate=2),
    )


def run(folder: Path, store: ClipCache, how: Recipe, stage: str) -> TrainingRun:
    folder.mkdir(exist_ok=True)
    labels = [number % 4 for number in range(VIDEOS)]
    return TrainingRun(folder, how, store, labels, seed=5, quiet=True, stages=[stage])


def fresh(how: Recipe) -> HiddenTwoStream:
    torch.manual_seed(0)
    return build_model(how, 4)


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def greys(frames: Tensor) -> Tensor:
    """(N, T, 3, H, W) normalised → (N, T) grey levels of frames of one colour."""
    assert torch.equal(frames, frames[..., :1, :1].expand_as(frames))
    pixels = frames[..., 0, 0] * 255 + torch.tensor(MEAN_RGB)
    assert (pixels - pixels.round()).abs().max() < 1e-3
    assert torch.equal(pixels[..., :1].round().expand_as(pixels), pixels.round())
    return pixels[..., 0].round().long()


@pytest.mark.parametrize(
    ("stage", "segments", "length"),
    [("motion", 1, 3), ("spatial", 3, 1), ("temporal", 3, 3), ("joint", 3, 3)],
)
def test_segments_reach_the_objective_video_by_video_in_order(
    stage: str,
    segments: int,
    length: int,
    store: ClipCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    original = StageObjective.forward

    def spy(self: StageObjective, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        seen.append((frames.clone(), labels.clone()))
        return original(self, frames, labels)

    monkeypatch.setattr(StageObjective, "forward", spy)
    how = recipe()
    optimize(fresh(how), run(tmp_path / "run", store, how, stage), fabric())

    assert len(seen) == STEPS * how.stage(stage).accumulate
    starts = FRAMES - length + 1
    found: set[tuple[int, int]] = set()
    for frames, labels in seen:
        assert labels.shape == (2,)
        assert frames.shape == (2 * segments, length, 3, 32, 32)
        levels = greys(frames)
        videos, times = levels // 20, levels % 20
        assert torch.equal(times, times[:, :1] + torch.arange(length))  # neighbours in time
        by_video = videos.view(2, segments, length)
        assert torch.equal(by_video, by_video[:, :1, :1].expand_as(by_video))
        assert torch.equal(by_video[:, 0, 0] % 4, labels)
        for row in times[:, 0].view(2, segments).tolist():
            for part, start in enumerate(row):
                assert part * starts // segments <= start < (part + 1) * starts // segments
                found.add((part, start))
    assert len(found) > segments  # starts are drawn, not fixed


@torch.no_grad()
@pytest.mark.parametrize("stage", ["spatial", "temporal", "joint"])
def test_the_loss_is_that_of_the_mean_logits_of_a_video(stage: str) -> None:
    model = fresh(recipe()).eval()
    generator = torch.Generator().manual_seed(3)
    frames = torch.rand(6, 3, 3, 32, 32, generator=generator) - 0.5
    labels = torch.tensor([2, 1])
    logits = (model.spatial if stage == "spatial" else model.temporal)(frames)
    expected = 0.0
    for video, label in enumerate(labels.tolist()):
        mean = sum(logits[3 * video + part] for part in range(3)) / 3
        expected += float(functional.cross_entropy(mean[None], torch.tensor([label]))) / 2
    config = StageConfig(unsupervised_weight=2.0)
    found = StageObjective(model, STAGES[stage], config, loss_preset("robust")).eval()(frames, labels)
    assert float(found["action"]) == pytest.approx(expected, rel=1e-5)
    if stage == "joint":
        extra = unsupervised_loss(frames, model.motion(frames), loss_preset("robust"))["total"]
        expected += 2 * float(extra)
    assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)


def test_consensus_keeps_videos_apart() -> None:
    logits = torch.arange(12.0).view(6, 2)
    assert segment_consensus(logits, 3).tolist() == [[2.0, 3.0], [8.0, 9.0]]
    assert segment_consensus(logits, 2).tolist() == [[1.0, 2.0], [5.0, 6.0], [9.0, 10.0]]
    assert torch.equal(segment_consensus(logits, 1), logits)


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_four_and_four_steps_equal_eight_with_segments(
    stage: str, store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = recipe()
    whole, resumed = fresh(how), fresh(how)
    optimize(whole, run(tmp_path / "whole", store, how, stage), fabric())

    original = loop._StageRun._step
    with monkeypatch.context() as patch:
        stop = _Stop()

        def step_and_count(self: loop._StageRun, number: int, batches: object) -> dict[str, float]:
            numbers = original(self, number, batches)
            stop.wanted = number + 1 == STEPS // 2
            return numbers

        patch.setattr(loop._StageRun, "_step", step_and_count)
        patch.setattr(loop, "StopRequest", lambda: stop)
        with pytest.raises(Stopped, match="after step 4"):
            optimize(fresh(how), run(tmp_path / "parts", store, how, stage), fabric())
    torch.manual_seed(12345)
    optimize(resumed, run(tmp_path / "parts", store, how, stage), fabric(), resume=True)

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    logs = [read_metrics(tmp_path / part)[-1] | {"seconds": 0} for part in ("whole", "parts")]
    assert logs[0] == logs[1]


class _Stop:
    """Stands in for `StopRequest`."""

    wanted, signal_number = False, 2

    def __enter__(self) -> _Stop:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_segments_make_a_difference(store: ClipCache, tmp_path: Path) -> None:
    weights = []
    for segments in (1, SEGMENTS):
        how = recipe(segments)
        model = fresh(how)
        optimize(model, run(tmp_path / str(segments), store, how, "temporal"), fabric())
        weights.append(model.state_dict()["temporal_stream.backbone.fc.weight"])
    assert not torch.equal(*weights)
