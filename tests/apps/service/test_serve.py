"""`hts serve`: its arguments, its messages, and a clean end that answers who still waits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import fields
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from hidden_two_stream.apps.service.settings import ServeSettings
from hidden_two_stream.errors import UsageError

Hts = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"host": " "}, "the host is empty"),
        ({"port": 65536}, "expected 0 to 65535"),
        ({"workers": -1}, "workers is -1"),
        ({"workers": 300}, "workers is 300"),
        ({"max_upload_mb": 0}, "max_upload_mb is 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds is nan"),
        ({"drain_seconds": float("inf")}, "drain_seconds is inf"),
        ({"max_upload_mb": 3000}, "max_stored_mb is 2000, less than one video may have"),
        ({"max_requests": 0}, "max_requests is 0"),
        ({"max_batch": 0}, "max_batch is 0"),
        ({"max_wait_ms": -1}, "max_wait_ms is -1"),
        ({"api_keys": ("short",)}, "api_keys has an API key of 5 characters"),
    ],
)
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        ServeSettings(**change)


def test_every_setting_is_described() -> None:
    text = ServeSettings.__doc__ or ""
    assert all(re.search(rf"^        {item.name}: ", text, re.MULTILINE) for item in fields(ServeSettings))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no run at 'none'"),
        (["none.onnx"], "no file at 'none.onnx'"),
        (["RUN", "--protocol", "3x3"], "unknown protocol '3x3'"),
        (["RUN", "--port", "99999"], "the port is 99999"),
        (["RUN", "--workers", "0"], "--workers is 0"),
        (["RUN", "--threshold", "2"], "the threshold is 2.0"),
        (["RUN", "--device", "cuda:99"], "cuda:99"),
        (["RUN", "--host", "no such host"], "cannot listen at 'no such host'"),
        (["RUN", "--api-key-file", "missing"], "cannot read API keys from 'missing'"),
        (["RUN", "--allow-url", "ftp://a/"], "its scheme is 'ftp'"),
        (["RUN", "--allow-network", "10.0.0.0/8"], "has no effect without allow_urls"),
    ],
)
def test_wrong_arguments(hts: Hts, run_folder: Path, arguments: list[str], message: str) -> None:
    given = [str(run_folder) if word == "RUN" else word for word in arguments]
    code, out, errors = hts("serve", *given, *([] if "--port" in arguments else ["--port", "0"]))
    assert (code, out) == (2, "")
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_without_the_libraries_there_is_one_line(hts: Hts, monkeypatch: pytest.MonkeyPatch) -> None:
    from hidden_two_stream.apps import listening

    missing = ("python_multipart", "prometheus_client")
    monkeypatch.setattr(
        listening, "find_spec", lambda name: None if name in missing else util.find_spec(name)
    )
    code, _, errors = hts("serve", "run")
    assert code == 1
    assert errors.strip() == (
        "hts: the service needs python_multipart and prometheus_client; install them with: pip install "
        "'hidden-two-stream[serve]'"
    )


def test_the_help_and_the_settings_need_no_web_library() -> None:
    code = (
        "import sys, hidden_two_stream as hts; hts.ServeSettings()\n"
        "from hidden_two_stream.cli.main import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'starlette', 'uvicorn', 'prometheus_client', 'python_multipart', 'torch', 'av'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--allow-url" in done.stdout


def begin(folder: Path, *arguments: object, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """Start the command; return its process, and its address once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hidden_two_stream", "serve", *map(str, arguments), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder), **environment},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate(timeout=10)
    return process, json.loads(line)["address"]


def sent(address: str, content: bytes) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}v1/predict", data=content, headers={"Content-Type": "video/mp4"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("to_group", [False, True], ids=["process", "group"])
def test_sigterm_answers_who_waits_and_leaves_nothing(
    tmp_path: Path, run_folder: Path, videos: Path, to_group: bool
) -> None:
    """A batch waits for a second before it starts, so that the signal meets requests in progress."""
    process, address = begin(tmp_path, run_folder, "--workers", "1", "--max-wait", "1000")
    answers: list[Any] = []
    with process:
        try:
            content = (videos / "left-0.mp4").read_bytes()
            thread = threading.Thread(target=lambda: answers.append(sent(address, content)))
            thread.start()
            time.sleep(0.5)
            children = _children(process.pid)
            assert children
            if to_group:
                os.killpg(process.pid, signal.SIGTERM)
            else:
                process.terminate()
            thread.join(30)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert [answer["num_frames"] for answer in answers] == [30]
    assert (process.returncode, errors.strip()) == (143, "hts: ended by SIGTERM")
    deadline = time.monotonic() + 20
    while any(map(_is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_alive, children))
    assert list(tmp_path.iterdir()) == []


def test_other_addresses_without_a_key_are_warned_about_and_workers_get_no_key(
    tmp_path: Path, run_folder: Path
) -> None:
    for key, count in (({}, 1), ({"HTS_API_KEY": "0123456789abcdef"}, 0)):
        process, _ = begin(tmp_path, run_folder, "--workers", "1", "--host", "0.0.0.0", **key)
        with process:
            try:
                for child in _children(process.pid):  # decoders of strangers' files
                    assert b"HTS_API_KEY" not in Path(f"/proc/{child}/environ").read_bytes()
            finally:
                process.terminate()
            _, errors = process.communicate(timeout=60)
        assert errors.count("there is no API key: anyone who reaches it can use the service") == count


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task").glob("*/children")
    return [int(number) for path in listed for number in path.read_text().split()]


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
