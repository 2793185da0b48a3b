"""What the OpenAPI description allows is accepted, what it forbids is refused, and answers are as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hidden_two_stream.apps.service.application import create_service
from hidden_two_stream.apps.service.settings import ServeSettings

from ..serve import served

KEY = "schema-key-0123456789"
HOOKS = """
import os
from pathlib import Path
import schemathesis
from hypothesis import strategies as st

videos = st.just(Path(os.environ["HTS_SCHEMA_VIDEO"]).read_bytes())  # random bytes are no video
schemathesis.openapi.format("binary", videos)
for kind in ("mp4", "webm", "quicktime", "x-msvideo"):
    schemathesis.openapi.media_type(f"video/{kind}", videos)
schemathesis.openapi.media_type("application/octet-stream", videos)
"""
CONFIG = """
[phases.stateful]
enabled = false
"""


@pytest.mark.parametrize(
    "keys", [pytest.param((), id="open"), pytest.param((KEY,), id="keys", marks=pytest.mark.slow)]
)
def test_schemathesis_finds_nothing(
    run_folder: Path, videos: Path, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    settings = ServeSettings(workers=2, api_keys=keys, protocol="center")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", "--checks", "all", "--max-examples", "30",
        "--generation-deterministic", "--no-color",
        *(["--header", f"X-API-Key: {KEY}"] if keys else []),
    ]  # fmt: skip
    with served(create_service(run_folder, settings)) as address:
        done = subprocess.run(
            [*command, f"{address}openapi.json"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "hooks",
                "PYTHONPATH": str(tmp_path),
                "HTS_SCHEMA_VIDEO": str(videos / "left-0.mp4"),
            },
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counts is not None, done.stdout
    assert counts[1] == counts[2]
    assert int(counts[1]) > 100
    assert "Tested: 7" in done.stdout  # all but the description itself
