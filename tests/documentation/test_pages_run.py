"""The commands of the tutorial and of the how-to guides run, in order, on small generated videos."""

from __future__ import annotations

import difflib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from doc_places import write_places
from page_commands import ROOT, Block, blocks, calls
from run_page import LEFT_OUT, Done, environment, outputs, run

STAGES = ("motion", "spatial", "temporal", "joint")
SMALL = [
    *(["--set", f"{stage}.steps=2"] for stage in ("motion", "spatial", "joint")),
    *(["--set", f"{stage}.batch_size=2"] for stage in STAGES),
    ["--set", "input.size=32"],
    ["--set", "calibration.method=none"],
    ["--set", "temporal.steps=2"],
    ["--workers", "0"],
]
"""What makes a training quick; readers run the commands as they stand."""
CHANGES = {
    "arguments": {  # the first entry whose words are all in the command
        "train --recipe quick": [
            ["--set", "input.size=32"],
            ["--set", "calibration.method=none"],
            ["--workers", "0"],
        ],
        "train": SMALL,
        "cross-validate": SMALL,
        "compare": [*SMALL, ["--methods", "nearest-motion,frames"]],
        "train-frames": [["--steps", "10"], ["--size", "32"]],
        "predict": [["--protocol", "center"]],
        "stream": [["--seconds", "1"]],
        "export": [["--windows", "2"]],
        "check": [["--workers", "0"]],
    },
    # There is no camera and no network where tests run.
    "words": {"0": "clip.mp4", "rtsp://192.168.1.20/stream1": "clip.mp4", "SOURCE": "clip.mp4"},
    "retrain": True,  # pages show several ways to train into one folder
}
FFMPEG = """#!{python}
import os
import sys
import numpy as np
from hidden_two_stream.video.reader import VideoReader
width, height = map(int, sys.argv[sys.argv.index("-s") + 1].split("x"))
with VideoReader("clip.mp4") as reader:
    for frame in reader.frames():
        try:
            sys.stdout.buffer.write(np.resize(frame.image, (height, width, 3)).tobytes())
            sys.stdout.flush()
        except BrokenPipeError:  # who reads has seen enough
            os._exit(0)
"""
"""Stands for FFmpeg, which machines that test need not have: raw frames of one clip."""
TRAINS = ("README.md", "docs/own-data.md")
"""Pages whose own commands train runs/mine; the others find it trained."""
PAGES = (
    *TRAINS, "docs/behaviors.md", "docs/live.md", "docs/export.md", "docs/tracking.md", "docs/features.md",
    "docs/devices.md", "docs/usage.md", "docs/labels.md", "docs/sharing.md", "docs/shards.md",
    "docs/bulk.md",
)  # fmt: skip
OTHER_GUIDES = {
    "docs/tutorial.md": "runs with the reader's own settings, in a test of its own",
    "docs/few-clips.md": "its commands need recordings of people that are not in the repository",
    "docs/paper.md": "its commands need UCF101",
    "docs/scale.md": "its script is tested in tests/benchmarks/test_scale.py; measuring takes a minute",
    "docs/serve.md": "its server is started and asked in test_serve_page.py",
    "docs/app.md": "its application runs in tests/apps, in a browser",
    "docs/web.md": "its page is made, taught and imported in tests/export/test_web.py, in a browser",
}
"""Guides whose commands are only parsed, or run elsewhere."""
NO_PYTHON = {
    "README.md": "its command for Python is `hts.train` with the default settings, which takes minutes",
    "docs/export.md": "its Python names clips that the reader has in memory",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("places")
    write_places(root)
    return root


@pytest.fixture(scope="module")
def trained(places: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained") / "place"
    shutil.copytree(places, root)
    block = Block(ROOT / "x", 1, "bash", "hts train --data videos/ --out runs/mine")
    for done in run(block, root, changed(root)):
        assert done.code == 0, done.stderr
    return root


def changed(root: Path) -> Mapping[str, str]:
    given = environment(root)
    ffmpeg = root / ".venv" / "bin" / "ffmpeg"
    ffmpeg.write_text(FFMPEG.format(python=sys.executable), encoding="utf-8")
    ffmpeg.chmod(0o755)
    return {**given, "HTS_DOC_CHANGES": json.dumps(CHANGES), "OMP_NUM_THREADS": "1"}


def runnable(block: Block) -> Block:
    """The block without what installs or builds."""
    if block.language == "python":
        return block
    lines = [line for line in block.commands if not {call.program for call in calls(line)} & {"pip", "make"}]
    return replace(block, text="\n".join(lines))


def test_every_guide_runs_or_says_why_not() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    (guides,) = (part["How-to guides"] for part in nav if "How-to guides" in part)
    assert {f"docs/{name}" for guide in guides for name in guide.values()} <= {*PAGES, *OTHER_GUIDES}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    start = request.getfixturevalue("places" if page in TRAINS else "trained")
    root = tmp_path / "place"
    shutil.copytree(start, root, symlinks=True)
    given = changed(root)
    number = 0
    for block in blocks(ROOT / page):
        if block.skip or (block.language == "python" and page in NO_PYTHON):
            continue
        for done in run(runnable(block), root, given):
            assert done.code == 0, f"{block.where}: {done.command}\n{done.stderr}"
            assert "Traceback" not in done.stderr
            number += 1
    assert number


def masked(lines: list[str]) -> list[str]:
    return [re.sub(r"\d+(\.\d+)?", "#", line).strip() for line in lines if line != LEFT_OUT]


@pytest.mark.slow
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    """With the reader's own settings: each shown output is alike, apart from its numbers."""
    given = environment(tmp_path)
    shown = 0
    for block in blocks(ROOT / "docs" / "tutorial.md"):
        if block.skip or not (block.commands or block.language == "python"):
            continue
        found = run(block, tmp_path, given)
        assert [done.code for done in found] == [0] * max(1, len(block.commands)), found[-1].stderr
        if block.language == "console":
            for (command, lines), done in zip(outputs(block.text), found, strict=True):
                shown += bool(lines)
                assert not lines or alike(lines, done) > 0.8, f"{command}\n{done.shown}"
    assert shown >= 8


def alike(lines: list[str], done: Done) -> float:
    """How much of what the page shows was printed, 0 to 1.

    How often a live command says something, and how many frames it drops, depends on how busy the machine is:
    there each line counts once.
    """
    expected, printed = masked(lines), masked(done.shown.split("\n"))
    if done.command.startswith("hts stream"):
        expected, printed = (
            sorted({line.replace("# frame ", "# frames ") for line in part}) for part in (expected, printed)
        )
    blocks_found = difflib.SequenceMatcher(None, expected, printed, autojunk=False).get_matching_blocks()
    return sum(found.size for found in blocks_found) / len(expected)
