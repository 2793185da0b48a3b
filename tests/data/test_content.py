"""Content of videos: equal for equal frames, nearly equal for other encodings, and who overlaps whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.data.clip_cache import DecodedVideo, decode_video, open_clip_cache
from hidden_two_stream.data.content import Content, ContentReader
from hidden_two_stream.data.duplicates import across, find_duplicates
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import Sample


def content_of(frames: np.ndarray) -> Content:
    reader = ContentReader()
    for frame in frames:
        reader.add(frame)
    return reader.content()


def noise(seed: int, shape: tuple[int, ...] = (5, 24, 40, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_the_digest_is_of_frames_size_and_order() -> None:
    frames = noise(0)
    digest = content_of(frames).digest
    assert content_of(frames.copy()).digest == digest
    assert content_of(np.asfortranarray(frames)).digest == digest
    changed = frames.copy()
    changed[3, 23, 39, 2] ^= 1
    turned = frames.transpose(0, 2, 1, 3)
    for other in (changed, frames[:4], frames[::-1], turned, frames.reshape(5, 40, 24, 3)):
        assert content_of(other).digest != digest


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 700), (64, 64), (97, 130)])
def test_the_outline_is_the_mean_level_of_cells(height: int, width: int) -> None:
    gray = np.full((3, height, width, 3), 77, np.uint8)
    gray[1] = 200
    outline = content_of(gray).outline
    assert outline.shape == (16, 8, 8)
    assert set(np.unique(outline)) == {77, 200}
    assert (outline[0] == 77).all()
    assert (outline[7] == 200).all()
    if width > 64:  # left half black
        gray[:, :, : width // 2] = 0
        halves = content_of(gray).outline
        assert (halves[..., :3] == 0).all()
        assert (halves[:, :, 5:] == outline[:, :, 5:]).all()


def test_only_the_clip_cache_identifies(data_root: Path) -> None:
    sample = read_dataset_index(data_root / "weizmann4" / "labels.csv").samples[0]
    assert decode_video(sample.path, 32, 0).content is None
    (video,) = open_clip_cache([sample], 32).videos
    assert video.content is not None
    assert video.content.digest == content_of(np.stack(list(frames_of(sample.path)))).digest


def frames_of(path: str) -> list[np.ndarray]:
    from hidden_two_stream.video.reader import VideoReader

    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames()]


def test_the_rate_of_sampling_does_not_change_the_content(data_root: Path) -> None:
    samples = read_dataset_index(data_root / "weizmann4" / "labels.csv").samples[:1]
    (every,), (few,) = (open_clip_cache(samples, 32, fps=fps).videos for fps in (0, 5))
    assert few.num_frames < every.num_frames
    assert every.content is not None
    assert few.content is not None
    assert (few.content.digest, few.content.num_frames) == (every.content.digest, every.num_frames)


def test_workers_give_the_same_content(data_root: Path) -> None:
    samples = read_dataset_index(data_root / "weizmann4" / "labels.csv").samples[:9]
    alone, together = (open_clip_cache(samples, 32, workers=workers).videos for workers in (0, 2))
    assert [v.content.digest for v in alone if v.content] == [v.content.digest for v in together if v.content]


@pytest.mark.parametrize("name", ["weizmann4", "thermal7"])
def test_recordings_hold_no_duplicates(data_root: Path, name: str) -> None:
    samples = read_dataset_index(data_root / name / "labels.csv").samples[:300]
    assert find_duplicates(samples, open_clip_cache(samples, 32, budget_bytes=0).videos) == ()


def video(path: str, first: int = 0, count: int = 5, *, seed: int) -> DecodedVideo:
    content = content_of(noise(seed, (count, 24, 40, 3)))
    return DecodedVideo(path, count, first, (24, 40), 25.0, None, None, content=content)


def test_groups_of_equal_near_and_overlapping_videos() -> None:
    quiet = np.full((5, 24, 40, 3), 100, np.uint8)
    samples = [
        Sample("a.mp4", "x", "train"),
        Sample("b.mp4", "y", "test"),
        Sample("c.mp4", "x", "train", 0, 1),
        Sample("c.mp4", "x", "test", 0.5, 2),
        Sample("c.mp4", "x", "test", 2, 3),
        Sample("d.mp4", "x", "train"),
        Sample("e.avi", "x", "test"),
        Sample("f.mp4", "x", "test"),
    ]
    videos = [
        video("a.mp4", seed=1),
        video("b.mp4", seed=1),
        video("c.mp4", 0, 25, seed=2),
        video("c.mp4", 12, 38, seed=3),
        video("c.mp4", 50, 25, seed=4),
        *(
            DecodedVideo(clip, 5, 0, (24, 40), None, None, None, content=content_of(clip))
            for clip in (quiet, quiet + np.uint8(3), quiet + np.uint8(30))
        ),
    ]
    found = find_duplicates(samples, videos)
    assert [(group.kind, [s.name for s in group.samples], group.certain) for group in found] == [
        ("the same frames", ["a.mp4", "b.mp4"], True),
        ("nearly the same frames", ["d.mp4", "e.avi"], True),
        ("overlapping parts", ["c.mp4[0-1 s]", "c.mp4[0.5-2 s]"], True),
    ]
    assert found[0].labels_differ
    assert found[0].splits == ("test", "train")
    train = [sample for sample in samples if sample.split == "train"]
    test = [sample for sample in samples if sample.split == "test"]
    assert [[s.path for s in tested] for _, tested in across(found, train, test)] == [
        ["b.mp4"],
        ["e.avi"],
        ["c.mp4"],
    ]
    assert across(found, train, []) == []
