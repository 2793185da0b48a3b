"""The store of decoded frames: kept or decoded on demand, alone or in processes, the pixels are the same."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import re
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream.data import clip_cache as store_module
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo, decode_video, open_clip_cache, resized
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.reader import Source, VideoReader
from hidden_two_stream.video.sources.ffmpeg import RGBConverter
from hidden_two_stream.video.sources.file import FileSource
from hidden_two_stream.video.writer import write_video

DECODE_APART = store_module._decode_apart


def moving(num_frames: int, height: int = 24, width: int = 32, seed: int = 0) -> RawClip:
    """Frames that all differ: blocks of random colour that drift."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([np.roll(blocks, (n, 2 * n), (0, 1)) for n in range(num_frames)])


def decoded(path: Path) -> RawClip:
    """All frames as PyAV gives them, for comparison."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Ten samples: eight files, two of them in parts as well."""
    root = tmp_path_factory.mktemp("videos")
    found = []
    for n in range(8):
        path = root / f"{n}.mp4"
        write_video(path, moving(5 + 7 * n, seed=n), fps=10)
        found.append(Sample(str(path), "xy"[n % 2]))
    found.insert(3, Sample(found[-1].path, "x", start_seconds=1.2, end_seconds=2.0))
    found.append(Sample(found[5].path, "y", start_seconds=2.55))
    return found


def same(first: ClipCache, second: ClipCache) -> None:
    assert first.samples == second.samples
    for index, (one, two) in enumerate(zip(first.videos, second.videos, strict=True)):
        facts = [(v.source, v.num_frames, v.first_frame, v.size, v.fps, v.warning) for v in (one, two)]
        assert facts[0] == facts[1]
        everything = range(one.num_frames)
        torch.testing.assert_close(
            first.clip(index, everything), second.clip(index, everything), rtol=0, atol=0
        )


# -- pixels ----------------------------------------------------------------------------------------


def test_frames_at_their_own_size_are_the_decoders(samples: list[Sample]) -> None:
    store = open_clip_cache(samples, (24, 32))
    assert store.in_memory
    assert [v.num_frames for v in store.videos] == [5, 12, 19, 8, 26, 33, 40, 47, 54, 7]
    for index, (sample, video) in enumerate(zip(store.samples, store.videos, strict=True)):
        assert (video.source, video.size, video.fps, video.warning) == (sample.path, (24, 32), 10, None)
        first = round((sample.start_seconds or 0) * 10)
        stop = None if sample.end_seconds is None else round(sample.end_seconds * 10)
        expected = decoded(Path(sample.path))[first:stop]
        clip = store.clip(index, range(video.num_frames))
        assert clip.dtype == torch.uint8
        np.testing.assert_array_equal(clip.permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("size", [16, 48, (16, 20)])
def test_kept_frames_are_those_that_are_decoded_on_demand(
    samples: list[Sample], size: int | tuple[int, int]
) -> None:
    kept, fresh = open_clip_cache(samples, size), open_clip_cache(samples, size, budget_bytes=0)
    assert kept.in_memory
    assert not fresh.in_memory
    assert all(video.frames is None for video in fresh.videos)
    same(kept, fresh)
    for indices in ((4, 0, 4, 2), (0,), (3, 3, 3)):
        clip = kept.clip(3, indices)
        assert clip.shape[:2] == (len(indices), 3)
        torch.testing.assert_close(clip, fresh.clip(3, indices), rtol=0, atol=0)
    assert min(kept.clip(0, (0,)).shape[-2:]) == (size if isinstance(size, int) else min(size))


def test_resizing_keeps_the_aspect_for_a_number_and_not_for_a_pair() -> None:
    clip = moving(3, 24, 32)
    assert resized(clip, 12).shape == (3, 3, 12, 16)
    assert resized(clip, (12, 12)).shape == (3, 3, 12, 12)
    assert resized(np.full((1, 24, 32, 3), 77, np.uint8), 9).unique().tolist() == [77]


def test_frames_of_an_array_serve_as_those_of_a_file() -> None:
    clip = moving(7)
    for budget in (1 << 20, 0):
        video = decode_video(clip, (24, 32), budget)
        assert (video.num_frames, video.fps, video.size) == (7, None, (24, 32))
        np.testing.assert_array_equal(video.read((6, 1), (24, 32)).permute(0, 2, 3, 1).numpy(), clip[[6, 1]])


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_all_frames_are_kept_or_none(samples: list[Sample], spare: int, kept: bool) -> None:
    frames = sum(video.num_frames for video in open_clip_cache(samples, (16, 16), budget_bytes=0).videos)
    budget = frames * 16 * 16 * 3 + spare
    store = open_clip_cache(samples, (16, 16), budget_bytes=budget)
    assert [video.frames is not None for video in store.videos] == [kept] * len(samples)


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_the_number_of_workers_does_not_change_what_is_kept(
    tmp_path: Path, samples: list[Sample], spare: int, kept: bool
) -> None:
    """One video needs most of the budget, far more than the share of one of eight videos in flight."""
    path = tmp_path / "long.mp4"
    write_video(path, moving(400), fps=10)
    some = [*samples[:4], Sample(str(path), "x"), *samples[4:]]
    frames = sum(video.num_frames for video in open_clip_cache(some, (16, 16), budget_bytes=0).videos)
    budget = frames * 16 * 16 * 3 + spare
    alone = open_clip_cache(some, (16, 16), budget_bytes=budget)
    shared = open_clip_cache(some, (16, 16), budget_bytes=budget, workers=4)
    assert alone.in_memory == shared.in_memory == kept
    same(alone, shared)


def test_a_negative_budget_is_refused(samples: list[Sample]) -> None:
    with pytest.raises(UsageError, match="-3 MiB; expected 0 or more"):
        open_clip_cache(samples, 16, budget_bytes=-3 << 20)


@pytest.mark.parametrize("budget", [1 << 30, 0])
def test_clips_of_one_video_are_decoded_in_one_pass(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    (video,) = open_clip_cache(samples[7:8], 16, budget_bytes=budget).videos
    clips = [(0, 1, 2), (1, 3, 5), (1, 2, 3), (20, 25, 30), (39, 39, 39)]
    expected = [video.read(clip, 16) for clip in clips]
    opened: list[object] = []
    converted = 0

    class Counted(VideoReader):
        def __init__(self, source: Source) -> None:
            opened.append(source)
            super().__init__(source)

    def counted(clip: RawClip, size: int | tuple[int, int]) -> Tensor:
        nonlocal converted
        converted += len(clip)
        return resized(clip, size)

    monkeypatch.setattr(store_module, "VideoReader", Counted)
    monkeypatch.setattr(store_module, "resized", counted)
    for one, other in zip(video.read_clips(clips, 16), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (len(opened), converted) == ((0, 0) if budget else (1, 9))


def test_an_unreadable_video_takes_nothing_from_the_budget(samples: list[Sample]) -> None:
    few = [samples[0], Sample("missing.mp4", "x"), samples[1]]
    assert open_clip_cache(few, (16, 16), budget_bytes=(5 + 12) * 768).in_memory
    assert not open_clip_cache(few, (16, 16), budget_bytes=(5 + 12) * 768 - 1).in_memory


@pytest.mark.parametrize("limit", [100 * 768, 0])
def test_a_long_video_is_decoded_in_bounded_memory(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def counted(clip: RawClip, size: int | tuple[int, int]) -> Tensor:
        nonlocal most
        made = resized(clip, size)
        alive.add(made)
        most = max(most, sum(frames.nbytes for frames in alive))
        return made

    monkeypatch.setattr(store_module, "resized", counted)
    one = moving(1)
    endless = np.broadcast_to(one, (3000, *one.shape[1:]))
    gc.collect()
    video = decode_video(endless, (16, 16), limit)
    assert (video.num_frames, video.frames) == (3000, None)
    assert most <= limit + 64 * 768


# -- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "first", "num_frames"),
    [
        (None, 0.5, 0, 5),
        (0.5, 1.0, 5, 5),
        (1.5, None, 15, 4),
        (0.0, 99.0, 0, 19),
        (1.04, 1.05, 10, 1),  # no frame begins here; the one at 1.0 s is on screen
        (0.1, 0.11, 1, 1),
        (1.85, 1.95, 18, 1),
        (0.55, 0.95, 6, 4),  # the frames at 0.6, 0.7, 0.8 and 0.9 s
        (0.1 + 0.2, 0.7 - 0.1, 3, 3),  # 0.30000000000000004 to 0.6 s
    ],
)
def test_a_part_in_seconds(
    samples: list[Sample], start: float | None, end: float | None, first: int, num_frames: int
) -> None:
    path = samples[2].path  # 19 frames, 10 per second
    for budget in (1 << 20, 0):
        video = decode_video(path, (24, 32), budget, start, end)
        assert (video.first_frame, video.num_frames) == (first, num_frames)
        clip = video.read(range(num_frames), (24, 32)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(clip, decoded(Path(path))[first : first + num_frames])


def test_a_part_behind_the_end(samples: list[Sample]) -> None:
    with pytest.raises(VideoError, match=r"no frame from 60 s on"):
        decode_video(samples[2].path, 16, 0, 60.0)
    with pytest.raises(VideoError, match=r"no frame from 1\.9 s on; check the listed times"):
        decode_video(samples[2].path, 16, 0, 1.9, 2)  # its last frame is on screen from 1.8 to 1.9 s


def test_parts_of_a_recording_whose_rate_changes(data_root: Path) -> None:
    """30 red frames per second for 4 s, then 5 blue ones per second for 4 s."""
    path = data_root / "faults" / "02_vfr_30_then_5.mp4"
    for budget in (1 << 24, 0):
        red, blue = (decode_video(path, 16, budget, start, start + 4) for start in (0.0, 4.0))
        assert (red.first_frame, red.num_frames) == (0, 120)
        assert (blue.first_frame, blue.num_frames) == (120, 20)
        np.testing.assert_allclose(blue.pts_seconds, 4 + np.arange(20) / 5, atol=1e-9)
        assert red.read(range(120), 16).float().mean((0, 2, 3)).round().tolist() == [199, 0, 0]
        assert blue.read(range(20), 16).float().mean((0, 2, 3)).round().tolist() == [0, 0, 200]
        part = decode_video(path, 16, budget, 0, 1)
        assert (part.first_frame, part.num_frames) == (0, 30)
        assert part.pts_seconds.max() < 1


def test_parts_by_number_where_time_stamps_are_unusable(data_root: Path) -> None:
    """Its stamps run backward from the fourth frame on; it has 164 frames, 25 per second."""
    path = data_root / "clips" / "v_ApplyEyeMakeup_g01_c01.avi"
    for start, end, numbers in (
        (1.0, 2.0, range(25, 50)),
        (0.0, 0.12, range(3)),
        (6.0, None, range(150, 164)),
    ):
        part = decode_video(path, 16, 0, start, end)
        assert (part.first_frame, part.num_frames) == (numbers[0], len(numbers))
        np.testing.assert_array_equal(part.pts_seconds, np.array(numbers) / 25)
        assert "frame number / 25 per second" in str(part.warning)


@pytest.mark.parametrize("broken", [5, 30, 55])
def test_time_stamps_are_unusable_in_all_parts_or_in_none(tmp_path: Path, broken: int) -> None:
    """A stamp that repeats before, in or after a part makes frame numbers count in the part."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=25, options={"bf": "0"})
        assert isinstance(track, av.VideoStream)
        track.height, track.width, track.pix_fmt = 32, 48, "yuv420p"
        for number, image in enumerate(moving(60, 32, 48)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            for packet in track.encode(frame):
                packet.pts = packet.dts = 2 * (number - (number == broken))  # half of the rate that it says
                container.mux(packet)
        container.mux(track.encode())
    part = decode_video(path, 16, 1 << 24, 1.0, 1.6)
    whole = decode_video(path, 16, 1 << 24)
    assert (part.warning, part.fps) == (whole.warning, whole.fps)
    assert part.fps is not None
    expected = [n for n in range(whole.num_frames) if 1.0 <= n / part.fps < 1.6]
    assert list(range(part.first_frame, part.first_frame + part.num_frames)) == expected
    assert whole.frames is not None
    assert part.frames is not None
    torch.testing.assert_close(part.frames, whole.frames[expected], rtol=0, atol=0)


def test_a_part_needs_a_frame_rate() -> None:
    with pytest.raises(VideoError, match="frame rate is unknown"):
        decode_video(moving(9), 16, 0, 0.5)


# -- what cannot be read ---------------------------------------------------------------------------


def broken(root: Path, samples: Sequence[Sample]) -> list[Sample]:
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_bytes(b"no video at all " * 20)
    return [
        Sample(str(root / "empty.mp4"), "x"),
        samples[1],
        Sample(str(root / "gone.mp4"), "y"),
        Sample(str(root / "text.mp4"), "y"),
        Sample(samples[1].path, "y", start_seconds=60.0),
        *samples[4:8],
    ]


REASONS = ("0 bytes", "nothing found at", "not a video", "no frame from 60 s on")


def test_what_cannot_be_read_is_listed_with_its_reason(samples: list[Sample], tmp_path: Path) -> None:
    some = broken(tmp_path, samples)
    seen: list[tuple[int, int]] = []
    store = open_clip_cache(some, 16, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(n, 9) for n in range(1, 10)]
    assert store.samples == (samples[1], *samples[4:8])
    assert [sample for sample, _ in store.unreadable] == [some[0], *some[2:5]]
    for (_, error), reason in zip(store.unreadable, REASONS, strict=True):
        assert isinstance(error, VideoError | UsageError)
        assert reason in str(error)


def test_nothing_readable(tmp_path: Path) -> None:
    store = open_clip_cache([Sample(str(tmp_path / "gone.mp4"), "x")], 16)
    assert (store.samples, store.videos, len(store.unreadable)) == ((), (), 1)
    assert open_clip_cache([], 16).samples == ()


def test_a_damaged_video_keeps_what_was_decoded_and_says_so(data_root: Path) -> None:
    video = decode_video(data_root / "odd" / "corrupted.mp4", 32, 1 << 24)
    assert video.num_frames == 28
    assert video.warning is not None
    assert "28 frames" in video.warning
    again = decode_video(data_root / "odd" / "corrupted.mp4", 32, 0)
    assert video.frames is not None
    torch.testing.assert_close(again.read(range(28), 32), video.frames, rtol=0, atol=0)


def test_parts_of_a_real_video_far_from_its_start(data_root: Path) -> None:
    path = data_root / "clips" / "flipping_a_pancake.mkv"
    whole = decode_video(path, 16, 1 << 30)
    assert whole.fps is not None
    assert whole.frames is not None
    for budget in (1 << 30, 0):
        part = decode_video(path, 16, budget, *whole.pts_seconds[[200, 220]].tolist())
        assert (part.first_frame, part.num_frames) == (200, 20)
        torch.testing.assert_close(part.read(range(20), 16), whole.frames[200:220], rtol=0, atol=0)


# -- only some frames ------------------------------------------------------------------------------


def thirds(num_frames: int) -> set[int]:
    """Every third frame, counted from the last: which ones depends on the number of frames."""
    return set(range(num_frames - 1, -1, -3))


def write_images(folder: Path, clip: RawClip) -> Path:
    folder.mkdir()
    for number, image in enumerate(clip):
        path = folder / f"{number}.png"
        with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream("png", rate=1)
            stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "rgb24"
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux([*stream.encode(frame), *stream.encode(None)])
    return folder


def same_video(chosen: DecodedVideo, whole: DecodedVideo, choose: Callable[[int], Iterable[int]]) -> None:
    """All facts are the same, and the chosen frames are kept."""
    assert chosen == dataclasses.replace(whole, frames=chosen.frames, num_bytes=chosen.num_bytes)
    np.testing.assert_array_equal(chosen.pts_seconds, whole.pts_seconds)
    np.testing.assert_array_equal(chosen.numbers, whole.numbers)
    indices = sorted(choose(whole.num_frames))
    assert chosen.places is not None
    assert chosen.frames is not None
    assert sorted(chosen.places) == indices
    assert (len(chosen.frames), chosen.num_bytes) == (len(indices), chosen.frames.nbytes)
    assert torch.equal(chosen.read(indices, 16), whole.read(indices, 16))
    others = sorted(set(range(whole.num_frames)) - set(indices))[:3]
    assert torch.equal(chosen.read(others, 16), whole.read(others, 16))  # decoded anew
    mixed = [others, indices[:2]] if others and others[0] < indices[0] else [indices[:2], others]
    for one, other in zip(chosen.read_clips(mixed, 16), whole.read_clips(mixed, 16), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("fps", [0.0, 4.0, 25.0])
@pytest.mark.parametrize("kind", ["mp4", "mkv", "array", "folder"])
@pytest.mark.parametrize("choose", [thirds, lambda number: range(number // 2, number // 2 + 1)])
def test_chosen_frames_are_those_of_the_whole_video(
    tmp_path: Path, kind: str, fps: float, choose: Callable[[int], Iterable[int]]
) -> None:
    clip, source = moving(23), tmp_path / f"clip.{kind}"
    if kind == "folder":
        write_images(source, clip)
    elif kind != "array":
        write_video(source, clip, fps=10)
    given: Source = clip if kind == "array" else source
    whole = decode_video(given, 16, 1 << 30, fps=fps)
    same_video(decode_video(given, 16, 1 << 30, fps=fps, choose=choose), whole, choose)


@pytest.mark.parametrize("announced", [None, 1, 2, 22, 23, 24, 400])
@pytest.mark.parametrize("fps", [0.0, 4.0, 25.0])
def test_a_wrong_number_in_the_header_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: int | None, fps: float
) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, moving(23), fps=10)
    whole = decode_video(path, 16, 1 << 30, fps=fps)
    monkeypatch.setattr(FileSource, "expected_frames", property(lambda _: announced, lambda *_: None), False)
    found = decode_video(path, 16, 1 << 30, fps=fps, choose=thirds)
    if announced is None:
        assert found.places is None
        assert found.frames is not None
        assert torch.equal(found.frames, whole.read(range(whole.num_frames), 16))
    else:
        same_video(found, whole, thirds)


@pytest.mark.parametrize(("kind", "wrong", "images"), [("mp4", 0, 8), ("mp4", 1, 8), ("array", 0, 8)])
def test_other_frames_are_neither_converted_nor_resized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, wrong: int, images: int
) -> None:
    """Of 23 frames, 8 are converted; if the header is wrong by one, the frames for it are, too."""
    path = tmp_path / "a.mp4"
    write_video(path, moving(23), fps=10)
    converted: list[int] = []
    call = RGBConverter.__call__

    def counted(self: RGBConverter, frame: av.VideoFrame) -> Any:
        converted.append(1)
        return call(self, frame)

    monkeypatch.setattr(RGBConverter, "__call__", counted)
    resized_frames: list[int] = []

    def resize(clip: RawClip, size: Any) -> Tensor:
        resized_frames.append(len(clip))
        return resized(clip, size)

    announced = property(lambda _: 23 + wrong, lambda *_: None)
    monkeypatch.setattr(FileSource, "expected_frames", announced, False)
    source: Source = moving(23) if kind == "array" else path
    decode_video(source, 16, 1 << 30, choose=thirds, resizer=resize)
    assert sum(resized_frames) == images + wrong * len(thirds(24) & set(range(23)))
    assert len(converted) == (0 if kind == "array" else sum(resized_frames))


def test_chosen_frames_beyond_the_budget_are_decoded_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, moving(23), fps=10)
    whole = decode_video(path, 16, 1 << 30)
    frame = whole.num_bytes // 23
    assert decode_video(path, 16, 8 * frame, choose=thirds).frames is not None
    found = decode_video(path, 16, 8 * frame - 1, choose=thirds)
    assert (found.frames, found.places, found.num_bytes) == (None, None, 8 * frame)
    assert torch.equal(found.read([1, 4], 16), whole.read([1, 4], 16))


def test_a_stream_keeps_all_frames(tmp_path: Path) -> None:
    """It cannot be read again, should the header be wrong."""
    path, pipe = tmp_path / "a.mkv", tmp_path / "pipe"
    write_video(path, moving(9), fps=10)
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    found = decode_video(pipe, 16, 1 << 30, choose=lambda _: [0])
    writer.join()
    assert (found.num_frames, found.places) == (9, None)
    assert torch.equal(found.read(range(9), 16), decode_video(path, 16, 1 << 30).read(range(9), 16))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_store_of_chosen_frames(samples: list[Sample], workers: int) -> None:
    """Labeled parts are kept whole; contents are those of all frames."""
    whole = open_clip_cache(samples, 16)
    chosen = open_clip_cache(samples, 16, workers=workers, choose=thirds)
    for sample, video, other in zip(chosen.samples, chosen.videos, whole.videos, strict=True):
        assert video.content is not None
        assert other.content is not None
        assert video.content.digest == other.content.digest
        if sample.start_seconds is None:
            same_video(video, other, thirds)
        else:
            assert video.frames is not None
            assert torch.equal(video.frames, other.read(range(other.num_frames), 16))


def test_chosen_frames_of_damaged_and_odd_videos(data_root: Path) -> None:
    for path in sorted((data_root / "odd").glob("*.*"))[:24]:
        try:
            whole = decode_video(path, 16, 1 << 30)
        except (UsageError, VideoError) as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                decode_video(path, 16, 1 << 30, choose=thirds)
        else:
            found = decode_video(path, 16, 1 << 30, choose=thirds)
            if found.places is None:  # the file says nothing about its length
                assert path.suffix == ".webm"
                assert torch.equal(found.frames, whole.frames)
            else:
                same_video(found, whole, thirds)


# -- processes -------------------------------------------------------------------------------------


def test_processes_give_the_same(samples: list[Sample], tmp_path: Path) -> None:
    some = [*broken(tmp_path, samples), *samples[:4]]
    alone = open_clip_cache(some, (16, 20))
    seen: list[int] = []
    shared = open_clip_cache(some, (16, 20), workers=2, progress=lambda done, total: seen.append(done))
    assert seen == list(range(1, 14))
    assert shared.in_memory
    same(alone, shared)
    assert [(sample, str(error)) for sample, error in shared.unreadable] == [
        (sample, str(error)) for sample, error in alone.unreadable
    ]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_process_that_dies_costs_one_video(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    """A video at which the decoder kills its process."""
    alone = open_clip_cache(samples, 16)
    monkeypatch.setattr(store_module, "_decode_apart", _decode_or_die)
    shared = open_clip_cache(samples, 16, workers=2)
    assert shared.samples == tuple(sample for sample in samples if not sample.path.endswith("2.mp4"))
    assert len(shared.samples) == len(samples) - 1
    assert [sample.path for sample, _ in shared.unreadable] == [
        sample.path for sample in samples if sample.path.endswith("2.mp4")
    ]
    assert "worker process ended without a result" in str(shared.unreadable[0][1])
    same(alone.select(shared.samples), shared)


def _decode_or_die(task: tuple[Sample, int, float, int]) -> Any:
    if task[0].path.endswith("2.mp4"):
        os.kill(os.getpid(), signal.SIGKILL)
    return DECODE_APART(task)


# -- the store -------------------------------------------------------------------------------------


def test_select_shares_frames_and_keeps_the_order(samples: list[Sample], tmp_path: Path) -> None:
    store = open_clip_cache([*samples, Sample(str(tmp_path / "gone.mp4"), "x")], 16)
    chosen = store.select([samples[9], samples[3], samples[0], store.unreadable[0][0]])
    assert chosen.samples == (samples[0], samples[3], samples[9])
    assert [video.num_frames for video in chosen.videos] == [5, 8, 7]
    assert chosen.videos[1].frames is store.videos[3].frames
    assert chosen.unreadable == store.unreadable
    rest = store.select(samples[1:3])
    assert (rest.samples, rest.unreadable, rest.size) == (tuple(samples[1:3]), (), 16)


def test_a_store_travels_to_processes(samples: list[Sample]) -> None:
    same(
        open_clip_cache(samples[:2], 16),
        pickle.loads(pickle.dumps(open_clip_cache(samples[:2], 16, budget_bytes=0))),
    )


def test_a_store_of_nothing_kept_reports_a_file_that_went_away(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, moving(4))
    store = open_clip_cache([Sample(str(path), "x")], 16, budget_bytes=0)
    path.unlink()
    with pytest.raises(UsageError, match=r"nothing found at .*a\.mp4"):
        store.clip(0, (0,))


def test_real_videos_kept_and_not(data_root: Path) -> None:
    samples = read_dataset_index(data_root / "weizmann4" / "labels.csv").samples[::12]
    kept, fresh = open_clip_cache(samples, 48), open_clip_cache(samples, 48, budget_bytes=0)
    assert all(isinstance(video, DecodedVideo) for video in kept.videos)
    same(kept, fresh)


def test_an_unexpected_error_makes_one_video_unreadable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", np.zeros((2, 16, 16, 3), np.uint8))
    decode = store_module.decode_video

    def fail_once(source: str, *rest: Any, **options: Any) -> Any:
        if source.endswith("a.mp4"):
            raise ZeroDivisionError("in a decoder\nmore")
        return decode(source, *rest, **options)

    monkeypatch.setattr(store_module, "decode_video", fail_once)
    samples = [Sample(str(tmp_path / f"{name}.mp4"), "x") for name in ("a", "b")]
    cache = open_clip_cache(samples, 16)
    assert cache.samples == (samples[1],)
    ((sample, error),) = cache.unreadable
    assert isinstance(error, VideoError)
    assert (sample, error.reason) == (samples[0], "unexpected ZeroDivisionError: in a decoder")
