"""The overlay: each frame keeps its picture, and shows the label of its time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.reports.drawing import class_color, drawable
from hidden_two_stream.reports.overlay import check_overlay_path, overlay_images, write_overlay
from hidden_two_stream.types import Frame, Segment
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

CLASSES = ("sit", "walk")
SEGMENTS = [Segment(0.4, 0.8, "walk", 0.91), Segment(0.8, 1.2, "sit", None)]


def frames(count: int, side: int = 260) -> Iterator[Frame]:
    for number in range(count):
        yield Frame(np.full((side, side + 1, 3), 200, np.uint8), number, number / 25)


def test_each_frame_has_the_label_of_its_time() -> None:
    images = list(overlay_images(frames(40), SEGMENTS, CLASSES))
    plain = np.full(3, 200)
    for number, image in enumerate(images):
        assert image.shape == (260, 260, 3)
        assert np.array_equal(image[:200], np.broadcast_to(plain, (200, 260, 3)))
        corner = image[-2, -2].astype(int)
        seconds = number / 25
        label = 1 if 0.4 - 1e-6 <= seconds < 0.8 - 1e-6 else 0 if 0.8 - 1e-6 <= seconds < 1.2 - 1e-6 else None
        expected = plain if label is None else 0.25 * plain + 0.75 * np.array(class_color(label))
        assert np.abs(corner - expected).max() <= 1
    assert (images[12][-20:] > 250).sum() > 50  # white letters


def test_small_frames_are_enlarged() -> None:
    (image,) = overlay_images(frames(1, 64), [], CLASSES)
    assert image.shape == (256, 260, 3)


def test_a_long_label_fits() -> None:
    label = "a label of many words that no strip could hold at its usual size"
    (image,) = overlay_images(frames(1), [Segment(0, 1, label, 1.0)], (label,))
    letters = (image > 250).all(axis=2)
    assert letters.any()
    assert not letters[:, -3:].any()


def test_memory_does_not_grow_with_the_video() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in overlay_images(frames(count, 64), SEGMENTS, CLASSES):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    assert peak(200) < 1.1 * peak(20) + 4096


def test_the_video_keeps_its_length_and_rate(tmp_path: Path) -> None:
    source, overlay = tmp_path / "a.mp4", tmp_path / "out" / "b.mp4"
    write_video(source, (frame.image[:, :260] for frame in frames(30)), fps=10)
    write_overlay(overlay, str(source), SEGMENTS, CLASSES)
    clip, info = read_video(overlay)
    assert (info.num_frames, info.fps) == (30, 10)
    assert np.abs(clip[5, -2, -2].astype(int) - (0.25 * 200 + 0.75 * np.array(class_color(1)))).max() < 12
    assert np.abs(clip[20, -2, -2].astype(int) - 200).max() < 12


def test_letters_that_the_font_lacks() -> None:
    assert drawable("Café → 走る\n") == "Cafe ? ???"


def test_wrong_outputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a video file"):
        check_overlay_path(tmp_path / "a.png", "a.mp4")
    source = tmp_path / "a.mp4"
    source.touch()
    with pytest.raises(UsageError, match="is the video itself"):
        check_overlay_path(source, str(source))
