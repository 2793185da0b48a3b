"""The library from Python: all that the commands do, without them."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream as hts
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

ROOT = Path(__file__).resolve().parents[2]
QUIET = hts.Resources(workers=0, quiet=True)
QUICK: dict[str, object] = {
    "input.size": 32,
    "model.num_frames": 3,
    "calibration.method": "none",
    **{f"{stage}.steps": 3 for stage in STAGE_NAMES},
    **{f"{stage}.batch_size": 2 for stage in STAGE_NAMES},
}


@pytest.fixture(scope="module")
def subjects(small_data: Path) -> Path:
    """`small_data` with a column of two subjects in place of its split."""
    rows = small_data.read_text(encoding="utf-8").splitlines()[1:]
    lines = [",".join([*row.split(",")[:2], "ab"[i % 2]]) for i, row in enumerate(rows)]
    path = small_data.parent / "subjects.csv"
    path.write_text("\n".join(["path,label,subject", *lines]), encoding="utf-8")
    return path


def test_each_public_name_is_what_it_says() -> None:
    for name in hts.__all__:
        if name != "__version__":
            assert getattr(hts, name).__name__ == name
    assert set(hts.__all__) <= set(dir(hts))
    with pytest.raises(AttributeError, match="no attribute 'learn'"):
        hts.learn  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    """Names are imported at their first use; type checkers read the same names from imports."""
    tree = ast.parse((ROOT / "src" / "hidden_two_stream" / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    seen = {
        alias.name: node.module
        for node in ast.walk(checked)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if node.module.startswith("hidden_two_stream.") and not alias.name.startswith("_")
    }
    assert seen == {name: f"hidden_two_stream.{home}" for name, home in hts._HOMES.items()}
    assert {*seen, "__version__"} == set(hts.__all__)


def test_train_evaluate_and_predict(small_data: Path, tmp_path: Path) -> None:
    result = hts.train(small_data, tmp_path / "run", overrides=QUICK, resources=QUIET)
    assert list(result.seconds) == list(STAGE_NAMES)
    assert result.folder == tmp_path / "run"
    assert result.evaluation is not None
    assert set(result.evaluation.accuracy) == {"spatial", "temporal", "fused"}
    assert str(result) == f"{tmp_path / 'run'}: {result.evaluation}"
    fused = result.evaluation.accuracy["fused"]
    assert str(result.evaluation).startswith("8 videos, protocol 10x1: spatial ")
    assert str(result.evaluation).endswith(f"fused {fused:.1%}")
    assert len(repr(result)) < 600
    again = hts.evaluate(tmp_path / "run", small_data, split="test", workers=0, quiet=True)
    assert again.accuracy == result.evaluation.accuracy
    assert hts.evaluate(result.recognizer, small_data, workers=0, quiet=True).accuracy == again.accuracy
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    first, second = result.recognizer.predict(video), hts.load(tmp_path / "run").predict(video)
    np.testing.assert_allclose(first.scores, second.scores, rtol=0, atol=1e-6)
    with pytest.raises(UsageError, match="holds"):
        hts.train(small_data, tmp_path / "run", overrides=QUICK, resources=QUIET)
    with pytest.raises(UsageError):
        hts.resume(tmp_path / "nothing", QUIET)


@pytest.mark.parametrize(("fps", "lowest"), [(0, 12.5), (10, 10)])
def test_a_run_samples_by_time_and_records_its_rates(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fps: float, lowest: float
) -> None:
    """One of the training videos is written again at half its rate."""
    data = tmp_path / "data"
    shutil.copytree(small_data.parent, data)
    slow = data / "videos" / "left" / "train_0000.mp4"
    frames, info = read_video(slow)
    assert info.fps == 25
    write_video(slow, frames, fps=12.5)
    changes = QUICK | {"input.fps": fps}
    result = hts.train(data / small_data.name, tmp_path / "run", overrides=changes, resources=QUIET)
    for metadata in (result.recognizer.info.metadata, hts.load(tmp_path / "run").info.metadata):
        assert (metadata.min_fps, metadata.max_fps) == (lowest, 10 if fps else 25)
    assert ("12.5 to 25 frames per second" in capsys.readouterr().err) == (fps == 0)
    seconds = len(frames) / 12.5
    assert result.recognizer.predict(slow).num_frames == (round(seconds * fps) if fps else len(frames))


def test_a_flat_script_of_five_lines(small_data: Path, tmp_path: Path) -> None:
    """Decoding processes start, and the script needs no `if __name__ == "__main__":`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, hidden_two_stream as hts\n"
        f"r = hts.train(sys.argv[1], 'run', overrides={QUICK!r}, resources=hts.Resources(workers=2))\n"
        "print(hts.evaluate('run', sys.argv[1], workers=2).accuracy == r.evaluation.accuracy)\n"
        "p = hts.load('run').predict(sys.argv[2])\n"
        "print(p.label in p.classes)\n"
    )
    video = small_data.parent / "videos" / "left" / "test_0000.mp4"
    process = subprocess.run(
        [sys.executable, str(script), str(small_data), str(video)],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (process.returncode, process.stdout.split()) == (0, ["True", "True"]), process.stderr
    assert "Traceback" not in process.stderr


def test_the_example_runs(small_data: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "python_interface.py"), str(small_data)],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    for part in ("trained into", "one clip per video", "alone:", "0.00 to", "px per frame"):
        assert part in process.stdout


def test_cross_validation_and_comparison(subjects: Path, tmp_path: Path) -> None:
    folds = hts.cross_validate(subjects, tmp_path / "folds", "subject", overrides=QUICK, resources=QUIET)
    assert [fold.value for fold in folds.folds] == ["a", "b"]
    assert folds.evaluation is not None
    written = json.loads((tmp_path / "folds" / "results.json").read_text())
    assert written["mean_fold_accuracy"] == pytest.approx(folds.mean_accuracy)

    comparison = hts.compare(
        subjects, tmp_path / "compare", "subject", ["branched", "frames"], overrides=QUICK, resources=QUIET
    )
    assert len(repr(comparison)) + len(repr(folds)) < 3000  # no arrays
    figures = json.loads(json.dumps(comparison.to_dict()))
    assert figures == json.loads((tmp_path / "compare" / "results.json").read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.motion_frames": 4, "model.num_frames": 11},
            "clips of 11 frames cannot be cut into windows of 4",
        ),
        (
            {"model.motion_frames": 12, "model.num_frames": 11},
            "clips of 11 frames cannot be cut into windows of 12",
        ),
        (
            {"model.motion_frames": 1, "model.num_frames": 11},
            "clips of 11 frames cannot be cut into windows of 1",
        ),
        (
            {"model.motion_frames": -1, "model.num_frames": 11},
            "clips of 11 frames cannot be cut into windows of -1",
        ),
        ({"model.motion_frames": 2, "model.temporal": "branched"}, "motion_frames is 2; set it to 0"),
        ({"model.num_frames": 1}, "at least 2"),
    ],
)
@pytest.mark.parametrize("way", ["train", "cross_validate", "compare"])
def test_networks_that_do_not_fit_are_refused_before_decoding(
    changes: dict[str, object], message: str, way: str, subjects: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = {"recipe": "nano", "overrides": changes, "resources": QUIET}
    with pytest.raises(UsageError, match=message) as caught:
        getattr(hts, way)(subjects, out, **({"group": "subject"} if way != "train" else {}), **given)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_methods_that_cannot_share_a_motion_network_are_refused_before_decoding(
    subjects: Path, tmp_path: Path
) -> None:
    changes = {
        "model.temporal": "stacked",
        "model.motion_frames": 2,
        "model.num_frames": 11,
        "temporal_init": "none",
    }
    with pytest.raises(UsageError, match="branched begins with the MotionNet of hidden-frozen"):
        hts.compare(
            subjects, tmp_path / "out", "subject", ["branched", "hidden-frozen"],
            overrides=changes, resources=QUIET,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_overrides_as_mapping_and_as_text_are_the_same() -> None:
    mapping = {"motion.steps": 7, "model.temporal": "inflated", "input.resize": [40, 48]}
    text = ["motion.steps=7", "model.temporal=inflated", "input.resize=[40, 48]"]
    assert load_recipe("nano", mapping) == load_recipe("nano", text)
    with pytest.raises(UsageError, match=r"motion\.step"):
        load_recipe("nano", {"motion.step": 7})
