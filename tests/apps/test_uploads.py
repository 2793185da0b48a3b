"""Uploads: what is accepted, what is refused with which message, and that nothing stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hidden_two_stream.apps.names import disk_name, file_title
from hidden_two_stream.apps.probing import length_text, video_seconds

from .conftest import ADDRESS, send


def temporary_files(application: Starlette) -> list[Path]:
    return [path for path in application.state.app.folder.rglob("*") if path.is_file()]


def test_a_video_is_accepted_whatever_its_name(client: TestClient, videos: Path) -> None:
    found = send(client, videos / "left-0.mp4", "holiday.txt")
    assert found["name"] == "holiday.txt"
    assert (found["width"], found["height"]) == (48, 48)
    assert found["seconds"] == pytest.approx(1.2, abs=1e-3)
    assert found["bytes"] == (videos / "left-0.mp4").stat().st_size
    content = client.get(f"/api/videos/{found['id']}/file")
    assert content.content == (videos / "left-0.mp4").read_bytes()
    part = client.get(f"/api/videos/{found['id']}/file", headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    thumbnail = client.get(f"/api/videos/{found['id']}/thumbnail")
    assert thumbnail.content.startswith(b"\x89PNG")
    assert thumbnail.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"These are notes.\n" * 100, "cannot read video 'notes.txt': it is not a video"),
        ("notes.mp4", b"These are notes.\n" * 100, "cannot read video 'notes.mp4': it is not a video"),
        ("empty.mp4", b"", "cannot read video 'empty.mp4': the file is empty (0 bytes)"),
        ("noise.webm", np.random.default_rng(0).bytes(5000), "cannot read video 'noise.webm'"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "cannot read video 'list.m3u8'"),
        ("../../etc/passwd", b"x", "cannot read video 'passwd'"),
        ("C:\\films\\a.mp4", b"x", "cannot read video 'a.mp4'"),
        ("", b"x", "cannot read video 'video'"),
    ],
)
def test_other_files_are_refused(
    application: Callable[..., Starlette], name: str, content: bytes, message: str
) -> None:
    server = application()
    with TestClient(server, base_url=ADDRESS) as client:
        answer = client.post("/api/videos", params={"name": name}, content=content)
        assert answer.status_code == 400
        assert message in answer.json()["error"]
        assert "hts-app-" not in answer.json()["error"]  # the place on disk is nobody's business
        assert temporary_files(server) == []
        assert client.get("/api/state").json()["videos"] == []


def test_an_upload_that_is_too_large_is_refused_by_its_declared_length(
    application: Callable[..., Starlette],
) -> None:
    server = application(max_upload_mb=0.01)

    with TestClient(server, base_url=ADDRESS) as client:
        answer = client.post("/api/videos?name=long.mp4", content=b"x" * 10_001)
        assert answer.status_code == 413
        assert "'long.mp4' is larger than 0.01 MB" in answer.json()["error"]
        assert temporary_files(server) == []


def test_an_upload_that_grows_too_large_is_refused_while_it_arrives(
    application: Callable[..., Starlette],
) -> None:
    server = application(max_upload_mb=0.01)
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x" * 1000

    with TestClient(server, base_url=ADDRESS) as client:
        answer = client.post("/api/videos?name=long.mp4", content=chunks())
        assert answer.status_code == 413
        assert "larger than 0.01 MB" in answer.json()["error"]
        assert temporary_files(server) == []


def test_all_videos_together_have_a_limit(application: Callable[..., Starlette], videos: Path) -> None:
    size = (videos / "left-0.mp4").stat().st_size / 1e6
    with TestClient(
        application(max_upload_mb=1.5 * size, max_stored_mb=1.5 * size), base_url=ADDRESS
    ) as client:
        first = send(client, videos / "left-0.mp4")
        content = (videos / "left-0.mp4").read_bytes()
        answer = client.post("/api/videos?name=two.mp4", content=content)
        assert answer.status_code == 413
        assert "no room for 'two.mp4'" in answer.json()["error"]
        assert client.delete(f"/api/videos/{first['id']}").status_code == 200
        send(client, videos / "left-0.mp4")


def test_a_video_that_is_too_long_is_refused(application: Callable[..., Starlette], videos: Path) -> None:
    with TestClient(application(max_minutes=0.01), base_url=ADDRESS) as client:
        answer = client.post("/api/videos?name=a.mp4", content=(videos / "left-0.mp4").read_bytes())
        assert answer.status_code == 400
        assert "'a.mp4': it is 1.2 s long; expected at most 0.6 s" in answer.json()["error"]
        assert "--max-minutes" in answer.json()["error"]


def write_slow_video(path: Path, seconds: int, frames: int) -> None:
    """A real video that lasts hours and has few frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 1000 * seconds * number // (frames - 1), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_two_hours_are_refused(client: TestClient, tmp_path: Path, suffix: str) -> None:
    write_slow_video(tmp_path / f"long{suffix}", 7200, 73)
    answer = client.post("/api/videos?name=film.mp4", content=(tmp_path / f"long{suffix}").read_bytes())
    assert answer.status_code == 400
    assert "'film.mp4': it is 2 h long; expected at most 20 min" in answer.json()["error"]


def test_the_length_is_that_of_the_packets(tmp_path: Path) -> None:
    """A stream of MPEG packets has no header that tells its length."""
    path = tmp_path / "a.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(100):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8))))
        container.mux(stream.encode(None))
    assert video_seconds(str(path), 25.0, 100.0) == pytest.approx(4.0, abs=0.05)
    assert video_seconds(str(path), 25.0, 1.0) > 1.0


def test_closing_deletes_everything(application: Callable[..., Starlette], videos: Path) -> None:
    server = application()
    with TestClient(server, base_url=ADDRESS) as client:
        send(client, videos / "left-0.mp4")
        assert temporary_files(server)
    assert not server.state.app.folder.exists()


def test_a_removed_video_is_gone(application: Callable[..., Starlette], videos: Path) -> None:
    server = application()
    with TestClient(server, base_url=ADDRESS) as client:
        name = send(client, videos / "left-0.mp4")["id"]
        assert client.delete(f"/api/videos/{name}").status_code == 200
        assert temporary_files(server) == []
        for answer in (client.get(f"/api/videos/{name}/file"), client.delete(f"/api/videos/{name}")):
            assert answer.status_code == 404
            assert "no such video" in answer.json()["error"]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("a.mp4", "a.mp4"),
        ("/tmp/x/a.mp4", "a.mp4"),
        ("..", ".."),
        ("a\x1b[31mb\n.mp4", "a\\x1b[31mb\\n.mp4"),
        ("e\u0301.mp4", "é.mp4"),
        ("", "video"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert file_title(name) == title


def test_a_long_title_keeps_its_end() -> None:
    title = file_title("x" * 500 + ".mp4")
    assert len(title) == 100
    assert title.endswith(".mp4")


@pytest.mark.parametrize("text", ["..", "con", "a/b\\c", "  ", "x" * 400, "😀", ".hidden", "ä" * 300])
def test_names_on_disk_are_plain(tmp_path: Path, text: str) -> None:
    name = disk_name(text, "video")
    assert name not in ("", ".", "..")
    assert not name.startswith(".")
    assert "/" not in name
    assert "\\" not in name
    (tmp_path / name).mkdir()
    shutil.rmtree(tmp_path / name)


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.2, "1.2 s"), (90, "90 s"), (1200, "20 min"), (7200, "2 h"), (7500, "2 h 5 min")]
)
def test_length_text(seconds: float, text: str) -> None:
    assert length_text(seconds) == text
