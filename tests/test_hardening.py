"""Damaged, odd and hostile input that once went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from hidden_two_stream.checkpoint import RunInfo, build_model, load_run, save_run
from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.splits import group_values
from hidden_two_stream.errors import CheckpointError, DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.accuracy import load_scores
from hidden_two_stream.tensors import read_tensors


def touch(root, *names):
    for n in names:
        p = root / n
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(b"")


def listed(root, text):
    p = root / "labels.csv"
    p.write_text(text, encoding="utf-8")
    return p


def test_fds(tmp_path):
    code = textwrap.dedent("""
        import os, resource, sys
        import numpy as np
        from pathlib import Path
        from hidden_two_stream.data.samples import Sample
        from hidden_two_stream.data.clip_cache import open_clip_cache
        from hidden_two_stream.video.writer import write_video
        if __name__ == "__main__":
            path = Path(sys.argv[1]) / "a.mp4"
            write_video(path, np.zeros((3, 16, 16, 3), np.uint8))
            before = len(os.listdir("/proc/self/fd"))
            store = open_clip_cache([Sample(str(path), str(n)) for n in range(100)], 16, workers=2)
            assert len(store.samples) == 100 and store.in_memory
            print(len(os.listdir("/proc/self/fd")) - before)
    """)
    script = tmp_path / "s.py"
    script.write_text(code)
    out = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(out.stdout) < 10


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of an archive", "npy"])
def test_scores(tmp_path, content):
    p = tmp_path / "s.npz"
    if content == "npy":
        with p.open("wb") as f:
            np.save(f, np.zeros(3))
    else:
        p.write_bytes(content)
    with pytest.raises(DataError, match="holds no scores"):
        load_scores(p, "center")


@pytest.mark.parametrize(
    "change",
    [
        "{",
        "[]",
        "3",
        "{}",
        '{"format_version": 1}',
        {"classes": None},
        {"classes": 3},
        {"recipe": {"motion": {"stepz": 1}}},
        {"recipe": {"model": {"motion": "giant"}}},
        {"recipe": None},
        {"recipe": {"input": {"size": 33}}},
        {"provenance": None},
        {"provenance": {"stages": ["dance"]}},
        {"provenance": {"stages": 3}},
        {"provenance": {"taken": ["a"]}},
        {"provenance": {"seed": "one"}},
        {"classes": []},
    ],
)
def test_checkpoint(tmp_path, change):
    recipe = Recipe(model=ModelConfig(num_frames=3), input=InputConfig(size=32, resize=32))
    save_run(tmp_path, build_model(recipe, 2), RunInfo(recipe, ("a", "b")))
    p = tmp_path / "model.safetensors"
    t, m = read_tensors(p)
    text = change if isinstance(change, str) else json.dumps(json.loads(m["hidden_two_stream"]) | change)
    save_file(t, p, {"hidden_two_stream": text})
    with pytest.raises(CheckpointError):
        load_run(tmp_path)


def test_pandas_index(tmp_path):
    assert len(read_dataset_index(listed(tmp_path, ",path,label\n0,a,x\n1,b,y\n")).samples) == 2


def test_hidden(tmp_path):
    touch(
        tmp_path,
        "train/a/1.mp4",
        "train/b/1.mp4",
        "train/.cache/1.mp4",
        "test/a/2.mp4",
        "train/a/.thumbs/1.jpg",
    )
    listing = read_dataset_index(tmp_path)
    assert listing.classes == ("a", "b")
    assert len(listing.samples) == 3


def test_train_beside_others(tmp_path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "test/a/2.mp4", "test/b/2.mp4", "annotations/list.txt")
    assert read_dataset_index(tmp_path).classes == ("a", "b")
    touch(tmp_path, "other/3.mp4")
    with pytest.raises(DataError, match="other"):
        read_dataset_index(tmp_path)


@pytest.mark.parametrize("o", ["motion.step=5", "motion.lea=2"])
def test_abbrev(o):
    with pytest.raises(UsageError):
        load_recipe("nano", [o])


def test_seconds_message(tmp_path):
    with pytest.raises(DataError, match=r"start_seconds.*'soon'.*expected seconds"):
        read_dataset_index(listed(tmp_path, "path,label,start_seconds\na,x,soon\nb,y,1\n"))


def test_parts_late(tmp_path):
    listing = read_dataset_index(
        listed(
            tmp_path, "path,label,start_seconds,end_seconds\na,x,12345.61,12345.62\na,y,12345.63,12345.64\n"
        )
    )
    assert len({s.name for s in listing.samples}) == 2


@pytest.mark.parametrize(
    "o",
    [
        "model.temporal_dropout=1.5",
        "model.spatial_dropout=-0.1",
        "input.color_jitter=5",
        "input.crop_scales=[2]",
        "input.crop_scales=[]",
        "input.resize=-5",
        "input.resize=[64,0]",
        "fusion.temporal_weight=-1",
        "model.motion=foo",
        "model.backbone=foo",
        "loss=foo",
        "motion.milestones=[-1]",
        "input.resize=32 input.size=64",
        "fusion.temporal_weight=0 fusion.spatial_weight=0",
        "motion.label_smoothing=2",
    ],
)
def test_ranges(o):
    with pytest.raises(UsageError):
        load_recipe("nano", o.split())


def test_natural(tmp_path):
    listing = read_dataset_index(listed(tmp_path, "path,label,s\na,x,a10\nb,y,b2\nc,x,bob\nd,y,anna\n"))
    assert group_values(listing, "s") == ("a10", "anna", "b2", "bob")


def test_strip(tmp_path):
    listing = read_dataset_index(listed(tmp_path, "path,label,s\na,x,1 \nb,y,1\nc,x,2\nd,y,2\n"))
    assert group_values(listing, "s") == ("1", "2")


def test_oserror(tmp_path, monkeypatch):
    p = listed(tmp_path, "path,label\na,x\nb,y\n")

    def no(*a, **k):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", no)
    with pytest.raises(HiddenTwoStreamError, match="Permission denied"):
        read_dataset_index(p)
    monkeypatch.setattr(os, "walk", no)
    (tmp_path / "x").mkdir()
    with pytest.raises(HiddenTwoStreamError, match="Permission denied"):
        read_dataset_index(tmp_path)


def test_recipe_equal():
    assert recipe_from_dict(json.loads(json.dumps(Recipe().to_dict())), "x") == Recipe()


def test_origin(tmp_path):
    p = tmp_path / "mine.yaml"
    p.write_text("motion: {steps: -3}")
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        load_recipe(p)


def test_hash(tmp_path):
    hash(read_dataset_index(listed(tmp_path, "path,label\na,x\nb,y\n")).samples[0])
