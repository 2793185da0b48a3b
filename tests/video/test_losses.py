"""What files lose without an error. The recordings are written here, and damaged where the test says."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.errors import VideoError
from hidden_two_stream.video.finding import VIDEO_SUFFIXES
from hidden_two_stream.video.reader import probe, read_video

from .recordings import moving_scene, packet_places, write_recording, zero_packets

CODECS = {
    "mpeg4": "yuv420p",
    "mjpeg": "yuvj420p",
    "msmpeg4": "yuv420p",
    "ffv1": "yuv420p",
    "rawvideo": "yuv420p",
    "mpeg2video": "yuv420p",
}
LOST = range(30, 38)
FRAMES = 80


def shuffled_index(path: Path, places: Sequence[int]) -> Path:
    """Let the index of an AVI point into the wrong places."""
    data = bytearray(path.read_bytes())
    start = data.rfind(b"idx1") + 8
    for number, place in enumerate(places):
        data[start + 16 * number + 8 : start + 16 * number + 12] = struct.pack("<I", place)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_zeroed_packets_are_noticed(tmp_path: Path, codec: str, suffix: str) -> None:
    path = write_recording(tmp_path / f"a.{suffix}", moving_scene(FRAMES), codec, CODECS[codec])
    whole, info = read_video(path)
    assert (len(whole), info.warning) == (FRAMES, None)
    zero_packets(path, LOST, header=8)  # raw video may hold zeros, but not the header of a packet
    clip, info = read_video(path)
    assert len(clip) < FRAMES
    assert info.warning
    assert info == probe(path)
    np.testing.assert_array_equal(clip[:20], whole[:20])


def test_frames_that_the_index_lists_are_counted(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.avi", moving_scene(FRAMES), "msmpeg4", "yuv420p")
    info = probe(zero_packets(path, LOST, header=8))
    assert info.num_frames == FRAMES - len(LOST)
    assert info.warning == "it announces 80 frames, but 8 frames could not be found"


def test_packets_without_a_frame_are_counted(tmp_path: Path) -> None:
    """An MP4 has its index elsewhere, so all packets are found; the decoder skips bad ones in silence."""
    path = write_recording(tmp_path / "a.mp4", moving_scene(FRAMES), "mpeg2video")
    info = probe(zero_packets(path, LOST))
    assert info.num_frames == FRAMES - len(LOST)
    assert info.warning == "8 frames of 80 could not be decoded"


def test_damage_is_not_called_a_lack_of_permission(tmp_path: Path) -> None:
    """The decoder of Microsoft's MPEG-4 returns -1, which is also the system's number for that."""
    path = write_recording(tmp_path / "a.avi", moving_scene(FRAMES), "msmpeg4")
    assert probe(zero_packets(path, LOST)).warning == "decoding stopped after 30 frames: damaged data"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_an_index_that_points_anywhere_is_noticed(tmp_path: Path, codec: str, seed: int) -> None:
    path = write_recording(tmp_path / "a.avi", moving_scene(16), codec, CODECS[codec])
    places = np.random.default_rng(seed).integers(0, path.stat().st_size, 16).tolist()
    try:
        info = probe(shuffled_index(path, places))
    except VideoError:
        return
    assert (info.num_frames == 16) == (info.warning is None)


def test_dropped_frames_of_an_avi_are_no_losses(tmp_path: Path) -> None:
    """A recorder that skips frames writes empty chunks for them, which the header counts."""
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=25)
        assert isinstance(track, av.VideoStream)
        track.height, track.width, track.pix_fmt = 48, 64, "yuv420p"
        for number, image in enumerate(moving_scene(40)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number + 10 * (number > 20)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 50
    assert (probe(path).num_frames, probe(path).warning) == (40, None)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "warning"),
    [
        ("a.mkv", "ffv1", "yuv420p", "its header announces 3.20 s, but its frames end at"),
        ("a.webm", "libvpx", "yuv420p", "its header announces 3.20 s, but its frames end at"),
        ("a.mp4", "libx264", "yuv420p", "decoding stopped after"),
        ("a.avi", "msmpeg4", "yuv420p", "stopped after|could not be found"),
        ("a.gif", "gif", "rgb8", "its end is missing"),
    ],
)
def test_files_that_were_cut_off_say_so(
    tmp_path: Path, name: str, codec: str, pixels: str, warning: str
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    start_first = {"movflags": "faststart"} if name.endswith("mp4") else None
    path = write_recording(tmp_path / name, moving_scene(FRAMES), codec, pixels, container=start_first)
    assert probe(path).warning is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    info = probe(path)
    assert info.num_frames < FRAMES
    assert info.warning is not None
    assert any(part in info.warning for part in warning.split("|"))


def test_a_gap_in_a_regular_recording_is_noticed(tmp_path: Path) -> None:
    """Matroska lists no frames: only the times tell that some are missing."""
    path = write_recording(tmp_path / "a.mkv", moving_scene(FRAMES), "rawvideo")
    places = packet_places(path)
    data = path.read_bytes()
    first, last = places[30][0], places[38][0]
    path.write_bytes(data[:first] + bytes(last - first) + data[last:])
    info = probe(path)
    assert info.num_frames < FRAMES
    assert "no frames from 1.16 to" in str(info.warning)


def test_ordinary_recordings_cause_no_warning(data_root: Path) -> None:
    """All videos at hand but those that are known to be damaged or to have unusable times."""
    damaged = {"v_ApplyEyeMakeup_g01_c01.avi", "bit_rot.avi", "corrupted.mp4"}
    no_video = {"AudioVideoInterleave.avi", "empty.avi", "not_a_video.avi", "truncated_half.mp4"}
    checked = 0
    for folder in ("clips", "odd", "weizmann4", "thermal_vfr", "thermal_untrimmed", "formats"):
        for path in sorted((data_root / folder).rglob("*")):
            if path.suffix.lower() in VIDEO_SUFFIXES and path.name not in damaged | no_video:
                assert probe(path).warning is None, path
                checked += 1
    assert checked > 60
