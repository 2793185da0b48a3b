"""Files behind addresses: on this machine, in memory, and on a loopback web server with and without parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from hidden_two_stream import object_store
from hidden_two_stream.errors import MissingDependencyError, OutputError, StoreError, UsageError

CONTENT = bytes(range(256)) * 40


class WholeFiles(SimpleHTTPRequestHandler):
    """A server that sends only whole files."""

    def log_message(self, *_: Any) -> None:
        pass


class Parts(WholeFiles):
    """A server that also sends parts of files."""

    parts: list[str]

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        self.parts.append(wanted)
        start, _, stop = wanted.removeprefix("bytes=").partition("-")
        whole = path.read_bytes()
        part = whole[int(start) : int(stop or len(whole) - 1) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / "b.mp4").write_bytes(CONTENT)
    (tmp_path / "a.mp4").write_bytes(b"a")
    (tmp_path / "below" / "c.txt").write_bytes(b"c")
    return tmp_path


def serve(handler: type[WholeFiles], folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def parts_server(folder: Path) -> Iterator[str]:
    Parts.parts = []
    yield from serve(Parts, folder)


@pytest.fixture
def whole_server(folder: Path) -> Iterator[str]:
    yield from serve(WholeFiles, folder)


@pytest.fixture
def memory() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    for name, content in {"b.mp4": CONTENT, "a.mp4": b"a", "below/c.txt": b"c"}.items():
        system.pipe_file(f"/bucket/{name}", content)
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://bucket/a", True), ("http://a", True), ("a.mp4", False), ("C:/a", False), ("/a://b", False)],
)
def test_an_address_begins_with_a_scheme(text: str, expected: bool) -> None:
    assert object_store.is_remote(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://b/*.mp4", True), ("s3://b/a?.mp4", True), ("https://h/a?key=1", False), ("gs://b/a.mp4", False)],
)
def test_wildcards(text: str, expected: bool) -> None:
    assert object_store.is_pattern(text) is expected


@pytest.mark.parametrize("place", ["file", "memory"])
def test_files_below_a_prefix_and_of_a_pattern(place: str, folder: Path, memory: str) -> None:
    root = folder.as_uri() if place == "file" else memory
    names = object_store.list_files(f"{root}/")
    assert [name.removeprefix(names[0].removesuffix("a.mp4")) for name in names] == [
        "a.mp4",
        "b.mp4",
        "below/c.txt",
    ]
    assert object_store.list_files(f"{root}/*.mp4") == names[:2]
    single = object_store.join(root, "b.mp4")
    assert object_store.list_files(single) == [single]
    assert object_store.file_size(names[1]) == len(CONTENT)
    with object_store.open_file(names[1]) as file:
        assert file.seek(1000) == 1000
        assert file.read(10) == CONTENT[1000:1010]


def test_the_path_of_a_file_address(folder: Path) -> None:
    assert object_store.local_path(f"{folder.as_uri()}/a.mp4") == folder / "a.mp4"
    assert object_store.local_path("s3://bucket/a.mp4") is None


def test_only_the_wanted_part_is_fetched(parts_server: str) -> None:
    address = f"{parts_server}/b.mp4"
    assert object_store.file_size(address) == len(CONTENT)
    with object_store.open_file(address) as file:
        file.seek(9000)
        assert file.read(16) == CONTENT[9000:9016]
    assert Parts.parts
    assert all(int(part.removeprefix("bytes=").split("-")[0]) >= 9000 for part in Parts.parts)


def test_seeking_where_the_server_sends_whole_files(whole_server: str, tmp_path: Path) -> None:
    address = f"{whole_server}/b.mp4"
    with object_store.open_file(address) as file:
        file.seek(9000)
        assert file.read(16) == CONTENT[9000:9016]
        file.seek(0)
        assert file.read() == CONTENT
    object_store.copy_file(address, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_links_of_a_page_are_files(whole_server: str) -> None:
    found = object_store.list_files(f"{whole_server}/*.mp4")
    assert found == [f"{whole_server}/a.mp4", f"{whole_server}/b.mp4"]


def test_what_is_not_there(folder: Path, memory: str, whole_server: str, tmp_path: Path) -> None:
    for root in (folder.as_uri(), memory, whole_server):
        for work in (object_store.open_file, object_store.list_files, object_store.file_size):
            with pytest.raises(UsageError, match=r"none\.mp4"):
                work(f"{root}/none.mp4")
    with pytest.raises(UsageError, match=r"\*\.avi"):
        object_store.list_files(f"{memory}/*.avi")
    with pytest.raises(OutputError, match="no-folder"):
        object_store.copy_file(f"{memory}/a.mp4", tmp_path / "no-folder" / "copy")


def test_a_server_that_does_not_answer(unused_port: int) -> None:
    with pytest.raises(StoreError, match="check the address, the network"):
        object_store.open_file(f"http://127.0.0.1:{unused_port}/a.mp4")


@pytest.fixture
def unused_port(folder: Path) -> int:
    running = serve(WholeFiles, folder)
    port = int(next(running).rpartition(":")[2])
    assert list(running) == []
    return port


def test_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match="s4"):
        object_store.list_files("s4://bucket/")


@pytest.mark.parametrize(("scheme", "line"), [("s3", "pip install s3fs"), ("gs", "pip install gcsfs")])
def test_a_missing_library_is_named(scheme: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, line.split()[-1], None)  # also where it is installed
    with pytest.raises(MissingDependencyError, match=line):
        object_store.list_files(f"{scheme}://bucket/")


def test_fsspec_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(MissingDependencyError, match=r"hidden-two-stream\[remote\]"):
        object_store.open_file("memory://a")


def test_errors_survive_the_way_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(StoreError("s3://a", "refused")))
    assert (error.address, error.reason) == ("s3://a", "refused")
    assert str(error) == str(StoreError("s3://a", "refused"))
