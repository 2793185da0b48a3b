"""The references are time stamps written here, packets read with PyAV, and the recordings' own tables."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.types import Frame, RawClip
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.sources.file import FileSource
from hidden_two_stream.video.times import (
    FALLBACK_FPS,
    FrameClock,
    at_rate,
    file_times,
    index_times,
    sampled_rate,
    stamp_seconds,
    unsampled_warning,
)

MILLISECOND = Fraction(1, 1000)
THERMAL = (
    "20170206_p14_light2",
    "20170206_p7_light5",
    "20170209_p14_dark2",
    "20170209_p3_dark3",
    "20170209_p5_light4",
    "20170209_p8_dark5",
)
IRREGULAR = ("odd/vfr.mp4", "odd/newtonscradle.gif", "odd/no_duration.webm", "faults/02_vfr_30_then_5.mp4")
REGULAR = ("odd/bikes.mp4", "odd/av1_video.mkv", "odd/frames_11.avi", "clips/flipping_a_pancake.mkv")


@pytest.fixture(scope="module")
def clip() -> RawClip:
    """(80, 32, 48, 3): every image differs from the one before."""
    return np.random.default_rng(0).integers(0, 255, (80, 4, 6, 3), np.uint8).repeat(8, 1).repeat(8, 2)


def write_with_stamps(
    path: Path, clip: RawClip, stamps: Sequence[int], codec: str = "libx264", options: str = "keyint=12"
) -> Path:
    """Encode images with time stamps in milliseconds."""
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=25, options={"x264-params": options} if options else {})
        assert isinstance(track, av.VideoStream)
        track.height, track.width = clip.shape[1:3]
        track.pix_fmt = "yuv420p"
        track.codec_context.time_base = MILLISECOND
        for image, stamp in zip(clip, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, MILLISECOND
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return path


def irregular_stamps(count: int) -> list[int]:
    """Strictly increasing, 20 to 700 ms apart, not from 0."""
    return (400 + np.random.default_rng(1).integers(20, 700, count).cumsum()).tolist()


def copy_with_stamps(source: Path, target: Path, stamps: dict[int, int]) -> Path:
    """Copy a video without encoding it again; `stamps` maps time stamps to others, in units of the track."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        track = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                assert packet.pts is not None
                packet.pts = stamps.get(packet.pts, packet.pts)
                packet.stream = track
                new.mux(packet)
    return target


def packet_seconds(path: Path) -> npt.NDArray[np.float64]:
    """Presentation times of all packets, in ascending order, from 0, s."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        return np.array([float((stamp - stamps[0]) * stream.time_base) for stamp in stamps])


def seconds(path: Path, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float64]:
    with VideoReader(path) as reader:
        return np.array([frame.pts_seconds for frame in reader.frames(start, stop)])


# ---------------------------------------------------------------- real recordings


@pytest.mark.parametrize("name", [*IRREGULAR, *REGULAR])
def test_times_are_those_of_the_packets(data_root: Path, name: str) -> None:
    path = data_root / name
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert not reader.times_repaired
    found = np.array([frame.pts_seconds for frame in frames])
    np.testing.assert_allclose(found, packet_seconds(path)[: len(found)], rtol=0, atol=1e-9)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert np.all(np.diff(found) > 0)
    assert (np.ptp(np.diff(found)) > 0.005) == (name in IRREGULAR)
    late = len(found) * 3 // 4  # reached by way of a keyframe where the file allows
    np.testing.assert_array_equal(seconds(path, late), found[late:])


@pytest.mark.parametrize("name", THERMAL)
def test_times_are_those_of_the_sensor(data_root: Path, name: str) -> None:
    """The table gives each segment in frames, the last included, and in seconds, the end excluded."""
    found = seconds(data_root / "thermal_vfr" / "videos" / f"{name}.mp4")
    with open(data_root / "thermal_vfr" / "segments.csv", encoding="utf-8", newline="") as file:
        segments = [row for row in csv.DictReader(file) if row["path"] == f"videos/{name}.mp4"]
    assert len(segments) >= 4
    for row in segments:
        assert found[int(row["start_frame"])] == pytest.approx(float(row["start_seconds"]), abs=6e-4)
        assert found[int(row["end_frame"]) + 1] == pytest.approx(float(row["end_seconds"]), abs=6e-4)


def test_an_interval_in_seconds_holds_the_frames_that_were_shown_in_it(data_root: Path) -> None:
    """30 frames per second for 4 s, red; then 5 per second, blue."""
    with VideoReader(data_root / "faults" / "02_vfr_30_then_5.mp4") as reader:
        frames = [frame for frame in reader.frames() if 4 <= frame.pts_seconds < 8]
    assert len(frames) == 20
    colors = np.array([frame.image.mean((0, 1)) for frame in frames])
    assert np.all(colors[:, 2] > 150)
    assert np.all(colors[:, 0] < 50)


def test_backward_time_stamps_of_a_real_recording_are_replaced(data_root: Path) -> None:
    path = data_root / "clips" / "v_ApplyEyeMakeup_g01_c01.avi"
    with VideoReader(path) as reader:
        assert not reader.times_repaired
        found = np.array([frame.pts_seconds for frame in reader.frames()])
        assert reader.times_repaired
        assert reader.warning == (
            "its time stamps are missing or run backward: frame number / 25 per second takes their place"
        )
    # Its time stamps begin 1, 2, 4, 3 at 25 per second.
    np.testing.assert_allclose(found, [0, 0.04, *(0.12 + np.arange(162) / 25)], rtol=0, atol=1e-12)


# ---------------------------------------------------------------- generated recordings


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", "keyint=12:min-keyint=12:bframes=3"),
        ("a.mkv", "libx264", "keyint=12:min-keyint=12:bframes=3:open-gop=1"),
        ("a.ts", "libx264", "keyint=12:bframes=0"),
        ("a.webm", "libvpx-vp9", ""),
    ],
)
def test_irregular_times_come_back_as_they_were_written(
    tmp_path: Path, clip: RawClip, name: str, codec: str, options: str
) -> None:
    stamps = irregular_stamps(len(clip))
    path = write_with_stamps(tmp_path / name, clip, stamps, codec, options)
    written = (np.array(stamps) - stamps[0]) / 1000
    with VideoReader(path) as reader:
        late = [frame.pts_seconds for frame in reader.frames(60)]
        found = [frame.pts_seconds for frame in reader.frames()]
        again = [frame.pts_seconds for frame in reader.frames(7, 10)]
        assert not reader.times_repaired
    np.testing.assert_allclose(found, written, rtol=0, atol=2e-5)  # a tick of a transport stream is 11 µs
    np.testing.assert_array_equal(late, found[60:])
    np.testing.assert_array_equal(again, found[7:10])


def test_missing_time_stamps_are_replaced_by_the_frame_number_over_the_rate(
    tmp_path: Path, clip: RawClip
) -> None:
    path = write_with_stamps(tmp_path / "raw.h264", clip, range(0, 40 * len(clip), 40))
    with VideoReader(path) as reader:
        found = [frame.pts_seconds for frame in reader.frames()]
        assert reader.fps == 25
        assert reader.times_repaired
    np.testing.assert_array_equal(found, np.arange(len(clip)) / 25)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_frames_between_two_times_are_those_that_are_shown_then(
    tmp_path: Path, clip: RawClip, name: str, codec: str
) -> None:
    if name.endswith("avi"):
        stamps = [40 * number for number in range(len(clip))]  # an AVI has a fixed rate
        path = write_with_stamps(tmp_path / name, clip, stamps, codec, "")
    else:
        stamps = irregular_stamps(len(clip))
        path = write_with_stamps(tmp_path / name, clip, stamps, codec)
    times = (np.array(stamps) - stamps[0]) / 1000
    for first, last in ((0, 7), (30, 31), (61, 79)):
        with VideoReader(path) as reader:
            found = list(reader.frames_between(times[first] - 1e-3, times[last] - 1e-3))
            assert not reader.times_repaired
        assert [frame.index for frame in found] == list(range(first, last))
    with VideoReader(path) as reader:
        assert [frame.index for frame in reader.frames_between(times[70] - 1e-3)] == list(range(70, 80))
        assert list(reader.frames_between(times[-1] + 1)) == []


def test_a_late_part_is_reached_by_a_keyframe(
    tmp_path: Path, clip: RawClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_with_stamps(tmp_path / "a.mp4", clip, range(0, 40 * len(clip), 40))
    decoded = []
    plain = FileSource._decode_from_keyframe
    monkeypatch.setattr(
        FileSource,
        "_decode_from_keyframe",
        lambda self, first, table: decoded.append(first) or plain(self, first, table),
    )
    with VideoReader(path) as reader:
        assert [frame.index for frame in reader.frames_between(2.5, 2.7)] == [63, 64, 65, 66, 67]
    assert len(decoded) == 1
    assert 48 < decoded[0] <= 63


def test_frames_between_two_times_end_where_times_are_unusable(data_root: Path) -> None:
    with VideoReader(data_root / "clips" / "v_ApplyEyeMakeup_g01_c01.avi") as reader:
        assert list(reader.frames_between(1, 2)) == []
        assert reader.times_repaired


def test_frames_of_arrays_have_times_at_the_fallback_rate(clip: RawClip) -> None:
    with VideoReader(clip) as reader:
        assert not reader.is_timed
        assert [frame.index for frame in reader.frames_between(0.2, 0.32)] == [5, 6, 7]


def test_repaired_times_hold_for_later_parts_too(tmp_path: Path, clip: RawClip) -> None:
    source = write_with_stamps(
        tmp_path / "a.mp4", clip, range(0, 40 * len(clip), 40), options="bframes=2:keyint=12"
    )
    swapped = copy_with_stamps(source, tmp_path / "b.mp4", {6400: 7040, 7040: 6400})
    with VideoReader(swapped) as reader:
        early = [frame.pts_seconds for frame in reader.frames(0, 20)]
        assert reader.times_repaired
        late = [frame.pts_seconds for frame in reader.frames(60, 63)]
    # Frames 10 and 11 are at 0.44 and 0.40 s: from 0.44 s on the rate counts.
    np.testing.assert_allclose(early[:10], np.arange(10) / 25, rtol=0, atol=1e-9)
    np.testing.assert_allclose(early[10:], 0.44 + np.arange(10) / 25, rtol=0, atol=1e-9)
    np.testing.assert_allclose(late, 0.44 + np.arange(50, 53) / 25, rtol=0, atol=1e-9)


def test_arrays_follow_each_other_at_the_fallback_rate(clip: RawClip) -> None:
    with VideoReader(clip) as reader:
        frames = list(reader.frames(5, 9))
        assert reader.fps is None
        assert not reader.times_repaired
    assert [frame.index for frame in frames] == [5, 6, 7, 8]
    assert [frame.pts_seconds for frame in frames] == [0.2, 0.24, 0.28, 0.32]
    assert all(np.array_equal(frame.image, clip[frame.index]) for frame in frames)


# ---------------------------------------------------------------- the rule


def run(stamps: Sequence[int | None], fps: float | None) -> tuple[list[float], bool]:
    clock = FrameClock(MILLISECOND, fps)
    return [clock.seconds(stamp) for stamp in stamps], clock.repaired


@pytest.mark.parametrize(
    ("stamps", "expected", "repaired"),
    [
        ([1000, 1030, 1500], [0, 0.03, 0.5], False),
        ([-40, 0, 10], [0, 0.04, 0.05], False),
        ([0, 100, 50, 300, 1000], [0, 0.1, 0.2, 0.3, 0.4], True),
        ([0, 100, 100], [0, 0.1, 0.2], True),
        ([0, 150, None, 900], [0, 0.15, 0.25, 0.35], True),
        ([None, 500, 600], [0, 0.1, 0.2], True),
        ([], [], False),
    ],
)
def test_a_clock_keeps_good_times_and_goes_on_at_the_rate(
    stamps: list[int | None], expected: list[float], repaired: bool
) -> None:
    found, was_repaired = run(stamps, 10)
    assert found == pytest.approx(expected, abs=1e-12)
    assert was_repaired is repaired


def test_a_clock_without_a_rate_or_a_unit_uses_the_fallback_rate() -> None:
    assert run([0, None], None)[0] == [0, 1 / FALLBACK_FPS]
    clock = FrameClock(None, None)
    assert [clock.seconds(stamp) for stamp in (5, 6, 70)] == [0, 0.04, 0.08]
    assert clock.repaired


def test_times_of_a_clock_always_increase() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        stamps = [None if rng.random() < 0.05 else int(s) for s in rng.integers(-5, 40, 20).cumsum()]
        assert np.all(np.diff(run(stamps, float(rng.uniform(1, 60)))[0]) > 0)


def test_time_stamps_count_units_of_the_time_base() -> None:
    assert stamp_seconds(11, 3, Fraction(3, 8)) == 3.0


def test_times_of_whole_seconds_are_not_whole_numbers() -> None:
    assert file_times([3, 4, 6], None).dtype == np.float64


def test_file_times_keep_increasing_time_stamps() -> None:
    found = file_times([2.5, 2.75, 4.0], 10)
    assert found.dtype == np.float64
    assert found.tolist() == [0, 0.25, 1.5]
    assert file_times([7.0], None).tolist() == [0]
    assert file_times([], 10).shape == (0,)


@pytest.mark.parametrize(
    "stamps", [[0, 0.3, 0.2, 0.9], [0, 0.3, 0.3, 0.9], [0, 0.3, None, 0.9], [None] * 4, [0, 1, math.nan, 2]]
)
def test_file_times_count_at_the_rate_where_any_time_stamp_is_unusable(stamps: list[float | None]) -> None:
    np.testing.assert_array_equal(file_times(stamps, 8), [0, 0.125, 0.25, 0.375])
    np.testing.assert_array_equal(file_times(stamps, None), [0, 0.04, 0.08, 0.12])
    np.testing.assert_array_equal(index_times(4, 8), file_times(stamps, 8))


# -- another rate ----------------------------------------------------------------------------------


def frames_at(times: Sequence[float]) -> list[Frame]:
    return [Frame(np.full((1, 1, 3), n % 256, np.uint8), n, time) for n, time in enumerate(times)]


def nearest(times: Sequence[float], fps: float) -> list[int]:
    """Slowly: compare every wanted time with every frame; of equal distances the earlier frame."""
    count = int((times[-1] - times[0]) * fps + 0.25 + 1e-9) + 1
    wanted = [times[0] + n / fps for n in range(count)]
    return [min(range(len(times)), key=lambda n: (round(abs(times[n] - t), 9), n)) for t in wanted]


@pytest.mark.parametrize("start", [0.0, 7.3])
@pytest.mark.parametrize("fps", [5.0, 12.5, 23.976, 25.0, 30.0, 60.0])
@pytest.mark.parametrize("rate", [10.0, 24.0, 25.0, 50.0, 119.88])
def test_another_rate_takes_the_nearest_frames(rate: float, fps: float, start: float) -> None:
    times = [start + n / rate for n in range(int(2.3 * rate))]
    found = list(at_rate(frames_at(times), fps))
    assert [frame.index for frame in found] == nearest(times, fps)
    np.testing.assert_allclose(
        [frame.pts_seconds for frame in found], start + np.arange(len(found)) / fps, atol=1e-9
    )


@pytest.mark.parametrize("rate", [24.0, 25.0, 30000 / 1001, 50.0])
def test_a_video_that_has_the_rate_is_unchanged(rate: float) -> None:
    """Matroska rounds times to milliseconds."""
    times = [round(n / rate, 3) for n in range(500)]
    assert [frame.index for frame in at_rate(frames_at(times), rate)] == list(range(500))


def test_twice_and_half_the_rate() -> None:
    frames = frames_at([n / 50 for n in range(10)])
    assert [frame.index for frame in at_rate(frames, 25)] == [0, 2, 4, 6, 8]
    assert [frame.index for frame in at_rate(frames[:3], 100)] == [0, 0, 1, 1, 2]
    assert [frame.index for frame in at_rate(frames[:1], 25)] == [0]
    assert list(at_rate([], 25)) == []


def test_a_variable_rate_becomes_a_constant_one() -> None:
    """30 per second for one second, then 5: at 10 per second every third, then each twice."""
    times = [n / 30 for n in range(30)] + [1 + n / 5 for n in range(5)]
    found = [frame.index for frame in at_rate(frames_at(times), 10)]
    assert found == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 30, 31, 31, 32, 32, 33, 33, 34]


def test_frames_come_as_soon_as_the_next_one_is_known() -> None:
    seen: list[int] = []

    def live() -> Iterator[Frame]:
        for frame in frames_at([n / 50 for n in range(10)]):
            seen.append(frame.index)
            yield frame

    frames = at_rate(live(), 25)
    assert [next(frames).index, len(seen)] == [0, 2]
    assert [next(frames).index, len(seen)] == [2, 4]


def test_a_sampled_video_shows_no_more_frames_than_it_has() -> None:
    assert sampled_rate(30.0, 12.0) == 12.0
    assert sampled_rate(10.0, 12.0) == 10.0  # frames repeat, so there are 10 different ones
    assert sampled_rate(30.0, 0.0) == 30.0


def test_a_warning_says_when_frames_are_not_sampled() -> None:
    assert unsampled_warning(30.0, 12.0) is None
    assert unsampled_warning(30.0, 0.0) is None
    assert unsampled_warning(None, 0.0) is None
    assert unsampled_warning(None, 12.5) == (
        "its frame rate is unknown, so all frames were used, not 12.5 per second"
    )
