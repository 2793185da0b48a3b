"""Packed videos: read as the files they were, from untrusted indexes and damaged shards, near and far."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.packing import pack
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, StoreError, VideoError
from hidden_two_stream.video.finding import expand_sources
from hidden_two_stream.video.reader import VideoReader, read_video
from hidden_two_stream.video.shards import opening, storage
from hidden_two_stream.video.shards.addresses import INDEX_NAME, find_index, member_address, split_address
from hidden_two_stream.video.shards.index import open_pack
from hidden_two_stream.video.shards.storage import Window

from ..serving_parts import Server, serve_parts
from .recordings import moving_scene, write_recording

FRAMES = 40
FORMATS = {
    "h264.mp4": ("libx264", "yuv420p"),
    "h264.mkv": ("libx264", "yuv420p"),
    "mpeg4.avi": ("mpeg4", "yuv420p"),
    "h264.ts": ("libx264", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "anim.gif": ("gif", "rgb8"),
    "raw.h264": ("libx264", "yuv420p"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of many formats in two classes; one of them is cut off."""
    root = tmp_path_factory.mktemp("videos")
    for label in ("a", "b"):
        (root / label).mkdir()
    for name, (codec, pixels) in FORMATS.items():
        scene = moving_scene(FRAMES)
        is_gif = pixels == "rgb8"
        clip, source = (scene[..., 0], "rgb8") if is_gif else (scene, "rgb24")
        write_recording(root / "a" / name, clip, codec, pixels, source=source)
    content = (root / "a" / "h264.mkv").read_bytes()
    (root / "b" / "cut.mkv").write_bytes(content[: len(content) * 2 // 3])
    (root / "b" / "empty.mp4").touch()
    return root


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    pack(folder, out, 100_000, workers=0, quiet=True)
    return out


def address(packed: Path | str, name: str) -> str:
    return member_address(f"{packed}/{INDEX_NAME}", name)


def facts(source: str) -> tuple[Any, ...]:
    with VideoReader(source) as reader:
        frames = [(frame.index, frame.pts_seconds) for frame in reader.scan()]
        expected = reader.expected_frames
        return (
            reader.size,
            reader.fps,
            reader.is_timed,
            reader.warning,
            reader.times_repaired,
            expected,
            frames,
        )


# -- the same video --------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", [*(f"a/{name}" for name in FORMATS), "b/cut.mkv"])
def test_a_packed_video_reads_as_its_file(
    folder: Path, packed: Path, name: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:  # as a video that is too large to be read at once
        monkeypatch.setattr(opening, "WHOLE_BYTES", 0)
    file, shard = str(folder / name), address(packed, name)
    assert facts(shard) == facts(file)
    np.testing.assert_array_equal(read_video(shard)[0], read_video(file)[0])
    wanted = [1, FRAMES // 2] if name.startswith("b/") else [FRAMES - 1, 2, FRAMES - 3]
    with VideoReader(file) as one, VideoReader(shard) as other:
        np.testing.assert_array_equal(one.read(wanted), other.read(wanted))


def test_predict_finds_all_packed_videos(packed: Path) -> None:
    names = [*(f"a/{name}" for name in sorted(FORMATS)), "b/cut.mkv", "b/empty.mp4"]
    expected = [address(packed, name) for name in names]
    assert expand_sources([str(packed)]) == expand_sources([str(packed / INDEX_NAME)]) == expected
    assert expand_sources([expected[0]]) == expected[:1]


def test_a_video_that_was_not_readable_says_why(packed: Path) -> None:
    with pytest.raises(VideoError, match="the file is empty"):
        VideoReader(address(packed, "b/empty.mp4"))
    with pytest.raises(VideoError, match="lists no such video"):
        VideoReader(address(packed, "b/other.mp4"))


def test_addresses(packed: Path) -> None:
    index = str(packed / INDEX_NAME)
    assert split_address(f"{index}/a/b.mp4") == (index, "a/b.mp4")
    assert split_address("memory://x/shards.json/a.mp4") == ("memory://x/shards.json", "a.mp4")
    for other in ("a.mp4", f"{index}/", index, "other/shards.json/a.mp4", f"{packed}/my{INDEX_NAME}/a.mp4"):
        assert split_address(other) is None
    assert find_index(str(packed)) == find_index(index) == index
    assert find_index(str(packed.parent)) is None


def test_a_window_is_a_file_of_its_own() -> None:
    content = bytes(range(200))
    window = Window(io.BytesIO(content), 50, 100, "video.mp4", "a")
    plain = io.BytesIO(content[50:150])
    for offset, whence in ((0, 0), (90, 0), (-5, 2), (10, 1), (500, 0), (-100, 2), (3, 0)):
        assert window.seek(offset, whence) == plain.seek(offset, whence)
        assert window.read(20) == plain.read(20)
        assert window.tell() == plain.tell()
    assert window.read() == plain.read()
    with pytest.raises(ValueError, match="expected 0 or more"):
        window.seek(-1)
    file = io.BytesIO(content)
    Window(file, 0, 1, "", "").close()
    assert file.closed


# -- what nobody vouches for -----------------------------------------------------------------------


def write_pack(folder: Path, name: str, suffix: str, content: bytes) -> str:
    """A pack of one video whose bytes and names a stranger chose; return its address."""
    folder.mkdir(exist_ok=True)
    (folder / "shard-000000.tar").write_bytes(content)
    member = {
        "name": name, "shard": 0, "key": "0", "suffix": suffix, "offset": 0, "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(), "frames": 1, "fps": None, "height": 1, "width": 1,
        "unreadable": None,
    }  # fmt: skip
    index = {
        "format": "hidden-two-stream shards", "format_version": 1, "class_order": [], "samples": [],
        "shards": [{"name": "shard-000000.tar", "size": len(content)}], "members": [member],
    }  # fmt: skip
    (folder / INDEX_NAME).write_text(json.dumps(index))
    return address(folder, name)


@pytest.mark.parametrize("whole", [True, False])
def test_names_and_content_lead_to_no_other_file(
    tmp_path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:
        monkeypatch.setattr(opening, "WHOLE_BYTES", 0)
    secret = write_recording(tmp_path / "video.mp4", moving_scene(3))
    for suffix in ("png", "jpg", "idx"):
        (tmp_path / f"video.{suffix}").write_bytes(b"secret")
    monkeypatch.chdir(tmp_path)
    attempts = {
        "png": b"not an image",
        "jpg": b"%d",
        "idx": b"# VobSub index file, v7\nsize: 720x480\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "m3u8": f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
        "mp4": f"file '{secret}'\n".encode() * 50,
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 26\n",
    }
    for number, (suffix, content) in enumerate(attempts.items()):
        source = write_pack(tmp_path / f"pack-{number}", f"video.{suffix}", suffix, content)
        with pytest.raises(VideoError):
            VideoReader(source)
    for name in ("../video.mp4", "/etc/passwd", "a/../../video.mp4", "a\0b"):
        write_pack(tmp_path / "names", name, "mp4", b"x" * 100)
        with pytest.raises(DataError, match="member 0: name"):
            open_pack(str(tmp_path / "names" / INDEX_NAME))


Change = Callable[[dict[str, Any]], object]


def member(name: str, value: object) -> Change:
    return lambda index: index["members"][0].update({name: value})


def sample(name: str, value: object) -> Change:
    return lambda index: index["samples"][0].update({name: value})


def fact(name: str, value: object) -> Change:
    return lambda index: index["samples"][0]["facts"].update({name: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: index.update(format="other"), "format is not"),
        (lambda index: index.update(format_version=2), "format version 2"),
        (lambda index: index.pop("members"), "lacks 'members'"),
        (lambda index: index.update(members={}), "list of members"),
        (lambda index: index.update(samples=[1]), "sample 0: entry"),
        (lambda index: index.update(class_order=[1]), "class_order"),
        (lambda index: index["shards"][0].update(name="../shard-000000.tar"), "shard 0: name"),
        (lambda index: index["shards"][0].update(name="/etc/passwd"), "shard 0: name"),
        (lambda index: index["shards"][0].update(size=-1), "shard 0: size"),
        (lambda index: index["members"].append(index["members"][0]), "the same name"),
        (member("shard", 99), "member 0: shard"),
        (member("shard", -1), "member 0: shard"),
        (member("shard", True), "member 0: shard"),
        (member("offset", -1), "member 0: offset"),
        (member("offset", 1 << 40), "member 0: offset"),
        (member("offset", 1.5), "member 0: offset"),
        (member("size", 1 << 60), "member 0: size"),
        (member("size", -5), "member 0: size"),
        (member("frames", 1 << 50), "member 0: frames"),
        (member("frames", None), "member 0: frames"),
        (member("fps", float("nan")), "member 0: fps"),
        (member("fps", 0), "member 0: fps"),
        (member("height", 0), "member 0: height"),
        (member("sha256", "x"), "member 0: sha256"),
        (member("name", "../../a.mp4"), "member 0: name"),
        (member("name", ""), "member 0: name"),
        (sample("member", 10**6), "sample 0: member"),
        (sample("label", ""), "sample 0: label"),
        (sample("split", "other"), "sample 0: split"),
        (sample("start_seconds", -1), "sample 0: start_seconds"),
        (sample("end_seconds", 0), "sample 0: end_seconds"),
        (sample("columns", {"a": 1}), "sample 0: columns"),
        (sample("facts", None), "sample 0: facts"),
        (fact("num_frames", 10**9), "sample 0: num_frames"),
        (fact("first_frame", 10), "sample 0: first_frame"),
        (fact("digest", "0"), "sample 0: digest"),
        (fact("outline", "AAAA"), "sample 0: outline"),
        (fact("step", [0, 1]), "sample 0: step"),
        (fact("times", [1.0]), "sample 0: times"),
        (fact("times", [3.0] * FRAMES), "sample 0: times"),
    ],
)
def test_a_crafted_index_is_refused(packed: Path, tmp_path: Path, change: Change, reason: str) -> None:
    index = json.loads((packed / INDEX_NAME).read_text())
    assert index["samples"][0]["facts"]["num_frames"] == FRAMES
    change(index)
    (tmp_path / INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(DataError, match=reason) as caught:
        open_pack(str(tmp_path / INDEX_NAME))
    assert str(tmp_path / INDEX_NAME) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[1, 2]", b"{", b"[" * 100_000, b'{"a": 1' + b"0" * 999]
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INDEX_NAME).write_bytes(content)
    with pytest.raises(DataError, match="is not an index of shards, or is damaged"):
        read_dataset_index(tmp_path)


def test_an_index_that_changes_is_read_again(packed: Path, tmp_path: Path) -> None:
    path = tmp_path / INDEX_NAME
    index = json.loads((packed / INDEX_NAME).read_text())
    path.write_text(json.dumps(index))
    assert len(open_pack(str(path)).samples) == 9
    index["samples"].pop()
    path.write_text(json.dumps(index))
    assert len(open_pack(str(path)).samples) == 8


# -- damage ----------------------------------------------------------------------------------------


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_missing_or_truncated_shard_is_named(copy: Path) -> None:
    shard = copy / "shard-000000.tar"
    content = shard.read_bytes()
    for damaged, reason in (
        (content[:-1], "is truncated"),
        (content + b"x", "has changed"),
        (None, "is missing"),
    ):
        shard.unlink() if damaged is None else shard.write_bytes(damaged)
        for read in (read_dataset_index, lambda path: expand_sources([str(path)])):
            with pytest.raises(DataError, match=reason) as caught:
                read(copy)
            assert "shard-000000.tar" in str(caught.value)


def damage(packed: Path, name: str, at: float) -> None:
    """Change one byte of a packed video; `at` is its place, 0…1."""
    index = json.loads((packed / INDEX_NAME).read_text())
    (entry,) = (entry for entry in index["members"] if entry["name"] == name)
    shard = packed / index["shards"][entry["shard"]]["name"]
    content = bytearray(shard.read_bytes())
    content[entry["offset"] + int(at * (entry["size"] - 1))] ^= 0xFF
    shard.write_bytes(content)


@pytest.mark.parametrize("at", [0.0, 0.3, 0.7, 1.0])
def test_a_changed_byte_is_found(copy: Path, at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(copy, "a/h264.mp4", at)
    with pytest.raises(VideoError, match=r"its bytes in the shard .*shard-\d{6}\.tar' have changed"):
        VideoReader(address(copy, "a/h264.mp4"))
    with VideoReader(address(copy, "a/h264.mkv")):
        pass
    monkeypatch.setattr(opening, "WHOLE_BYTES", 0)
    with pytest.raises(VideoError, match="have changed since it was packed"):
        opening.require_intact(address(copy, "a/h264.mp4"))
    opening.require_intact(address(copy, "a/h264.mkv"))


def test_a_shard_that_is_cut_off_while_it_is_used(copy: Path) -> None:
    name = "a/raw.h264"
    pack_index = open_pack(str(copy / INDEX_NAME))
    found = pack_index.member(name)
    assert found is not None
    shard = Path(pack_index.shard_path(found.shard or 0))
    os.truncate(shard, found.offset + 100)
    with pytest.raises(VideoError, match="is truncated: 100 of"):
        VideoReader(address(copy, name))
    shard.unlink()
    with pytest.raises(VideoError, match="cannot be read: No such file"):
        VideoReader(address(copy, name))


# -- object stores and servers ---------------------------------------------------------------------


@pytest.fixture
def web(packed: Path) -> Iterator[str]:
    with serve_parts(packed) as url:
        yield url


@pytest.fixture
def memory(packed: Path) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    for path in packed.iterdir():
        system.pipe_file(f"/bucket/packed/{path.name}", path.read_bytes())
    yield "memory://bucket/packed"
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("place", ["memory", "web"])
def test_shards_are_read_from_afar(
    folder: Path, place: str, whole: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:
        monkeypatch.setattr(opening, "WHOLE_BYTES", 0)
    url = request.getfixturevalue(place)
    index = read_dataset_index(url)
    assert [s.path for s in index.samples] == expand_sources([f"{url}/{INDEX_NAME}"])
    assert read_dataset_index(f"{url}/{INDEX_NAME}").samples == index.samples
    for name in ("a/h264.mp4", "a/anim.gif"):
        np.testing.assert_array_equal(read_video(address(url, name))[0], read_video(str(folder / name))[0])


def test_one_request_fetches_one_small_video(web: str) -> None:
    source = address(web, "a/h264.mp4")
    found = opening.find_member(source)
    assert found is not None
    Server.asked.clear()
    read_video(source)
    assert Server.asked == [
        f"shard-{found[1].shard:06d}.tar bytes={found[1].offset}-{found[1].offset + found[1].size - 1}"
    ]


def test_a_store_that_fails_is_asked_again(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PAUSES_SECONDS", (0.0, 0.0))
    read_dataset_index(web)
    Server.failures = 2
    read_video(address(web, "a/h264.mp4"))
    Server.failures = 3
    with pytest.raises(StoreError, match="503"):
        VideoReader(address(web, "a/h264.mp4"))
    assert Server.failures == 0


def test_a_server_without_parts_is_refused(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "parts", False)
    monkeypatch.setattr(storage, "_PAUSES_SECONDS", ())
    with pytest.raises(StoreError, match="only whole files"):
        VideoReader(address(web, "a/h264.mp4"))


@pytest.mark.parametrize("place", ["memory", "web"])
def test_a_shard_that_is_missing_afar_is_named(
    place: str, request: pytest.FixtureRequest, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue(place)
    if place == "memory":
        fsspec.filesystem("memory").rm("/bucket/packed/shard-000000.tar")
    else:
        original = Server.translate_path
        monkeypatch.setattr(
            Server, "translate_path", lambda self, path: original(self, path.replace("000000", "999999"))
        )
    with pytest.raises(DataError, match=r"shard-000000\.tar' is missing"):
        read_dataset_index(url)


def test_what_is_not_there_afar_is_named(memory: str) -> None:
    with pytest.raises(HiddenTwoStreamError, match="nothing found at"):
        read_dataset_index("memory://bucket/other")


def test_sizes_of_indexes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hidden_two_stream.video.shards.index.MAX_INDEX_BYTES", 10)
    (tmp_path / INDEX_NAME).write_text("{" + " " * 20)
    with pytest.raises(DataError, match="more than 10 bytes"):
        open_pack(str(tmp_path / INDEX_NAME))
