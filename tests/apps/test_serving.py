"""`hts app`: its arguments, its messages, and a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import fields
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.errors import UsageError

Hts = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"host": " "}, "the host is empty"),
        ({"port": -1}, "the port is -1"),
        ({"port": 65536}, "expected 0 to 65535"),
        ({"max_upload_mb": 0}, "max_upload_mb is 0"),
        ({"max_minutes": float("nan")}, "max_minutes is nan"),
        ({"max_stored_mb": float("inf")}, "max_stored_mb is inf"),
        ({"queue_length": 0}, "queue_length is 0"),
    ],
)
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        AppSettings(**change)


def test_every_setting_is_described() -> None:
    text = AppSettings.__doc__ or ""
    assert all(re.search(rf"^        {item.name}: ", text, re.MULTILINE) for item in fields(AppSettings))


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("mybox", False),
    ],
)
def test_which_hosts_are_only_this_machine(host: str, is_local: bool) -> None:
    assert AppSettings(host=host).is_local is is_local


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no run at 'none': there is none"),
        (["--port", "99999"], "the port is 99999"),
        (["--max-upload", "-3"], "max_upload_mb is -3"),
        (["--host", "no such host"], "cannot listen at 'no such host'"),
        (["a", "a"], "a run is named twice"),
    ],
)
def test_wrong_arguments(
    hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = (
        hts("app", "--port", "0", *arguments) if "--port" not in arguments else hts("app", *arguments)
    )
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_port_in_use_is_told(hts: Hts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, errors = hts("app", "--port", other.getsockname()[1])
    assert code == 2
    assert "choose another --port" in errors


def test_without_the_libraries_there_is_one_line(hts: Hts, monkeypatch: pytest.MonkeyPatch) -> None:
    from hidden_two_stream.apps import listening

    monkeypatch.setattr(
        listening, "find_spec", lambda name: None if name == "uvicorn" else util.find_spec(name)
    )
    code, _, errors = hts("app")
    assert code == 1
    assert errors.strip() == (
        "hts: the application needs uvicorn; install it with: pip install 'hidden-two-stream[app]'"
    )


def test_the_help_and_the_settings_need_no_web_library() -> None:
    code = (
        "import sys, hidden_two_stream; hidden_two_stream.AppSettings()\n"
        "from hidden_two_stream.cli.main import main\n"
        "try: main(['app', '--help'])\nexcept SystemExit: pass\n"
        "print(*({'starlette', 'uvicorn', 'torch', 'av'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == []
    assert "--max-minutes" in done.stdout


def begin(folder: Path, *arguments: object) -> tuple[subprocess.Popen[str], str]:
    """Start the command; return its process, and its address once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hidden_two_stream", "app", "--port", "0", "--json", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["address"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_everything(
    tmp_path: Path, run_folder: Path, videos: Path, number: int, code: int
) -> None:
    process, address = begin(tmp_path, run_folder)
    with process:
        try:
            content = (videos / "left-0.mp4").read_bytes()
            request = urllib.request.Request(f"{address}api/videos?name=a.mp4", data=content, method="POST")
            with urllib.request.urlopen(request) as answer:
                video = json.load(answer)["id"]
            with urllib.request.urlopen(f"{address}api/state") as answer:
                run = json.load(answer)["runs"][0]["id"]
            job = json.dumps({"kind": "label", "video": video, "run": run, "protocol": "center"}).encode()
            urllib.request.urlopen(f"{address}api/jobs", data=job).close()
            time.sleep(0.5)  # workers label a video, and export the page
            children = _children(process.pid)
            assert len(children) >= 2
            os.killpg(process.pid, number)  # as the terminal does: to the workers, too
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert errors.strip().splitlines()[-1] in ("hts: interrupted", "hts: ended by SIGTERM")
    deadline = time.monotonic() + 20
    while any(map(_is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_alive, children))
    assert list(tmp_path.iterdir()) == []


def test_other_addresses_are_warned_about(tmp_path: Path) -> None:
    process, address = begin(tmp_path, "--host", "0.0.0.0")
    with process:
        try:
            port = address.rstrip("/").rpartition(":")[2]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                assert b"server/server.js" in answer.read()
        finally:
            process.terminate()
        _, errors = process.communicate(timeout=60)
    assert "warning: 0.0.0.0 is not only this machine: anyone on the network can use the page" in errors


def _children(process: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process:
            found.append(int(folder.name))
    return found


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
