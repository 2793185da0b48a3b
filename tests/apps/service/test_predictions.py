"""The answers of the service: those of `Recognizer.predict`, or a status with the reason."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import hidden_two_stream as hts
from hidden_two_stream.apps.service.application import create_service
from hidden_two_stream.apps.service.settings import ServeSettings
from hidden_two_stream.export.export import export_model

from .conftest import ADDRESS

MP4 = {"content-type": "video/mp4"}


def temporary_files(client: TestClient) -> list[Path]:
    return list(client.app.state.pipeline.storage.folder.iterdir())  # type: ignore[attr-defined]


def assert_same(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """Scores to 1e-5, all else alike."""
    assert answer.keys() == expected.keys()
    for name, value in expected.items():
        found = answer[name]
        if isinstance(value, float):
            assert found == pytest.approx(value, abs=1e-5), name
        elif isinstance(value, dict):
            assert_same(found, value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            assert len(found) == len(value)
            for one, other in zip(found, value, strict=True):
                assert_same(one, other)
        else:
            assert found == value, name


def predicted(run_folder: Path, path: Path, name: str, k: int = 5, **options: Any) -> dict[str, Any]:
    return hts.load(run_folder).predict(path, **options).to_dict(k) | {"source": name}


def test_every_kind_of_upload_gives_the_json_of_predict(
    service: TestClient, run_folder: Path, videos: Path
) -> None:
    path = videos / "left-0.mp4"
    expected = predicted(run_folder, path, "left-0.mp4")
    form = service.post("/v1/predict", files={"file": ("left-0.mp4", path.read_bytes())})
    plain = service.post("/v1/predict?name=left-0.mp4", content=path.read_bytes(), headers=MP4)
    for answer in (form, plain):
        assert answer.status_code == 200, answer.text
        assert_same(answer.json(), expected)
        assert answer.headers["x-model-version"] == service.get("/v1/model").json()["version"]
    assert temporary_files(service) == []


def test_top_and_threshold(service: TestClient, run_folder: Path, videos: Path) -> None:
    path = videos / "up-0.mp4"
    answer = service.post("/v1/predict?top=2&threshold=1", files={"file": ("a", path.read_bytes())}).json()
    assert_same(answer, predicted(run_folder, path, "a", 2, threshold=1.0))
    assert (answer["label"], answer["known"], len(answer["top"])) == (None, False, 2)


def test_requests_at_a_time_share_batches_and_keep_their_own_scores(run_folder: Path, videos: Path) -> None:
    """Broken videos between them fail alone."""
    settings = ServeSettings(workers=2, max_wait_ms=500)
    broken = b"no video" * 100
    paths = sorted(videos.glob("*.mp4"))
    with TestClient(create_service(run_folder, settings), base_url=ADDRESS) as client:

        def send(number: int) -> tuple[str, int, dict[str, Any]]:
            path = paths[number % len(paths)]
            content = broken if number % 3 == 2 else path.read_bytes()
            answer = client.post("/v1/predict", files={"file": (path.name, content)})
            return path.name, answer.status_code, answer.json()

        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(send, range(24)))
        metrics = client.get("/metrics").text
    assert Counter(status for _, status, _ in answers) == {200: 16, 422: 8}
    for name, status, answer in answers:
        if status == 200:
            assert_same(answer, predicted(run_folder, videos / name, name))
        else:
            assert answer == {
                "error": f"cannot read video '{name}': it is not a video, or its beginning is damaged"
            }
    batches = float(
        next(line for line in metrics.splitlines() if line.startswith("hts_batch_videos_count")).split()[1]
    )
    assert batches < 16
    assert 'hts_requests_total{path="/v1/predict",status="422"} 8.0' in metrics


@pytest.mark.slow
def test_an_exported_model_is_served(run_folder: Path, videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = export_model(run_folder, tmp_path / "model.onnx").path
    path = videos / "left-1.mp4"
    with TestClient(create_service(model, ServeSettings(workers=1)), base_url=ADDRESS) as client:
        answer = client.post("/v1/predict", files={"file": ("a", path.read_bytes())})
    assert_same(answer.json(), hts.load_onnx(model).predict(path).to_dict() | {"source": "a"})


@pytest.mark.parametrize("protocol", ["center", "2x5", "2x10"])
def test_other_protocols(run_folder: Path, videos: Path, protocol: str) -> None:
    path = videos / "up-1.mp4"
    settings = ServeSettings(workers=1, protocol=protocol, threshold=0.0)
    with TestClient(create_service(run_folder, settings), base_url=ADDRESS) as client:
        answer = client.post("/v1/predict", files={"file": ("a", path.read_bytes())})
    assert_same(answer.json(), predicted(run_folder, path, "a", protocol=protocol, threshold=0.0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "it is a list of other videos (a playlist)"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "it is a list of other videos (a playlist)"),
        (b"notes\n" * 1000, "it is not a video"),
    ],
)
def test_what_is_no_video_is_422(service: TestClient, content: bytes, message: str) -> None:
    answer = service.post("/v1/predict", files={"file": ("../../x.mp4", content)})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("cannot read video 'x.mp4': ")
    assert message in answer.json()["error"]
    assert temporary_files(service) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("top=0", "top is '0'"),
        ("top=1_0", "top is '1_0'"),
        ("top=９", "top is '９'"),
        ("threshold=nan", "threshold is 'nan'"),
        ("threshold=1.5", "threshold is '1.5'"),
        ("threshold=", "threshold is ''"),
        ("tops=3", "unknown parameter 'tops'"),
        ("top=1&top=2", "the parameter top is given twice"),
    ],
)
def test_wrong_parameters_are_400(service: TestClient, query: str, message: str) -> None:
    answer = service.post(f"/v1/predict?{query}", content=b"x", headers=MP4)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


FORM = "multipart/form-data; boundary=b"


def part(name: str, content: str = "x") -> str:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        (FORM, part("video") + "--b--\r\n", 400, "the form has the field 'video'"),
        (FORM, part("file") + part("file") + "--b--\r\n", 400, 'the field "file" twice'),
        (FORM, part("file") + part("url") + "--b--\r\n", 400, 'either the field "file"'),
        (FORM, "--b--\r\n", 400, 'either the field "file"'),
        (FORM, part("file"), 400, "the form ends before its last boundary"),
        (FORM, "nonsense", 400, "the form is damaged"),
        (FORM, "", 400, "the form ends before its last boundary"),
        ("multipart/form-data", "x", 400, "names no boundary"),
        (FORM, part("url", "x" * 5000) + "--b--\r\n", 413, "the URL has more than 4096 characters"),
        (FORM, part("url", "http://a/") + "--b--\r\n", 403, "this service downloads no URLs"),
        ("application/json", '{"url": "http://a/"}', 403, "this service downloads no URLs"),
        ("application/json", '{"url": 3}', 400, "the JSON is not of the form"),
        ("application/json", "[", 400, "the body is no JSON"),
        ("application/json", '"' + "x" * 20_000 + '"', 413, "the JSON has more than"),
        ("application/x-www-form-urlencoded", "a=b", 415, "the body is of type"),
        ("text/plain", "x", 415, "the body is of type 'text/plain'"),
        ("", "x", 415, "the body is of type ''"),
    ],
)
def test_other_bodies(service: TestClient, kind: str, body: str, status: int, message: str) -> None:
    answer = service.post("/v1/predict", content=body.encode(), headers={"content-type": kind})
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text
    assert temporary_files(service) == []


def test_a_compressed_body_is_415(service: TestClient) -> None:
    answer = service.post("/v1/predict", content=b"x", headers={**MP4, "content-encoding": "gzip"})
    assert answer.status_code == 415


def test_a_large_video_is_413_before_and_while_it_arrives(service: TestClient) -> None:
    declared = service.post("/v1/predict", content=b"x" * 1_000_001, headers=MP4)
    counted = service.post("/v1/predict", content=(b"x" * 10_000 for _ in range(101)), headers=MP4)
    form = service.post("/v1/predict", files={"file": b"x" * 1_000_001})
    for answer in (declared, counted, form):
        assert answer.status_code == 413
        assert answer.json() == {"error": "the video is larger than 1 MB; cut it, or make it smaller"}
    assert temporary_files(service) == []
    fits = service.post("/v1/predict", files={"file": b"x" * 1_000_000})
    assert fits.status_code == 422


def test_too_many_at_a_time_are_429(run_folder: Path, videos: Path) -> None:
    settings = ServeSettings(workers=1, max_requests=1, max_upload_mb=1, max_stored_mb=1)
    with TestClient(create_service(run_folder, settings), base_url=ADDRESS) as client:
        pipeline = client.app.state.pipeline  # type: ignore[attr-defined]
        with pipeline._admission():
            answer = client.post("/v1/predict", content=b"x", headers=MP4)
        pipeline.storage.take(600_000, 0)
        crowded = client.post("/v1/predict", content=b"x" * 500_000, headers=MP4)
        pipeline.storage.release(600_000)
        assert client.post("/v1/predict", content=b"x", headers=MP4).status_code == 422
    for found in (answer, crowded):
        assert found.status_code == 429
        assert found.headers["retry-after"] == "1"
    assert "1 videos are in progress" in answer.json()["error"]
    assert "take all room" in crowded.json()["error"]


def test_limits_on_time(run_folder: Path, videos: Path) -> None:
    content = (videos / "left-0.mp4").read_bytes()
    settings = ServeSettings(workers=1, decode_seconds=1e-6)
    with TestClient(create_service(run_folder, settings), base_url=ADDRESS) as client:
        answers = [client.post("/v1/predict", files={"file": ("a", content)}) for _ in range(2)]
        assert 'hts_decoder_restarts_total{reason="time limit"} 2.0' in client.get("/metrics").text
    for answer in answers:
        assert answer.status_code == 504
        assert "decoding 'a' takes more than 1e-06 seconds" in answer.json()["error"]
    settings = ServeSettings(workers=1, timeout_seconds=1e-6)
    with TestClient(create_service(run_folder, settings), base_url=ADDRESS) as client:
        answer = client.post("/v1/predict", files={"file": ("a", content)})
    assert (answer.status_code, "the answer takes more than" in answer.text) == (504, True)


def test_the_other_endpoints(service: TestClient, run_folder: Path) -> None:
    model = service.get("/v1/model").json()
    assert service.get("/v1/labels").json() == {"labels": list(hts.load(run_folder).classes)}
    assert model["labels"] == service.get("/v1/labels").json()["labels"]
    assert "/home/someone" not in str(model)  # neither paths of the training data nor of the run
    assert str(run_folder.parent) not in str(model)
    assert service.get("/healthz").json() == {"status": "alive"}
    assert service.get("/readyz").json() == {"status": "ready"}
    assert service.get("/nothing").status_code == 404
    wrong = service.delete("/v1/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


def test_a_service_that_no_longer_scores_says_so(run_folder: Path) -> None:
    with TestClient(create_service(run_folder, ServeSettings(workers=1)), base_url=ADDRESS) as client:
        pipeline = client.app.state.pipeline  # type: ignore[attr-defined]
        assert client.get("/healthz").status_code == 200
        client.portal.call(pipeline._batcher.close)  # type: ignore[union-attr]
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code == 503
        answer = client.post("/v1/predict", content=b"x", headers=MP4)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_metrics(service: TestClient) -> None:
    answer = service.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in (
        "hts_requests_total", "hts_request_seconds_bucket", "hts_stage_seconds", "hts_batch_videos_bucket",
        "hts_batch_clips_bucket", "hts_batch_queue", "hts_requests_in_progress", "hts_stored_bytes",
        "hts_model_info", "process_resident_memory_bytes",
    ):  # fmt: skip
        assert f"\n{name}" in answer.text, name
    service.get("/secret-path")
    assert "secret" not in service.get("/metrics").text


def test_the_page_loads_nothing(service: TestClient) -> None:
    answer = service.get("/docs")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for word in ("<script", "<link", "<img", "http://", "https://", "@import", "url("):
        assert word not in answer.text
    for path in service.get("/openapi.json").json()["paths"]:
        assert path in answer.text


def test_another_site_cannot_use_a_service_without_keys(service: TestClient) -> None:
    assert service.get("/v1/labels", headers={"host": "evil.example"}).status_code == 403
    answer = service.post("/v1/predict", content=b"x", headers={**MP4, "origin": "http://evil.example"})
    assert answer.status_code == 403


def test_keys(run_folder: Path) -> None:
    keys = ("first-key-0123456789", "second-key-0123456789")
    settings = ServeSettings(workers=1, api_keys=keys)
    assert "first-key" not in repr(settings)
    with TestClient(create_service(run_folder, settings), base_url="http://api.example") as client:
        for path in ("/v1/labels", "/v1/model", "/metrics"):
            for headers in ({}, {"x-api-key": "first"}, {"authorization": f"Basic {keys[0]}"}):
                answer = client.get(path, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            for headers in ({"x-api-key": keys[1]}, {"authorization": f"bearer {keys[0]}"}):
                assert client.get(path, headers=headers).status_code == 200
        for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.post("/v1/predict", content=b"x", headers=MP4).status_code == 401
        assert (
            client.post("/v1/predict", content=b"x", headers={**MP4, "x-api-key": keys[0]}).status_code == 422
        )


def test_an_error_inside_is_500_in_one_line(
    service: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("hidden_two_stream.apps.service.pipeline.Options.of", broken)
    answer = service.post("/v1/predict", content=b"x", headers=MP4)
    assert answer.status_code == 500
    assert answer.json() == {"error": "unexpected RuntimeError: first line"}
    assert capsys.readouterr().err == (
        'hts: POST /v1/predict: {"error":"unexpected RuntimeError: first line"}\n'
    )
