"""`hts compare`: every method on the same splits with the same steps, and nothing trained twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.evaluation.accuracy import load_scores
from hidden_two_stream.evaluation.comparison import Comparison
from hidden_two_stream.experiments import compare as compare_module
from hidden_two_stream.experiments.baselines import load_baseline
from hidden_two_stream.experiments.compare import METHODS, baseline_input, compare, kind_of, method_recipe
from hidden_two_stream.experiments.nearest import NEAREST
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.recognition.fusion import fuse
from hidden_two_stream.reports.comparison import comparison_paragraph, comparison_table
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.resources import Resources

Hts = Callable[..., tuple[int, str, str]]
STAGES = ("motion", "spatial", "temporal", "joint")
QUICK = [
    "input.size=32", "model.num_frames=3", "motion_init=none",
    *(f"{stage}.steps={steps}" for stage, steps in zip(STAGES, (2, 2, 3, 1), strict=True)),
    *(f"{stage}.batch_size=2" for stage in STAGES),
]  # fmt: skip
ALL = ["frames", "difference", "farneback", "own_flow:still", "hidden-frozen", "hidden-joint", "branched"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of 8 classes, two training clips and one test clip each."""
    return write_dataset(
        tmp_path_factory.mktemp("data"), train_per_class=2, test_per_class=1, num_frames=6, size=32
    )


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Everything once, with two seeds."""
    own = tmp_path_factory.mktemp("own")
    (own / "own_flow.py").write_text(
        "import numpy as np\n"
        "def still(frames): return np.zeros((len(frames) - 1, 2, *frames.shape[1:3]), np.float32)\n"
    )
    folder = tmp_path_factory.mktemp("compared") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(own))
        result = compare(
            data, folder, None, ALL, "nano", QUICK,
            seeds=2, seed=5, protocol="2x1", resources=Resources(workers=0, quiet=True),
        )  # fmt: skip
    return folder, as_json(result)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """What --json prints, and the text for people."""
    text = f"{comparison_table(comparison)}\n{comparison_paragraph(comparison)}"
    return {**comparison.to_dict(), "text": text}


def digits(right: Any) -> str:
    """As the JSON holds it: a digit per video, 1 where it is right."""
    return "".join("01"[int(value)] for value in right)


# -- what differs between the methods


@pytest.mark.parametrize("method", [*(name for name in METHODS if name not in NEAREST), "some.module:flow"])
def test_recipes_differ_in_what_is_seen_alone(method: str) -> None:
    base = load_recipe("nano", ["motion.steps=300", "joint.steps=60"])
    found = method_recipe(base, method)
    assert recipe_from_dict(found.to_dict(), method) == found  # nothing that a recipe may not say
    assert (found.input, found.fusion, found.model.backbone) == (base.input, base.fusion, base.model.backbone)
    assert found.model.num_frames == base.model.num_frames
    if method == "spatial":
        assert found.model.streams == ("spatial",)
        assert found.spatial == base.spatial
        return
    assert found.model.streams == ("temporal",)
    sequence = method.startswith("sequence")
    assert found.temporal_init == ("shipped" if method in ("sequence", "sequence-frozen") else "none")
    assert found.model.temporal == (
        "branched" if method == "branched" else "sequence" if sequence else "stacked"
    )
    assert bool(found.motion.steps) == (kind_of(method) == "hidden")
    if method == "sequence-frozen":
        assert (found.temporal.optimizer, found.joint.steps) == ("logistic", 0)
        return
    steps = found.temporal.steps + found.joint.steps
    assert steps == base.temporal.steps + base.joint.steps > base.temporal.steps
    assert bool(found.joint.steps) == (method in ("hidden-joint", "branched") or sequence)
    if kind_of(method) != "hidden":
        assert baseline_input(method) == {"pixels": method, "precomputed": "flow"}[kind_of(method)]


@pytest.mark.parametrize("method", ["sequence", "sequence-frozen"])
def test_a_recipe_without_pre_trained_stream(method: str) -> None:
    base = load_recipe("nano", ["temporal_init=none"])
    if method == "sequence":
        assert method_recipe(base, method).temporal_init == "none"
        return
    with pytest.raises(UsageError, match="sequence-frozen needs a pre-trained temporal stream"):
        method_recipe(base, method)


# -- the whole


def test_every_method_has_its_row_and_its_runs(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, result = compared
    methods = ["spatial", *ALL]
    assert [row["name"] for row in result["methods"]] == methods
    assert result["data"].endswith("labels.csv")
    printed = {key: value for key, value in result.items() if key != "text"}
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(printed)
    )
    assert (folder / "table.md").read_text(encoding="utf-8").strip() == result["text"].strip()
    assert (folder / "plot.svg").read_text(encoding="utf-8").lstrip().startswith("<")
    for method in methods:
        for seed in (5, 6):
            run = folder / "runs" / method.replace(":", "_") / "fold_test" / f"seed_{seed}"
            if kind_of(method) in ("spatial", "hidden"):
                assert load(run).trained_streams == (("spatial",) if method == "spatial" else ("temporal",))
            else:
                assert load_baseline(run).model.sees == baseline_input(method)
                with pytest.raises(CheckpointError, match=r"is a baseline of hts compare.*load_baseline"):
                    load(run)


def test_figures_are_those_of_the_saved_scores(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, result = compared
    for row in result["methods"]:
        runs = folder / "runs" / row["name"].replace(":", "_") / "fold_test"
        for number, seed in enumerate((5, 6)):
            own = load_scores(runs / f"seed_{seed}" / "scores.npz", "2x1")
            spatial = load_scores(folder / "runs/spatial/fold_test" / f"seed_{seed}" / "scores.npz", "2x1")
            assert own.names == spatial.names
            right = own.fused.argmax(axis=1) == own.truth
            assert row["right_alone"][number] == digits(right)
            if row["name"] != "spatial":
                logits = [spatial.logits["spatial"], own.logits["temporal"]]
                together = fuse(logits, [1.0, 2.0], "product").argmax(axis=1) == own.truth
                assert row["right_fused"][number] == digits(together)


def test_only_given_flow_is_stored_and_extracted(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, result = compared
    for row in result["methods"]:
        given = row["name"] in ("farneback", "own_flow:still")
        assert bool(row["bytes_stored"]) == bool(row["seconds_extracted"]) == given
        seconds = row["seconds_per_clip"]
        assert (seconds["motion"] > 0) == (row["kind"] in ("precomputed", "hidden"))
        assert seconds["decoding"] > 0
        assert seconds["recognition"] > 0
    # 24 videos of 6 frames, 32 × 32, two channels of half precision; 128 bytes of header each
    bytes_stored = {row["name"]: row["bytes_stored"] for row in result["methods"]}
    assert bytes_stored["farneback"] == 24 * (6 * 2 * 32 * 32 * 2 + 128)
    assert sorted(path.name for path in (folder / "flow").iterdir()) == ["farneback", "own_flow_still"]


def test_hidden_methods_share_one_motion_network(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = compared
    for seed in (5, 6):
        runs = {
            m: load(folder / "runs" / m / "fold_test" / f"seed_{seed}")
            for m in ("hidden-frozen", "hidden-joint")
        }
        frozen, joint = (dict(run.model.motion_net.named_parameters()) for run in runs.values())
        assert (
            runs["hidden-joint"]
            .info.metadata.warm_start["motion"]
            .endswith(f"hidden-frozen/fold_test/seed_{seed}")
        )
        moved = [name for name in frozen if not np.array_equal(frozen[name].detach(), joint[name].detach())]
        assert moved, "stage joint trains MotionNet"
        largest = max(float((frozen[name] - joint[name]).detach().abs().max()) for name in moved)
        assert largest < 1e-4, "from where the frozen one stands"


def test_resuming_trains_nothing_again_and_adds_methods(
    compared: tuple[Path, dict[str, Any]],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where the data has another path by now."""
    folder, result = compared
    moved = shutil.copytree(data.parent, tmp_path / "moved") / data.name
    trained: list[str] = []

    def counting(fit: Callable[..., Any]) -> Callable[..., Any]:
        def counted(task: Any, *arguments: Any) -> Any:
            trained.append(task.folder.parts[-3])
            return fit(task, *arguments)

        return counted

    for name in ("fit", "fit_baseline"):
        monkeypatch.setattr(compare_module, name, counting(getattr(compare_module, name)))
    again = as_json(
        compare(
            moved, folder, None, ["frames", "dis-fast@2"], "nano", QUICK,
            seeds=2, seed=5, protocol="2x1", resume=True, resources=Resources(workers=0),
        )
    )  # fmt: skip
    assert trained == ["dis-fast@2", "dis-fast@2"]
    assert "| DIS fast (enlarged 2×) |" in (folder / "table.md").read_text(encoding="utf-8")
    before = {row["name"]: row for row in result["methods"]}
    for row in again["methods"][:2]:
        assert row["right_alone"] == before[row["name"]]["right_alone"]
    (new,) = (row for row in again["methods"] if row["name"] == "dis-fast@2")
    alone = [right.count("1") / len(right) for right in new["right_alone"]]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  temporal")]
    assert said == [f"  temporal {share:.1%}" for share in alone]


@pytest.mark.parametrize(
    ("size", "methods", "said"),
    [
        (64, ["frames", "dis-fast", "branched"], "--methods dis-fast@2"),
        (32, ["tvl1"], "--methods tvl1@4"),
        (64, ["frames", "dis-fast@2"], ""),
        (64, ["dis-fast", "dis-fast@2"], ""),
        (128, ["dis-fast"], ""),
        (64, ["frames", "hidden-frozen"], ""),
    ],
)
def test_estimators_on_small_pictures_are_pointed_out(
    size: int, methods: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_module._warn_of_small_frames(load_recipe("nano", [f"input.size={size}"]), methods)
    text = capsys.readouterr().err
    assert (said in text) if said else not text


# -- what goes wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "frames,lucas"], "unknown method 'lucas'"),
        (["--methods", "branched@2"], "@2 is for flow estimators"),
        (["--methods", ""], "no method is named"),
        (["--methods", "farneback@1"], "cannot enlarge by '1'"),
        (["--methods", "nowhere:flow"], "cannot import the flow estimator"),
        (
            ["--methods", "frames,math:sqrt"],
            "flow estimator 'math:sqrt' failed on frames of shape (2, 64, 64",
        ),
        (["--protocol", "2x10"], "crops or mirrors frames"),
        (["--seeds", "0"], "got 0 seeds; expected at least 1"),
        (["--clips", "0"], "got 0 clips of each class; expected at least 1"),
        (["--folds", "2"], "got 2 folds; expected 1 to 1"),
        (["--methods", "nearest-motion@2"], "@2 is for flow estimators"),
        (["--devices", "2"], "one device"),
        (["--set", "init=imagenet"], "backbone 'small' has no published image weights"),
        (["--set", "spatial.steps=0"], "nothing to train"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_wrong_use_is_said_before_anything_is_decoded(
    hts: Hts, data: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    code, _, err = hts("compare", "--data", data, "--out", out, "--workers", 0, "--quiet", *options)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out.exists()


def test_a_column_that_is_not_there(hts: Hts, data: Path, tmp_path: Path) -> None:
    code, _, err = hts("compare", "--data", data, "--out", tmp_path / "out", "--group", "subject", "--quiet")
    assert (code, "'subject'" in err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_comparison_is_refused(
    hts: Hts, compared: tuple[Path, dict[str, Any]], data: Path
) -> None:
    folder, _ = compared
    common = ("compare", "--data", data, "--out", folder, "--workers", 0, "--quiet")
    code, _, err = hts(*common)
    assert (code, "already holds runs" in err) == (2, True)
    code, _, err = hts(*common, "--resume", "--protocol", "center")
    assert (code, err.split("'")[-1].split(";")[0]) == (2, " began with another recipe, seed, protocol")


def test_a_shared_motion_network_that_does_not_fit_shows_before_anything_is_decoded(
    hts: Hts, data: Path, tmp_path: Path
) -> None:
    """The two-frame MotionNet of hidden-frozen cannot be branched's, which is added by --resume alone."""
    changes = [
        part
        for change in (*QUICK, "model.motion_frames=2", "model.temporal=stacked", "temporal_init=none")
        for part in ("--set", change)
    ]
    common = ("compare", "--data", data, "--out", tmp_path, "--workers", 0, "--protocol", "center", *changes)
    code, _, err = hts(*common, "--methods", "hidden-frozen", "--quiet")
    assert code == 0, err
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    code, _, err = hts(*common, "--methods", "branched", "--resume")
    assert code == 2
    assert "has model.motion_frames 2; this recipe needs 0" in err
    assert "decode" not in err
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    code, _, err = hts(*common, "--methods", "hidden-joint", "--resume", "--quiet")
    assert code == 0, err


def test_a_comparison_does_not_go_on_with_changed_videos(
    hts: Hts, compared: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(compared[0], tmp_path / "out"))
    copied = Path(shutil.copytree(data.parent, tmp_path / "data")) / data.name
    video = copied.parent / "videos" / "left" / "train_0000.mp4"
    shutil.copy(copied.parent / "videos" / "right" / "train_0001.mp4", video)
    changes = [part for change in QUICK for part in ("--set", change)]
    code, _, err = hts(
        "compare", "--data", copied, "--out", folder, "--resume", "--seed", 5, "--methods", "frames",
        "--protocol", "2x1", "--workers", 0, *changes,
    )  # fmt: skip
    assert code == 2
    assert "have changed since this run began" in err
    assert "decode" not in err
