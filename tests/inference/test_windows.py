"""Test protocols: which clips and crops of a video are seen, worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream.checkpoint import RunInfo, build_model
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo, resized
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.aggregate import mean_logits
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import (
    DEFAULT_PROTOCOL,
    Protocol,
    Window,
    parse_protocol,
    protocol_windows,
    run_protocol,
    scored,
    sliding_windows,
)
from hidden_two_stream.types import Frame


@pytest.mark.parametrize(
    ("name", "clips", "crops"),
    [
        ("center", 1, 1),
        ("1x1", 1, 1),
        ("10x1", 10, 1),
        ("25x10", 25, 10),
        ("25x5", 25, 5),
        ("9999x1", 9999, 1),
    ],
)
def test_names(name: str, clips: int, crops: int) -> None:
    assert parse_protocol(name) == Protocol(name, clips, crops)


def test_the_default_is_a_protocol() -> None:
    assert parse_protocol(DEFAULT_PROTOCOL).name == DEFAULT_PROTOCOL


@pytest.mark.parametrize(
    "name",
    [
        *("", "centre", "Center", "25", "25x", "x10", "25x3", "25x100", "25x0", "0x1", "025x1", "-1x1"),
        *("2.5x1", "1e1x1", "25X10", "25 x 10", " 25x10", "25x10\n", "25x10x1", "10000x1", "25×10"),
    ],
)
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"unknown protocol .*expected center, or NxM with M = 1, 5 or 10"
    ) as caught:
        parse_protocol(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "num_frames", "length", "stride", "expected"),
    [
        ("center", 11, 11, 1, (0,)),
        ("center", 12, 11, 1, (0,)),
        ("center", 13, 11, 1, (1,)),
        ("center", 111, 11, 1, (50,)),
        ("center", 5, 11, 1, (0,)),
        ("center", 31, 11, 2, (5,)),
        # floor((T - 10) / 25) apart from frame 0 on, as in the reference's test script
        ("25x10", 260, 11, 1, tuple(range(0, 250, 10))),
        ("25x10", 284, 11, 1, tuple(range(0, 250, 10))),
        ("25x10", 285, 11, 1, tuple(range(0, 275, 11))),
        ("25x10", 35, 11, 1, tuple(range(25))),
        # Fewer starts than clips: the step is 0, and 25 times the same clip is one.
        ("25x10", 34, 11, 1, (0,)),
        ("25x10", 11, 11, 1, (0,)),
        ("25x10", 3, 11, 1, (0,)),
        ("25x10", 1, 11, 1, (0,)),
        ("10x1", 51, 11, 1, tuple(range(0, 40, 4))),
        ("10x1", 61, 11, 2, tuple(range(0, 40, 4))),
        ("1x1", 200, 11, 1, (0,)),
        ("3x1", 10, 4, 1, (0, 2, 4)),
    ],
)
def test_starts(name: str, num_frames: int, length: int, stride: int, expected: tuple[int, ...]) -> None:
    assert parse_protocol(name).starts(num_frames, length, stride) == expected


# -- batches ---------------------------------------------------------------------------------------


def clip_batches(video: DecodedVideo, recipe: Recipe, protocol: Protocol) -> list[Tensor]:
    """The batches that a forward pass gets."""
    seen: list[Tensor] = []

    def forward(clips: Tensor) -> dict[str, Tensor]:
        seen.append(clips)
        return {"temporal": torch.zeros(len(clips), 2)}

    list(scored(protocol_windows(video, recipe, protocol), forward))
    return seen


def video_of(frames: Tensor) -> DecodedVideo:
    return DecodedVideo("made", len(frames), 0, (frames.shape[-2], frames.shape[-1]), None, None, frames)


def numbered(num_frames: int, height: int = 32, width: int = 40) -> Tensor:
    """(T, 3, H, W): red says the frame, green the column, blue the row."""
    frames = torch.zeros(num_frames, 3, height, width, dtype=torch.uint8)
    frames[:, 0] = torch.arange(num_frames, dtype=torch.uint8)[:, None, None]
    frames[:, 1] = torch.arange(width, dtype=torch.uint8)
    frames[:, 2] = torch.arange(height, dtype=torch.uint8)[:, None]
    return frames


def recipe_of(length: int = 4, stride: int = 1, size: int = 32) -> Recipe:
    return Recipe(
        model=ModelConfig(num_frames=length), input=InputConfig(size=size, resize=size, frame_stride=stride)
    )


@pytest.mark.parametrize(
    ("name", "num_frames", "sizes"),
    [
        ("center", 30, [1]),
        ("10x1", 30, [10]),
        ("40x1", 43, [16, 16, 8]),
        ("16x1", 30, [16]),
        ("3x10", 30, [16, 14]),
        ("1x10", 30, [10]),
        ("25x10", 28, [16] * 15 + [10]),
        ("25x10", 9, [10]),
    ],
)
def test_batches_are_bounded(name: str, num_frames: int, sizes: list[int]) -> None:
    batches = list(clip_batches(video_of(numbered(num_frames)), recipe_of(), parse_protocol(name)))
    assert [tuple(batch.shape) for batch in batches] == [(size, 4, 3, 32, 32) for size in sizes]
    assert {batch.dtype for batch in batches} == {torch.uint8}


@pytest.mark.parametrize("stride", [1, 3])
def test_one_crop_is_the_middle_of_each_clip(stride: int) -> None:
    clips = torch.cat(
        list(clip_batches(video_of(numbered(40)), recipe_of(4, stride), parse_protocol("20x1")))
    )
    assert len(clips) == 20
    for number, clip in enumerate(clips):
        start = number * (1 if stride == 3 else (40 - 3) // 20)
        for n, frame in enumerate(clip):
            assert frame[0].unique().tolist() == [start + n * stride]
        assert clip[0, 1, 0].tolist() == list(range(4, 36))
        assert clip[0, 2, :, 0].tolist() == list(range(32))


def test_ten_crops_are_corners_centre_and_their_flips_clip_by_clip() -> None:
    frames = numbered(20, 36, 40)
    clips = torch.cat(list(clip_batches(video_of(frames), recipe_of(), parse_protocol("3x10"))))
    assert len(clips) == 30
    corners = [(0, 0), (0, 8), (4, 0), (4, 8), (2, 4)]
    for number, start in enumerate((0, 5, 10)):
        for crop, (top, left) in enumerate(corners):
            expected = frames[start : start + 4, :, top : top + 32, left : left + 32]
            assert torch.equal(clips[10 * number + crop], expected)
            mirrored = torch.from_numpy(expected.numpy()[..., ::-1].copy())
            assert torch.equal(clips[10 * number + 5 + crop], mirrored)


@pytest.mark.parametrize("name", ["3x5", "3x10"])
def test_a_run_that_mirrored_nothing_is_tested_on_five_crops(name: str) -> None:
    frames = numbered(20, 36, 40)
    recipe = dataclasses.replace(recipe_of(), input=dataclasses.replace(recipe_of().input, flip=False))
    clips = torch.cat(list(clip_batches(video_of(frames), recipe, parse_protocol(name))))
    assert len(clips) == 15
    corners = [(0, 0), (0, 8), (4, 0), (4, 8), (2, 4)]
    for number, start in enumerate((0, 5, 10)):
        for crop, (top, left) in enumerate(corners):
            expected = frames[start : start + 4, :, top : top + 32, left : left + 32]
            assert torch.equal(clips[5 * number + crop], expected)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("side", [0, 1])
def test_left_and_right_survive_ten_crops_where_training_mirrors_nothing(flip: bool, side: int) -> None:
    """A network that tells the bright side: with mirror images, both sides score alike."""
    frames = torch.zeros(20, 3, 36, 40, dtype=torch.uint8)
    frames[..., 20 * side : 20 * side + 20] = 200
    recipe = dataclasses.replace(recipe_of(), input=dataclasses.replace(recipe_of().input, flip=flip))

    def bright_side(clips: torch.Tensor) -> dict[str, torch.Tensor]:
        halves = clips.float().unflatten(-1, (2, 16)).mean((1, 2, 3, 5))
        return {"spatial": halves}

    windows = protocol_windows(video_of(frames), recipe, parse_protocol("3x10"))
    means = np.mean([window.logits["spatial"] for window in scored(windows, bright_side)], axis=0)
    margin = means[side] - means[1 - side]
    assert margin == pytest.approx(0, abs=1e-3) if flip else margin > 50


@pytest.mark.parametrize(
    ("name", "flip", "used"),
    [
        *(
            ("25x10", True, "25x10"),
            ("25x10", False, "25x5"),
            ("25x5", True, "25x5"),
            ("25x5", False, "25x5"),
        ),
        *(("10x1", False, "10x1"), ("center", False, "center")),
    ],
)
def test_a_protocol_that_changes_says_so(name: str, flip: bool, used: str) -> None:
    recipe = dataclasses.replace(recipe_of(), input=dataclasses.replace(recipe_of().input, flip=flip))
    notes: list[str] = []
    found = run_protocol(name, recipe, notes.append)
    assert found == parse_protocol(used)
    assert len(notes) == (name != used)
    assert all(text.startswith("protocol 25x5 instead of 25x10: ") and "input.flip" in text for text in notes)


def test_a_short_video_repeats_its_last_frame() -> None:
    (batch,) = clip_batches(video_of(numbered(3)), recipe_of(6), parse_protocol("25x10"))
    assert [frame[0].unique().tolist() for frame in batch[7]] == [[0], [1], [2], [2], [2], [2]]


def test_frames_that_were_not_kept_are_cut_alike() -> None:
    frames = numbered(20)
    array = frames.permute(0, 2, 3, 1).contiguous().numpy()
    fresh = DecodedVideo(array, 20, 0, (32, 40), None, None, None)
    for one, two in zip(
        clip_batches(video_of(frames), recipe_of(), parse_protocol("5x10")),
        clip_batches(fresh, recipe_of(), parse_protocol("5x10")),
        strict=True,
    ):
        assert torch.equal(one, two)


# -- the paper's protocol, 25 clips of 11 frames x 10 crops of 224 out of 340 x 256 --------------------

TABLE = {
    11: (0,),
    12: (0,),
    34: (0,),
    35: (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24),
    36: (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24),
    300: (
        *(0, 11, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121, 132),
        *(143, 154, 165, 176, 187, 198, 209, 220, 231, 242, 253, 264),
    ),
}


@pytest.mark.parametrize(("num_frames", "starts"), TABLE.items())
def test_the_papers_start_frames(num_frames: int, starts: tuple[int, ...]) -> None:
    assert parse_protocol("25x10").starts(num_frames, 11, 1) == starts
    # What is seen: the first and the last frame of each clip, by the number that its pixels say.
    frames = torch.zeros(num_frames, 3, 32, 32)
    frames[:, 0] = torch.arange(num_frames)[:, None, None] % 256
    frames[:, 1] = torch.arange(num_frames)[:, None, None] // 256
    batches = clip_batches(video_of(frames.to(torch.uint8)), recipe_of(11), parse_protocol("25x10"))
    clips = torch.cat(list(batches))[:, :, :2, 0, 0].long()
    seen = clips[:, :, 0] + 256 * clips[:, :, 1]
    assert seen.tolist() == [list(range(start, start + 11)) for start in starts for _ in range(10)]


def test_the_papers_crops() -> None:
    frames = torch.randint(0, 256, (12, 3, 256, 340), generator=torch.Generator().manual_seed(0))
    frames = frames.to(torch.uint8)
    recipe = Recipe(model=ModelConfig(num_frames=11), input=InputConfig(size=224, resize=256))
    found = torch.cat(list(clip_batches(video_of(frames), recipe, parse_protocol("25x10"))))
    assert found.shape == (10, 11, 3, 224, 224)
    boxes = {
        "top left": frames[:11, :, 0:224, 0:224],
        "top right": frames[:11, :, 0:224, 116:340],
        "bottom left": frames[:11, :, 32:256, 0:224],
        "bottom right": frames[:11, :, 32:256, 116:340],
        "centre": frames[:11, :, 16:240, 58:282],
    }
    for number, (name, box) in enumerate(boxes.items()):
        assert torch.equal(found[number], box), name
        assert torch.equal(found[5 + number], torch.flip(box, dims=[-1])), f"{name}, mirrored"


@pytest.mark.parametrize("num_frames", [1, 5, 10])
def test_a_video_shorter_than_eleven_frames_repeats_its_last(num_frames: int) -> None:
    (batch,) = clip_batches(video_of(numbered(num_frames)), recipe_of(11), parse_protocol("25x10"))
    assert len(batch) == 10
    expected = list(range(num_frames)) + [num_frames - 1] * (11 - num_frames)
    for clip in batch:
        assert clip[:, 0, 0, 0].tolist() == expected


@pytest.mark.parametrize(("name", "crops"), [("25x1", 1), ("25x10", 10)])
def test_repeated_starts_may_be_left_out_since_their_mean_is_the_same(name: str, crops: int) -> None:
    """A real model on a video of 12 frames: 25 clips that are all the first one, against that one."""
    recipe = recipe_of(11)
    torch.manual_seed(0)
    recognizer = Recognizer(build_model(recipe, 3), RunInfo(recipe, ("a", "b", "c")))
    frames = torch.randint(0, 256, (12, 3, 32, 40), dtype=torch.uint8)
    video = video_of(frames)
    found = recognizer.logits(video, parse_protocol(name))
    single = recognizer.logits(video, parse_protocol(f"1x{crops}"))
    boxes = [(0, 0), (0, 8), (0, 0), (0, 8), (0, 4)] if crops == 10 else [(0, 4)]
    cut = [frames[:11, :, top : top + 32, left : left + 32] for top, left in boxes]
    cut += [torch.flip(clip, dims=[-1]) for clip in cut] if crops == 10 else []
    repeated = torch.stack(cut * 25).float()
    mean = torch.tensor([123.0, 117.0, 104.0])[:, None, None]
    sums = {"spatial": torch.zeros(3, dtype=torch.float64), "temporal": torch.zeros(3, dtype=torch.float64)}
    with torch.no_grad():
        for start in range(0, len(repeated), 25):
            outputs = recognizer.model((repeated[start : start + 25] - mean) / 255)
            for stream in sums:
                sums[stream] += outputs[stream].double().sum(0)
    for stream, total in sums.items():
        assert found[stream].tolist() == single[stream].tolist()
        assert found[stream].tolist() == pytest.approx((total / len(repeated)).tolist(), rel=1e-4, abs=1e-5)
        assert len(set(found[stream].tolist())) == 3


# -- windows along time ----------------------------------------------------------------------------


def timed(frames: Tensor, seconds: Sequence[float]) -> Iterator[Frame]:
    for index, (frame, time) in enumerate(zip(frames, seconds, strict=True)):
        yield Frame(frame.permute(1, 2, 0).numpy().copy(), index, time)


def first_frames(seconds: Sequence[float], span: int, hop: float) -> list[int]:
    """By the definition: for each multiple of `hop` the first frame at or after it, then the last frames."""
    last = max(0, len(seconds) - span)
    starts = []
    for k in range(int(seconds[-1] / hop) + 2):
        later = [index for index, time in enumerate(seconds) if time >= k * hop - 1e-9]
        starts += [index for index in later[:1] if index <= last]
    return sorted({*starts, last})


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 5, 20, 61])
@pytest.mark.parametrize(("length", "stride"), [(4, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("hop", [0.01, 0.04, 0.1, 0.3, 0.5, 7.0])
@pytest.mark.parametrize("rate", ["constant", "variable"])
def test_windows_along_time(num_frames: int, length: int, stride: int, hop: float, rate: str) -> None:
    """Starts, frames and times against the definition, also where frames are missing for seconds."""
    gaps = np.random.default_rng(num_frames).choice([0.02, 0.04, 0.05, 1.7], num_frames)
    seconds = (np.arange(num_frames) / 25 if rate == "constant" else np.cumsum(gaps) - gaps[0]).tolist()
    windows = list(sliding_windows(timed(numbered(num_frames), seconds), recipe_of(length, stride), hop))
    span = (length - 1) * stride + 1
    starts = first_frames(seconds, span, hop)
    duration = seconds[-1] - seconds[-2] if num_frames > 1 else 1 / 25
    ends = [*seconds, seconds[-1] + duration]
    for window, start in zip(windows, starts, strict=True):
        seen = [min(start + i * stride, num_frames - 1) for i in range(length)]
        assert window.clips.shape == (1, length, 3, 32, 32)
        assert window.clips[0, :, 0, 0, 0].tolist() == seen
        assert window.start_seconds == seconds[start]
        assert window.end_seconds == pytest.approx(ends[min(start + span, num_frames)])


def test_windows_along_time_are_those_of_the_protocol() -> None:
    """At a hop of one frame, both ways of cutting a video give the same clips and times."""
    frames = numbered(12, 40, 52)
    video = video_of(torch.stack([resized(f.image[None], 32)[0] for f in timed(frames, [0.0] * 12)]))
    along = list(sliding_windows(timed(frames, video.pts_seconds.tolist()), recipe_of(), 1 / 25))
    chosen = list(protocol_windows(video, recipe_of(), parse_protocol("9x1")))
    assert len(along) == len(chosen) == 9
    for first, second in zip(along, chosen, strict=True):
        assert torch.equal(first.clips, second.clips)
        assert first.start_seconds == pytest.approx(second.start_seconds)
        assert first.end_seconds == pytest.approx(second.end_seconds)


def test_windows_come_as_soon_as_their_end_is_known() -> None:
    """A live source must not wait: window by window takes only its frames and the next one."""
    taken = 0

    def endless() -> Iterator[Frame]:
        nonlocal taken
        while True:
            yield Frame(np.zeros((32, 32, 3), np.uint8), taken, taken / 25)
            taken += 1

    windows = sliding_windows(endless(), recipe_of(), 0.4)
    for k in range(5):
        assert next(windows).start_seconds == pytest.approx(0.4 * k)
        assert taken == 10 * k + 4


def test_no_frames_give_no_window() -> None:
    assert list(sliding_windows(iter(()), recipe_of(), 0.5)) == []
    assert mean_logits(()) == {}


@pytest.mark.parametrize("crops", [1, 10])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_scores_belong_to_their_windows(crops: int, batch_size: int) -> None:
    """The logits of a window are the mean over its crops, wherever the batches divide them."""
    clips = torch.rand(7, crops, 2, 3, 4, 4, dtype=torch.float64)
    windows = [Window(clip, float(i), float(i + 1)) for i, clip in enumerate(clips)]

    def forward(batch: Tensor) -> dict[str, Tensor]:
        return {"a": batch.mean((1, 3, 4)), "b": batch.amax((1, 3, 4))}

    results = list(scored(windows, forward, batch_size))
    assert [(w.start_seconds, w.end_seconds) for w in results] == [(i, i + 1) for i in range(7)]
    for result, clip in zip(results, clips, strict=True):
        np.testing.assert_allclose(result.logits["a"], clip.mean((1, 3, 4)).mean(0), rtol=1e-12)
        np.testing.assert_allclose(result.logits["b"], clip.amax((1, 3, 4)).mean(0), rtol=1e-12)
    mean = mean_logits(results)
    np.testing.assert_allclose(mean["a"], clips.mean((0, 1, 2, 4, 5)), rtol=1e-6)
