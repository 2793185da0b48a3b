"""Other sites cannot use the server, and its page is isolated."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from hidden_two_stream.apps.guard import is_own_host, is_own_origin

NAMES = frozenset({"localhost", "mybox"})


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1:8000", True),
        ("127.0.0.1", True),
        ("[::1]:8000", True),
        ("192.168.0.7:80", True),
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("mybox:8000", True),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example#127.0.0.1", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_host(host: str, is_own: bool) -> None:
    assert is_own_host(host, NAMES) is is_own


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        (None, True),
        ("http://127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", False),
        ("http://127.0.0.1", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:8000@evil.example", False),
        ("null", False),
        ("", False),
        ("file://", False),
    ],
)
def test_origin(origin: str | None, is_own: bool) -> None:
    assert is_own_origin(origin, "127.0.0.1:8000") is is_own


def test_another_host_is_refused_for_reading_too(client: TestClient) -> None:
    answer = client.get("/api/state", headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "evil.example" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_origin_changes_nothing(client: TestClient, method: str, headers: dict[str, str]) -> None:
    answer = client.request(method, "/api/projects", json={"name": "taken"}, headers=headers)
    assert answer.status_code == 403
    assert client.get("/api/state").json()["projects"] == []


def test_the_own_page_may_change_things(client: TestClient) -> None:
    headers = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/api/projects", json={"name": "mine"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/style.css", "/server/server.js", "/api/state", "/nothing", "/api/jobs/x"]
)
def test_every_answer_isolates_the_page(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
