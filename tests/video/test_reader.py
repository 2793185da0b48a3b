"""The reference in these tests is PyAV's plain loop over all frames, or pixels that were generated here."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Container, Iterable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.types import Frame
from hidden_two_stream.video.finding import is_frame_folder
from hidden_two_stream.video.reader import VideoReader, probe, read_video
from hidden_two_stream.video.writer import write_video

Clip = npt.NDArray[np.uint8]

# Frames that decode, by the data's own description and by counting with FFmpeg.
FRAMES = {
    "odd/-video-with-dash-.mp4": 5,
    "odd/av1_video.mkv": 125,
    "odd/bikes.mp4": 250,
    "odd/bit_rot.avi": 10,
    "odd/carphone_pristine.mp4": 120,
    "odd/corrupted.mp4": 28,
    "odd/frames_01.avi": 1,
    "odd/frames_10.avi": 10,
    "odd/frames_11.avi": 11,
    "odd/h264_10bits.mp4": 30,
    "odd/newtonscradle.gif": 36,
    "odd/no_duration.webm": 74,
    "odd/odd_dims_171x127_yuv444p.mp4": 16,
    "odd/tiny_16x16.mp4": 16,
    "odd/vfr.mp4": 16,
    "odd/video_0.mov": 3,
    "odd/vidéo тест 動画 clip (1).avi": 107,
    "odd/webm.webm": 1,
    "clips/flipping_a_pancake.mkv": 310,
    "clips/mmaction2_demo_armwrestling.mp4": 280,
    "clips/mmaction2_demo_skeleton.mp4": 72,
    "clips/person01_walking_d1_uncomp.avi": 555,
    "clips/sam2_05_default_juggle.mp4": 247,
    "clips/v_ApplyEyeMakeup_g01_c01.avi": 164,
    "clips/v_BaseballPitch_g01_c01.avi": 107,
}
GOP = "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-pyramid=normal"
CODINGS = {
    "closed.mp4": ("libx264", {"x264-params": GOP}),
    "open.mkv": ("libx264", {"x264-params": f"{GOP}:open-gop=1"}),
    "refresh.mp4": ("libx264", {"x264-params": "keyint=12:intra-refresh=1"}),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=12:min-keyint=12:bframes=3:log-level=none:open-gop=1"}),
    "altref.webm": ("libvpx", {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp9.webm": ("libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "bframes.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "stream.ts": ("libx264", {"x264-params": GOP}),
}


@pytest.fixture(scope="session")
def scene() -> Clip:
    """A view that moves over coarse noise: every frame differs from every other."""
    texture = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([texture[i : i + 48, 2 * i : 2 * i + 64] for i in range(120)])


def encode(
    path: Path | io.BytesIO,
    clip: Clip,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    *,
    pixels: str = "yuv420p",
    container_format: str | None = None,
    title: str = "",
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    target = str(path) if isinstance(path, Path) else path
    with av.open(target, "w", format=container_format) as container:
        track = container.add_stream(codec, rate=25, options=options or {})
        assert isinstance(track, av.VideoStream)
        track.height, track.width = clip.shape[1:3]
        track.pix_fmt = pixels
        container.metadata["title"] = title
        for image in clip:
            container.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(track.encode())


def encoded(path: Path, clip: Clip, *args: Any, **kwargs: Any) -> Path:
    encode(path, clip, *args, **kwargs)
    return path


def decode_plainly(path: Path, wanted: Container[int] = range(10**6)) -> list[Clip]:
    """Decode all frames, and return the images of the wanted ones."""
    images = []
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        try:
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    images.append(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
        except av.FFmpegError:
            pass
    return images


def damage(path: Path, first: float, last: float) -> None:
    """Overwrite a part of a file, given in fractions of its size."""
    data = bytearray(path.read_bytes())
    begin, end = int(first * len(data)), int(last * len(data))
    data[begin:end] = np.random.default_rng(1).integers(0, 256, end - begin, np.uint8).tobytes()
    path.write_bytes(data)


IMAGE_CODECS = {
    "png": ("png", "rgb24"),
    "bmp": ("bmp", "bgr24"),
    "ppm": ("ppm", "rgb24"),
    "jpg": ("mjpeg", "yuvj444p"),
}


def write_images(folder: Path, clip: Clip, suffix: str = "png") -> Path:
    folder.mkdir()
    codec, pixels = IMAGE_CODECS[suffix]
    for number in range(len(clip)):
        image = io.BytesIO()
        encode(image, clip[number : number + 1], codec, pixels=pixels, container_format="image2pipe")
        (folder / f"frame_{number}.{suffix}").write_bytes(image.getvalue())
    return folder


def same(found: Iterable[Clip | Frame], expected: list[Clip]) -> bool:
    images = [item.image if isinstance(item, Frame) else item for item in found]
    return len(images) == len(expected) and all(map(np.array_equal, images, expected))


# ---------------------------------------------------------------- real recordings


@pytest.mark.parametrize("name", FRAMES)
def test_every_part_of_a_recording_equals_that_part_of_a_full_decode(data_root: Path, name: str) -> None:
    path, count = data_root / name, FRAMES[name]
    middle = count // 2
    is_small = path.stat().st_size < 350_000
    kept = range(count + 1) if is_small else [0, *range(middle, middle + 5), count - 1]
    reference = dict(zip(kept, decode_plainly(path, kept), strict=False))
    assert count - 1 in reference
    assert count not in reference
    with VideoReader(path) as reader:
        assert reader.size == reference[0].shape[:2]
        part = [reference[i] for i in range(middle, min(middle + 5, count))]
        assert same(reader.frames(middle, middle + 5), part)
        indices = [count - 1, 0, middle, count - 1]
        assert same(reader.read(indices), [reference[i] for i in indices])
        assert reader.count_frames() == count
        assert same(reader.frames(count, count + 9), [])
    if is_small:
        with VideoReader(path) as reader:
            assert same(reader.frames(), list(reference.values()))
            assert same(reader.frames(count - 1), [reference[count - 1]])


@pytest.mark.parametrize(("name", "frames"), [("odd/corrupted.mp4", 28), ("odd/bit_rot.avi", 10)])
def test_a_video_that_breaks_off_keeps_its_good_frames_and_says_so(
    data_root: Path, name: str, frames: int
) -> None:
    infos = [probe(data_root / name) for _ in range(3)]
    assert infos[0] == infos[1] == infos[2]
    assert infos[0].num_frames == frames
    assert f"stopped after {frames} frames: damaged data" in str(infos[0].warning)
    clip, info = read_video(data_root / name)
    assert (len(clip), info) == (frames, infos[0])
    with VideoReader(data_root / name) as reader, pytest.raises(VideoError, match=f"has {frames} frames"):
        reader.read([0, 40])
    assert read_video(data_root / name, 3)[1].num_frames == 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.avi", r"the file is empty \(0 bytes\)"),
        ("not_a_video.avi", "it is not a video, or its beginning is damaged"),
        ("truncated_half.mp4", "it is not a video, or its beginning is damaged"),
        ("audio_only.mp3", "it holds sound and no video"),
        ("AudioVideoInterleave.avi", "it has a video track, but no frame in it"),
    ],
)
def test_files_without_frames_are_refused_in_one_line_without_other_output(
    data_root: Path, name: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = data_root / "odd" / name
    for read in (VideoReader, probe, read_video):
        with pytest.raises(VideoError, match=f"^cannot read video .*: {reason}$") as caught:
            read(path)
        assert caught.value.source == str(path)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_damaged_videos_print_nothing(data_root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("corrupted.mp4", "bit_rot.avi"):
        probe(data_root / "odd" / name)
    assert capfd.readouterr() == ("", "")


def test_rates_come_from_the_file_and_are_none_where_unknown(data_root: Path) -> None:
    rates = {name: probe(data_root / "odd" / name).fps for name in ("bikes.mp4", "vfr.mp4", "webm.webm")}
    assert rates == {"bikes.mp4": 25.0, "vfr.mp4": pytest.approx(400 / 63), "webm.webm": None}


def test_rotation_in_metadata_puts_the_real_scene_upright(data_root: Path) -> None:
    upright = read_video(data_root / "odd/video_0.mov")[0][0].mean(-1)
    clip, info = read_video(data_root / "odd/video_90.mov")
    turned = clip[0].mean(-1)
    assert clip.shape[1:3] == (info.height, info.width) == (568, 320)

    def best_match(image: npt.NDArray[np.float64]) -> float:
        """Best correlation, over all places, with the key labeled K that both recordings show."""
        key = upright[60:140:4, 370:440:4]
        key = (key - key.mean()) / key.std() / key.size
        windows = np.lib.stride_tricks.sliding_window_view(image[::4, ::4], key.shape)
        spread = windows.std((-2, -1)) + 1e-3
        return float((np.einsum("ijkl,kl->ij", windows, key) / spread).max())

    scores = [best_match(np.rot90(turned, turns)) for turns in range(4)]
    assert scores[0] == max(scores), scores


# ---------------------------------------------------------------- generated recordings


@pytest.mark.parametrize("name", CODINGS)
def test_parts_equal_the_full_decode_for_every_way_of_coding(tmp_path: Path, scene: Clip, name: str) -> None:
    path = encoded(tmp_path / name, scene, *CODINGS[name])
    reference = decode_plainly(path)
    assert len(reference) == len(scene)
    for start in (1, 33, 47, 48, 49, 71, 95, 96, 97, 117):
        with VideoReader(path) as reader:
            assert same(reader.frames(start, start + 4), reference[start : start + 4]), start
    indices = [118, 3, 60, 3, 100, 35, 61]
    with VideoReader(path) as reader:
        assert same(reader.read(indices), [reference[i] for i in indices])
        assert same(reader.frames(90), reference[90:])
        assert reader.count_frames() == len(scene)


def test_a_late_part_is_read_without_decoding_the_part_before(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.mp4", scene, "libx264", {"x264-params": "keyint=12:scenecut=0"})
    reference = decode_plainly(path)
    damage(path, 0.3, 0.5)
    with VideoReader(path) as reader:
        assert same(reader.read([100]), [reference[100]])  # a decode from the start would not get there
        assert reader.warning is None
        count = reader.count_frames()
        assert 12 < count < 72
        assert f"stopped after {count} frames" in str(reader.warning)
        with pytest.raises(VideoError, match=rf"frame 100 .* it has {count} frames \(decoding stopped"):
            reader.read([100])


def test_frames_after_damage_are_never_returned(tmp_path: Path, scene: Clip) -> None:
    # One keyframe: whatever follows the damage builds on it, and FFmpeg would conceal it and go on.
    path = encoded(tmp_path / "a.avi", scene, "mpeg4", {"g": "300"})
    reference = decode_plainly(path)
    damage(path, 0.5, 0.52)
    clip, info = read_video(path)
    assert 10 < len(clip) < 100
    assert same(clip, reference[: len(clip)])
    assert info.warning
    assert probe(path) == info


def test_a_moved_index_or_a_wrong_keyframe_flag_does_not_change_pixels(tmp_path: Path, scene: Clip) -> None:
    # Every packet claims to be a keyframe; only the first is one.
    source = encoded(tmp_path / "a.mkv", scene, "libx264", {"x264-params": "keyint=300:scenecut=0"})
    lying = tmp_path / "b.mkv"
    with av.open(str(source)) as old, av.open(str(lying), "w") as new:
        track = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream, packet.is_keyframe = track, True
                new.mux(packet)
    with VideoReader(lying) as reader:
        assert same(reader.frames(80, 84), decode_plainly(source)[80:84])


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_rotation_in_metadata_is_applied(tmp_path: Path, scene: Clip, degrees: int, turns: int) -> None:
    plain = encoded(tmp_path / "a.mp4", scene[:3])
    rotated = tmp_path / "b.mp4"
    with av.open(str(plain)) as old, av.open(str(rotated), "w") as new:
        track = new.add_stream_from_template(old.streams.video[0])
        track.set_display_rotation(degrees)
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = track
                new.mux(packet)
    expected = [np.rot90(image, turns) for image in decode_plainly(plain)]
    assert same(read_video(rotated)[0], expected)
    with VideoReader(rotated) as reader:
        assert reader.size == expected[0].shape[:2]


def test_a_later_frame_of_another_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    # MPEG transport streams may be joined end to end.
    first = encoded(tmp_path / "a.ts", np.full((12, 48, 64, 3), 60, np.uint8), "mpeg2video")
    second = encoded(tmp_path / "b.ts", np.full((12, 96, 80, 3), 200, np.uint8), "mpeg2video")
    joined = tmp_path / "c.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    sizes = {image.shape for image in decode_plainly(joined)}
    assert len(sizes) == 2, "the recording must change its size"
    clip, _ = read_video(joined)
    assert clip.shape == (len(decode_plainly(joined)), 48, 64, 3)
    assert abs(int(clip[0].mean()) - 60) < 4
    assert abs(int(clip[-1].mean()) - 200) < 4


def test_names_that_look_like_something_else(
    tmp_path: Path, scene: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(tmp_path / "plain.mp4", scene[:4])
    monkeypatch.chdir(tmp_path)
    names = ["-i.mp4", "%03d.mp4", "тест 動画.mp4"] + ([] if os.name == "nt" else ["http:a.mp4", "a?b|c.mp4"])
    for name in names:
        Path(name).write_bytes(Path("plain.mp4").read_bytes())
        assert probe(name) == probe("plain.mp4") == probe(Path(name).resolve())


def test_metadata_in_an_unknown_encoding_is_no_obstacle(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.mkv", scene[:4], title="TITLE")
    data = path.read_bytes()
    assert b"TITLE" in data
    path.write_bytes(data.replace(b"TITLE", b"T\xefT\xffE"))
    assert probe(path).num_frames == 4


def test_an_unknown_codec_is_named_as_the_reason(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.avi", scene[:4], "mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ"))
    with pytest.raises(VideoError, match="no decoder for its codec"):
        probe(path)


def test_a_url_is_read_like_a_file(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.mp4", scene[:50])

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        with VideoReader(f"{address}/a.mp4") as reader:
            assert same(reader.frames(40, 44), decode_plainly(path)[40:44])
            assert reader.count_frames() == 50
        with pytest.raises(VideoError, match="404"):
            probe(f"{address}/missing.mp4")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---------------------------------------------------------------- all kinds of sources


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm"])
def test_an_array_and_a_folder_of_its_frames_give_the_same(tmp_path: Path, scene: Clip, suffix: str) -> None:
    clip = scene[:12]  # frame_10 and frame_11 follow frame_9
    folder = write_images(tmp_path / "frames %d", clip, suffix)
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no frame")
    for source in (clip, folder, str(folder)):
        with VideoReader(source) as reader:
            assert (reader.fps, reader.size, reader.warning) == (None, (48, 64), None)
            assert reader.count_frames() == 12
            assert same(reader.frames(), list(clip))
            assert same(reader.frames(9, 99), list(clip[9:]))
            assert [frame.pts_seconds for frame in reader.frames(9, 99)] == [0.36, 0.4, 0.44]
            assert same(reader.read([11, 2, 2]), [clip[11], clip[2], clip[2]])
            with pytest.raises(VideoError, match="frame 12 was requested, but it has 12 frames"):
                reader.read([3, 12])
        found, info = read_video(source)
        assert np.array_equal(found, clip)
        assert info == probe(source)


@pytest.mark.parametrize("head", [b"P6\n64 48\n255\n", b"P6 64 48 255\n", b"P6 \n# a\n64 48 \n255\n"])
def test_netpbm_images_are_read_however_their_head_is_written(
    tmp_path: Path, scene: Clip, head: bytes
) -> None:
    (tmp_path / "1.ppm").write_bytes(head + scene[0].tobytes())
    assert same(read_video(tmp_path)[0], [scene[0]])


def test_a_folder_of_real_netpbm_images_is_read(data_root: Path) -> None:
    folder = data_root / "flow" / "flyingchairs"
    clip, info = read_video(folder)
    assert clip.shape == (8, 384, 512, 3)
    first = (folder / "0000000-img0.ppm").read_bytes()[-384 * 512 * 3 :]
    assert clip[0].tobytes() == first
    assert info.warning is None


def test_jpeg_frames_are_close_to_what_was_written(tmp_path: Path, scene: Clip) -> None:
    found, info = read_video(write_images(tmp_path / "frames", scene[:3], "jpg"))
    assert info.warning is None
    assert np.abs(found.astype(int) - scene[:3]).mean() < 6  # 80 for another frame


def test_flow_images_beside_the_frames_are_not_frames(tmp_path: Path, scene: Clip) -> None:
    """TSN's layout of a video is img_00001.jpg, flow_x_00001.jpg, flow_y_00001.jpg."""
    folder = write_images(tmp_path / "video", scene[:3])
    for number, image in enumerate(sorted(folder.iterdir()), start=1):
        for axis in "xy":
            shutil.copy(image, folder / f"flow_{axis}_{number:05d}.png")
    assert is_frame_folder(folder)
    with VideoReader(folder) as reader:
        found = np.stack([frame.image for frame in reader.frames()])
    np.testing.assert_array_equal(found, scene[:3])


@pytest.mark.parametrize("suffix", ["png", "jpg", "ppm"])
def test_a_folder_ends_at_a_damaged_image(tmp_path: Path, scene: Clip, suffix: str) -> None:
    folder = write_images(tmp_path / "frames", scene[:5], suffix)
    broken = folder / f"frame_3.{suffix}"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    clip, info = read_video(folder)
    assert len(clip) == 3
    assert info == probe(folder)
    assert re.search(rf"stopped after 3 frames: frame_3\.{suffix}: damaged", str(info.warning))
    (folder / f"frame_0.{suffix}").write_bytes(b"")
    with pytest.raises(VideoError, match=rf"frame_0\.{suffix}"):
        probe(folder)


def test_images_of_other_sizes_are_scaled_to_the_first(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a", np.full((2, 20, 30, 3), 50, np.uint8))
    large = write_images(tmp_path / "b", np.full((1, 44, 52, 3), 150, np.uint8))
    (large / "frame_0.png").rename(folder / "frame_1.png")
    clip, _ = read_video(folder)
    assert clip.shape == (2, 20, 30, 3)
    assert [np.unique(image).tolist() for image in clip] == [[50], [150]]


def test_images_may_be_written_to_and_are_contiguous(tmp_path: Path, scene: Clip) -> None:
    for source in (write_images(tmp_path / "a", scene[:2]), encoded(tmp_path / "a.mp4", scene[:2])):
        for frame in VideoReader(source).frames():
            assert frame.image.dtype == np.uint8
            assert frame.image.flags["C_CONTIGUOUS"]
            assert frame.image.flags["WRITEABLE"]


def test_max_frames_limits_what_is_read(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.mp4", scene[:9])
    for source in (path, scene[:9]):
        assert [len(read_video(source, n)[0]) for n in (1, 8, 9, 10)] == [1, 8, 9, 9]
        with pytest.raises(UsageError, match="max_frames is 0"):
            read_video(source, 0)


# ---------------------------------------------------------------- misuse


def test_a_missing_path_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    for source in (tmp_path / "nope.mp4", str(tmp_path / "no" / "where"), ""):
        with pytest.raises(UsageError, match=r"nothing found at .*check the path") as caught:
            VideoReader(source)
        assert str(source) in str(caught.value)


@pytest.mark.parametrize("source", [3, b"a.mp4", None, [1, 2]])
def test_other_types_are_usage_errors(source: object) -> None:
    with pytest.raises(UsageError, match=type(source).__name__):
        VideoReader(source)  # type: ignore[arg-type]


def test_arrays_of_another_shape_or_dtype_are_usage_errors(scene: Clip) -> None:
    for clip in (scene[0], scene[:0], scene[:2].astype(np.float32)):
        with pytest.raises(UsageError):
            VideoReader(clip)


def test_a_folder_without_frames_is_refused(tmp_path: Path, scene: Clip) -> None:
    with pytest.raises(VideoError, match=r"neither frame images .* nor videos"):
        VideoReader(tmp_path)
    write_images(tmp_path / "frames", scene[:1])
    (tmp_path / "frames" / "a.mp4").touch()
    with pytest.raises(VideoError, match="holds videos"):
        VideoReader(tmp_path / "frames")


def test_permission_denied_is_the_reason_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")

    def refuse(*args: object, **kwargs: object) -> None:
        raise av.error.PermissionError(13, "Permission denied", str(path))

    # Not chmod: an administrator's tests would read the file all the same.
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(VideoError, match=r"permission denied$"):
        probe(path)


def test_ranges_and_indices_are_checked_before_decoding(scene: Clip) -> None:
    with VideoReader(scene) as reader:
        for start, stop in ((-1, None), (0, -1), (5, 4)):
            with pytest.raises(UsageError, match="expected 0 <= start <= stop"):
                reader.frames(start, stop)
        with pytest.raises(UsageError, match="frame -1"):
            reader.read([0, -1])
        assert reader.read([]).shape == (0, 48, 64, 3)
        assert list(reader.frames(4, 4)) == []


def test_a_closed_reader_ends_its_iterators_and_says_that_it_is_closed(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.mp4", scene)
    reader = VideoReader(path)
    running = reader.frames()
    next(running)
    reader.close()
    assert list(running) == []
    for use in (reader.frames, reader.count_frames, lambda: reader.read([0])):
        with pytest.raises(UsageError, match="closed"):
            use()
    path.unlink()  # Windows refuses this for a file that is still open


def test_two_passes_at_a_time_do_not_disturb_each_other(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.mp4", scene, "libx264", {"x264-params": GOP})
    reference = decode_plainly(path)
    with VideoReader(path) as reader:
        pairs = list(zip(reader.frames(0, 60), reader.frames(60), strict=True))
    assert same([a for a, _ in pairs], reference[:60])
    assert same([b for _, b in pairs], reference[60:])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files by way of /proc")
def test_no_file_stays_open(tmp_path: Path, scene: Clip) -> None:
    path = encoded(tmp_path / "a.mp4", scene, "libx264", {"x264-params": GOP})

    def open_files() -> int:
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return links.count(str(path))

    with VideoReader(path) as reader:
        running = reader.frames(100)
        next(running)
        reader.read([3, 80])
        next(reader.frames())
        assert open_files() > 0
    assert open_files() == 0
    unused = VideoReader(path)
    unused.close()
    assert open_files() == 0
    broken = tmp_path / "b.mp4"
    broken.write_bytes(path.read_bytes()[:400])
    with pytest.raises(VideoError):
        VideoReader(broken)
    assert open_files() == 0


def test_a_video_in_a_store_reads_as_a_file_does(scene: Clip, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", scene[:9])
    address = "memory://reading/clip.mp4"
    fsspec.filesystem("memory").pipe_file("/reading/clip.mp4", (tmp_path / "clip.mp4").read_bytes())
    expected, info = read_video(tmp_path / "clip.mp4")
    for source in (address, (tmp_path / "clip.mp4").as_uri()):
        clip, found = read_video(source)
        np.testing.assert_array_equal(clip, expected)
        assert found == info
    with VideoReader(address) as reader:
        copy = reader._copy
        assert copy is not None
        assert copy.path.exists()
        assert reader.expected_frames == 9  # as a file that can be sought in
    assert not copy.path.parent.exists()


def test_what_is_wrong_in_a_store_is_named(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/reading/bad.mp4", b"no video")
    fsspec.filesystem("memory").pipe_file("/reading/empty.mp4", b"")
    before = set(Path(tempfile.gettempdir()).glob("hts-*"))
    for name, message in (("bad", "it is not a video"), ("empty", "the file is empty")):
        with pytest.raises(VideoError, match=f"'memory://reading/{name}.mp4': {message}"):
            VideoReader(f"memory://reading/{name}.mp4")
    with pytest.raises(UsageError, match=r"nothing found at 'memory://reading/none\.mp4'"):
        VideoReader("memory://reading/none.mp4")
    with pytest.raises(UsageError, match="nothing found at"):
        VideoReader((tmp_path / "none.mp4").as_uri())
    assert set(Path(tempfile.gettempdir()).glob("hts-*")) <= before
