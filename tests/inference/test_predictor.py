"""A recogniser in use: a file, its frames as pictures and its frames as an array are one and the same."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.schema import FusionConfig, InputConfig, ModelConfig, Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo, decode_video
from hidden_two_stream.errors import CheckpointError, UsageError, VideoError, VideoWarning
from hidden_two_stream.inference import scoring
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.segments import (
    TimedScores,
    find_segments,
    smoothed,
    time_line,
)
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.types import Prediction, RawClip
from hidden_two_stream.video.writer import write_video

CLASSES = ("fall", "sit", "walk")
LENGTH = 11


def recipe_of(**changes: object) -> Recipe:
    return Recipe(
        model=ModelConfig("nano", "small", LENGTH),
        input=InputConfig(size=64, resize=64),
        **changes,  # type: ignore[arg-type]
    )


def saved(root: Path, recipe: Recipe, stages: tuple[str, ...] | None = None) -> Path:
    """A run folder with a model of random weights that has an opinion."""
    torch.manual_seed(2)
    model = build_model(recipe, len(CLASSES))
    for stream in (model.spatial_stream, model.temporal_stream):
        torch.nn.init.normal_(stream.get_parameter("backbone.fc.weight"), std=0.3)
    root.mkdir(exist_ok=True)
    metadata = RunMetadata() if stages is None else RunMetadata(stages=stages)
    save_run(root, model, RunInfo(recipe, CLASSES, metadata))
    return root


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return load(saved(tmp_path_factory.mktemp("run"), recipe_of()))


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames of 72 x 80 px."""
    path = tmp_path_factory.mktemp("clip") / "-größe (1).mp4"
    frames = generate_clip("grow", 3, num_frames=30, size=80).frames
    write_video(path, frames[:, :72])
    return path


def frames_of(path: Path) -> RawClip:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def write_png(path: Path, picture: np.ndarray) -> None:
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "rgb24"
        for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
            container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def same(first: Prediction, second: Prediction) -> None:
    assert (first.num_frames, first.classes, first.protocol) == (
        second.num_frames,
        second.classes,
        second.protocol,
    )
    np.testing.assert_allclose(first.scores, second.scores, rtol=0, atol=1e-5)
    assert list(first.streams) == list(second.streams)
    for name in first.streams:
        np.testing.assert_allclose(first.streams[name], second.streams[name], rtol=0, atol=1e-5)


# -- one video in many forms -----------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["center", "10x1", "2x10"])
def test_file_array_and_folder_of_pictures_are_the_same(
    recognizer: Recognizer, clip_path: Path, tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_of(clip_path)
    for n, picture in enumerate(frames):
        write_png(tmp_path / f"frame{n}.png", picture)  # frame10 comes behind frame9, not frame1
    from_file = recognizer.predict(str(clip_path), protocol)
    assert (from_file.source, from_file.num_frames, from_file.warnings) == (str(clip_path), 30, ())
    assert recognizer.predict(frames, protocol).source == "array"
    others = [recognizer.predict(source, protocol) for source in (frames, clip_path, tmp_path)]
    monkeypatch.setattr(scoring, "KEPT_BYTES", 5 * 64 * 64 * 3)  # decoded frames exceed the bound
    others += [recognizer.predict(source, protocol) for source in (frames, clip_path, tmp_path)]
    for other in others:
        same(other, from_file)


def test_another_video_is_judged_otherwise(recognizer: Recognizer, clip_path: Path) -> None:
    first = recognizer.predict(clip_path)
    reversed_colours = recognizer.predict(frames_of(clip_path)[..., ::-1].copy())
    backwards = recognizer.predict(frames_of(clip_path)[::-1].copy())
    assert np.abs(first.streams["spatial"] - reversed_colours.streams["spatial"]).max() > 1e-4
    assert np.abs(first.streams["temporal"] - backwards.streams["temporal"]).max() > 1e-4


def test_what_a_prediction_holds(recognizer: Recognizer, clip_path: Path) -> None:
    prediction = recognizer.predict(clip_path, "3x1")
    assert prediction.classes == recognizer.classes == CLASSES
    assert (prediction.protocol, prediction.label) == ("3x1", CLASSES[int(prediction.scores.argmax())])
    assert list(prediction.streams) == ["spatial", "temporal"]
    for vector in (prediction.scores, *prediction.streams.values()):
        assert (vector.shape, vector.dtype.name) == ((3,), "float32")
        assert float(vector.sum()) == pytest.approx(1, abs=1e-6)
        assert vector.min() >= 0
    product = prediction.streams["spatial"] ** (1 / 3) * prediction.streams["temporal"] ** (2 / 3)
    np.testing.assert_allclose(prediction.scores, product / product.sum(), atol=1e-6)


def test_weights_and_rule_of_fusion_are_those_of_the_recipe(tmp_path: Path, clip_path: Path) -> None:
    folder = saved(tmp_path, recipe_of(fusion=FusionConfig("l1", 3.0, 1.0)))
    prediction = load(folder).predict(clip_path, "center")
    mixed = (3 * prediction.streams["spatial"] + prediction.streams["temporal"]) / 4
    np.testing.assert_allclose(prediction.scores, mixed, atol=1e-6)


def test_logits_are_averaged_before_the_softmax(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dark frames are very sure of class 0, bright ones a bit of class 1: the two averages disagree."""

    def spatial(frames: Tensor) -> Tensor:
        bright = frames[:, frames.shape[1] // 2].mean(dim=(1, 2, 3)) > 0
        return torch.where(bright[:, None], torch.tensor([0.0, 3.0, 0.0]), torch.tensor([9.0, 0.0, 0.0]))

    monkeypatch.setattr(recognizer.model, "spatial", spatial)
    frames = np.zeros((41, 64, 64, 3), np.uint8)
    frames[10:] = 255  # starts 0, 10, 20 have the middle frames 5, 15, 25
    streams = recognizer.predict(frames, "3x1").streams
    np.testing.assert_allclose(streams["spatial"], torch.softmax(torch.tensor([3.0, 2.0, 0.0]), 0), atol=1e-6)


def test_the_mean_is_over_clips_not_over_batches(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 clips come as 16 and 4; each counts the same."""

    def middle(frames: Tensor) -> Tensor:
        return frames[:, frames.shape[1] // 2].mean((2, 3))

    monkeypatch.setattr(recognizer.model, "spatial", middle)
    frames = np.zeros((30, 64, 64, 3), np.uint8)
    frames += np.arange(30, dtype=np.uint8)[:, None, None, None]
    video = DecodedVideo(frames, 30, 0, (64, 64), None, None, torch.from_numpy(frames).permute(0, 3, 1, 2))
    logits = recognizer.logits(video, parse_protocol("20x1"))["spatial"]
    grey = np.mean([start + LENGTH // 2 for start in range(20)])
    np.testing.assert_allclose(logits, (grey - np.array([123, 117, 104])) / 255, atol=1e-6)


# -- odd and real videos ---------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["odd", "clips"])
def test_every_recording_is_labelled_or_refused(recognizer: Recognizer, data_root: Path, folder: str) -> None:
    labelled, refused = {}, {}
    for path in sorted((data_root / folder).iterdir()):
        try:
            labelled[path.name] = recognizer.predict(path, "center")
        except VideoError as error:
            refused[path.name] = str(error)
    for prediction in labelled.values():
        assert np.isfinite(prediction.scores).all()
        assert prediction.num_frames > 0
    assert all(name in message and "\n" not in message for name, message in refused.items())
    assert set(refused) == (
        {"AudioVideoInterleave.avi", "audio_only.mp3", "empty.avi", "not_a_video.avi", "truncated_half.mp4"}
        if folder == "odd"
        else set()
    )
    if folder == "odd":
        assert len(labelled) == 19
        assert labelled["frames_01.avi"].num_frames == 1
        assert labelled["frames_11.avi"].warnings == ()


def test_windows_and_flow_of_a_damaged_video_warn(recognizer: Recognizer, data_root: Path) -> None:
    path = data_root / "odd" / "corrupted.mp4"
    with pytest.warns(VideoWarning, match="decoding stopped after 28 frames: damaged data"):
        assert list(recognizer.windows(path))
    with pytest.warns(VideoWarning, match="decoding stopped after 28 frames: damaged data"):
        assert len(recognizer.flow(path)) == 27


def test_a_damaged_video_is_labelled_with_a_warning(recognizer: Recognizer, data_root: Path) -> None:
    prediction = recognizer.predict(data_root / "odd" / "corrupted.mp4")
    assert prediction.num_frames == 28
    assert len(prediction.warnings) == 1
    assert "28 frames" in prediction.warnings[0]
    assert prediction.to_dict()["warnings"] == list(prediction.warnings)


@pytest.mark.parametrize("num_frames", [1, 2, 10, 11, 12])
def test_short_videos(recognizer: Recognizer, num_frames: int) -> None:
    frames = generate_clip("up", 1, num_frames=num_frames, size=64).frames
    prediction = recognizer.predict(frames)
    assert prediction.num_frames == num_frames
    # The rule: the last frame is repeated.
    filled = np.concatenate([frames, frames[-1:].repeat(max(0, LENGTH - num_frames), axis=0)])
    np.testing.assert_allclose(recognizer.predict(filled).scores, prediction.scores, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 20, 200), (3, 201, 17)])
def test_odd_sizes(recognizer: Recognizer, shape: tuple[int, int, int]) -> None:
    assert recognizer.predict(np.full((*shape, 3), 9, np.uint8), "1x10").num_frames == 3


# -- slips -----------------------------------------------------------------------------------------


def test_slips_of_the_user(recognizer: Recognizer, tmp_path: Path) -> None:
    clip = np.zeros((3, 32, 32, 3), np.uint8)
    with pytest.raises(UsageError, match="unknown protocol '5x3'"):
        recognizer.predict(clip, "5x3")
    with pytest.raises(UsageError, match="nothing found at"):
        recognizer.predict(tmp_path / "gone.mp4")
    with pytest.raises(UsageError, match=r"\(3, 32, 32\)"):
        recognizer.predict(clip[..., 0])
    with pytest.raises(UsageError, match="float32"):
        recognizer.predict(clip.astype(np.float32))
    with pytest.raises(UsageError, match="nothing found at"):
        recognizer.flow(tmp_path / "gone.mp4")
    with pytest.raises(UsageError, match="short side is 8; expected at least 16 px"):
        recognizer.flow(clip, short_side=8)
    with pytest.raises(UsageError, match="no run at"):
        load(tmp_path / "gone")


@pytest.mark.parametrize("device", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"cannot compute on '{device}'"):
        load(saved(tmp_path, recipe_of()), device)


# -- which stages were trained ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "streams"),
    [
        (("motion", "spatial", "temporal", "joint"), ("spatial", "temporal")),
        (("spatial",), ("spatial",)),
        (("motion", "spatial"), ("spatial",)),
        (("motion", "temporal"), ("temporal",)),
        (("joint",), ("temporal",)),
        (None, ("spatial", "temporal")),
    ],
)
def test_only_trained_streams_speak(
    tmp_path: Path, clip_path: Path, stages: tuple[str, ...] | None, streams: tuple[str, ...]
) -> None:
    some = load(saved(tmp_path, recipe_of(), stages))
    assert some.trained_streams == streams
    prediction = some.predict(clip_path, "center")
    assert tuple(prediction.streams) == streams
    if len(streams) == 1:
        np.testing.assert_allclose(prediction.scores, prediction.streams[streams[0]], atol=1e-6)


def test_motion_alone_cannot_label_but_gives_flow(tmp_path: Path, clip_path: Path) -> None:
    some = load(saved(tmp_path, recipe_of(), ("motion",)))
    assert some.trained_streams == ()
    with pytest.raises(CheckpointError, match="no trained stream; train spatial and temporal"):
        some.predict(clip_path)
    assert some.flow(clip_path).shape[0] == 29


# -- flow ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_frames", [1, 2, 10, 11, 12, 21, 22, 30])
def test_flow_between_all_neighbours_in_windows_without_a_seam(
    recognizer: Recognizer, num_frames: int
) -> None:
    """Nano-MotionNet sees each pair by itself, so one long window must give what the short ones give."""
    frames = generate_clip("left", 1, num_frames=num_frames, size=64).frames
    flow = recognizer.flow(frames)
    assert (flow.shape, flow.dtype.name) == ((num_frames - 1, 2, 32, 32), "float32")
    if num_frames > 1:
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        clip = ((pixels - torch.tensor([123.0, 117.0, 104.0])[:, None, None]) / 255)[None]
        with torch.no_grad():
            whole = recognizer.model.motion(clip)[0][0].numpy()
        np.testing.assert_allclose(flow, whole, atol=1e-5)
        assert np.abs(flow).max() > 1e-4


def test_windows_share_one_frame_and_hold_no_more_than_a_clip(
    recognizer: Recognizer, clip_path: Path
) -> None:
    windows = list(recognizer.flow_windows(clip_path))
    assert [len(pictures) for pictures, _ in windows] == [11, 11, 10]
    for pictures, flow in windows:
        assert (pictures.dtype, tuple(pictures.shape[1:])) == (torch.uint8, (3, 64, 71))
        assert flow.shape == (len(pictures) - 1, 2, 32, 36)
    for (before, _), (after, _) in itertools.pairwise(windows):
        assert torch.equal(before[-1], after[0])
    np.testing.assert_array_equal(np.concatenate([flow for _, flow in windows]), recognizer.flow(clip_path))


@pytest.mark.parametrize(("num_frames", "windows"), [(1, [1]), (11, [11]), (12, [11, 2]), (21, [11, 11])])
def test_no_window_is_without_flow(recognizer: Recognizer, num_frames: int, windows: list[int]) -> None:
    frames = np.zeros((num_frames, 16, 16, 3), np.uint8)
    assert [len(pictures) for pictures, _ in recognizer.flow_windows(frames, 16)] == windows


def test_a_single_picture_has_no_flow_but_a_size(recognizer: Recognizer) -> None:
    picture = np.zeros((1, 48, 96, 3), np.uint8)
    assert recognizer.flow(picture).shape == (0, 2, 32, 64)
    ((pictures, _),) = recognizer.flow_windows(picture)
    assert pictures.shape == (1, 3, 64, 128)


@pytest.mark.parametrize(
    ("size", "short_side"),
    [((64, 64), None), ((30, 40), None), ((200, 100), 50), ((17, 90), 16), ((64, 64), 100)],
)
def test_size_of_the_flow(recognizer: Recognizer, size: tuple[int, int], short_side: int | None) -> None:
    clip = np.zeros((3, *size, 3), np.uint8)
    side = short_side or 64
    stride = 1 if side < 64 else 2  # nano enlarges what is below 64 px four times, and gives flow at 1/4
    height, width = (math.ceil(math.floor(edge * side / min(size) + 0.5) / stride) for edge in size)
    assert recognizer.flow(clip, short_side).shape == (2, 2, height, width)


def test_flow_is_in_pixels_of_its_own_grid(tmp_path: Path) -> None:
    """Of levels that add 1/12 px at 1/16 and 1/8 of the size, and no others, comes 1 px at half the size."""
    torch.manual_seed(0)
    recipe = recipe_of()
    model = build_model(recipe, 3)
    with torch.no_grad():
        for level in (2, 3, 4):
            for name in ("predict.weight", "predict.bias", "step_gain"):
                model.get_parameter(f"motion_net.refine{level}.{name}").zero_()
        model.get_parameter("motion_net.refine4.predict.bias").copy_(
            torch.tensor([1.0, -2.0]).repeat_interleave(4) / 12
        )
    flow = Recognizer(model, RunInfo(recipe, CLASSES)).flow(
        generate_clip("up", 0, num_frames=14, size=64).frames
    )
    np.testing.assert_allclose(flow[:, 0], 1.0, atol=1e-5)
    np.testing.assert_allclose(flow[:, 1], -2.0, atol=1e-5)


@pytest.mark.parametrize("motion", ["tiny", "nano"])
def test_the_last_window_of_a_video_is_filled_up(tmp_path: Path, motion: str) -> None:
    """Networks with a fixed number of frames see the last frame repeated; its own flow is left out."""
    torch.manual_seed(0)
    recipe = Recipe(model=ModelConfig(motion, "small", 4), input=InputConfig(size=32, resize=32))
    some = Recognizer(build_model(recipe, 3), RunInfo(recipe, CLASSES))
    frames = generate_clip("right", 0, num_frames=6, size=32).frames
    flow = some.flow(frames)
    alone = some.flow(np.concatenate([frames[3:], frames[-1:]]))  # the window 3, 4, 5 with 5 repeated
    assert (len(flow), len(alone)) == (5, 3)
    np.testing.assert_allclose(flow[3:], alone[:2], atol=1e-6)


def test_windows_that_nobody_takes_are_not_computed(recognizer: Recognizer) -> None:
    endless = np.broadcast_to(np.zeros((1, 16, 16, 3), np.uint8), (10_000_000, 16, 16, 3))
    pictures, flow = next(recognizer.flow_windows(endless, 16))
    assert (len(pictures), flow.shape) == (11, (10, 2, 16, 16))


# -- scores along time -----------------------------------------------------------------------------


def test_each_window_scores_as_its_frames_alone(recognizer: Recognizer, clip_path: Path) -> None:
    frames = frames_of(clip_path)
    windows = list(recognizer.windows(frames, hop_seconds=0.2))
    assert [round(window.start_seconds * 25) for window in windows] == [0, 5, 10, 15, 19]
    for window in windows:
        start = round(window.start_seconds * 25)
        assert window.end_seconds == pytest.approx((start + LENGTH) / 25)
        alone = recognizer.predict(frames[start : start + LENGTH], "center")
        np.testing.assert_allclose(window.scores, alone.scores, rtol=0, atol=1e-5)
        for name, scores in alone.streams.items():
            np.testing.assert_allclose(window.streams[name], scores, rtol=0, atol=1e-5)
        assert (window.label, window.classes) == (alone.label, CLASSES)
        assert window.score == pytest.approx(alone.score, abs=1e-5)


def test_windows_carry_the_times_of_the_file(recognizer: Recognizer, data_root: Path) -> None:
    """A recording in which frames are missing: the time stamps count, not the frame numbers."""
    path = data_root / "thermal_vfr" / "videos" / "20170206_p14_light2.mp4"
    with av.open(str(path)) as container:
        stamps = [frame.time for frame in container.decode(video=0)]
    times = [float(stamp - stamps[0]) for stamp in stamps]  # type: ignore[operator]
    windows = list(recognizer.windows(path, hop_seconds=0.01))
    assert [w.start_seconds for w in windows] == pytest.approx(times[: len(times) - LENGTH + 1])
    assert [w.end_seconds for w in windows[:-1]] == pytest.approx(times[LENGTH:])
    assert np.ptp(np.diff(times)) > 0.01


def test_a_video_shorter_than_a_clip_has_one_window(recognizer: Recognizer, clip_path: Path) -> None:
    frames = frames_of(clip_path)[:5]
    (window,) = recognizer.windows(frames)
    assert (window.start_seconds, window.end_seconds) == pytest.approx((0.0, 0.2))
    np.testing.assert_allclose(window.scores, recognizer.predict(frames).scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("hop", [0, -1, float("nan"), float("inf")])
def test_a_hop_that_is_no_time(recognizer: Recognizer, clip_path: Path, hop: float) -> None:
    with pytest.raises(UsageError, match="hop_seconds"):
        recognizer.windows(clip_path, hop_seconds=hop)


def test_windows_of_nothing_are_refused_at_the_call(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        recognizer.windows(tmp_path / "nothing.mp4")
    motion_only = load(saved(tmp_path / "run", recipe_of(), stages=("motion",)))
    with pytest.raises(CheckpointError, match="no trained stream"):
        motion_only.windows(np.zeros((12, 64, 64, 3), np.uint8))


# -- frame rates -----------------------------------------------------------------------------------


def write_lossless(path: Path, frames: RawClip, fps: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "rgb24"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def two_rates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same two seconds with 50 and with 25 frames per second."""
    folder = tmp_path_factory.mktemp("rates")
    frames = generate_clip("grow", 3, num_frames=100, size=64).frames
    return write_lossless(folder / "50.mov", frames, 50), write_lossless(folder / "25.mov", frames[::2], 25)


def test_input_fps_makes_videos_of_two_rates_one(tmp_path: Path, two_rates: tuple[Path, Path]) -> None:
    settings = InputConfig(size=64, resize=64, fps=25)
    recognizer = load(saved(tmp_path, dataclasses.replace(recipe_of(), input=settings)))
    one, other = (recognizer.predict(str(path), "4x1") for path in two_rates)
    assert (one.num_frames, other.num_frames) == (50, 50)
    np.testing.assert_array_equal(one.scores, other.scores)
    windows = [list(recognizer.windows(str(path))) for path in two_rates]
    for first, second in zip(*windows, strict=True):
        assert first.start_seconds == pytest.approx(second.start_seconds)
        assert first.end_seconds == pytest.approx(second.end_seconds)
        np.testing.assert_array_equal(first.scores, second.scores)


def test_without_input_fps_every_frame_is_seen(recognizer: Recognizer, two_rates: tuple[Path, Path]) -> None:
    one, other = (recognizer.predict(str(path), "4x1") for path in two_rates)
    assert (one.num_frames, other.num_frames) == (100, 50)
    assert not np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("kept", [0, 1 << 30])
def test_sampled_frames_are_the_same_kept_and_not(two_rates: tuple[Path, Path], kept: int) -> None:
    video = decode_video(str(two_rates[0]), 64, kept, 0.5, 1.5, fps=20)
    assert video.num_frames == 20
    np.testing.assert_allclose(video.pts_seconds, 0.5 + np.arange(20) / 20)
    numbers = [round(50 * (0.5 + n / 20) - 1e-6) for n in range(20)]  # of two equally near, the earlier one
    assert video.file_numbers(range(20)) == numbers
    expected = frames_of(two_rates[0])[numbers]
    np.testing.assert_array_equal(video.read(range(20), 64).permute(0, 2, 3, 1).numpy(), expected)
    clips = list(video.read_clips([range(3), range(2, 9)], 64))
    np.testing.assert_array_equal(clips[1].permute(0, 2, 3, 1).numpy(), expected[2:9])


def test_frames_without_a_rate_are_all_used_and_a_warning_says_so(tmp_path: Path) -> None:
    settings = InputConfig(size=64, resize=64, fps=10)
    recognizer = load(saved(tmp_path, dataclasses.replace(recipe_of(), input=settings)))
    prediction = recognizer.predict(generate_clip("grow", 3, num_frames=20, size=64).frames)
    assert prediction.num_frames == 20
    (warning,) = prediction.warnings
    assert "frame rate is unknown" in warning
    assert "not 10 per second" in warning
    with pytest.warns(VideoWarning, match="not 10 per second"):
        windows = list(recognizer.windows(generate_clip("grow", 3, num_frames=20, size=64).frames, 0.04))
    assert len(windows) == 10


@pytest.mark.parametrize(
    ("trained", "fps", "expected"),
    [
        ((25.0, 30.0), 0.0, {50: "slower", 25: None, 44: None, 46: "slower", 17: None, 16: "faster"}),
        ((20.0, 20.0), 20.0, {50: None, 25: None, 20: None, 10: "faster"}),  # sampled at 20, as in training
        ((10.0, 20.0), 20.0, {10: None}),
    ],
)
def test_a_rate_far_from_training_is_named(
    recognizer: Recognizer, trained: tuple[float, float], fps: float, expected: dict[float, str | None]
) -> None:
    recipe = dataclasses.replace(recipe_of(), input=InputConfig(size=64, resize=64, fps=fps))
    metadata = RunMetadata(min_fps=trained[0], max_fps=trained[1])
    other = Recognizer(recognizer.model, RunInfo(recipe, CLASSES, metadata))
    for rate, word in expected.items():
        warning = other.rate_warning(rate)
        assert (warning is None) if word is None else (word in str(warning)), rate
    assert other.rate_warning(None) is None
    assert recognizer.rate_warning(1000.0) is None  # an older run does not know its rates


def test_a_prediction_warns_of_a_far_rate(recognizer: Recognizer, two_rates: tuple[Path, Path]) -> None:
    metadata = RunMetadata(min_fps=25.0, max_fps=25.0)
    other = Recognizer(recognizer.model, RunInfo(recipe_of(), CLASSES, metadata))
    warnings = [other.predict(str(path)).warnings for path in two_rates]
    assert [len(found) for found in warnings] == [1, 0]
    assert "50 frames per second, but training saw 25" in warnings[0][0]
    with pytest.warns(VideoWarning, match="50 frames per second, but training saw 25"):
        list(other.windows(str(two_rates[0])))


# -- segments --------------------------------------------------------------------------------------


def test_segments_are_those_of_the_windows(recognizer: Recognizer, clip_path: Path) -> None:
    settings = SegmentSettings(hop_seconds=0.1, enter=0.0, leave=0.0, shortest_seconds=0.0)
    seen: list[TimedScores] = []
    found = list(recognizer.segment(clip_path, settings, on_scores=seen.append))
    windows = list(recognizer.windows(clip_path, 0.1))
    expected = list(smoothed(time_line(windows), settings.smoothing_seconds))
    assert len(seen) == len(expected) > 5
    for one, other in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(one.smooth, other.smooth)
    assert found == list(find_segments(expected, settings.rule(CLASSES)))
    assert found[0].start_seconds == 0  # with these thresholds, each instant has a label
    assert found[-1].end_seconds == pytest.approx(30 / 25)


def test_segments_need_classes_that_there_are(recognizer: Recognizer, clip_path: Path) -> None:
    with pytest.raises(UsageError, match="expected one of fall, sit, walk"):
        recognizer.segment(clip_path, SegmentSettings(background="nothing"))
    with pytest.raises(UsageError, match="nothing found"):
        recognizer.segment(clip_path.with_name("gone.mp4"))


def test_warnings_of_windows_go_where_they_are_wanted(
    recognizer: Recognizer, clip_path: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.mp4"
    content = bytearray(clip_path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    cut.write_bytes(content)
    reasons: list[str] = []
    list(recognizer.segment(cut, on_warning=reasons.append))
    assert len(reasons) == 1
    with pytest.warns(VideoWarning, match=re.escape(reasons[0])):
        list(recognizer.windows(cut))
