"""URLs: which may be downloaded, and how a download ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import hidden_two_stream as hts
from hidden_two_stream.apps.service import fetching
from hidden_two_stream.apps.service.allowed import AllowedUrls
from hidden_two_stream.apps.service.application import create_service
from hidden_two_stream.apps.service.failures import FetchError, RefusedUrlError, SlowUploadError
from hidden_two_stream.apps.service.settings import ServeSettings
from hidden_two_stream.apps.service.storage import Storage
from hidden_two_stream.apps.uploads import TooLargeError
from hidden_two_stream.errors import UsageError

from .conftest import ADDRESS

LISTED = AllowedUrls.of(["https://example.org/videos/", "http://example.org:8000", "http://127.0.0.1:9/x"])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/videos/a.mp4",
        "https://example.org/videos/",
        "https://EXAMPLE.org:443/videos/a.mp4?token=1",
        "https://example.org./videos/a",
        "http://example.org:8000/anything",
        "http://example.org:8000",
        "http://127.0.0.1:9/x",
        "http://127.0.0.1:9/x/y",
    ],
)
def test_allowed(url: str) -> None:
    assert LISTED.target(url).host in ("example.org", "127.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/videos/a.mp4",
        "https://example.org:8443/videos/a.mp4",
        "https://example.org/videos-private/a.mp4",
        "https://example.org/videos/../secret",
        "https://example.org/videos/%2e%2e/secret",
        "https://example.org/videos/%252e%252e/secret",
        "https://example.org/videos/..%2fsecret",
        "https://example.org/videos/..\\secret",
        "https://example.org.evil.example/videos/a",
        "https://example.org@evil.example/videos/a",
        "https://user@example.org/videos/a",
        "https://evil.example/videos/?https://example.org/videos/",
        "https://example.org/videos/ a",
        "https://exаmple.org/videos/a",  # a Cyrillic letter
        "file:///etc/passwd",
        "ftp://example.org/videos/a",
        "//example.org/videos/a",
        "http://127.0.0.1:9/xy",
        "http://2130706433:9/x",
        "http://[::1]:9/x",
        "http://[::1/x",
        "http://example.org:99999/",
        "",
        "https://example.org/videos/" + "a" * 5000,
    ],
)
def test_not_allowed(url: str) -> None:
    with pytest.raises(RefusedUrlError):
        LISTED.target(url)


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("93.184.215.14", [], True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", [], True),
        ("10.1.2.3", [], False),
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("10.1.2.3", ["192.168.0.0/16"], False),
        ("127.0.0.1", [], False),
        ("169.254.169.254", [], False),
        ("100.64.0.1", [], False),
        ("0.0.0.0", [], False),
        ("224.0.0.1", [], False),
        ("::1", [], False),
        ("fe80::1%eth0", [], False),
        ("fd00::1", ["fd00::/8"], True),
        ("::ffff:127.0.0.1", [], False),
        ("64:ff9b::7f00:1", [], False),
        ("2002:7f00:1::", [], False),
    ],
)
def test_names_with_private_addresses(
    address: str, networks: list[str], allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = AllowedUrls.of(["https://example.org/"], networks)
    target = urls.target("https://example.org/a")
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))
    found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [public, found])
    if allowed:
        assert urls.addresses(target) == list(dict.fromkeys(["93.184.215.14", address]))
    else:
        with pytest.raises(RefusedUrlError, match="has a private address"):
            urls.addresses(target)


@pytest.mark.parametrize(
    ("urls", "networks", "message"),
    [
        (["example.org"], [], "its scheme is ''"),
        (["https://"], [], "it has no host"),
        (["https://example.org/?a=b"], [], "with a query"),
        (["https://example.org/a/../b"], [], "its path holds"),
        (["https://example.org/"], ["10.0.0.1/8"], "has host bits set"),
        ([], ["10.0.0.0/8"], "has no effect without allow_urls"),
    ],
)
def test_wrong_lists(urls: list[str], networks: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ServeSettings(allow_urls=tuple(urls), allow_networks=tuple(networks))


class _Handler(BaseHTTPRequestHandler):
    """Answers by the last word of the path."""

    content = b""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name in ("inside", "outside", "loop", "nowhere"):
            self.send_response(302)
            places = {"inside": "/ok/video", "outside": "/secret/video", "loop": "/ok/loop"}
            if name in places:
                self.send_header("Location", places[name])
            self.end_headers()
            return
        self.send_response(404 if name == "missing" else 200)
        if name == "gzip":
            self.send_header("Content-Encoding", "gzip")
        if name == "short":
            self.send_header("Content-Length", str(len(self.content) + 5))
        if name == "large":
            self.send_header("Content-Length", "1000001")
        self.end_headers()
        if name == "endless":
            for _ in range(200):
                self.wfile.write(b"x" * 10_000)
        elif name == "slow":
            for _ in range(30):
                self.wfile.write(b"x")
                time.sleep(0.1)
        else:
            self.wfile.write(self.content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(videos: Path) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"content": (videos / "left-0.mp4").read_bytes()})
    found = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("outside", RefusedUrlError, "is not among those"),
        ("loop", FetchError, "redirects more than 3 times"),
        ("nowhere", FetchError, "redirects to nowhere"),
        ("missing", FetchError, "answers with status 404"),
        ("gzip", FetchError, "compressed"),
        ("short", FetchError, "failed|ended after"),
        ("large", TooLargeError, "larger than 1 MB"),
        ("endless", TooLargeError, "larger than 1 MB"),
        ("slow", SlowUploadError, "takes too long"),
    ],
)
def test_downloads_that_fail(server: str, name: str, error: type[Exception], message: str) -> None:
    storage = Storage(1_000_000, 2_000_000)
    began = time.monotonic()
    try:
        with storage.file() as file, pytest.raises(error, match=message):
            fetching.download(f"{server}/ok/{name}", AllowedUrls.of([f"{server}/ok/"]), file, 0.5)
        assert time.monotonic() - began < 2.5
        assert storage.num_bytes == 0
        assert list(storage.folder.iterdir()) == []
    finally:
        storage.close()


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    urls = AllowedUrls.of([f"http://127.0.0.1:{port}/"])
    storage = Storage(10, 10)
    with storage.file() as file, pytest.raises(FetchError, match="cannot connect"):
        fetching.download(f"http://127.0.0.1:{port}/a", urls, file, 1.0)
    storage.close()


def test_the_service_labels_a_url(run_folder: Path, videos: Path, server: str) -> None:
    expected = hts.load(run_folder).predict(videos / "left-0.mp4")
    settings = ServeSettings(workers=1, allow_urls=(f"{server}/ok/",))
    with TestClient(create_service(run_folder, settings), base_url=ADDRESS) as client:
        for url in (f"{server}/ok/video", f"{server}/ok/inside"):
            for body in ({"json": {"url": url}}, {"files": {"url": (None, url)}}):
                answer = client.post("/v1/predict", **body)  # type: ignore[arg-type]
                assert answer.status_code == 200, answer.text
                assert answer.json()["source"] == url
                assert answer.json()["score"] == pytest.approx(expected.score, abs=1e-5)
        assert client.post("/v1/predict", json={"url": f"{server}/secret/video"}).status_code == 403
        assert client.post("/v1/predict", json={"url": f"{server}/ok/missing"}).status_code == 502
