"""Nothing private leaves: neither paths, nor names of videos and people, nor the training state."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import hidden_two_stream as hts
from hidden_two_stream.checkpoint import RunMetadata, read_description
from hidden_two_stream.errors import UsageError
from hidden_two_stream.sharing.public import audit, benchmark_name, public_info, public_results
from hidden_two_stream.synthetic.dataset import write_dataset

from ..hub_server import StandIn
from .conftest import SECRET, small_run

PUSHED = {"README.md", "config.json", "flow.png", "model.safetensors", "results.json"}


def test_the_secrets_of_a_description_stay(hub: StandIn, tmp_path: Path) -> None:
    run = small_run(tmp_path / "annaverysecret-run", streams=("spatial", "temporal"))
    (run / "results.json").write_text(
        json.dumps({
            "protocol": "10x1", "num_test_videos": 2, "accuracy": {"fused": 0.5}, "chance": 0.5,
            "unreadable": [SECRET], "trained_on": [SECRET], "num_trained_on": 1, "group": "annaverysecret",
        })
    )  # fmt: skip
    (run / "state.safetensors").write_bytes(b"annaverysecret")
    (run / "metrics.jsonl").write_text('{"stage": "motion", "step": 1}\n')
    hts.push(run, "anna/moves")
    files = hub.models["anna/moves"].files
    assert set(files) - {".gitattributes"} == PUSHED
    for name, content in files.items():
        assert b"annaverysecret" not in content, name
        assert b"/home/" not in content, name
        assert str(tmp_path).encode() not in content, name
    assert b"one subject" in files["README.md"]
    assert json.loads(files["results.json"])["num_trained_on"] == 1
    for headers in hub.headers:
        assert "annaverysecret" not in json.dumps(headers)


def test_no_path_of_the_training_data_is_pushed(
    hub: StandIn, tmp_path: Path, hts: Callable[..., tuple[int, str, str]]
) -> None:
    """A run that was trained here, with all that its folder holds."""
    folder, run = tmp_path / "annaverysecret", tmp_path / "run"
    data = folder / "videos"
    write_dataset(folder, train_per_class=2, test_per_class=1, size=32, num_frames=4)
    small = [
        f"--set={field}" for field in (
            "input.size=32", "input.resize=32", "model.num_frames=3", "motion.steps=0", "spatial.steps=1",
            "temporal.steps=1", "joint.steps=0", "calibration.method=none",
        )
    ]  # fmt: skip
    assert hts("train", "--data", data, "--out", run, "--recipe", "nano", "--workers", "0", *small)[0] == 0
    private = {str(path) for path in (tmp_path, data, run)}
    record = json.loads((run / "samples.json").read_text())
    private |= {sample["name"] for part in ("train", "test") for sample in record[part]}
    private |= {sample["digest"] for part in ("train", "test") for sample in record[part]}
    private |= {os.path.expanduser("~") + "/", "annaverysecret"}
    assert any(text in (run / "config.json").read_text() for text in private)  # else this would prove nothing
    assert hts("push", run, "anna/moves")[0] == 0
    for name, content in hub.models["anna/moves"].files.items():
        for text in private:
            assert text.encode() not in content, (name, text)


@pytest.mark.parametrize(
    "text",
    [
        "see /home/anna/videos", "C:\\Users\\anna", "~/videos", "file:///x", "in /data/clips/a b.mp4",
        "host lab-7", "(/srv/a/b)",
    ],
)  # fmt: skip
def test_the_audit_finds(text: str) -> None:
    with pytest.raises(UsageError, match=r"would publish .*nothing is pushed"):
        audit({"README.md": text}, ["lab-7"], ["anna/moves"])


@pytest.mark.parametrize(
    "text",
    [
        "https://arxiv.org/abs/1704.00389", "hts load anna/moves@abc/def", "a / b / c", "1/2/3", "lab-70",
        "open/close/door", "**0.0%** / 3", "| --- | ---: |",
    ],
)  # fmt: skip
def test_the_audit_passes(text: str) -> None:
    audit({"README.md": text}, ["lab-7"], ["anna/moves", ""])


def test_short_class_names_do_not_hide_a_path() -> None:
    with pytest.raises(UsageError, match=r"would publish '/home/anna/x'"):
        audit({"README.md": "a /home/anna/x"}, [], ["a", "h", "/"])
    audit({"README.md": "the class /in/out"}, ["in-out"], ["move /in/out"])


def test_the_audit_stops_a_push(hub: StandIn, run: Path) -> None:
    from hidden_two_stream.checkpoint import DESCRIPTION_KEY, MODEL_FILE
    from hidden_two_stream.tensors import write_tensors

    _, tensors, data, _ = read_description(run)
    data["provenance"]["versions"] = {"torch": "built in /home/anna/torch"}
    write_tensors(run / MODEL_FILE, tensors, {DESCRIPTION_KEY: json.dumps(data)})
    with pytest.raises(UsageError, match=r"would publish '/home/anna/torch'"):
        hts.push(run, "anna/moves")
    assert hub.models == {}


def test_what_the_author_names_is_published(hub: StandIn, run: Path) -> None:
    options = hts.CardOptions(title="Eight moves", license="cc-by-4.0", data_name="Moves/2026 by Anna")
    hts.push(run, "anna/moves", options=options)
    card = hub.models["anna/moves"].files["README.md"].decode()
    assert "# Eight moves" in card
    assert "license: cc-by-4.0" in card
    assert "Moves/2026 by Anna" in card
    assert hts.load("anna/moves").info.metadata.data == "Moves/2026 by Anna"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("ucf101:/data/UCF101:1", "UCF101, split 1"), ("thumos14:/data/t", "THUMOS14"),
        ("/data/ucf101", None), ("kinetics", None), ("C:\\videos", None), ("tsn:a.txt:b.txt", None),
    ],
)  # fmt: skip
def test_names_of_benchmarks(data: str, name: str | None) -> None:
    assert benchmark_name(data) == name


def test_a_description_keeps_what_is_public(tmp_path: Path) -> None:
    _, _, _, info = read_description(small_run(tmp_path / "run", streams=("temporal",)))
    metadata = public_info(info).metadata
    assert metadata.data == "videos of the author's own"
    assert (metadata.num_training_videos, metadata.min_fps, metadata.max_fps) == (7, 25.0, 30.0)
    assert metadata.calibration == info.metadata.calibration
    assert metadata.motion_init == {"source": "own file", "sha256": "0" * 64}
    assert metadata.warm_start == {"motion": "another run"}
    based = RunMetadata(warm_start={"spatial": "ben/base@" + "a" * 40})
    kept = public_info(type(info)(info.recipe, info.classes, based)).metadata.warm_start
    assert kept == {"spatial": "ben/base@" + "a" * 40}


def test_results_hold_numbers_only() -> None:
    found = public_results({"accuracy": {"fused": 1.0}, "names": ["a.mp4"], "test": {
        "macro_f1": 0.5, "tested": "subject=anna", "unreadable": {"a.mp4": "x"}, "num_videos": 1,
    }})  # fmt: skip
    assert found == {"accuracy": {"fused": 1.0}, "test": {"macro_f1": 0.5, "num_videos": 1}}
