"""A run that is pushed and loaded by its name gives the same scores, bit for bit, and says its revision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import hidden_two_stream as hts
from hidden_two_stream.inference.annotator import Annotator
from hidden_two_stream.recognition.frame_head import FrameHead
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.training.frame_runs import feature_networks
from hidden_two_stream.video.writer import write_video

from ..hub_server import StandIn
from .conftest import small_run


@pytest.mark.parametrize(
    "model",
    [
        {"temporal": "stacked", "streams": ("temporal",)},
        {"temporal": "stacked", "streams": ("spatial", "temporal")},
        {"temporal": "branched", "streams": ("spatial", "temporal")},
        {"temporal": "sequence", "streams": ("temporal",)},
        {"temporal": "inflated", "streams": ("temporal",)},
        {"temporal": "stacked", "streams": ("spatial",)},
    ],
    ids=lambda model: f"{model['temporal']}-{'+'.join(model['streams'])}",
)
def test_the_same_scores_bit_for_bit(
    hub: StandIn, tmp_path: Path, clip: np.ndarray, model: dict[str, object]
) -> None:
    run = small_run(tmp_path / "run", **model)
    pushed = hts.push(run, "anna/moves")
    ours, theirs = hts.load(str(run)), hts.load("anna/moves")
    assert theirs.source == f"anna/moves@{pushed.commit}"
    assert ours.source == str(run)
    assert theirs.calibration == ours.calibration
    first, second = ours.predict(clip), theirs.predict(clip)
    assert np.array_equal(first.scores, second.scores)
    assert first.streams.keys() == second.streams.keys()
    for name in first.streams:
        assert np.array_equal(first.streams[name], second.streams[name])
    expected, found = ours.model.state_dict(), theirs.model.state_dict()
    assert all((expected[name] == found[name]).all() for name in expected)


def test_an_old_run_with_results(hub: StandIn, run: Path, clip: np.ndarray) -> None:
    hts.push(run, "anna/moves")
    assert np.array_equal(hts.load(run).predict(clip).scores, hts.load("anna/moves").predict(clip).scores)
    card, own = hts.inspect("anna/moves"), hts.inspect(run)
    assert card.path.startswith("anna/moves@")
    assert card.results["accuracy"] == own.results["accuracy"]
    assert card.parts == own.parts


def test_frame_labels(hub: StandIn, tmp_path: Path, clip: np.ndarray) -> None:
    names = ("groom", "rest")
    networks, info = feature_networks(None, names, 32, 0.0, "cpu")
    torch.manual_seed(0)
    head = FrameHead(128, len(names), dropout=0.0)
    torch.nn.init.normal_(head.outputs[1].weight)  # type: ignore[arg-type]
    folder = tmp_path / "run"
    folder.mkdir()
    Annotator(networks, head, info, False, 1.3, (0.4, 0.6)).save(folder)
    pushed = hts.push(folder, "anna/mice")
    ours, theirs = hts.load_annotator(folder), hts.load_annotator("anna/mice")
    assert theirs.source == f"anna/mice@{pushed.commit}"
    assert theirs.thresholds == ours.thresholds
    first, second = ours.annotate(clip), theirs.annotate(clip)
    assert np.array_equal(first.scores, second.scores)
    assert np.array_equal(first.values, second.values)
    assert "hts annotate anna/mice" in hub.models["anna/mice"].files["README.md"].decode()


def test_a_pinned_revision_stays(hub: StandIn, tmp_path: Path) -> None:
    old = small_run(tmp_path / "old", streams=("temporal",))
    new = small_run(tmp_path / "new", streams=("spatial", "temporal"))
    first = hts.push(old, "anna/moves")
    second = hts.push(new, "anna/moves")
    hub.models["anna/moves"].tags["v1"] = str(first.commit)
    assert first.commit != second.commit
    assert hts.load("anna/moves").trained_streams == ("spatial", "temporal")
    for revision in (str(first.commit), str(first.commit)[:8], "v1"):
        loaded = hts.load(f"anna/moves@{revision}")
        assert loaded.trained_streams == ("temporal",)
        assert loaded.source == f"anna/moves@{first.commit}"


def test_a_second_load_of_a_pinned_revision_asks_nobody(hub: StandIn, tmp_path: Path) -> None:
    pushed = hts.push(small_run(tmp_path / "run", streams=("temporal",)), "anna/moves")
    hts.load(f"anna/moves@{pushed.commit}")
    hub.requests.clear()
    hts.load(f"anna/moves@{pushed.commit}")
    assert hub.requests == []


def test_a_folder_here_wins(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hts.push(small_run(tmp_path / "run", streams=("temporal",)), "anna/moves")
    monkeypatch.chdir(tmp_path)
    small_run(tmp_path / "anna" / "moves", streams=("spatial", "temporal"))
    hub.requests.clear()
    assert hts.load("anna/moves").trained_streams == ("spatial", "temporal")
    assert hub.requests == []


def test_only_the_files_of_a_run_are_fetched(hub: StandIn, run: Path) -> None:
    hts.push(run, "anna/moves")
    hub.models["anna/moves"].commit({"pytorch_model.bin": b"\x80", "../../evil.json": b"{}"})
    hub.requests.clear()
    hts.load("anna/moves")
    fetched = {line.rsplit("/", 1)[1] for line in hub.requests if "/resolve/" in line}
    assert fetched == {"config.json", "model.safetensors", "results.json"}


def test_every_command_takes_the_name(
    hub: StandIn, run: Path, tmp_path: Path, hts: Callable[..., tuple[int, str, str]]
) -> None:
    video = tmp_path / "clip.mp4"
    write_video(video, generate_clip("right", 0, num_frames=12, size=64).frames, 12)
    code, out, _ = hts("push", run, "anna/moves", "--json")
    pushed = json.loads(out)
    assert (code, pushed["private"], set(pushed["files"])) == (
        0, True, {"README.md", "config.json", "flow.png", "model.safetensors", "results.json"},
    )  # fmt: skip
    pinned = f"anna/moves@{pushed['commit']}"
    code, out, err = hts("predict", "anna/moves", video, "--json")
    assert (code, json.loads(out)["run"]) == (0, pinned)
    assert pinned in err
    local = json.loads(hts("predict", run, video, "--json")[1])
    assert json.loads(out)["predictions"] == local["predictions"]
    code, out, _ = hts("inspect", "anna/moves")
    assert code == 0
    assert pinned in out
    for arguments in (
        ("segment", "anna/moves", video), ("features", "anna/moves", video, "--out", tmp_path / "f.npz"),
        ("flow", "anna/moves", video, "--out", tmp_path / "flow.mp4"), ("stream", "anna/moves", video),
    ):  # fmt: skip
        assert hts(*arguments)[0] == 0, arguments
    two = json.loads(hts("predict", "anna/moves", video, video, "--workers", "2", "--json")[1])
    assert two["predictions"][0] == local["predictions"][0]
