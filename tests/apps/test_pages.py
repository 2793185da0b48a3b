"""The page is served with the right types, and nothing outside of its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hidden_two_stream.apps.jobs import UnknownError
from hidden_two_stream.apps.pages import OWN_FILES, PAGE_FILES, page_response


def test_the_index_gets_the_panels_of_the_server(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.count("server/server.js") == page.text.count("server/server.css") == 1
    assert "app.js" not in page.text  # there is no recognizer, so it would fail
    assert "app.js" in (PAGE_FILES / "index.html").read_text(encoding="utf-8")  # else nothing was taken out


def test_a_page_with_a_recognizer_starts_it(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        (PAGE_FILES / "index.html").read_text(encoding="utf-8"), encoding="utf-8"
    )
    text = bytes(page_response(tmp_path, "").body).decode()
    assert 'src="app.js"' in text
    assert text.index("app.js") < text.index("server/server.js")
    assert "server.js" not in bytes(page_response(tmp_path, "", has_panels=False).body).decode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.wasm", "application/wasm"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.onnx", "application/octet-stream"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.webm", "video/webm"),
        ("a.unknown", "application/octet-stream"),
    ],
)
def test_media_types(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert page_response(tmp_path, name).headers["content-type"] == kind


@pytest.mark.parametrize(
    "name",
    ["../secret.txt", "sub/../../secret.txt", ".hidden", "link.txt", "none.js", "sub", "..\\secret.txt"],
)
def test_nothing_outside_is_served(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (root / ".hidden").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UnknownError, match="no file"):
        page_response(root, name)


@pytest.mark.parametrize(
    "path", ["/%2e%2e/%2e%2e/setup.py", "/server/%2e%2e/api.py", "/server/..%2fapi.py", "/offline.js"]
)
def test_traversal_over_http(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_every_module_of_the_server_is_served(client: TestClient) -> None:
    for path in OWN_FILES.iterdir():
        assert client.get(f"/server/{path.name}").content == path.read_bytes()


def test_an_unknown_address_has_a_message(client: TestClient) -> None:
    for answer in (client.get("/api/nothing"), client.post("/"), client.get("/runs/none/")):
        assert answer.status_code == 404
        assert answer.json()["error"]
