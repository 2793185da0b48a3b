"""The motion library: what each class moves, and that its clips repeat."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.motion_library import (
    LIBRARY_CLASSES,
    generate_library,
    generate_library_clip,
)


def test_there_are_many_classes_with_names_of_their_own() -> None:
    assert len(set(LIBRARY_CLASSES)) == len(LIBRARY_CLASSES) >= 64


@pytest.mark.parametrize("label", range(len(LIBRARY_CLASSES)), ids=LIBRARY_CLASSES)
def test_a_clip_is_video_and_repeats(label: int) -> None:
    clip = generate_library_clip(label, 3, num_frames=6, size=48)
    assert clip.shape == (6, 48, 48, 3)
    assert clip.dtype == np.uint8
    assert clip.std() > 1
    np.testing.assert_array_equal(clip, generate_library_clip(label, 3, num_frames=6, size=48))
    assert (clip != generate_library_clip(label, 4, num_frames=6, size=48)).any()


def test_workers_change_nothing() -> None:
    here, labels = generate_library(20, 5, num_frames=4, size=32)
    there, same = generate_library(20, 5, num_frames=4, size=32, workers=2)
    np.testing.assert_array_equal(here, there)
    np.testing.assert_array_equal(labels, same)


def test_a_longer_library_begins_as_a_shorter_one() -> None:
    few, labels = generate_library(5, 1, num_frames=3, size=32)
    more, longer = generate_library(9, 1, num_frames=3, size=32)
    np.testing.assert_array_equal(few, more[:5])
    np.testing.assert_array_equal(labels, longer[:5])
    alone = [generate_library_clip(int(longer[n]), 2**32 + n, num_frames=3, size=32) for n in range(9)]
    np.testing.assert_array_equal(more, alone)


def test_the_classes_come_equally_often() -> None:
    _, labels = generate_library(2 * len(LIBRARY_CLASSES) + 7, 3, num_frames=2, size=32)
    counts = np.bincount(labels, minlength=len(LIBRARY_CLASSES))
    assert set(counts) == {2, 3}


@pytest.mark.parametrize(
    ("label", "seed", "num_frames", "size", "message"),
    [
        (-1, 0, 4, 32, "label -1"),
        (len(LIBRARY_CLASSES), 0, 4, 32, "expected 0 to"),
        (0, -1, 4, 32, "seed -1"),
        (0, 0, 1, 32, "num_frames=1"),
        (0, 0, 4, 31, "size=31"),
    ],
)
def test_wrong_arguments_are_named(label: int, seed: int, num_frames: int, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate_library_clip(label, seed, num_frames=num_frames, size=size)


@pytest.mark.parametrize(
    ("count", "seed", "workers", "message"),
    [(0, 0, 0, "count=0"), (4, -1, 0, "seed -1"), (4, 0, -2, "workers=-2")],
)
def test_wrong_arguments_of_a_library_are_named(count: int, seed: int, workers: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate_library(count, seed, workers=workers, num_frames=2, size=32)


# -- through all nuisances -------------------------------------------------------------------------


def shift(one: np.ndarray, other: np.ndarray) -> complex:
    """The displacement of a gray image by phase correlation, whole pixels."""
    window = np.outer(np.hanning(len(one)), np.hanning(len(one)))
    spectra = [np.fft.fft2(window * (image - image.mean())) for image in (one, other)]
    cross = spectra[1] * spectra[0].conj()
    peak = np.fft.ifft2(cross / (np.abs(cross) + 1)).real.argmax()
    y, x = np.unravel_index(peak, one.shape)
    half, n = len(one) // 2, len(one)
    return complex((x + half) % n - half, (y + half) % n - half)


@pytest.mark.parametrize(
    ("name", "way"), [("scene_right", 1), ("scene_left", -1), ("scene_up", -1j), ("scene_down", 1j)]
)
def test_pans_are_measured_in_their_direction(name: str, way: complex) -> None:
    right = []
    for seed in range(16):
        gray = generate_library_clip(LIBRARY_CLASSES.index(name), seed).mean(-1)
        found = sum(shift(gray[t], gray[t + 3]) for t in range(0, 13, 3)) / way
        right.append(found.real > 4 and abs(found.imag) < 0.6 * found.real)
    assert np.mean(right) >= 0.8


@pytest.mark.parametrize("size", [32, 57, 64, 160])
def test_all_sizes(size: int) -> None:
    for label in range(0, len(LIBRARY_CLASSES), 5):
        for seed in range(3):
            clip = generate_library_clip(label, seed, num_frames=2, size=size)
            assert clip.shape == (2, size, size, 3)


def frames_and_flow(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 144) one frame of each clip, and (N, 220) statistics of the flow along brightness gradients."""
    gray = clips.mean(-1, dtype=np.float32)
    gray -= gray.mean((1, 2, 3), keepdims=True)
    gray /= gray.std((1, 2, 3), keepdims=True) + 1
    change = np.diff(gray, axis=1)[:, :, 1:-1, 1:-1]
    along = (gray[:, :-1, 1:-1, 2:] - gray[:, :-1, 1:-1, :-2]) / 2
    down = (gray[:, :-1, 2:, 1:-1] - gray[:, :-1, :-2, 1:-1]) / 2
    flow = np.stack([along, down], 2) * (-change / (along**2 + down**2 + 0.05))[:, :, None]
    pooled = np.concatenate([pool(flow, 4), pool(np.abs(flow), 4)], axis=2)
    whole = pooled.mean((-2, -1))
    spectrum = np.abs(np.fft.rfft(whole, axis=1))
    parts = (pooled.mean(1), pooled.std(1), whole, spectrum)
    frame = pool(gray[:, gray.shape[1] // 2, 1:-1, 1:-1], 12)
    return frame.reshape(len(clips), -1), np.concatenate([part.reshape(len(clips), -1) for part in parts], 1)


def pool(images: np.ndarray, count: int) -> np.ndarray:
    """Means of `count` by `count` blocks of the last two axes."""
    height, width = images.shape[-2] // count, images.shape[-1] // count
    blocks = images.reshape(*images.shape[:-2], count, height, count, width)
    return np.asarray(blocks.mean((-3, -1)))


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy on the last quarter of a linear classifier, by ridge regression on the rest."""
    cut = 3 * len(labels) // 4
    scaled = (features - features[:cut].mean(0)) / (features[:cut].std(0) + 1e-6)
    scaled = np.concatenate([scaled.clip(-4, 4), np.ones((len(labels), 1))], axis=1)
    targets = np.eye(len(LIBRARY_CLASSES))[labels[:cut]]
    square = scaled[:cut].T @ scaled[:cut] + 100 * np.eye(scaled.shape[1])
    found = (scaled[cut:] @ np.linalg.solve(square, scaled[:cut].T @ targets)).argmax(1)
    return float((found == labels[cut:]).mean())


@pytest.mark.slow
def test_motion_tells_classes_apart_and_single_frames_do_not() -> None:
    parts, labels = [], []
    for seed in range(6):
        clips, some = generate_library(4 * len(LIBRARY_CLASSES), seed, size=50)
        parts.append(frames_and_flow(clips))
        labels.append(some)
    frames, flow = (np.concatenate(features) for features in zip(*parts, strict=True))
    known = np.concatenate(labels)
    assert accuracy(frames, known) < 0.04
    assert accuracy(flow, known) > 0.15
