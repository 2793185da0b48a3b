"""Every command once, end to end, on small generated videos."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.inference import flow_export as flow_module
from hidden_two_stream.motion.flo import read_flo
from hidden_two_stream.progress import listening
from hidden_two_stream.synthetic.clips import CLASSES
from hidden_two_stream.video.reader import probe, read_video
from hidden_two_stream.video.writer import write_video

from .conftest import QUICK

Hts = Callable[..., tuple[int, str, str]]


def test_a_run_folder_holds_what_people_look_for(small_run: Path) -> None:
    names = {path.name for path in small_run.iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "plan.json",
        "metrics.jsonl",
        "results.json",
        "report.html",
    } <= names
    results = json.loads((small_run / "results.json").read_text())
    assert set(results["accuracy"]) == {"spatial", "temporal", "fused"}
    assert results["protocol"] == "10x1"
    assert results["num_test_videos"] == 8
    assert set(results["seconds"]) == {"motion", "spatial", "temporal", "joint"}
    assert np.sum(results["confusion"]["fused"]) == 8
    assert "<svg" in (small_run / "report.html").read_text(encoding="utf-8")


def test_a_run_folder_is_all_that_prediction_needs(small_run: Path, small_data: Path, tmp_path: Path) -> None:
    alone = shutil.copy(small_run / "model.safetensors", tmp_path / "moved.safetensors")
    video = next((small_data.parent / "videos").rglob("test_*.mp4"))
    one = hidden_two_stream.load(small_run).predict(video)
    two = hidden_two_stream.load(alone).predict(video)
    assert np.array_equal(one.scores, two.scores)
    assert one.classes == tuple(sorted(CLASSES))


def test_evaluate_repeats_the_result_of_training(
    small_run: Path, small_data: Path, hts: Hts, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.npz"
    code, out, err = hts(
        "evaluate", small_run, "--data", small_data, "--json", "--save-scores", scores, "--workers", 0
    )
    trained = json.loads((small_run / "results.json").read_text())
    assert code == 0
    found = json.loads(out)
    assert found["accuracy"] == trained["accuracy"]
    assert found["confusion"] == trained["confusion"]
    said = err.splitlines()[-1].removeprefix("to fuse these scores as this run does: hts ")
    tests = small_data.with_name("tests.csv")
    header, *rows = small_data.read_text().splitlines()
    tests.write_text("\n".join([header, *(row for row in rows if ",test" in row)]))
    code, out, _ = hts(*said.replace("LIST", str(tests)).split(), "--json")
    assert code == 0
    assert json.loads(out)["accuracy"]["fused"] == found["accuracy"]["fused"]
    with np.load(scores) as saved:
        best = saved["fused"].argmax(axis=1)
        assert (best == saved["truth"]).mean() == pytest.approx(found["accuracy"]["fused"])


def test_evaluate_names_its_protocol(small_run: Path, small_data: Path, hts: Hts) -> None:
    code, out, _ = hts(
        "evaluate", small_run, "--data", small_data, "--protocol", "center", "--split", "all", "--workers", 0
    )
    assert code == 0
    assert "24 videos (all videos), protocol center, chance 12.5%" in out


def test_predict_prints_json_and_nothing_else(small_run: Path, small_data: Path, hts: Hts) -> None:
    code, out, _ = hts("predict", small_run, small_data.parent / "videos" / "grow", "--json")
    assert code == 0
    found = json.loads(out)
    assert [Path(p["source"]).name for p in found["predictions"]] == [
        "test_0000.mp4",
        "train_0000.mp4",
        "train_0001.mp4",
    ]
    assert all(p["label"] in CLASSES and 0 < p["score"] <= 1 for p in found["predictions"])
    assert found["unreadable"] == []


def test_predict_goes_on_after_an_unreadable_file(
    small_run: Path, small_data: Path, hts: Hts, tmp_path: Path
) -> None:
    bad = tmp_path / "text.mp4"
    bad.write_text("not a video")
    good = small_data.parent / "videos" / "up" / "test_0000.mp4"
    code, out, err = hts("predict", small_run, bad, good)
    assert code == 1
    assert str(good) in out
    assert str(bad) in err
    assert "Traceback" not in err


def test_predict_takes_globs_and_names_that_begin_with_a_dash(
    small_run: Path, small_data: Path, hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small_data.parent / "videos" / "up" / "test_0000.mp4"
    for name in ("-dash.mp4", "тест clip (1).mp4"):
        shutil.copy(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    code, out, _ = hts("predict", small_run, "--", "-dash.mp4", "*clip*.mp4")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["-dash.mp4", "тест clip (1).mp4"]


def test_flow_writes_video_beside_motion(small_run: Path, small_data: Path, hts: Hts, tmp_path: Path) -> None:
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    out = tmp_path / "new" / "flow.mp4"
    assert hts("flow", small_run, video, "-o", out)[0] == 0
    info = probe(out)
    assert (info.num_frames, info.height, info.width) == (5, 32, 64)


def test_flow_writes_flo_files(small_run: Path, small_data: Path, hts: Hts, tmp_path: Path) -> None:
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    code, out, _ = hts("flow", small_run, video, "-o", tmp_path / "flo", "--json")
    assert code == 0
    assert json.loads(out)["num_pairs"] == 5
    expected = hidden_two_stream.load(small_run).flow(video)
    written = np.stack([read_flo(path) for path in sorted((tmp_path / "flo").iterdir())])
    assert np.allclose(written, expected, atol=1e-6)


def test_flow_of_a_run_is_that_which_it_was_trained_for(small_run: Path, hts: Hts, tmp_path: Path) -> None:
    """On larger video, too, the command shows the motion that the run's streams see, as Python does."""
    video = tmp_path / "large.mp4"
    write_video(video, np.repeat(np.arange(2, dtype=np.uint8) * 9, 96 * 96 * 3).reshape(2, 96, 96, 3))
    code, out, _ = hts("flow", small_run, video, "-o", tmp_path / "flo", "--json")
    assert code == 0
    assert json.loads(out)["short_side"] == 32
    (written,) = (tmp_path / "flo").iterdir()
    expected = hidden_two_stream.load(small_run).flow(video)
    np.testing.assert_allclose(read_flo(written), expected[0], atol=1e-6)
    code, out, _ = hts("flow", small_run, video, "-o", tmp_path / "flow.mp4", "--short-side", 96)
    assert (code, "motion of 1 frame pair of" in out) == (0, True)
    assert probe(tmp_path / "flow.mp4").height == 96


def test_flow_files_are_all_there_or_none(
    small_run: Path, small_data: Path, hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stopped is in nobody's way, and is not taken for whole."""
    video, write = small_data.parent / "videos" / "left" / "test_0000.mp4", flow_module.write_flo
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")

    def stopped(path: Path, flow: np.ndarray) -> None:
        if path.name == "flow_000002.flo":
            raise KeyboardInterrupt
        write(path, flow)

    for folder in ("new", "mine"):
        with monkeypatch.context() as patch:
            patch.setattr(flow_module, "write_flo", stopped)
            assert hts("flow", small_run, video, "-o", tmp_path / folder)[0] == 130
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert hts("flow", small_run, video, "-o", tmp_path / "mine")[0] == 0
    assert len(list((tmp_path / "mine").iterdir())) == 6


def test_flow_of_a_damaged_video_says_so(small_run: Path, data_root: Path, hts: Hts, tmp_path: Path) -> None:
    video = data_root / "odd" / "corrupted.mp4"
    for out in (tmp_path / "flow.mp4", tmp_path / "flo"):
        code, text, err = hts("flow", small_run, video, "-o", out, "--json")
        assert code == 0
        (warning,) = json.loads(text)["warnings"]
        assert "stopped after 28 frames" in warning
        assert err.strip() == f"hts: {video}: {warning}"


def test_flow_of_a_single_frame(small_run: Path, hts: Hts, tmp_path: Path) -> None:
    video = tmp_path / "one.mp4"
    write_video(video, np.zeros((1, 32, 32, 3), np.uint8))
    for out in (tmp_path / "flo", tmp_path / "flow.mp4"):
        code, _, err = hts("flow", small_run, video, "-o", out)
        assert (code, "single frame" in err) == (2, True)
        assert not out.exists()


def test_flow_files_of_two_videos_do_not_mix(
    small_run: Path, small_data: Path, hts: Hts, tmp_path: Path
) -> None:
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    assert hts("flow", small_run, video, "-o", tmp_path)[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _, err = hts("flow", small_run, video.with_name("train_0000.mp4"), "-o", tmp_path)
    assert code == 2
    assert "already holds .flo files" in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_evaluate_leaves_out_training_videos_in_a_new_folder(
    small_run: Path, small_data: Path, hts: Hts, tmp_path: Path
) -> None:
    for label in ("up", "down"):
        shutil.copytree(small_data.parent / "videos" / label, tmp_path / label)
    code, out, _ = hts("evaluate", small_run, "--data", tmp_path, "--json", "--workers", 0)
    assert code == 0
    found = json.loads(out)
    assert (found["num_test_videos"], found["num_trained_on"]) == (2, 0)
    assert found["videos"] == (
        "test part, the 2 of 6 videos that the run was not trained on, by their frames"
    )


def test_a_video_shorter_than_a_clip_is_labelled_with_a_warning(
    small_run: Path, small_data: Path, hts: Hts, tmp_path: Path
) -> None:
    clip = read_video(small_data.parent / "videos" / "up" / "test_0000.mp4", 2)[0]
    write_video(tmp_path / "short.mp4", clip)
    code, out, err = hts("predict", small_run, tmp_path / "short.mp4", "--json")
    assert code == 0
    assert "it has 2 of the 3 frames that a clip needs" in json.loads(out)["predictions"][0]["warnings"][0]
    assert "2 of the 3 frames" in err


def test_check_counts_and_names(small_data: Path, hts: Hts, tmp_path: Path) -> None:
    code, out, _ = hts("check", small_data, "--json", "--workers", 0)
    assert code == 0
    found = json.loads(out)
    assert (found["num_videos"], found["num_readable"], len(found["classes"])) == (24, 24, 8)
    assert found["num_frames"] == {"min": 6, "median": 6, "max": 6}
    root = tmp_path / "data"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        shutil.copy(small_data.parent / "videos" / "up" / "test_0000.mp4", root / label)
    (root / "b" / "broken.mp4").write_text("nothing")
    code, out, _ = hts("check", root, "--workers", 0)
    assert code == 1
    assert "broken.mp4" in out


def test_cross_validation_pools_its_folds(small_data: Path, hts: Hts, tmp_path: Path) -> None:
    rows = small_data.read_text().splitlines()
    listing = small_data.parent / "groups.csv"
    grouped = [f"{row.rsplit(',', 1)[0]},{'xyz'[i % 3]}" for i, row in enumerate(sorted(rows[1:]))]
    listing.write_text("\n".join(["path,label,subject", *grouped]) + "\n")
    arguments = (
        "cross-validate",
        "--data",
        listing,
        "--group",
        "subject",
        "--out",
        tmp_path / "cv",
        "--json",
        *QUICK,
    )
    code, out, _ = hts(*arguments)
    assert code == 0
    found = json.loads(out)
    assert [fold["subject"] for fold in found["folds"]] == ["x", "y", "z"]
    assert found["num_test_videos"] == 24 == sum(fold["num_test_videos"] for fold in found["folds"])
    pooled = sum(fold["accuracy"]["fused"] * fold["num_test_videos"] for fold in found["folds"]) / 24
    assert found["accuracy"]["fused"] == pytest.approx(pooled)
    assert (tmp_path / "cv" / "report.html").exists()
    code, _, err = hts(*arguments)
    assert code == 2
    assert "--resume" in err
    code, out, _ = hts(*arguments, "--resume")
    assert code == 0
    assert json.loads(out)["accuracy"] == found["accuracy"]


def test_a_group_can_be_held_out(small_data: Path, hts: Hts, tmp_path: Path) -> None:
    rows = small_data.read_text().splitlines()[1:]
    listing = small_data.parent / "held.csv"
    lines = [f"{row.rsplit(',', 1)[0]},{'xyz'[i % 3]}" for i, row in enumerate(sorted(rows))]
    listing.write_text("\n".join(["path,label,subject", *lines]) + "\n")
    run, scores = tmp_path / "run", tmp_path / "scores.npz"
    assert hts("train", "--data", listing, "--out", run, "--hold-out", "subject=y", *QUICK)[0] == 0
    held = [str(small_data.parent / line.split(",")[0]) for line in lines if line.endswith(",y")]
    options = ("--data", listing, "--json", "--workers", 0, "--save-scores", scores)
    code, out, _ = hts("evaluate", run, *options)
    assert code == 0
    assert json.loads(out)["num_test_videos"] == 8
    with np.load(scores) as saved:
        assert sorted(saved["names"].tolist()) == sorted(held)
    wrong = {"subject": "COLUMN=VALUE", "subject=w": "there are x, y, z", "age=3": "columns are"}
    for rule, expected in wrong.items():
        code, _, err = hts("train", "--data", listing, "--out", tmp_path / "no", "--hold-out", rule, *QUICK)
        assert code in (1, 2)
        assert expected in err


def test_motion_can_be_learned_once_and_used_again(small_data: Path, hts: Hts, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert hts("train", "--data", small_data, "--out", first, "--stage", "motion", *QUICK)[0] == 0
    code, _, err = hts("predict", first, small_data.parent / "videos" / "up")
    assert code == 1
    assert "no trained stream" in err
    arguments = (
        "train",
        "--data",
        small_data,
        "--out",
        second,
        "--motion-from",
        first,
        *QUICK,
        "--set",
        "joint.steps=0",
    )
    assert hts(*arguments)[0] == 0
    one, two = (hidden_two_stream.load(folder).model.motion_net.state_dict() for folder in (first, second))
    assert all(bool((one[name] == two[name]).all()) for name in one)
    assert "motion" not in json.loads((second / "results.json").read_text())["seconds"]


def test_demo_replaces_only_its_own_folder(hts: Hts, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, err = hts("demo", "--out", tmp_path)
    assert code == 2
    assert "--out" in err
    assert (tmp_path / "thesis.tex").exists()


def test_what_training_does_not_mirror_the_test_does_not_mirror(
    small_data: Path, hts: Hts, tmp_path: Path
) -> None:
    """Everywhere a protocol is used: train, evaluate, predict, in Python, cross-validate."""
    run, scores = tmp_path / "run", tmp_path / "scores.npz"
    options = (*QUICK, "--set", "input.flip=false")
    said = "protocol 2x5 instead of 2x10: training mirrored no clips (input.flip is false)"
    code, _, err = hts("train", "--data", small_data, "--out", run, *options, "--protocol", "2x10")
    assert (code, err.count(said)) == (0, 1)
    trained = json.loads((run / "results.json").read_text())
    assert trained["protocol"] == "2x5"
    common = ("evaluate", run, "--data", small_data, "--json", "--workers", 0, "--quiet")
    code, out, err = hts(*common, "--protocol", "2x10", "--save-scores", scores)
    assert (code, err.count(said)) == (0, 1)
    assert json.loads(out)["accuracy"] == trained["accuracy"]
    assert str(np.load(scores)["protocol"]) == "2x5"
    code, out, err = hts(*common, "--protocol", "2x5")
    assert (code, said in err, json.loads(out)["accuracy"]) == (0, False, trained["accuracy"])
    videos = sorted((small_data.parent / "videos").rglob("test_*.mp4"))[:2]
    code, out, err = hts("predict", run, *videos, "--protocol", "2x10", "--json")
    assert (code, err.count(said)) == (0, 1)
    assert {found["protocol"] for found in json.loads(out)["predictions"]} == {"2x5"}
    recognizer = hidden_two_stream.load(run)
    ten, five = (recognizer.predict(videos[0], protocol) for protocol in ("2x10", "2x5"))
    assert np.array_equal(ten.scores, five.scores)
    assert (ten.protocol, [text.startswith(said) for text in ten.warnings]) == ("2x5", [True])
    assert five.warnings == ()
    assert hidden_two_stream.evaluate(recognizer, small_data, protocol="2x10", workers=0).protocol == "2x5"


class _Progress:
    """Hears the titles of tasks."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def progressed(self, title: str, done: int, total: int, note: str) -> None:
        self.titles.append(title)

    def noted(self, text: str) -> None: ...


def test_predict_explains(small_run: Path, small_data: Path, hts: Hts, tmp_path: Path) -> None:
    videos = sorted((small_data.parent / "videos").rglob("test_*.mp4"))[:2]  # of one name, in two folders
    folder = tmp_path / "why"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    code, out, err = hts("predict", small_run, *videos, broken, "--explain", folder, "--json")
    result = json.loads(out)
    assert code == 1
    assert [each["source"] for each in result["unreadable"]] == [str(broken)]
    explained = [row["explanation"] for row in result["predictions"]]
    assert len({row["image"] for row in explained}) == 2
    for row, prediction in zip(explained, result["predictions"], strict=True):
        numbers = json.loads(Path(row["numbers"]).read_text())
        assert numbers["source"] == prediction["source"]
        assert numbers["score"] == pytest.approx(prediction["score"], abs=1e-5)
        assert set(numbers["windows"][0]["maps"]) == {"spatial", "temporal"}
        assert read_video(row["image"])[1].num_frames == 1
    heard = _Progress()
    with listening(heard):
        code, out, err = hts(
            "predict", small_run, videos[0], "--explain", folder, "--explain-class", "up", "--protocol", "2x5"
        )
    assert code == 0
    assert set(heard.titles) == {"explain"}
    assert "only the center crops of 2x5" in err
    assert out.splitlines()[1] == f"  why: {folder / videos[0].stem}.png"
    assert json.loads((folder / f"{videos[0].stem}.json").read_text())["label"] == "up"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--explain-class", "up"], "--explain-class needs --explain FOLDER"),
        (["--explain", "F", "--explain-class", "fly"], "'fly'; this run has the classes down"),
        (["--explain", "F", "--protocol", "26x1"], "Nx1 with N up to 25"),
    ],
)
def test_wrong_ways_to_ask_for_an_explanation(
    small_run: Path, small_data: Path, hts: Hts, options: list[str], message: str
) -> None:
    code, _, err = hts("predict", small_run, small_data, *options)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_trained_run_has_a_card(small_run: Path, hts: Hts) -> None:
    code, out, _ = hts("inspect", small_run, "--json")
    card = json.loads(out)
    assert code == 0
    assert card["provenance"]["data_license"] == "CC0-1.0"
    assert (card["num_train"], card["num_test"]) == (16, 8)
    assert card["results"]["accuracy"] == json.loads((small_run / "results.json").read_text())["accuracy"]
    assert {curve["stage"] for curve in card["curves"]} == {"motion", "spatial", "temporal", "joint"}
    code, out, _ = hts("inspect", small_run)
    assert "license       CC0-1.0" in out
