"""The page that recognizes inside the browser is made in the background, or the page says why not."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from hidden_two_stream.apps.application import create_app
from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.export import web_runtime

from ..browser import open_page
from .conftest import ADDRESS, ended, run_id, start
from .serve import served


def prepared(client: TestClient, seconds: float = 180) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get("/api/state").json()["page"]
        if not found["preparing"]:
            return found
        time.sleep(0.1)
    raise AssertionError("the page is not ready")


def test_without_the_libraries_of_the_page_the_rest_works(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archives are not in the cache, and npm fetches nothing."""
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho 'no network' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("HTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    settings = AppSettings(projects=tmp_path / "projects")
    server = create_app((run_folder,), settings, recognizes=True)
    with TestClient(server, base_url=ADDRESS) as client:
        assert client.get("/api/state").json()["page"] == {"ready": False, "preparing": True, "problem": None}
        found = prepared(client)
        assert not found["ready"]
        assert "npm cannot fetch onnxruntime-web@1.30.0: no network" in found["problem"]
        assert "app.js" not in client.get("/").text


def test_without_being_asked_nothing_is_prepared(client: TestClient) -> None:
    assert client.get("/api/state").json()["page"] == {"ready": False, "preparing": False, "problem": None}


@pytest.fixture
def libraries() -> Path:
    """The archives that `make setup` fetched; tests use no network."""
    folder = web_runtime.cache_folder()
    missing = [each.archive for each in web_runtime.PACKAGES if not (folder / each.archive).is_file()]
    if missing:
        reason = f"no {missing[0]} in the cache; `make setup` fetches it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("libraries")
def test_the_page_recognizes_inside_the_browser_once_it_is_ready(run_folder: Path, tmp_path: Path) -> None:
    settings = AppSettings(projects=tmp_path / "projects")
    server = create_app((run_folder,), settings, recognizes=True)
    with served(server) as address, open_page(address) as opened:
        page = opened.page
        page.get_by_text("Recognition inside the browser is being prepared").wait_for()
        page.wait_for_selector("#tab-recognize", timeout=180_000)
        page.wait_for_function("document.documentElement.dataset.ready === 'true'", timeout=60_000)
        page.wait_for_selector("#panel-videos:not([hidden])")  # the new tabs leave the person where they were
        tabs = page.locator("#tabs [role=tab]").all_inner_texts()
        assert tabs[:4] == ["Videos", "Compare", "Label and train", "Recognize"]
        page.reload()
        page.wait_for_function("document.documentElement.dataset.ready === 'true'", timeout=60_000)
        assert page.locator("#tabs [role=tab]").first.inner_text() == "Videos"
        assert page.evaluate("crossOriginIsolated")
        assert page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
        assert opened.errors == []
        assert opened.other_hosts() == []


@pytest.mark.slow
@pytest.mark.usefixtures("libraries")
def test_a_run_has_a_page_of_its_own(warm_client: TestClient, run_folder: Path) -> None:
    run = run_id(warm_client)
    assert warm_client.get(f"/runs/{run}/").status_code == 404
    job = ended(warm_client, start(warm_client, kind="page", run=run), 180)
    assert job["state"] == "done", job["error"]
    page = warm_client.get(f"/runs/{run}/")
    assert "app.js" in page.text
    assert "server.js" not in page.text
    assert warm_client.get(f"/runs/{run}/model.onnx").status_code == 200
    assert warm_client.get(f"/runs/{run}/offline.js").status_code == 404
