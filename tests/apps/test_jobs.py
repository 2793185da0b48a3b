"""Jobs: the queue, the worker process, and what each kind of job returns."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hidden_two_stream.apps.early import receiving
from hidden_two_stream.apps.jobs import Job
from hidden_two_stream.apps.labeling import hop_seconds, label_video
from hidden_two_stream.apps.worker_process import JobFailedError, JobStoppedError, WorkerProcess
from hidden_two_stream.errors import WorkerError
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.inference.segment_settings import SegmentSettings

from .conftest import ADDRESS, ended, run_id, send, start


def test_a_video_is_labeled_as_the_library_does(
    warm_client: TestClient, videos: Path, run_folder: Path
) -> None:
    video = send(warm_client, videos / "up-1.mp4")
    job = ended(
        warm_client,
        start(warm_client, kind="label", video=video["id"], run=run_id(warm_client), protocol="3x1"),
    )
    assert job["state"] == "done", job["error"]
    result = job["result"]
    expected = load(run_folder).predict(videos / "up-1.mp4", "3x1")
    assert result["best"] == expected.best
    assert (result["label"], result["known"]) == (expected.label, expected.known)
    assert result["classes"] == list(expected.classes)
    np.testing.assert_allclose(result["scores"], expected.scores, atol=1e-4)
    for stream in ("spatial", "temporal"):
        np.testing.assert_allclose(result["streams"][stream], expected.streams[stream], atol=1e-4)
    segments = list(load(run_folder).segment(videos / "up-1.mp4", SegmentSettings()))
    assert [part["label"] for part in result["segments"]] == [part.label for part in segments]
    assert [part["start"] for part in result["segments"]] == pytest.approx(
        [s.start_seconds for s in segments]
    )
    times = result["times"]
    assert times[0][0] == 0
    assert times[-1][1] == pytest.approx(1.2, abs=1e-3)
    assert all(one[1] == other[0] for one, other in pairwise(times))
    np.testing.assert_allclose(np.sum(result["along"], axis=1), 1, atol=1e-3)


def test_the_label_is_known_before_the_motion_is_drawn(
    videos: Path, run_folder: Path, tmp_path: Path
) -> None:
    known: list[Mapping[str, Any]] = []
    with receiving(known.append):
        result = label_video(
            str(videos / "up-1.mp4"), "a", 1.2, str(run_folder), "center", str(tmp_path), "cpu"
        )
    assert [early["preview"] for early in known] == [None]
    assert known[0] | {"preview": result["preview"]} == result
    assert (tmp_path / result["preview"]["file"]).is_file()
    job = Job("id", "label", "a", {}, {}, tmp_path, state="running")
    assert not job.to_dict(None)["has_result"]
    job.hear({"early": known[0]})
    assert job.to_dict(None)["has_result"]
    assert job.to_dict(None)["result"] == known[0]


def test_the_preview_shows_frames_beside_their_flow(
    warm_client: TestClient, videos: Path, run_folder: Path
) -> None:
    video = send(warm_client, videos / "left-1.mp4")
    job = ended(
        warm_client,
        start(warm_client, kind="label", video=video["id"], run=run_id(warm_client), protocol="center"),
    )
    preview = job["result"]["preview"]
    answer = warm_client.get(f"/api/jobs/{job['id']}/files/{preview['file']}")
    assert answer.headers["content-type"] == "video/webm"
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.streams.video[0].codec_context.name == "vp8"
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [time for time, _ in frames] == pytest.approx([number / 25 for number in range(30)], abs=2e-3)
    assert frames[0][1].shape == (preview["height"], preview["width"], 3) == (240, 480, 3)
    with av.open(str(videos / "left-1.mp4")) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    left = frames[0][1][:, :240].reshape(48, 5, 48, 5, 3).mean(axis=(1, 3))
    assert np.abs(left - first).mean() < 12  # enlarged and encoded, but the same
    flow = frames[10][1][:, 240:].astype(float)
    assert flow.mean() > 150  # white where nothing moves
    assert flow.std() > 2  # and colored where something does


def test_an_explanation_has_pictures_and_drops(
    warm_client: TestClient, videos: Path, run_folder: Path
) -> None:
    video = send(warm_client, videos / "up-1.mp4")
    job = ended(
        warm_client,
        start(warm_client, kind="explain", video=video["id"], run=run_id(warm_client), label="走る"),
    )
    assert job["state"] == "done", job["error"]
    result = job["result"]
    expected = load(run_folder).explain(videos / "up-1.mp4", "走る", "10x1")
    assert result["label"] == "走る"
    assert result["source"] == "up-1.mp4"
    assert result["score"] == pytest.approx(expected.score, abs=1e-4)
    assert (result["num_windows"], len(result["windows"])) == (10, 6)
    assert [part["drops"] for part in result["stretches"]] == [
        pytest.approx(part.drops, abs=1e-4) for part in expected.stretches
    ]
    for window in result["windows"]:
        assert [picture["title"] for picture in window["pictures"]] == [
            "Frame", "Evidence in the look", "Hidden motion", "Evidence in the motion",
        ]  # fmt: skip
        for picture in window["pictures"]:
            assert warm_client.get(f"/api/jobs/{job['id']}/files/{picture['file']}").content.startswith(
                b"\x89PNG"
            )


def test_damage_in_the_middle_is_told_and_the_rest_is_labeled(
    warm_client: TestClient, videos: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "a.mkv"
    with av.open(str(videos / "left-0.mp4")) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = b"\xff" * 400
    (tmp_path / "damaged.mkv").write_bytes(content)
    video = send(warm_client, tmp_path / "damaged.mkv")
    job = ended(
        warm_client,
        start(warm_client, kind="label", video=video["id"], run=run_id(warm_client), protocol="center"),
    )
    assert job["state"] == "done", job["error"]
    assert job["result"]["num_frames"] < 30
    assert any(
        "ended early" in text or "decod" in text or "damage" in text for text in job["result"]["warnings"]
    )


def test_the_second_job_waits_and_the_queue_has_an_end(
    application: Callable[..., Starlette], videos: Path
) -> None:
    with TestClient(application(queue_length=2), base_url=ADDRESS) as client:
        video, run = send(client, videos / "left-0.mp4")["id"], run_id(client)
        request = {"kind": "label", "video": video, "run": run, "protocol": "center"}
        first = start(client, **request)
        while client.get(f"/api/jobs/{first['id']}").json()["state"] == "queued":
            time.sleep(0.01)
        second, third = start(client, **request), start(client, **request)
        assert [job["position"] for job in (second, third)] == [1, 2]
        answer = client.post("/api/jobs", json=request)
        assert answer.status_code == 503
        assert "the queue is full: 2 jobs wait" in answer.json()["error"]
        assert client.delete(f"/api/videos/{video}").status_code == 400  # it is still needed
        assert client.delete(f"/api/jobs/{second['id']}").json()["state"] == "cancelled"
        assert client.get(f"/api/jobs/{third['id']}").json()["position"] in (1, None)
        assert ended(client, first)["state"] == "done"
        assert ended(client, third)["state"] == "done"
        listed = client.get("/api/jobs").json()["jobs"]
        assert [job["state"] for job in listed] == ["done", "cancelled", "done"]
        assert all(job["result"] is None for job in listed)
        assert client.delete(f"/api/videos/{video}").status_code == 200


def test_a_running_job_is_cancelled_and_the_next_one_works(
    application: Callable[..., Starlette], videos: Path
) -> None:
    with TestClient(application(), base_url=ADDRESS) as client:
        video, run = send(client, videos / "left-0.mp4")["id"], run_id(client)
        request = {"kind": "label", "video": video, "run": run, "protocol": "center"}
        first = start(client, **request)
        while client.get(f"/api/jobs/{first['id']}").json()["state"] == "queued":
            time.sleep(0.01)
        client.delete(f"/api/jobs/{first['id']}")
        assert ended(client, first)["state"] == "cancelled"
        second = start(client, **request)
        assert ended(client, second)["state"] == "done"
        forgotten = client.delete(f"/api/jobs/{second['id']}")
        assert forgotten.status_code == 200
        assert client.get(f"/api/jobs/{second['id']}").status_code == 404


def test_a_damaged_run_is_told(
    application: Callable[..., Starlette], run_folder: Path, videos: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_bytes((run_folder / "config.json").read_bytes())
    (damaged / "model.safetensors").write_bytes((run_folder / "model.safetensors").read_bytes()[:5000])
    with TestClient(application(damaged), base_url=ADDRESS) as client:
        video = send(client, videos / "left-0.mp4")
        job = ended(
            client, start(client, kind="label", video=video["id"], run=run_id(client), protocol="center")
        )
        assert job["state"] == "failed"
        assert "model.safetensors" in job["error"]
        assert "Traceback" not in job["error"]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"kind": "sing"}, 400, "the kind of job is 'sing'; expected one of label, explain"),
        ({"kind": None}, 400, "the kind of job is 'None'"),
        ({"kind": ["label"]}, 400, "the kind of job is"),
        ({"video": "none"}, 404, "no such video"),
        ({"video": 3}, 400, "the request has no video"),
        ({"run": "none"}, 404, "no such run"),
        ({"protocol": "99"}, 400, "protocol"),
        ({"protocol": ""}, 400, "the request has no protocol"),
        ({"kind": "explain", "label": "fly"}, 400, "this run has no class 'fly'"),
    ],
)
def test_wrong_requests(
    client: TestClient, videos: Path, change: dict[str, object], status: int, message: str
) -> None:
    right = {
        "kind": "label",
        "video": send(client, videos / "up-0.mp4")["id"],
        "run": run_id(client),
        "protocol": "center",
    }
    answer = client.post("/api/jobs", json=right | change)
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert client.get("/api/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"no json", 400, "no JSON"),
        (b"[1]", 400, "no JSON object"),
        (b"\xff", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        (b" " * 1_000_001, 413, "more than 1,000,000 bytes"),
    ],
)
def test_bodies_that_are_no_requests(client: TestClient, body: bytes, status: int, message: str) -> None:
    answer = client.post("/api/jobs", content=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_files_of_other_jobs_are_out_of_reach(warm_client: TestClient, videos: Path) -> None:
    video = send(warm_client, videos / "left-0.mp4")
    job = ended(
        warm_client,
        start(warm_client, kind="label", video=video["id"], run=run_id(warm_client), protocol="center"),
    )
    for name in ("..%2f..%2fvideos", "none.png"):
        assert warm_client.get(f"/api/jobs/{job['id']}/files/{name}").status_code == 404


def test_hops_grow_with_the_video() -> None:
    assert hop_seconds(10) == SegmentSettings().hop_seconds
    assert hop_seconds(1200) == pytest.approx(4.0)


# -- the worker process


def test_a_worker_that_dies_costs_one_task(videos: Path, tmp_path: Path) -> None:
    worker = WorkerProcess(grace_seconds=1.0)
    task = {
        "kind": "probe",
        "path": str(videos / "left-0.mp4"),
        "name": "a",
        "max_seconds": 60.0,
        "thumbnail": str(tmp_path / "small.png"),
    }
    try:
        assert worker.run(task, lambda _: None)["width"] == 48
        process = worker._process
        assert process is not None
        process.kill()
        process.wait()
        assert worker.run(task, lambda _: None)["width"] == 48  # a new process
        with pytest.raises(JobFailedError, match="unexpected TypeError"):
            worker.run({"kind": "probe"}, lambda _: None)
        process = worker._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)  # it does not answer, and then dies over its task
        threading.Timer(0.3, process.kill).start()
        with pytest.raises(WorkerError, match="the job ended without a result"):
            worker.run(task, lambda _: None)
        assert worker.run(task, lambda _: None)["width"] == 48
    finally:
        worker.close()
    with pytest.raises(JobStoppedError):
        worker.run(task, lambda _: None)


@pytest.mark.parametrize(("own", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_workers_sleep_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: str | None, expected: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if own is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    worker = WorkerProcess(grace_seconds=1.0)
    with pytest.raises(JobFailedError):
        worker.run({"kind": "probe"}, lambda _: None)
    assert worker._process is not None
    found = Path(f"/proc/{worker._process.pid}/environ").read_bytes()
    worker.close()
    assert f"OMP_WAIT_POLICY={expected}".encode() in found.split(b"\0")
