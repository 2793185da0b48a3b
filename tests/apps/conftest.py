"""A small run, videos, and an application that the tests of this folder share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hidden_two_stream.checkpoint import save_run
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

from ..export.runs import make_run

pytest.importorskip("starlette", reason="the extra 'app' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'app' is not installed")

from starlette.applications import Starlette
from starlette.testclient import TestClient

from hidden_two_stream.apps.application import create_app
from hidden_two_stream.apps.settings import AppSettings

ADDRESS = "http://127.0.0.1:8000"
TINY_TRAINING = ["input.size=32", "model.num_frames=3", "temporal.steps=3", "calibration.method=none"]
"""Changes of recipe quick that train in a second."""


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random weights; its scores of different clips differ."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    save_run(folder, *make_run())
    return folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files: left-N.mp4 and up-N.mp4, 30 frames of 48×48 at 25 per second."""
    folder = tmp_path_factory.mktemp("videos")
    for label in ("left", "up"):
        for seed in range(4):
            clip = generate_clip(label, seed, num_frames=30, size=48)
            write_video(folder / f"{label}-{seed}.mp4", clip.frames, 25.0)
    return folder


@pytest.fixture
def application(run_folder: Path, tmp_path: Path) -> Callable[..., Starlette]:
    """Makes an application with the run; its projects are in the test's folder."""

    def make(*runs: Path, **settings: Any) -> Starlette:
        return create_app(runs or (run_folder,), AppSettings(projects=tmp_path / "projects", **settings))

    return make


@pytest.fixture
def client(application: Callable[..., Starlette]) -> Iterator[TestClient]:
    with TestClient(application(), base_url=ADDRESS) as found:
        yield found


@pytest.fixture(scope="session")
def warm_client(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an application that several tests share, because its worker takes seconds to start."""
    settings = AppSettings(projects=tmp_path_factory.mktemp("shared") / "projects")
    with TestClient(create_app((run_folder,), settings), base_url=ADDRESS) as found:
        yield found


def send(client: TestClient, path: Path, name: str = "") -> dict[str, Any]:
    """Upload a video and return the answer."""
    answer = client.post("/api/videos", params={"name": name or path.name}, content=path.read_bytes())
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def run_id(client: TestClient) -> str:
    found: str = client.get("/api/state").json()["runs"][0]["id"]
    return found


def start(client: TestClient, **request: Any) -> dict[str, Any]:
    answer = client.post("/api/jobs", json=request)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(client: TestClient, job: dict[str, Any], seconds: float = 120.0) -> dict[str, Any]:
    """Wait for the end of a job and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get(f"/api/jobs/{job['id']}").json()
        if found["state"] not in ("queued", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"job {job['title']} has not ended")
