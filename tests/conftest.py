"""What all tests share: where the real recordings lie, one thread for PyTorch, and running a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from hidden_two_stream.cli.main import main

# No test asks the hub about a name that is no path here; `huggingface_hub` reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

# The tests run two at a time on two cores, with arrays too small for threads to pay off.
torch.set_num_threads(1)

# The same examples each time, so that a change never fails by chance. `HYPOTHESIS=search` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=100)
settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real recordings: HTS_TEST_DATA, or ../shared/data beside the repository.

    Without it the test is skipped, except under CI, where a skip would hide that nothing was tested.
    """
    root = Path(os.environ.get("HTS_TEST_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not root.is_dir():
        reason = f"no folder of test recordings at {root}; set HTS_TEST_DATA to it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root


@pytest.fixture
def hts(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run
