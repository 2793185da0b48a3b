"""A service of a small run that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("python_multipart", reason="the extra 'serve' is not installed")
pytest.importorskip("prometheus_client", reason="the extra 'serve' is not installed")

from starlette.testclient import TestClient

from hidden_two_stream.apps.service.application import create_service
from hidden_two_stream.apps.service.settings import ServeSettings

ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(scope="session")
def service(run_folder: Path) -> Iterator[TestClient]:
    """A client of a service with one worker, without keys and URLs."""
    settings = ServeSettings(workers=1, max_upload_mb=1)
    with TestClient(create_service(run_folder, settings), base_url=ADDRESS) as found:
        yield found
