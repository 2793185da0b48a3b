"""`hts predict --workers` and `--threads`: the same results, in order, whatever happens to one video."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import RunInfo, build_model, save_run
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError, VideoError
from hidden_two_stream.inference import many
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.parallel import LOST_WORKER
from hidden_two_stream.types import Prediction
from hidden_two_stream.video.writer import write_video

Hts = Callable[..., tuple[int, str, str]]
PREDICT = many._done_apart


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    recipe = Recipe(
        model=ModelConfig("nano", "small", 4, temporal="sequence"), input=InputConfig(size=32, resize=32)
    )
    torch.manual_seed(0)
    model = build_model(recipe, 3)
    for name, parameter in model.named_parameters():
        if name.endswith("fc.weight"):
            torch.nn.init.normal_(parameter, std=1.0)
    save_run(folder, model, RunInfo(recipe, ("a", "b", "c")))
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six videos of different length and content; the third is broken."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 256, (4 + 3 * number, 32, 48, 3), np.uint8)
        write_video(folder / f"{number}.mp4", frames)
    (folder / "2.mp4").write_bytes(b"not a video")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("options", [(), ("--protocol", "3x10", "--top", "2", "--threshold", "0.4")])
def test_results_are_those_of_one_process(
    hts: Hts, run: Path, videos: list[Path], options: tuple[str, ...]
) -> None:
    code, output, errors = hts("predict", run, *videos, *options)
    assert code == 1
    assert output.count("\n") == 5
    assert "2.mp4': it is not a video" in errors
    assert hts("predict", run, *videos, *options, "--workers", "2") == (code, output, errors)


def test_json_is_that_of_one_process(hts: Hts, run: Path, videos: list[Path]) -> None:
    alone = hts("predict", run, *videos, "--json")
    assert [Path(found["source"]).name for found in json.loads(alone[1])["predictions"]] == [
        "0.mp4", "1.mp4", "3.mp4", "4.mp4", "5.mp4",
    ]  # fmt: skip
    assert hts("predict", run, *videos, "--json", "--workers", "3") == alone


def test_one_video_needs_no_worker(
    hts: Hts, run: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "run_in_processes", lambda *_: pytest.fail("started a worker"))
    assert hts("predict", run, videos[0], "--workers", "8")[0] == 0


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_video_that_crashes_its_process_costs_one_prediction(
    run: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "_done_apart", _predict_or_die)
    sources = [str(video) for video in videos]
    found = list(many.predict_many(str(run), sources, workers=2))
    recognizer = load(run)
    for source, outcome in zip(sources, found, strict=True):
        if source.endswith("3.mp4"):
            assert isinstance(outcome, VideoError)
            assert (outcome.source, outcome.reason) == (source, LOST_WORKER)
        elif source.endswith("2.mp4"):
            assert isinstance(outcome, VideoError)
        else:
            assert isinstance(outcome, Prediction)
            expected = recognizer.predict(source)
            np.testing.assert_allclose(outcome.scores, expected.scores, atol=1e-6)
            assert outcome.to_dict(3) == expected.to_dict(3)


def _predict_or_die(task: many._Task) -> Prediction | HiddenTwoStreamError:
    if task.source.endswith("3.mp4"):
        os.kill(os.getpid(), signal.SIGKILL)
    return PREDICT(task)


def test_an_unexpected_error_names_its_video(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = type("Broken", (), {"predict": lambda *_, **__: 1 / 0})()
    monkeypatch.setattr(many, "open_run", lambda *_: recognizer)
    (found,) = many.predict_many("run", ["a.mp4"], workers=0)
    assert isinstance(found, VideoError)
    assert (found.source, found.reason) == ("a.mp4", "unexpected ZeroDivisionError: division by zero")


def test_other_errors_are_handed_back(tmp_path: Path, run: Path) -> None:
    (found,) = many.predict_many(str(run), [str(tmp_path / "gone.mp4")], workers=0)
    assert isinstance(found, UsageError)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_ends_all_processes_and_keeps_what_is_finished(run: Path, videos: list[Path]) -> None:
    """The interrupt arrives in all processes of the terminal once there are results."""
    script = (
        "import os, signal, sys\n"
        "from hidden_two_stream.cli import predict\n"
        "from hidden_two_stream.cli.main import main\n"
        "attempt, seen = predict.attempt, []\n"
        "def interrupted(*arguments):\n"
        "    seen.append(attempt(*arguments))\n"
        "    if len(seen) == 4: os.killpg(0, signal.SIGINT)\n"
        "    return seen[-1]\n"
        "predict.attempt = interrupted\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", script, "predict", run, *videos, "--workers", "2", "--json"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "hts: interrupted"
    assert 2 <= len(json.loads(done.stdout)["predictions"]) <= 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "0"), "--workers is 0; expected 1 to 256"),
        (("--workers", "257"), "--workers is 257; expected 1 to 256"),
        (("--workers", "2", "--explain", "why"), "--explain works in one process"),
        (("--workers", "2", "--threads", "2"), "each of the --workers has one thread"),
        (("--threads", "0"), "--threads is 0; expected 1 to 256"),
        (("--threads", "257"), "--threads is 257; expected 1 to 256"),
    ],
)
def test_wrong_numbers_are_refused(
    hts: Hts, run: Path, videos: list[Path], options: tuple[str, ...], message: str
) -> None:
    code, output, errors = hts("predict", run, videos[0], *options)
    assert (code, output) == (2, "")
    assert message in errors


@pytest.mark.parametrize(
    ("options", "variable", "expected"),
    [
        ((), None, 1),
        ((), "", 1),
        ((), "2", 2),
        (("--threads", "3"), None, 3),
        (("--threads", "1"), "2", 1),
        ((), "2,1", None),  # for OpenMP to understand
    ],
)
@pytest.mark.parametrize("command", ["predict", "segment"])
def test_threads_that_compute(
    hts: Hts, run: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...], variable: str | None, expected: int | None, command: str,
) -> None:  # fmt: skip
    from hidden_two_stream.recognition.model import HiddenTwoStream

    seen = []
    inputs = HiddenTwoStream.temporal_inputs

    def watched(self: HiddenTwoStream, frames: torch.Tensor) -> tuple[torch.Tensor | int, ...]:
        seen.append(torch.get_num_threads())
        return inputs(self, frames)

    monkeypatch.setattr(HiddenTwoStream, "temporal_inputs", watched)
    before = torch.get_num_threads()
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    try:
        torch.set_num_threads(4)
        hts(command, run, videos[5], *options)
        assert set(seen) == {4 if expected is None else expected}
        assert torch.get_num_threads() == 4
        assert os.environ.get("OMP_NUM_THREADS") == variable
    finally:
        torch.set_num_threads(before)


def test_a_fresh_process_has_one_thread(run: Path, videos: list[Path]) -> None:
    code = (
        "from hidden_two_stream.cli.main import main\n"
        f"main(['predict', {str(run)!r}, {str(videos[0])!r}, '--quiet'])\n"
        "import torch\nprint(torch.get_num_threads())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "1", done.stderr
