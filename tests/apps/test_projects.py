"""Projects: what is kept on disk, and training that ends in a run."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hidden_two_stream.apps.projects import ProjectStore
from hidden_two_stream.checkpoint import MODEL_FILE
from hidden_two_stream.errors import DataError

from .conftest import ADDRESS, TINY_TRAINING, ended, start

Hts = Callable[..., tuple[int, str, str]]


def make(client: TestClient, name: str = "gestures") -> str:
    answer = client.post("/api/projects", json={"name": name})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


def add(client: TestClient, project: str, path: Path, label: str | None = None) -> dict[str, Any]:
    where = {"name": path.name} | ({} if label is None else {"label": label})
    answer = client.post(f"/api/projects/{project}/clips", params=where, content=path.read_bytes())
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def fill(client: TestClient, project: str, videos: Path, number: int = 4) -> None:
    for label in ("left", "up"):
        for seed in range(number):
            add(client, project, videos / f"{label}-{seed}.mp4", label)


def test_clips_are_kept_and_come_back(
    application: Callable[..., Starlette], videos: Path, tmp_path: Path
) -> None:
    with TestClient(application(), base_url=ADDRESS) as client:
        project = make(client, "My gestures!")
        added = add(client, project, videos / "left-0.mp4", "wave")
        clip = added["project"]["clips"][0]
        assert (clip["name"], clip["label"], clip["id"]) == ("left-0.mp4", "wave", added["clip"])
        base = f"/api/projects/{project}/clips/{clip['id']}"
        assert client.get(f"{base}/file").content == (videos / "left-0.mp4").read_bytes()
        assert client.get(f"{base}/thumbnail").content.startswith(b"\x89PNG")
        before = client.get(f"/api/projects/{project}").json()
    with TestClient(application(), base_url=ADDRESS) as client:  # another start of the application
        assert client.get("/api/state").json()["projects"] == [before]
        after = client.delete(f"/api/projects/{project}/clips/{clip['id']}").json()
        assert after["clips"] == []
        assert after["classes"] == ["wave"]
    left = [path for path in (tmp_path / "projects").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["project.json"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", "video/mp4"),
        ("a.webm", "video/webm"),
        ("a.html", "application/octet-stream"),
        ("a.svg", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_a_clip_is_never_served_as_a_page(client: TestClient, videos: Path, name: str, kind: str) -> None:
    project = make(client)
    content = (videos / "left-0.mp4").read_bytes()
    answer = client.post(f"/api/projects/{project}/clips", params={"name": name}, content=content)
    found = client.get(f"/api/projects/{project}/clips/{answer.json()['clip']}/file")
    assert found.content == content
    assert found.headers["content-type"] == kind


def test_intervals_become_samples(client: TestClient, videos: Path, tmp_path: Path) -> None:
    project = make(client)
    clip = add(client, project, videos / "left-0.mp4")["clip"]
    parts = [
        {"start": 0.6, "end": 1.2, "label": "up"},
        {"start": 0, "end": 0.5, "label": "left"},
        {"start": 0.2, "end": 0.7, "label": "left"},
        {"start": 0.7, "end": 1.1, "label": "up"},
    ]
    found = client.put(f"/api/projects/{project}/clips/{clip}", json={"intervals": parts}).json()
    assert found["counts"] == {"left": 2, "up": 2}
    assert [part["start"] for part in found["clips"][0]["intervals"]] == [0, 0.2, 0.6, 0.7]
    store = ProjectStore(tmp_path / "projects")
    saved = store.get(project)
    labels = saved.write_labels(saved.next_run())
    with labels.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["start_seconds"], row["end_seconds"]) for row in rows] == [
        ("left", "0", "0.5"), ("left", "0.2", "0.7"), ("up", "0.6", "1.2"), ("up", "0.7", "1.1"),
    ]  # fmt: skip
    assert (labels.parent / rows[0]["path"]).read_bytes() == (videos / "left-0.mp4").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"intervals": [{"start": 1, "end": 0.5, "label": "a"}]}, "from 1 to 0.5 s; expected a start before"),
        ({"intervals": [{"start": 0, "end": 9, "label": "a"}]}, "within the 1.2 s of the video"),
        ({"intervals": [{"start": -1, "end": 1, "label": "a"}]}, "from -1 to 1 s"),
        ({"intervals": [{"start": "nan", "end": 1, "label": "a"}]}, "from nan to 1 s"),
        ({"intervals": [{"start": 0, "end": 1, "label": ""}]}, "the class is empty"),
        ({"intervals": [{"start": 0, "end": 1, "label": "a\x1b"}]}, "the class is 'a\\x1b'"),
        ({"intervals": [{"start": 0, "end": 1}]}, "an interval needs a start, an end and a class"),
        ({"intervals": [{"start": None, "end": 1, "label": "a"}]}, "an interval needs"),
        ({"intervals": [3]}, "the intervals are no list"),
        ({"intervals": "all"}, "the intervals are no list"),
        ({"intervals": [{"start": 0, "end": 1, "label": "a"}] * 501}, "got 501 intervals"),
        ({"label": "a", "intervals": [{"start": 0, "end": 1, "label": "a"}]}, "not both"),
        ({"label": 3}, "the class is 3; expected a name"),
        ({"label": "x" * 101}, "expected at most 100"),
    ],
)
def test_wrong_labels(client: TestClient, videos: Path, data: dict[str, Any], message: str) -> None:
    project = make(client)
    clip = add(client, project, videos / "left-0.mp4")["clip"]
    answer = client.put(f"/api/projects/{project}/clips/{clip}", content=json.dumps(data))
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert client.get(f"/api/projects/{project}").json()["clips"][0]["intervals"] == []


def test_classes(client: TestClient, videos: Path) -> None:
    project = make(client)
    path = f"/api/projects/{project}/classes"
    assert client.post(path, json={"name": "  wave  hand "}).json()["classes"] == ["wave hand"]
    assert "already" in client.post(path, json={"name": "wave hand"}).json()["error"]
    assert client.post(path, json={"name": "a/b?"}).json()["classes"] == ["wave hand", "a/b?"]
    clip = add(client, project, videos / "left-0.mp4", "wave hand")["clip"]
    assert "has clips" in client.delete(f"{path}/wave%20hand").json()["error"]
    client.delete(f"/api/projects/{project}/clips/{clip}")
    assert client.delete(f"{path}/wave%20hand").json()["classes"] == ["a/b?"]
    assert client.delete(f"{path}/{'a/b?'.replace('/', '%2F').replace('?', '%3F')}").json()["classes"] == []
    assert client.delete(f"{path}/none").status_code == 404


@pytest.mark.parametrize(
    ("name", "message"), [("", "is empty"), (None, "is None"), ("x" * 200, "at most 100")]
)
def test_wrong_project_names(client: TestClient, name: object, message: str) -> None:
    answer = client.post("/api/projects", json={"name": name})
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_a_project_is_made_once(client: TestClient) -> None:
    make(client, "same")
    answer = client.post("/api/projects", json={"name": "same"})
    assert (answer.status_code, "already" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("name", ["none", "..", "%2e%2e", "..%2f..%2fetc"])
def test_unknown_projects(client: TestClient, name: str) -> None:
    answer = client.get(f"/api/projects/{name}/clips/x/file")
    assert answer.status_code == 404


def test_a_text_file_is_no_clip(client: TestClient, tmp_path: Path) -> None:
    project = make(client)
    answer = client.post(f"/api/projects/{project}/clips?name=a.mp4&label=wave", content=b"text " * 100)
    assert answer.status_code == 400
    assert "cannot read video 'a.mp4'" in answer.json()["error"]
    assert client.get(f"/api/projects/{project}").json()["clips"] == []
    assert list((tmp_path / "projects").rglob("clips/*")) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "a", "classes": [], "clips": [{"id": 1}]}'])
def test_a_damaged_project_is_told_and_does_not_stop_the_others(
    client: TestClient, tmp_path: Path, text: str
) -> None:
    make(client, "good")
    broken = tmp_path / "projects" / "broken"
    broken.mkdir()
    (broken / "project.json").write_text(text, encoding="utf-8")
    found = client.get("/api/state").json()
    assert [project["name"] for project in found["projects"]] == ["good"]
    assert len(found["problems"]) == 1
    assert "broken" in found["problems"][0]
    with pytest.raises(DataError, match="damaged"):
        ProjectStore(tmp_path / "projects").get("broken")


# -- training


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ((), "at least two classes"),
        (("left", "left"), "at least two classes"),
        (("left", "left", "up"), "class 'up' has a single clip"),
    ],
)
def test_too_few_clips(client: TestClient, videos: Path, clips: tuple[str, ...], message: str) -> None:
    project = make(client)
    for number, label in enumerate(clips):
        add(client, project, videos / f"{label}-{number}.mp4", label)
    answer = client.post("/api/jobs", json={"kind": "train", "project": project, "recipe": "quick"})
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "../secret"}, "the recipe is '../secret'; expected one of quick"),
        ({"changes": ["motion.stepz=3"]}, "stepz"),
        ({"changes": ["temporal.steps=-1"]}, "steps"),
        ({"changes": "temporal.steps=3"}, "no list of texts"),
        ({"changes": ["temporal.steps=3"] * 101}, "got 101 changes"),
        ({"continue": "7"}, "no stopped training"),
        ({"project": "none"}, "no such project"),
    ],
)
def test_wrong_trainings(client: TestClient, videos: Path, change: dict[str, Any], message: str) -> None:
    project = make(client)
    fill(client, project, videos, 2)
    answer = client.post("/api/jobs", json={"kind": "train", "project": project, "recipe": "quick"} | change)
    assert answer.status_code in (400, 404)
    assert message in answer.json()["error"]


def test_training_ends_in_a_run_that_predict_uses(
    application: Callable[..., Starlette], videos: Path, hts: Hts, tmp_path: Path
) -> None:
    with TestClient(application(), base_url=ADDRESS) as client:
        project = make(client)
        fill(client, project, videos)
        job = ended(
            client, start(client, kind="train", project=project, recipe="quick", changes=TINY_TRAINING)
        )
        assert job["state"] == "done", job["error"]
        result = job["result"]
        assert result["classes"] == ["left", "up"]
        assert result["num_test_videos"] == 2
        runs = client.get("/api/state").json()["runs"]
        assert [run["name"] for run in runs] == ["mine", "gestures 1"]
        assert runs[1]["id"] == result["run_id"]
        assert runs[1]["streams"] == ["temporal"]
        assert job["progress"]["title"] == "evaluate"
    folder = Path(result["run"])
    assert folder == tmp_path / "projects" / project / "runs" / "1"
    code, printed, _ = hts("predict", folder, videos / "left-0.mp4", "--json")
    assert code == 0
    assert json.loads(printed)["predictions"][0]["best"] in ("left", "up")
    with TestClient(application(), base_url=ADDRESS) as client:  # the next start offers it, too
        assert [run["name"] for run in client.get("/api/state").json()["runs"]] == ["mine", "gestures 1"]


def test_progress_names_stage_step_and_loss_and_a_stopped_training_goes_on(
    application: Callable[..., Starlette], videos: Path
) -> None:
    long = [*TINY_TRAINING, "temporal.optimizer=adamw", "temporal.steps=4000", "temporal.batch_size=2"]
    with TestClient(application(), base_url=ADDRESS) as client:
        project = make(client)
        fill(client, project, videos)
        job = start(client, kind="train", project=project, recipe="quick", changes=long)
        waiting = start(client, kind="train", project=project, recipe="quick", changes=TINY_TRAINING)
        assert [each["about"]["run"] for each in (job, waiting)] == ["1", "2"]
        client.delete(f"/api/jobs/{waiting['id']}")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            seen = client.get(f"/api/jobs/{job['id']}").json()
            progress = seen["progress"]
            if progress and progress["title"] == "temporal" and progress["done"] >= 20:
                break
            assert seen["state"] in ("queued", "running"), seen["error"]
            time.sleep(0.05)
        assert progress["total"] == 4000
        assert progress["note"].startswith("loss ")
        assert seen["seconds_left"] > 0
        client.delete(f"/api/jobs/{job['id']}")
        assert ended(client, job)["state"] == "cancelled"
        run = Path(client.get(f"/api/projects/{project}").json()["folder"]) / "runs" / "1"
        assert not (run / MODEL_FILE).exists()
        request = {"kind": "train", "project": project, "recipe": "quick", "continue": "1"}
        again = start(client, **request)
        while True:
            seen = client.get(f"/api/jobs/{again['id']}").json()
            if seen["progress"] and seen["progress"]["title"] == "temporal":
                break
            assert seen["state"] in ("queued", "running"), seen["error"]
            time.sleep(0.02)
        assert seen["progress"]["done"] >= 20  # not from the beginning
        client.delete(f"/api/jobs/{again['id']}")
        assert ended(client, again)["state"] == "cancelled"
