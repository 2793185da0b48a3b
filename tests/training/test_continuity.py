"""A resumed run goes on with what it began with, or says what is different."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.training import runner
from hidden_two_stream.training.continuity import decoded_contents, file_contents, keep_contents
from hidden_two_stream.video.writer import write_video

Hts = Callable[..., tuple[int, str, str]]
OPTIONS = [
    *("--workers", "0", "--quiet", "--protocol", "center", "--set", "input.size=32"),
    *("--set", "model.num_frames=3", "--set", "spatial.batch_size=2", "--set", "spatial.steps=2"),
    *("--stage", "spatial"),
]


def video(path: Path, gray: int, frames: int = 4) -> Sample:
    write_video(path, np.full((frames, 32, 32, 3), gray, np.uint8))
    return Sample(str(path), "a")


# -- digests ---------------------------------------------------------------------------------------


def test_files_are_told_apart_by_name_and_size(tmp_path: Path) -> None:
    samples = [Sample(str(tmp_path / name), "a") for name in ("one.mp4", "two.mp4", "gone.mp4")]
    (tmp_path / "one.mp4").write_bytes(b"12345")
    (tmp_path / "two.mp4").write_bytes(b"1")
    before = file_contents(samples)
    assert file_contents([*samples, samples[0]]) == before  # two parts of one video
    (tmp_path / "one.mp4").write_bytes(b"54321")
    assert file_contents(samples) == before
    (tmp_path / "one.mp4").write_bytes(b"123456")
    assert file_contents(samples) != before
    assert file_contents([Sample("https://example.org/a.mp4", "a")]) == file_contents([])


def test_frame_folders_are_told_apart_by_their_images(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"1")
    samples = [Sample(str(tmp_path), "a")]
    before = file_contents(samples)
    (tmp_path / "Thumbs.db").write_bytes(b"1")
    assert file_contents(samples) == before
    (tmp_path / "1.png").write_bytes(b"12")
    assert file_contents(samples) != before


def test_decoded_videos_are_told_apart_by_length_and_pixels(tmp_path: Path) -> None:
    def decoded(gray: int, frames: int, budget: int = 1 << 20) -> dict[str, str]:
        return decoded_contents(
            open_clip_cache([video(tmp_path / "a.mp4", gray, frames)], 32, budget_bytes=budget)
        )

    first = decoded(100, 4)
    assert decoded(100, 4) == first
    assert decoded(180, 4)["lengths"] == first["lengths"]
    assert decoded(180, 4)["pixels"] != first["pixels"]
    assert decoded(100, 5)["lengths"] != first["lengths"]
    assert decoded(100, 4, budget=0) == {"lengths": first["lengths"]}


def test_digests_are_kept_compared_and_added(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"data": "x"}))
    keep_contents(plan, {"files": "1"}, "x", write=False)
    assert json.loads(plan.read_text()) == {"data": "x"}
    keep_contents(plan, {"files": "1"}, "x")
    keep_contents(plan, {"lengths": "2", "pixels": "3"}, "x")
    assert json.loads(plan.read_text())["contents"] == {"files": "1", "lengths": "2", "pixels": "3"}
    keep_contents(plan, {"lengths": "2"}, "x")
    with pytest.raises(UsageError, match="the videos in 'x' have changed since this run began: other pixels"):
        keep_contents(plan, {"lengths": "2", "pixels": "4"}, "x")
    with pytest.raises(UsageError, match="other files"):
        keep_contents(plan, {"files": "2"}, "x")


def test_another_decoder_is_named_and_not_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"contents": {"lengths": "2", "pixels": "3"}, "versions": {"av": "1.0"}}))
    keep_contents(plan, {"lengths": "2", "pixels": "4"}, "x")
    assert "this version of av decodes some videos to other pixels" in capsys.readouterr().err
    with pytest.raises(UsageError, match="other lengths, pixels"):
        keep_contents(plan, {"lengths": "1", "pixels": "4"}, "x")


@pytest.mark.parametrize("text", ["[]", "{", '{"contents": 3}', '{"versions": []}', "[" * 50_000])
def test_a_damaged_plan_is_refused(text: str, tmp_path: Path, hts: Hts) -> None:
    (tmp_path / "plan.json").write_text(text)
    if text != '{"versions": []}':
        with pytest.raises(CheckpointError, match="is damaged"):
            keep_contents(tmp_path / "plan.json", {"files": "1"}, "x")
    code, _, err = hts("train", "--resume", "--out", tmp_path)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "plan.json' is damaged" in err


# -- runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, `data`, and a complete run of it, `run`."""
    from hidden_two_stream.cli.main import main

    root = tmp_path_factory.mktemp("trained")
    data = write_dataset(root / "data", train_per_class=2, test_per_class=0, num_frames=4, size=32)
    assert main(["train", "--data", str(data), "--out", str(root / "run"), "--seed", "7", *OPTIONS]) == 0
    return root


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy, whose plan names the copied data."""
    root = Path(shutil.copytree(trained, tmp_path / "copied"))
    change_plan(root, data=str(root / "data" / "labels.csv"))
    return root


def change_plan(root: Path, **changes: object) -> None:
    path = root / "run" / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def resumed(hts: Hts, root: Path, *more: object) -> tuple[int, str]:
    code, _, err = hts("train", "--resume", "--out", root / "run", "--workers", 0, *more)
    return code, err


def test_the_plan_records_contents_and_versions(trained: Path) -> None:
    plan = json.loads((trained / "run" / "plan.json").read_text())
    assert set(plan["contents"]) == {"files", "lengths", "pixels"}
    assert {"torch", "av", "hidden_two_stream"} <= set(plan["versions"])


def test_the_same_data_at_another_place_goes_on(copied: Path, hts: Hts) -> None:
    before = read_tensors(copied / "run" / "model.safetensors")[0]
    code, err = resumed(hts, copied)
    assert code == 0, err
    assert "other versions" not in err
    after = read_tensors(copied / "run" / "model.safetensors")[0]
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_file_with_the_same_name_and_another_size_is_refused(copied: Path, hts: Hts) -> None:
    path = copied / "data" / "videos" / "left" / "train_0000.mp4"
    video(path, 100)
    code, err = resumed(hts, copied)
    assert code == 2
    assert "have changed since this run began: other files under the same names" in err
    assert "plan.json" in err
    assert "decode" not in err


def test_a_file_of_the_same_size_and_other_pixels_is_refused(
    copied: Path, hts: Hts, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied / "data" / "videos" / "left" / "train_0000.mp4"
    video(path, 100)
    monkeypatch.setattr(runner, "file_contents", lambda _: {})
    code, err = resumed(hts, copied)
    assert code == 2
    assert "other pixels under the same names" in err


def test_a_changed_split_is_refused(copied: Path, hts: Hts) -> None:
    listing = copied / "data" / "labels.csv"
    listing.write_text(listing.read_text().replace(",train", ",test", 1))
    code, err = resumed(hts, copied)
    assert code == 2
    assert "are not those that this run began with" in err


def test_other_versions_are_named(copied: Path, hts: Hts) -> None:
    versions = json.loads((copied / "run" / "plan.json").read_text())["versions"]
    change_plan(copied, versions=versions | {"torch": "1.0", "hidden_two_stream": "0.1"})
    code, err = resumed(hts, copied)
    assert code == 0
    (line,) = [line for line in err.splitlines() if "began with other versions" in line]
    assert (
        f"hidden_two_stream 0.1, now {versions['hidden_two_stream']}; torch 1.0, now {versions['torch']}"
        in line
    )


@pytest.mark.parametrize("seed", [0, 7, 8])  # 0 is the default: giving it changed nothing, in silence
def test_another_seed_on_the_command_line_is_refused(seed: int, copied: Path, hts: Hts) -> None:
    code, err = resumed(hts, copied, "--seed", seed)
    assert (code, "leave out --seed" in err) == (2, True)


@pytest.mark.parametrize(
    "option",
    [("--recipe", "nano"), ("--stage", "all"), ("--test-fraction", 0.25), ("--protocol", "10x1")],
)
def test_an_option_with_its_default_value_is_refused_too(
    option: tuple[str, object], copied: Path, hts: Hts
) -> None:
    code, err = resumed(hts, copied, *option)
    assert (code, f"leave out {option[0]}" in err) == (2, True)


def test_a_plan_with_another_seed_is_refused(copied: Path, hts: Hts) -> None:
    change_plan(copied, seed=8)
    code, err = resumed(hts, copied)
    assert (code, "differs in seed" in err) == (1, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stages", "motion"), ("stages", ["dance"]), ("seed", "x"), ("data", 3), ("test_fraction", None),
        ("warm_start", []), ("protocol", 3), ("held_out", 3), ("fingerprint", None), ("contents", 3),
        ("versions", 3), ("recipe", "x.yaml"), ("recipe", {"motion": "x.yaml"}), ("odd", 1),
        ("protocol", "5"),
    ],
)  # fmt: skip
def test_a_plan_with_a_wrong_field_is_refused(field: str, value: object, copied: Path, hts: Hts) -> None:
    change_plan(copied, **{field: value})
    code, err = resumed(hts, copied)
    (line,) = [line for line in err.splitlines() if line.startswith("hts: ")]
    assert code in (1, 2)
    assert "unexpected" not in line
    assert "plan.json" in line or "protocol" in line


# -- runs that ended early -------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["decode_samples", "fit"])
def test_a_run_that_ended_before_its_first_state_does_not_block_its_folder(
    fails: str, trained: Path, tmp_path: Path, hts: Hts, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = trained / "data" / "labels.csv", tmp_path / "run"

    def failed(*_: object, **__: object) -> ClipCache:
        raise UsageError("something is wrong")

    with monkeypatch.context() as patch:
        patch.setattr(runner, fails, failed)
        assert hts("train", "--data", data, "--out", run, *OPTIONS, "--seed", 1)[0] == 2
    (run / "motion_init.json").write_text("{}")
    (run / ".state.0123abcd.part.safetensors").write_text("half")  # of a process that was killed
    assert (run / "plan.json").exists()
    code, _, err = hts("train", "--data", data, "--out", run, *OPTIONS, "--seed", 2, "--from-scratch")
    assert code == 0, err
    assert "ended before its first saved state; a new one takes its place" in err
    assert json.loads((run / "plan.json").read_text())["seed"] == 2
    assert not (run / "motion_init.json").exists()
    assert not list(run.glob(".*"))
    code, _, err = hts("train", "--data", data, "--out", run, *OPTIONS)
    assert (code, "already holds a run" in err) == (2, True)


def test_a_comparison_that_ended_early_does_not_block_its_folder(
    trained: Path, tmp_path: Path, hts: Hts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hidden_two_stream.experiments import compare

    def failed(*_: object, **__: object) -> ClipCache:
        raise UsageError("something is wrong")

    command = [
        "compare",
        "--data",
        trained / "data" / "labels.csv",
        "--out",
        tmp_path,
        "--methods",
        "spatial",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(compare, "decode_samples", failed)
        for _ in range(2):
            code, _, err = hts(*command, "--workers", 0, "--protocol", "center")
            assert (code, "something is wrong" in err) == (2, True)
    (tmp_path / "runs" / "spatial").mkdir(parents=True)
    (tmp_path / "runs" / "spatial" / "state.safetensors").touch()
    code, _, err = hts(*command, "--workers", 0, "--protocol", "center")
    assert (code, "already holds runs" in err) == (2, True)
