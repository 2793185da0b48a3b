"""The same video twice: in one dataset, in training and in the test, and in what a run is tested on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

import hidden_two_stream as package
from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import DataError
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

from .conftest import QUICK

Hts = Callable[..., tuple[int, str, str]]
QUIET = Resources(workers=0, quiet=True)


def make_data(folder: Path) -> Path:
    """A folder of two classes with four different clips each."""
    generator = np.random.default_rng(0)
    for label in ("a", "b"):
        for number in range(4):
            moving = generator.integers(0, 256, (6, 4, 4, 3), np.uint8).repeat(8, 1).repeat(8, 2)
            write_video(folder / label / f"{number}.mp4", moving, crf=10)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that a test may change."""
    return make_data(tmp_path / "data")


def as_images(video: Path, folder: Path, suffix: str) -> Path:
    frames, _ = read_video(video)
    folder.mkdir()
    for number, frame in enumerate(frames):
        with av.open(str(folder / f"{number:03d}{suffix}"), "w", format="image2") as container:
            stream = container.add_stream("png" if suffix == ".png" else "mjpeg", rate=25)
            stream.height, stream.width = frame.shape[:2]
            stream.pix_fmt = "rgb24" if suffix == ".png" else "yuvj420p"
            stream.codec_context.qmin = stream.codec_context.qmax = 3
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    return folder


def copied(how: str, source: Path, target: Path) -> Path:
    if how == "copy":
        shutil.copy(source, target)
    elif how == "link":
        target.symlink_to(source)
    elif how == "hard link":
        os.link(source, target)
    else:
        target = as_images(source, target.with_suffix(""), f".{how}")
    return target


@pytest.mark.parametrize("how", ["copy", "link", "hard link", "png", "jpg"])
def test_a_video_under_another_name_is_named_and_not_tested(
    hts: Hts, data: Path, tmp_path: Path, how: str
) -> None:
    other = copied(how, data / "a" / "0.mp4", data / "b" / "again.mp4")
    listing = tmp_path / "labels.csv"
    rows = [
        f"{path},{path.parent.name},{'test' if path == other else 'train'}"
        for path in sorted(data.glob("*/*"))
    ]
    listing.write_text("\n".join(["path,label,split", *rows]) + "\n")
    code, out, _ = hts("check", listing, "--json", "--workers", 0)
    assert code == 0
    (group,) = json.loads(out)["duplicates"]
    assert group == {
        "kind": "nearly the same frames" if how == "jpg" else "the same frames",
        "certain": True,
        "names": [str(data / "a" / "0.mp4"), str(other)],
        "labels_differ": True,
        "splits": ["test", "train"],
    }
    code, out, _ = hts("check", listing, "--workers", 0)
    assert "0.mp4' and '" in out
    assert "(test and train; labels a, b)" in out
    code, _, err = hts("train", "--data", listing, "--out", tmp_path / "run", *QUICK)
    assert code == 1
    (line,) = [line for line in err.splitlines() if line.startswith("hts")]
    assert "1 test video is in training too" in line
    assert str(other) in line
    assert "--allow-duplicates" in line


def test_duplicates_can_be_allowed(hts: Hts, data: Path, tmp_path: Path) -> None:
    listing = tmp_path / "labels.csv"
    shutil.copy(data / "a" / "0.mp4", data / "a" / "again.mp4")
    rows = [
        f"{path},{path.parent.name},{'test' if path.name in ('again.mp4', '3.mp4') else 'train'},"
        f"{'y' if path.name in ('again.mp4', '3.mp4') else 'x'}"
        for path in sorted(data.glob("*/*"))
    ]
    listing.write_text("\n".join(["path,label,split,subject", *rows]) + "\n")
    code, out, err = hts(
        "train", "--data", listing, "--out", tmp_path / "run", *QUICK, "--allow-duplicates", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert (found["num_test_videos"], found["num_trained_on"]) == (3, 1)
    assert found["trained_on"] == [str(data / "a" / "again.mp4")]
    assert "in training and in the test: the same frames" in err
    code, out, _ = hts("evaluate", tmp_path / "run", "--data", listing, "--workers", 0)
    assert code == 0
    assert "the run was trained on 1 of these videos: the accuracy is not that of unseen videos" in out
    settings = {"overrides": {"input.size": 32}, "resources": QUIET}
    with pytest.raises(DataError, match="2 test videos are in training too"):  # each in one fold
        package.cross_validate(listing, tmp_path / "folds", "subject", **settings)
    with pytest.raises(DataError, match="1 test video is in training too"):
        package.compare(listing, tmp_path / "compare", **settings)


def test_two_labels_of_one_video_in_training_are_named(hts: Hts, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "a" / "0.mp4", data / "b" / "again.mp4")
    code, _, err = hts("train", "--data", data, "--out", tmp_path / "run", *QUICK, "--test-fraction", 0)
    assert code == 0
    assert "labels differ for the same frames" in err


def test_overlapping_parts_across_the_split(hts: Hts, data: Path, tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (50, 32, 32, 3), np.uint8)
    write_video(data / "long.mp4", frames, fps=25)
    listing = tmp_path / "labels.csv"

    def write(second: str) -> None:
        rows = [f"data/{label}/{n}.mp4,{label},,,train" for label in "ab" for n in range(3)]
        rows += ["data/long.mp4,a,0,1,train", f"data/long.mp4,a,{second},2,test"]
        listing.write_text("\n".join(["path,label,start_seconds,end_seconds,split", *rows]) + "\n")

    write("0.8")
    code, _, err = hts("train", "--data", listing, "--out", tmp_path / "run", *QUICK)
    assert code == 1
    assert "show overlapping parts" in err
    code, out, _ = hts("check", listing, "--json", "--workers", 0)
    assert [group["kind"] for group in json.loads(out)["duplicates"]] == ["overlapping parts"]
    write("1")
    code, out, _ = hts("check", listing, "--json", "--workers", 0)
    assert json.loads(out)["duplicates"] == []


def test_cuts_of_one_quiet_recording_are_named_but_trained(hts: Hts, data: Path, tmp_path: Path) -> None:
    still = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8).repeat(6, 0)
    for number, label in enumerate("abab"):
        noise = np.random.default_rng(number).integers(0, 3, still.shape, np.uint8)
        write_video(data / label / f"quiet_{number}.mp4", np.minimum(still, 250) + noise, crf=0)
    code, out, _ = hts("check", data, "--json", "--workers", 0)
    (group,) = json.loads(out)["duplicates"]
    assert (group["kind"], group["certain"], len(group["names"])) == ("nearly the same frames", False, 4)
    code, _, err = hts("train", "--data", data, "--out", tmp_path / "run", *QUICK, "--test-fraction", 0.5)
    assert code == 0
    assert "perhaps in training and in the test: nearly the same frames" in err


# -- what evaluate tests ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder, and a run trained on three quarters of it; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    data = make_data(folder / "data")
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *QUICK]) == 0
    return data, folder / "run"


@pytest.fixture
def known(trained: tuple[Path, Path]) -> Path:
    """The data folder of the run; not to be changed."""
    return trained[0]


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the run."""
    return Path(shutil.copytree(trained[1], tmp_path / "run"))


def result_of(hts: Hts, run: Path, data: Path, *more: object) -> dict[str, object]:
    code, out, err = hts("evaluate", run, "--data", data, "--json", "--workers", 0, *more)
    assert code == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def test_a_run_knows_its_videos(run: Path, known: Path) -> None:
    saved = json.loads((run / "samples.json").read_text())
    assert (len(saved["train"]), len(saved["test"])) == (6, 2)
    names = [row["name"] for row in saved["train"] + saved["test"]]
    assert sorted(names) == [path.relative_to(known).as_posix() for path in sorted(known.glob("*/*"))]
    assert saved["folder"] + names[0] == str(known / names[0])
    assert len({row["digest"] for row in saved["train"] + saved["test"]}) == 8


def test_moved_and_renamed_data_is_divided_as_in_training(
    hts: Hts, run: Path, known: Path, tmp_path: Path
) -> None:
    before = result_of(hts, run, known)
    assert (before["num_test_videos"], before["num_trained_on"]) == (2, 0)
    moved = tmp_path / "moved"
    for path in known.glob("*/*"):
        target = moved / path.parent.name / f"x{path.stem}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    after = result_of(hts, run, moved)
    same = ("num_test_videos", "num_trained_on", "accuracy", "confusion")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert "2 of 8 videos that the run was not trained on" in str(after["videos"])
    assert result_of(hts, run, moved, "--split", "train")["num_trained_on"] == 6
    every = result_of(hts, run, moved, "--split", "all")
    assert (every["num_test_videos"], every["num_trained_on"]) == (8, 6)
    _, out, _ = hts("evaluate", run, "--data", moved, "--split", "train", "--workers", 0)
    assert "the run was trained on all of these videos: the accuracy is not that of unseen videos" in out


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_frames_of_the_training_videos_are_recognized(
    hts: Hts, run: Path, known: Path, tmp_path: Path, suffix: str
) -> None:
    for path in known.glob("*/*"):
        folder = tmp_path / "frames" / path.parent.name / path.stem
        folder.parent.mkdir(parents=True, exist_ok=True)
        as_images(path, folder, suffix)
    found = result_of(hts, run, tmp_path / "frames")
    assert (found["num_test_videos"], found["num_trained_on"]) == (2, 0)
    assert result_of(hts, run, tmp_path / "frames", "--split", "all")["num_trained_on"] == 6


def test_training_videos_alone_are_refused(hts: Hts, run: Path, known: Path, tmp_path: Path) -> None:
    saved = json.loads((run / "samples.json").read_text())
    for row in saved["train"]:
        target = tmp_path / "only" / row["name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(known / row["name"], target)
    code, _, err = hts("evaluate", run, "--data", tmp_path / "only", "--workers", 0)
    assert code == 1
    assert "no test videos: the run was trained on 6 of the 6 videos in" in err
    assert "use --split all" in err


def test_videos_added_after_training_are_tested(hts: Hts, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert hts("train", "--data", data, "--out", run, *QUICK)[0] == 0
    frames = np.random.default_rng(9).integers(0, 256, (6, 32, 32, 3), np.uint8)
    write_video(data / "a" / "000_new.mp4", frames)
    found = result_of(hts, run, data)
    assert (found["num_test_videos"], found["num_trained_on"]) == (3, 0)


def test_a_run_with_a_held_out_group_tests_other_data(hts: Hts, known: Path, tmp_path: Path) -> None:
    listing = tmp_path / "labels.csv"
    rows = [f"{path},{path.parent.name},{path.stem}" for path in sorted(known.glob("*/*"))]
    listing.write_text("\n".join(["path,label,subject", *rows]) + "\n")
    held = tmp_path / "held"
    assert hts("train", "--data", listing, "--out", held, "--hold-out", "subject=2", *QUICK)[0] == 0
    assert result_of(hts, held, listing)["num_test_videos"] == 2
    assert result_of(hts, held, known)["num_test_videos"] == 2  # the same videos as a folder
    split = tmp_path / "split.csv"
    rows = [
        f"{path},{path.parent.name},{'test' if path.stem in '23' else 'val'}" for path in known.glob("*/*")
    ]
    split.write_text("\n".join(["path,label,split", *rows]) + "\n")
    found = result_of(hts, held, split)
    assert (found["num_test_videos"], found["num_trained_on"]) == (4, 2)
    val = result_of(hts, held, split, "--split", "val")
    assert (val["num_test_videos"], val["videos"]) == (4, "val part, the data set's own split")


def test_a_run_without_its_list_of_samples_says_so(hts: Hts, run: Path, known: Path, tmp_path: Path) -> None:
    (run / "samples.json").unlink()
    found = result_of(hts, run, known)
    assert (found["num_test_videos"], found["num_trained_on"]) == (2, None)
    moved = shutil.copytree(known, tmp_path / "moved")
    assert result_of(hts, run, moved)["num_test_videos"] == 8
    _, out, _ = hts("evaluate", run, "--data", moved, "--workers", 0)
    assert "the run does not list the videos it was trained on; some of these may be among them" in out


def test_a_damaged_list_of_samples(hts: Hts, run: Path, known: Path) -> None:
    (run / "samples.json").write_text('{"format_version": 1, "folder": "x"}')
    code, _, err = hts("evaluate", run, "--data", known, "--workers", 0)
    assert code == 1
    assert "samples.json' is damaged" in err


def test_streams_from_another_run_bring_its_training_videos(
    hts: Hts, run: Path, known: Path, tmp_path: Path
) -> None:
    saved = json.loads((run / "samples.json").read_text())
    other = tmp_path / "other"
    for number, label in enumerate("aabb"):
        frames = np.random.default_rng(50 + number).integers(0, 256, (6, 32, 32, 3), np.uint8)
        write_video(other / label / f"{number}.mp4", frames)
    second = tmp_path / "second"
    arguments = ("train", "--data", other, "--out", second, "--spatial-from", run, *QUICK)
    assert hts(*arguments)[0] == 0
    digests = json.loads((second / "samples.json").read_text())["earlier_digests"]
    assert digests == [row["digest"] for row in saved["train"]]
    assert result_of(hts, second, known)["num_test_videos"] == 2
