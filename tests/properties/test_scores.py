"""Windows, their scores, and late fusion: no frame and no score is lost, whatever the numbers."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.evaluation.late_fusion import search_weights
from hidden_two_stream.inference.aggregate import mean_logits
from hidden_two_stream.inference.windows import (
    ScoredWindow,
    Window,
    parse_protocol,
    protocol_clips,
    protocol_frames,
    scored,
    sliding_windows,
)
from hidden_two_stream.recognition.fusion import FUSIONS, fuse
from hidden_two_stream.types import Frame

from .strategies import logits, normal, seeds

Array = npt.NDArray[np.float64]
methods = st.sampled_from(tuple(FUSIONS))
weights_of_two = st.tuples(st.floats(0.01, 100), st.floats(0.01, 100))


# -- windows ---------------------------------------------------------------------------------------


def recipe_of(length: int, stride: int) -> Recipe:
    return Recipe(
        model=ModelConfig(num_frames=length), input=InputConfig(size=32, resize=32, frame_stride=stride)
    )


@given(st.integers(1, 300), st.integers(2, 16), st.integers(1, 4), st.integers(1, 40))
def test_windows_of_a_protocol_are_in_order_and_differ(
    num_frames: int, length: int, stride: int, clips: int
) -> None:
    recipe, protocol = recipe_of(length, stride), parse_protocol(f"{clips}x1")
    found = protocol_clips(recipe, protocol, num_frames)
    assert 1 <= len(found) <= clips
    starts = [clip[0] for clip in found]
    assert starts == sorted(set(starts))
    used = protocol_frames(recipe, protocol, num_frames)
    assert used == set(itertools.chain.from_iterable(found))
    assert used <= set(range(num_frames))


def marked(clip: npt.NDArray[np.uint8], _: object) -> Tensor:
    """A resizer that shows which frame it was given: (1, 3, 32, 32) with the value of one pixel."""
    return torch.full((1, 3, 32, 32), int(clip[0, 0, 0, 0]))


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(2, 8), st.integers(1, 3), st.integers(1, 24))
def test_sliding_windows_follow_each_other_to_the_last_frame(
    num_frames: int, length: int, stride: int, hop: int
) -> None:
    """At 8 frames per second, where the times are exact, with a hop in frames."""
    frames = [Frame(np.full((1, 1, 3), index, np.uint8), index, index / 8) for index in range(num_frames)]
    found = list(sliding_windows(frames, recipe_of(length, stride), hop / 8, marked))
    span = (length - 1) * stride + 1
    last = max(0, num_frames - span)
    starts = sorted({*range(0, last + 1, hop), last})
    assert [window.start_seconds * 8 for window in found] == starts
    for window, start in zip(found, starts, strict=True):
        indices = [min(start + step * stride, num_frames - 1) for step in range(length)]
        assert window.clips[0, :, 0, 0, 0].tolist() == indices
        if num_frames > 1:
            assert window.end_seconds * 8 == indices[-1] + 1
    covered = {index for start in starts for index in range(start, min(start + span, num_frames))}
    assert num_frames - 1 in covered
    assert hop > span or covered == set(range(num_frames))


@given(st.lists(st.integers(1, 5), max_size=9), st.integers(1, 12), seeds)
def test_scores_do_not_depend_on_the_size_of_a_batch(crops: list[int], batch_size: int, seed: int) -> None:
    """Windows of different numbers of crops: each gets the mean over its own."""
    clips = [normal((number, 1, 3, 2, 2), seed + place) for place, number in enumerate(crops)]
    windows = [Window(clip, place, place + 1) for place, clip in enumerate(clips)]
    sizes = []

    def forward(batch: Tensor) -> dict[str, Tensor]:
        sizes.append(len(batch))
        return {"mean": batch.mean((1, 3, 4)), "first": batch[:, 0, :2, 0, 0]}

    found = list(scored(windows, forward, batch_size))
    assert [window.start_seconds for window in found] == list(range(len(crops)))
    for window, clip in zip(found, clips, strict=True):
        np.testing.assert_allclose(window.logits["mean"], clip.mean((0, 1, 3, 4)), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            window.logits["first"], clip[:, 0, :2, 0, 0].mean(0), rtol=1e-9, atol=1e-12
        )
    assert sum(sizes) == sum(crops)
    assert all(size == batch_size for size in sizes[:-1])


@given(logits(streams=2), st.randoms(use_true_random=False))
def test_the_mean_over_windows_is_that_of_any_order(streams: list[Array], random: object) -> None:
    windows = [
        ScoredWindow(float(row), row + 1.0, {"a": streams[0][row], "b": streams[1][row]})
        for row in range(len(streams[0]))
    ]
    shuffled = windows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for order in (windows, shuffled):
        for name, rows in zip("ab", streams, strict=True):
            found = mean_logits(order)[name]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, rows.mean(axis=0), rtol=1e-5, atol=1e-6)


# -- fusion ----------------------------------------------------------------------------------------


@given(logits(streams=2), weights_of_two, methods)
def test_fused_scores_are_shares_whatever_the_unit_of_the_weights(
    streams: list[Array], weights: tuple[float, float], method: str
) -> None:
    fused = fuse(streams, weights, method)
    assert fused.dtype == np.float32
    assert (fused >= 0).all()
    np.testing.assert_allclose(fused.sum(axis=1), 1, atol=1e-5)
    for unit in (1e-3, 7.0, 1e300):
        np.testing.assert_allclose(fuse(streams, [w * unit for w in weights], method), fused, atol=1e-5)


@given(logits(streams=2), weights_of_two, methods, st.randoms(use_true_random=False))
def test_fusion_commutes_with_the_order_of_streams_videos_and_classes(
    streams: list[Array], weights: tuple[float, float], method: str, random: object
) -> None:
    fused = fuse(streams, weights, method)
    np.testing.assert_allclose(fuse(streams[::-1], weights[::-1], method), fused, atol=1e-6)
    rows, columns = list(range(fused.shape[0])), list(range(fused.shape[1]))
    random.shuffle(rows)  # type: ignore[attr-defined]
    random.shuffle(columns)  # type: ignore[attr-defined]
    moved = [scores[rows][:, columns] for scores in streams]
    np.testing.assert_allclose(fuse(moved, weights, method), fused[rows][:, columns], atol=1e-6)


@given(logits(streams=2), methods)
def test_a_stream_of_weight_zero_does_not_count(streams: list[Array], method: str) -> None:
    alone = FUSIONS[method](streams[0])
    np.testing.assert_allclose(fuse(streams, (2.0, 0.0), method), alone, atol=1e-6)
    np.testing.assert_allclose(fuse(streams[:1], (0.3,), method), alone, atol=1e-6)


@given(logits(streams=1), weights_of_two)
def test_the_product_with_an_undecided_stream_keeps_the_order(
    streams: list[Array], weights: tuple[float, float]
) -> None:
    """A stream with equal scores for all classes changes the confidence, but not the decision."""
    fused = fuse([streams[0], np.zeros_like(streams[0])], weights, "product")
    share = weights[0] / sum(weights)
    np.testing.assert_allclose(fused, FUSIONS["softmax"](streams[0] * share), atol=1e-5)


@settings(max_examples=25)
@given(logits(streams=2), methods, seeds)
def test_searched_weights_are_as_good_as_any_of_the_grid(
    streams: list[Array], method: str, seed: int
) -> None:
    truth = np.random.default_rng(seed).integers(0, streams[0].shape[1], len(streams[0]))

    def right(weight: float) -> int:
        return int((fuse(streams, (1.0, weight), method).argmax(axis=1) == truth).sum())

    first, second = search_weights(streams, truth, method)
    assert first == 1
    assert 0 <= second <= 4
    assert right(second) == max(right(step / 10) for step in range(41))
