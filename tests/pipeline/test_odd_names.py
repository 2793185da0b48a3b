"""Names that are not UTF-8, broken links, and files that are no videos, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.video.writer import write_video

from .conftest import QUICK

Hts = Callable[..., tuple[int, str, str]]

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")


def extracted(data_root: Path, archive: str, folder: Path) -> Path:
    with tarfile.open(data_root / "faults" / f"{archive}.tgz") as file:
        file.extractall(folder, filter="data" if archive != "17_broken_link" else "fully_trusted")
    (root,) = folder.iterdir()
    return root


def command(*arguments: object, locale: str = "C", folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, which has the stdout of the locale."""
    return subprocess.run(
        [sys.executable, "-m", "hidden_two_stream", *map(str, arguments)],
        cwd=folder, env={**os.environ, "LC_ALL": locale}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


@only_linux
@pytest.mark.parametrize("locale", ["en_US.UTF-8", "C"])
def test_videos_whose_names_are_not_utf_8_are_labelled(
    small_run: Path, data_root: Path, tmp_path: Path, locale: str
) -> None:
    extracted(data_root, "05_latin1_names", tmp_path / "x")
    names = ["x/lat/left/caf\udce9.mp4", "x/lat/left/ok.mp4", "x/lat/right/cl\udce9f", "x/lat/right/ok.mp4"]
    done = command("predict", small_run, "x", locale=locale, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("utf-8").splitlines()
    assert [line.split(":")[0] for line in lines] == [
        name.encode("utf-8", "backslashreplace").decode() for name in names
    ]
    done = command("predict", small_run, "x", "--json", locale=locale, folder=tmp_path)
    found = json.loads(done.stdout.decode("utf-8"))
    assert [row["source"] for row in found["predictions"]] == names
    assert found["unreadable"] == []


@only_linux
def test_json_is_json_where_stdout_holds_ascii_alone(
    small_run: Path, tmp_path: Path, small_data: Path
) -> None:
    shutil.copy(small_data.parent / "videos" / "up" / "test_0000.mp4", tmp_path / "é.mp4")
    done = subprocess.run(
        [sys.executable, "-m", "hidden_two_stream", "predict", str(small_run), "é.mp4", "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout.decode("ascii"))["predictions"][0]["source"] == "é.mp4"


@only_linux
def test_a_run_of_classes_and_videos_whose_names_are_not_utf_8(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number, label in enumerate(("caf\udce9", "th\udce9", "caf\udce9", "th\udce9")):
        frames = np.random.default_rng(number).integers(0, 256, (6, 32, 32, 3), np.uint8)
        write_video(tmp_path / "plain.mp4", frames)
        (data / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain.mp4").rename(data / label / f"{number}\udcff.mp4")
    done = command("check", data, "--json", folder=tmp_path)
    assert sorted(json.loads(done.stdout.decode("utf-8"))["classes"]) == ["caf\\udce9", "th\\udce9"]
    done = command("train", "--data", data, "--out", "run", *QUICK, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["confusion"]["classes"] == ["caf\\udce9", "th\\udce9"]
    for suffix in ("csv", "npz"):
        done = command(
            *("evaluate", "run", "--data", data, "--split", "all", "--json", "--workers", 0),
            *("--save-scores", f"scores.{suffix}"), folder=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout.decode("utf-8"))["trained_on"]) == 2
    texts = [
        path for path in (tmp_path / "run").rglob("*") if path.suffix in (".json", ".txt", ".html", ".jsonl")
    ]
    for path in (*texts, tmp_path / "scores.csv"):
        path.read_text(encoding="utf-8")  # strict
    assert "\\udcff.mp4" in (tmp_path / "scores.csv").read_text(encoding="utf-8")
    done = command("fuse", "scores.csv", "--labels", "scores.npz", folder=tmp_path)
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_broken_link_is_named_and_the_others_are_labelled(
    hts: Hts, small_run: Path, data_root: Path, tmp_path: Path
) -> None:
    root = extracted(data_root, "17_broken_link", tmp_path)
    code, out, err = hts("predict", small_run, root)
    assert code == 1
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(root / "a.mp4"), str(root / "c.mp4")]
    (line,) = err.splitlines()
    assert str(root / "b.mp4") in line
    code, out, _ = hts("predict", small_run, root, "--json")
    found = json.loads(out)
    assert [row["source"] for row in found["unreadable"]] == [str(root / "b.mp4")]
    assert len(found["predictions"]) == 2


def test_predict_goes_on_after_any_failure(
    hts: Hts, small_run: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Recognizer.predict

    def fail_once(self: Recognizer, source: str, protocol: str, **options: Any) -> Any:
        if source.endswith("train_0000.mp4"):
            raise ZeroDivisionError("of a decoder\nsecond line")
        return predict(self, source, protocol, **options)

    monkeypatch.setattr(Recognizer, "predict", fail_once)
    code, out, err = hts("predict", small_run, small_data.parent / "videos" / "up", "--json")
    assert code == 1
    found = json.loads(out)
    assert len(found["predictions"]) == 2
    (failed,) = found["unreadable"]
    assert (
        failed["reason"] == "unexpected ZeroDivisionError: of a decoder (run again with --debug for details)"
    )
    assert [line for line in err.splitlines() if "ZeroDivisionError" in line] == err.splitlines()[1:]


def test_predict_checks_its_options_before_the_videos(hts: Hts, small_run: Path, small_data: Path) -> None:
    code, out, err = hts("predict", small_run, small_data.parent / "videos" / "up", "--protocol", "much")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_what_is_not_used_is_named(hts: Hts, small_run: Path, tmp_path: Path) -> None:
    for number, label in enumerate("aabb"):
        frames = np.random.default_rng(number).integers(0, 256, (6, 32, 32, 3), np.uint8)
        write_video(tmp_path / "data" / label / f"{number}.mp4", frames)
    for name in ("a/notes.txt", "b/x.xyz", "a/.hidden", "labels.txt"):
        (tmp_path / "data" / name).touch()
    line = "not used, neither videos nor frames: 2 .txt (a/notes.txt, labels.txt), 1 .xyz (b/x.xyz)"
    code, out, _ = hts("check", tmp_path / "data", "--workers", 0)
    assert line in out.splitlines()
    assert "not looked at: 1 hidden file or folder" in out
    code, out, _ = hts("check", tmp_path / "data", "--workers", 0, "--json")
    found = json.loads(out)["left_out"]
    assert (found["num_files"], found["num_hidden"]) == (3, 1)
    assert found["suffixes"][".txt"] == {"num_files": 2, "first": ["a/notes.txt", "labels.txt"]}
    _, _, err = hts("predict", small_run, tmp_path / "data")
    assert f"hts: {tmp_path / 'data'}: {line}" in err.splitlines()
    code, _, err = hts("train", "--data", tmp_path / "data", "--out", tmp_path / "run", *QUICK)
    assert code == 0
    assert line in err.splitlines()


def test_check_counts_the_splits_and_warns_of_look_alikes(hts: Hts, small_data: Path, tmp_path: Path) -> None:
    videos = sorted((small_data.parent / "videos" / "up").glob("*.mp4"))
    parts = [("Up", "train"), ("up", "val"), ("down", "val")]
    rows = [f"{video},{label},{part}" for video, (label, part) in zip(videos, parts, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    _, out, _ = hts("check", tmp_path / "labels.csv", "--workers", 0)
    assert "splits: train 1, val 2" in out.splitlines()
    assert "warning: no video is in the split test, so val is the test part" in out.splitlines()
    assert "warning: the classes 'Up' and 'up' differ only in case or spaces" in out
    _, out, _ = hts("check", tmp_path / "labels.csv", "--workers", 0, "--json")
    assert json.loads(out)["splits"] == {"train": 1, "val": 2}
