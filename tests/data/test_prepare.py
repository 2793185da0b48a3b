"""`hts prepare`, and `hts cross-validate` over official splits, on small generated copies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.data.benchmarks import check
from hidden_two_stream.experiments.cross_validation import CrossValidation, FoldResult
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

from .benchmark_trees import make_hmdb51, make_ucf101, write

Hts = Callable[..., tuple[int, str, str]]

QUICK = [
    *("--set", "input.size=32", "--set", "model.num_frames=3", "--workers", "0", "--quiet"),
    *(part for stage in ("motion", "joint") for part in ("--set", f"{stage}.steps=0")),
    *(part for stage in ("spatial", "temporal") for part in ("--set", f"{stage}.steps=2")),
    *(part for stage in ("spatial", "temporal") for part in ("--set", f"{stage}.batch_size=2")),
]


@pytest.fixture
def small_sets_are_official(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the counts of the small copies as the official ones."""
    monkeypatch.setattr(
        check,
        "OFFICIAL_COUNTS",
        {"ucf101": dict.fromkeys((1, 2, 3), (12, 6, 0)), "hmdb51": dict.fromkeys((1, 2, 3), (9, 6, 3))},
    )
    monkeypatch.setattr(check, "OFFICIAL_CLASSES", {"ucf101": 3, "hmdb51": 3})


@pytest.mark.usefixtures("small_sets_are_official")
def test_a_complete_copy(hts: Hts, tmp_path: Path) -> None:
    make_ucf101(tmp_path / "ucf")
    code, out, err = hts("prepare", "ucf101", tmp_path / "ucf", "--workers", 0, "--quiet")
    assert (code, err) == (0, "")
    assert "split 3: train 12 of 12, test 6 of 6 found" in out
    assert f"videos: 18 in {tmp_path / 'ucf' / 'UCF-101'}" in out
    assert f"lists: {tmp_path / 'ucf' / 'ucfTrainTestlist'}\n" in out
    assert out.splitlines()[-1].startswith("complete: 18 of 18 videos are present")
    make_hmdb51(tmp_path / "hmdb")
    arguments = ("--splits", 2, "--decode", "--json", "--workers", 0)
    code, out, _ = hts("prepare", "HMDB51", tmp_path / "hmdb", *arguments)
    found = json.loads(out)
    assert (code, found["complete"], found["checked"]) == (0, True, "all frames")
    counts = {part: {"listed": n, "found": n} for part, n in (("train", 9), ("test", 6), ("unused", 3))}
    assert found["splits"] == [{"split": 2, **counts}]
    assert found["data"] == [f"hmdb51:{tmp_path / 'hmdb'}:2"]
    assert (found["num_videos"], found["missing"], found["unreadable"]) == (18, [], [])


@pytest.mark.usefixtures("small_sets_are_official")
def test_an_unreadable_video_makes_a_copy_incomplete(hts: Hts, tmp_path: Path) -> None:
    folder = make_ucf101(tmp_path) / "UCF-101"
    (folder / "Bowling" / "v_Bowling_g02_c01.avi").write_text("nothing")
    code, out, _ = hts("prepare", "ucf101", tmp_path, "--workers", 0, "--quiet")
    assert code == 1
    assert out.splitlines()[-1] == "not complete: 18 of 18 videos are present; 1 unreadable"


@pytest.mark.usefixtures("small_sets_are_official")
def test_missing_and_unreadable_videos_are_named(hts: Hts, tmp_path: Path) -> None:
    folder = make_ucf101(tmp_path / "ucf") / "UCF-101"
    for name in ("Archery", "Bowling"):
        shutil.rmtree(folder / name)
    (folder / "HandstandPushups" / "v_HandStandPushups_g02_c01.avi").write_text("nothing")
    (folder / "HandstandPushups" / "v_HandStandPushups_g02_c02.avi").write_bytes(b"")
    listed = tmp_path / "list.txt"
    arguments = ("prepare", "ucf101", tmp_path / "ucf", "--workers", 0, "--quiet", "--out", listed)
    code, out, _ = hts(*arguments, "--json")
    found = json.loads(out)
    assert code == 1
    assert not found["complete"]
    assert sorted(found["missing"]) == sorted(
        str(folder / name / f"v_{name}_g{group:02d}_c{clip:02d}.avi")
        for name in ("Archery", "Bowling")
        for group in (1, 2, 3)
        for clip in (1, 2)
    )
    assert {Path(row["video"]).name: row["reason"] for row in found["unreadable"]} == {
        "v_HandStandPushups_g02_c01.avi": "it is not a video, or its beginning is damaged",
        "v_HandStandPushups_g02_c02.avi": "the file is empty (0 bytes)",
    }
    assert found["splits"][1]["test"] == {"listed": 6, "found": 2}
    code, out, _ = hts(*arguments)
    assert code == 1
    assert out.count("missing: ") == 11
    assert f"missing: 2 more; all are in {listed}" in out
    assert "not complete: 6 of 18 videos are present; 12 missing, 2 unreadable" in out
    lines = listed.read_text().splitlines()
    assert sum(line.startswith("missing: ") for line in lines) == 12
    assert sum(line.startswith("unreadable: ") for line in lines) == 2


def test_counts_are_compared_with_the_official_ones(hts: Hts, tmp_path: Path, data_root: Path) -> None:
    shutil.copytree(data_root / "splits" / "ucf101_splits", tmp_path / "ucf" / "splits")
    shutil.copytree(data_root / "splits" / "hmdb51_splits", tmp_path / "hmdb" / "splits")
    found = {}
    for name, root in (("ucf101", "ucf"), ("hmdb51", "hmdb")):
        code, out, _ = hts("prepare", name, tmp_path / root, "--json", "--quiet")
        found[name] = json.loads(out)
        assert (code, found[name]["different"]) == (1, [])
    assert [found[name]["num_videos"] for name in found] == [13320, 6766]
    assert found["hmdb51"]["splits"][0]["unused"]["listed"] == 1666
    path = tmp_path / "ucf" / "splits" / "trainlist02.txt"
    path.write_text(path.read_text().split("\n", 1)[1])
    code, out, _ = hts("prepare", "ucf101", tmp_path / "ucf", "--quiet")
    assert "different: split 2, train: 9,585 videos are listed; officially 9,586" in out
    assert out.count("different: ") == 1


def test_unused_videos_are_not_needed(hts: Hts, tmp_path: Path) -> None:
    make_hmdb51(tmp_path)
    path = tmp_path / "testTrainMulti_7030_splits" / "wave_test_split1.txt"
    [unused] = [
        line.rsplit(" ", 2)[0] for line in path.read_text("utf-8").splitlines() if line.endswith("0 ")
    ]
    (tmp_path / "hmdb51_org" / "wave" / unused).unlink()
    code, out, _ = hts("prepare", "hmdb51", tmp_path, "--splits", 1, "--quiet", "--workers", 0)
    assert code == 1
    assert "1 missing" in out
    assert "all training and test videos are present" in out


def test_tsn_frame_folders_are_counted(hts: Hts, tmp_path: Path) -> None:
    frames = generate_clip("up", 0, num_frames=3, size=32).frames
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", frames)
    (tmp_path / "c").mkdir()
    for number in (1, 2):
        _png(tmp_path / "c" / f"img_{number}.png")
    train = write(tmp_path / "train.txt", ["a.mp4 99 0", "b.mp4 3 1"])
    test = write(tmp_path / "test.txt", ["c 2 1"])
    code, out, _ = hts("prepare", "tsn", f"{train}:{test}", "--workers", 0, "--quiet")
    assert code == 0, out
    write(test, ["c 3 1"])
    code, out, _ = hts("prepare", "tsn", f"{train}:{test}", "--workers", 0, "--quiet")
    assert code == 1
    assert "c: the list says 3 frames, it holds 2" in out


def _png(path: Path) -> None:
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width = stream.height = 32
        stream.pix_fmt = "rgb24"
        container.mux(
            stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24"))
        )
        container.mux(stream.encode(None))


def test_damage_in_the_middle_is_a_warning_of_decoding(hts: Hts, tmp_path: Path, data_root: Path) -> None:
    for name in ("a", "b"):
        shutil.copy(data_root / "odd" / "corrupted.mp4", tmp_path / f"{name}.mp4")
    train = write(tmp_path / "train.txt", ["a.mp4 50 0", "b.mp4 50 1"])
    code, out, _ = hts("prepare", "tsn", train, "--quiet", "--workers", 0)
    assert (code, "warning" in out) == (0, False)
    code, out, _ = hts("prepare", "tsn", train, "--quiet", "--workers", 0, "--decode")
    assert code == 0
    assert out.count("decoding stopped after 28 frames") == 2


def test_wrong_usage_and_missing_lists(hts: Hts, tmp_path: Path) -> None:
    for arguments, expected, message in (
        (("imagenet", tmp_path), 2, "unknown data set 'imagenet'; choose one of ucf101"),
        (("thumos14", tmp_path, "--splits", 1), 2, "only one division; leave the split out"),
        (("ucf101", tmp_path, "--splits", "1..4"), 2, "expected a number from 1 to 3"),
        (("ucf101", tmp_path / "nowhere"), 2, "no folder at"),
        (("ucf101", tmp_path), 1, "crcv.ucf.edu"),
    ):
        code, _, err = hts("prepare", *arguments)
        assert code == expected
        assert message in err
        assert len(err.splitlines()) == 1


# -- official splits as folds ----------------------------------------------------------------------


def test_mean_and_deviation_of_folds() -> None:
    folds = tuple(FoldResult("1", 2, {"fused": value}, 1.0) for value in (0.5, 0.8, 0.8))
    found = CrossValidation("split", folds, None, "10x1", 0.5, (), 3.0, Path("runs")).to_dict()
    assert found["mean_fold_accuracy"]["fused"] == pytest.approx(0.7)
    assert found["std_fold_accuracy"]["fused"] == pytest.approx(np.sqrt(0.02))
    assert "accuracy" not in found


def test_cross_validation_over_official_splits(hts: Hts, tmp_path: Path) -> None:
    root = make_ucf101(tmp_path / "ucf", classes=2, groups=4, clips=1)
    (root / "UCF-101" / "Archery" / "v_Archery_g04_c01.avi").unlink()
    data, run = f"ucf101:{root}", tmp_path / "cv"
    arguments = ("cross-validate", "--data", f"{data}:1..3", "--out", run, *QUICK)
    code, out, err = hts(*arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    # Groups 1 and 4 test in split 1; one of these four videos is missing.
    assert [(row["split"], row["num_test_videos"]) for row in found["folds"]] == [
        ("1", 3),
        ("2", 2),
        ("3", 2),
    ]
    assert found["num_unreadable"] == 1
    assert found["unreadable"] == [str(root / "UCF-101" / "Archery" / "v_Archery_g04_c01.avi")]
    assert "accuracy" not in found
    for name in ("spatial", "temporal", "fused"):
        values = [row["accuracy"][name] for row in found["folds"]]
        assert found["mean_fold_accuracy"][name] == pytest.approx(sum(values) / 3)
        assert found["std_fold_accuracy"][name] == pytest.approx(np.std(values))
    for split in (1, 2, 3):
        config = json.loads((run / f"split_{split}" / "config.json").read_text())
        assert config["classes"] == ["Archery", "HandstandPushups"]
        assert (run / f"split_{split}" / "report.html").exists()
        with np.load(run / f"split_{split}" / "scores.npz") as scores:
            listed = (root / "ucfTrainTestlist" / f"testlist0{split}.txt").read_text().split()
            tested = {Path(name).name for name in scores["names"].tolist()}
            assert tested == {Path(name).name for name in listed} - {"v_Archery_g04_c01.avi"}
    assert "±" in (run / "report.html").read_text(encoding="utf-8")
    # What a fold was tested on is its own test part, also later.
    code, out, _ = hts(
        "evaluate", run / "split_2", "--data", f"{data}:2", "--workers", 0, "--json", "--quiet"
    )
    assert json.loads(out)["accuracy"] == found["folds"][1]["accuracy"]
    shutil.rmtree(run / "split_3")
    code, out, err = hts(*(argument for argument in arguments if argument != "--quiet"), "--resume")
    assert code == 0
    assert "split 2 is complete" in err
    assert "fused     mean of 3 splits" in out
    assert "1 unreadable video not counted" in out
    mean = found["mean_fold_accuracy"]["fused"]
    assert f"mean of 3 splits {mean:.1%} ±" in out


def test_a_fold_of_a_group_is_evaluated_on_its_own_test_videos(hts: Hts, tmp_path: Path) -> None:
    root = make_ucf101(tmp_path / "ucf", classes=2, clips=1) / "UCF-101"
    files = sorted(path for path in root.rglob("*.avi"))
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name},{path.stem[-5]}" for path in files]
    csv = write(tmp_path / "labels.csv", ["path,label,group", *rows])
    assert hts("cross-validate", "--data", csv, "--group", "group", "--out", tmp_path / "cv", *QUICK)[0] == 0
    run, scores = tmp_path / "cv" / "fold_2", tmp_path / "scores.npz"
    arguments = ("--data", csv, "--workers", 0, "--quiet", "--save-scores", scores)
    assert hts("evaluate", run, *arguments)[0] == 0
    with np.load(scores) as saved:
        assert {Path(name).stem[-7:-4] for name in saved["names"].tolist()} == {"g02"}


def test_a_split_trains_by_name(hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_hmdb51(tmp_path / "hmdb", classes=2)
    monkeypatch.chdir(tmp_path)
    assert hts("train", "--data", "hmdb51:hmdb:2", "--out", "run", *QUICK)[0] == 0
    assert json.loads(Path("run/plan.json").read_text())["data"] == f"hmdb51:{tmp_path / 'hmdb'}:2"
    code, out, _ = hts("evaluate", "run", "--data", "hmdb51:hmdb:2", "--workers", 0, "--json", "--quiet")
    found = json.loads(out)
    assert (code, found["num_test_videos"]) == (0, 4)
    assert found["confusion"]["classes"] == ["climb", "climb_stairs"]
    monkeypatch.chdir(tmp_path.parent)
    assert hts("train", "--resume", "--out", tmp_path / "run", "--workers", 0, "--quiet")[0] == 0


def test_folds_that_cannot_be_made(hts: Hts, tmp_path: Path) -> None:
    root = make_ucf101(tmp_path / "ucf", num_frames=1)
    csv = write(tmp_path / "labels.csv", ["path,label,subject", "a,x,1", "b,y,2"])
    for arguments, message in (
        (("--data", f"ucf101:{root}:1"), "names no range of splits"),
        (("--data", f"thumos14:{root}"), "names no range of splits"),
        (("--data", f"ucf101:{root}:1..3", "--group", "subject"), "--group subject is for a CSV"),
        (("--data", csv), "needs --group COLUMN"),
    ):
        code, _, err = hts("cross-validate", *arguments, "--out", tmp_path / "cv", *QUICK)
        assert code == 2
        assert message in err
        assert not (tmp_path / "cv").exists()
    code, _, err = hts("train", "--data", f"ucf101:{root}:1..3", "--out", tmp_path / "run", *QUICK)
    assert (code, "names several splits" in err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_an_unwritable_list_is_reported_before_any_video_is_opened(
    tmp_path: Path, hts: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_ucf101(tmp_path / "ucf", classes=2, clips=1)

    def opened(*_: object) -> None:
        raise AssertionError("videos were opened first")

    monkeypatch.setattr(check, "VideoReader", opened)
    code, out, err = hts("prepare", "ucf101", root, "--out", tmp_path / "nowhere" / "list.txt")
    assert (code, out) == (1, "")
    assert "nowhere" in err
