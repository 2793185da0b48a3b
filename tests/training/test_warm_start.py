"""`hts train` with parts of other runs (--motion-from, --spatial-from, --temporal-from) and with --init."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hidden_two_stream.checkpoint import load_run
from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.recognition.backbones import build_backbone
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.training import loop
from hidden_two_stream.training import runner as train_module
from hidden_two_stream.training import warm_start as warm_start_module
from hidden_two_stream.weights.motion import SHIPPED

from ..data.benchmark_trees import make_hmdb51, make_ucf101

STAGES = ("motion", "spatial", "temporal", "joint")
NO_STEPS = tuple(f"{stage}__steps" for stage in STAGES)
Hts = Callable[..., tuple[int, str, str]]


def options(**changes: object) -> list[str]:
    """Options of a quick run; `motion__steps=2` changes motion.steps."""
    fields: dict[str, object] = {
        "model.num_frames": 3, "input.size": 32, "input.resize": 32, "input.color_jitter": 0,
        "motion_init": "none", "temporal_init": "none", "model.temporal": "stacked",
        "calibration.method": "none",
    }  # fmt: skip
    for stage in STAGES:
        fields |= {f"{stage}.batch_size": 2, f"{stage}.steps": 2}
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    pairs = [f"{name}={value}" for name, value in fields.items()]
    return ["--workers", "0", "--protocol", "center", *(part for pair in pairs for part in ("--set", pair))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A made-up set, the same with its classes in another order, and one of other classes."""
    root = tmp_path_factory.mktemp("data")
    ucf = make_ucf101(root / "ucf", clips=1)
    hmdb = make_hmdb51(root / "hmdb", clips=6)
    return {"own": f"ucf101:{ucf}:1", "order": str(ucf / "UCF-101"), "others": f"hmdb51:{hmdb}:1"}


SOURCES: dict[str, dict[str, object]] = {
    "whole": {},
    "other seed": {},
    "tiny": {"model__motion": "tiny"},
    "motion": {"model__streams": "[]", **{f"{stage}__steps": 0 for stage in STAGES[1:]}},
    "spatial": {"model__streams": "[spatial]", **{f"{s}__steps": 0 for s in STAGES if s != "spatial"}},
    "motion stage alone": {f"{stage}__steps": 0 for stage in STAGES[1:]},
    "order": {},
    "others": {},
}


@pytest.fixture(scope="module")
def source(data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run to take from, by name; trained when it is first asked for."""
    root = tmp_path_factory.mktemp("sources")

    @functools.cache
    def train(name: str) -> Path:
        seed = ["--seed", "9"] if name == "other seed" else []
        command = [
            "train",
            "--data",
            data.get(name, data["own"]),
            "--out",
            str(root / name),
            "--quiet",
            *seed,
        ]
        assert main([*command, *options(**SOURCES[name])]) == 0
        return root / name

    return train


def weights(run: Path) -> dict[str, Tensor]:
    return load_run(run)[0].state_dict()


def same(one: dict[str, Tensor], two: dict[str, Tensor], *modules: str) -> bool:
    """Whether all weights and buffers of the modules are bit for bit the same."""
    names = {name for name in one | two if name.split(".")[0] in modules}
    assert {name.split(".")[0] for name in names} == set(modules)
    return all(name in one and name in two and torch.equal(one[name], two[name]) for name in names)


def provenance(run: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))["provenance"]
    return described


def seconds(run: Path) -> set[str]:
    """The stages that were trained."""
    return set(json.loads((run / "results.json").read_text(encoding="utf-8"))["seconds"])


# -- what is copied --------------------------------------------------------------------------------


def test_motion_is_taken_bit_for_bit_and_not_trained(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs, run = source("other seed"), tmp_path / "run"
    command = ["train", "--data", data["own"], "--out", run, "--motion-from", theirs, "--quiet"]
    code, _, err = hts(*command, *options(joint__steps=0))
    assert code == 0, err
    assert same(weights(run), weights(theirs), "motion_net")
    assert not same(weights(run), weights(theirs), "temporal_stream")
    assert not same(weights(run), weights(theirs), "spatial_stream")
    assert provenance(run)["stages"] == ["motion", "spatial", "temporal"]
    assert provenance(run)["warm_start"] == {"motion": str(theirs)}
    assert seconds(run) == {"spatial", "temporal"}


def test_a_taken_motion_network_is_tuned_in_stage_joint(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs, run = source("motion"), tmp_path / "run"
    command = ["train", "--data", data["own"], "--out", run, "--motion-from", theirs, "--quiet"]
    changes = {
        "joint__motion_learning_rate": 1e-3,
        "joint__steps": 1,
        "spatial__steps": 0,
        "temporal__steps": 0,
    }
    code, _, err = hts(*command, *options(**changes))
    assert code == 0, err
    assert not same(weights(run), weights(theirs), "motion_net")
    started, ended = weights(theirs), weights(run)
    distance = max(float((ended[n] - started[n]).abs().max()) for n in started if n.startswith("motion_net."))
    assert distance < 2e-3  # from the taken weights on: one step of AdamW moves by the learning rate
    assert provenance(run)["stages"] == ["motion", "joint"]
    assert seconds(run) == {"joint"}


def test_spatial_is_taken_bit_for_bit_and_not_trained(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs, run = source("spatial"), tmp_path / "run"
    command = ["train", "--data", data["own"], "--out", run, "--spatial-from", theirs, "--quiet"]
    code, _, err = hts(*command, *options())
    assert code == 0, err
    assert same(weights(run), weights(theirs), "spatial_stream")
    assert provenance(run)["stages"] == list(STAGES)
    assert provenance(run)["warm_start"] == {"spatial": str(theirs)}
    assert seconds(run) == {"motion", "temporal", "joint"}


def test_temporal_is_taken_with_its_motion_network(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs, run = source("other seed"), tmp_path / "run"
    command = ["train", "--data", data["own"], "--out", run, "--temporal-from", theirs, "--quiet"]
    code, _, err = hts(*command, *options(joint__steps=0))
    assert code == 0, err
    assert same(weights(run), weights(theirs), "motion_net", "temporal_stream")
    assert not same(weights(run), weights(theirs), "spatial_stream")
    assert provenance(run)["stages"] == ["motion", "spatial", "temporal"]
    assert seconds(run) == {"spatial"}


def test_a_file_gives_what_its_folder_gives_and_streams_come_from_two_runs(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    spatial, temporal, run = source("whole"), source("other seed"), tmp_path / "run"
    code, out, err = hts(
        "train", "--data", data["own"], "--out", run, "--quiet", "--temporal-from", temporal,
        "--spatial-from", spatial / "model.safetensors", *options(**dict.fromkeys(NO_STEPS, 0)),
    )  # fmt: skip
    assert code == 0, err
    assert same(weights(run), weights(spatial), "spatial_stream")
    assert same(weights(run), weights(temporal), "motion_net", "temporal_stream")
    assert seconds(run) == set()
    assert provenance(run)["stages"] == ["motion", "spatial", "temporal"]
    assert [line.split()[0] for line in out.splitlines() if "95%" in line] == [
        "spatial",
        "temporal",
        "fused",
    ]


def test_what_is_taken_leaves_its_source_alone(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs = source("whole")
    before = {path.name: path.read_bytes() for path in theirs.iterdir() if path.is_file()}
    command = ["train", "--data", data["own"], "--out", tmp_path / "run", "--motion-from", theirs, "--quiet"]
    assert hts(*command, *options())[0] == 0
    assert {path.name: path.read_bytes() for path in theirs.iterdir() if path.is_file()} == before


# -- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "name", "changes", "named"),
    [
        ("motion", "tiny", {}, "model.motion 'tiny'; this recipe needs 'nano'"),
        ("motion", "whole", {"model__num_frames": 5}, "model.num_frames 3; this recipe needs 5"),
        ("motion", "whole", {"model__motion_frames": 2}, "model.motion_frames 0; this recipe needs 2"),
        ("motion", "spatial", {}, "has no trained MotionNet"),
        (
            "motion",
            "whole",
            {"model__streams": "[spatial]", "motion__steps": 0, "temporal__steps": 0, "joint__steps": 0},
            "no MotionNet that .* could initialize; see model.streams",
        ),
        ("spatial", "whole", {"model__backbone": "resnet18"}, "model.backbone 'small'; .* needs 'resnet18'"),
        ("spatial", "others", {}, "trained for other classes: .*Archery"),
        ("spatial", "order", {}, "trained for other classes: the same, in another order"),
        ("spatial", "motion", {}, "no trained spatial stream; its trained streams are none"),
        ("spatial", "motion stage alone", {}, "no trained spatial stream; its trained streams are none"),
        (
            "spatial",
            "whole",
            {"model__streams": "[temporal]", "spatial__steps": 0},
            "no spatial stream that .* could initialize; see model.streams",
        ),
        ("temporal", "tiny", {}, "model.motion 'tiny'; this recipe needs 'nano'"),
        (
            "temporal",
            "whole",
            {"model__temporal": "inflated"},
            "model.temporal 'stacked'; .* needs 'inflated'",
        ),
        (
            "temporal",
            "whole",
            {"model__hand_over": "reference"},
            "model.hand_over 'edge'; .* needs 'reference'",
        ),
        ("temporal", "spatial", {}, "no trained temporal stream; its trained streams are spatial"),
        ("temporal", "others", {}, "trained for other classes"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(
    part: str,
    name: str,
    changes: dict[str, object],
    named: str,
    source: Callable[[str], Path],
    data: dict[str, str],
    hts: Hts,
    tmp_path: Path,
) -> None:
    command = ["train", "--data", data["own"], "--out", tmp_path / "run", f"--{part}-from", source(name)]
    code, out, err = hts(*command, "--quiet", *options(**changes))
    assert (code, out) == (2, "")
    assert_one_error(err, named)


def assert_one_error(err: str, named: str) -> None:
    lines = [line for line in err.splitlines() if line.startswith("hts: ")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    assert re.search(named, lines[0]), lines[0]
    assert "Traceback" not in err


def test_classes_do_not_matter_to_motion(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", data["own"], "--out", run, "--motion-from", source("others"), "--quiet"]
    assert hts(*command, *options(joint__steps=0))[0] == 0
    assert same(weights(run), weights(source("others")), "motion_net")


def test_motion_comes_once(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    code, _, err = hts(
        "train", "--data", data["own"], "--out", tmp_path / "run", *options(),
        "--motion-from", source("whole"), "--temporal-from", source("whole"),
    )  # fmt: skip
    assert code == 2
    assert_one_error(err, "brings its own MotionNet: give --motion-from or --temporal-from, not both")


@pytest.mark.parametrize("part", ["motion", "spatial", "temporal"])
def test_a_run_that_is_not_there_is_named(part: str, data: dict[str, str], hts: Hts, tmp_path: Path) -> None:
    command = ["train", "--data", data["own"], "--out", tmp_path / "run", *options(), "--quiet"]
    code, _, err = hts(*command, f"--{part}-from", tmp_path / "nowhere")
    assert code == 2
    assert_one_error(err, "no run at .*nowhere")


def test_nothing_to_train_is_an_error(data: dict[str, str], hts: Hts, tmp_path: Path) -> None:
    nothing = options(**dict.fromkeys(NO_STEPS, 0))
    code, _, err = hts("train", "--data", data["own"], "--out", tmp_path / "one", "--quiet", *nothing)
    assert code == 2
    assert_one_error(err, "nothing to train")
    command = ["train", "--data", data["own"], "--out", tmp_path / "two", "--quiet", "--stage", "joint"]
    code, _, err = hts(*command, *options(joint__steps=0))
    assert code == 2
    assert_one_error(err, "nothing to train")


# -- resuming --------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--motion-from", "--spatial-from", "--temporal-from", "--init"])
def test_resume_refuses_to_change_what_is_taken(
    option: str, source: Callable[[str], Path], hts: Hts, tmp_path: Path
) -> None:
    run = shutil.copytree(source("whole"), tmp_path / "run")
    before = (run / "model.safetensors").read_bytes()
    code, _, err = hts("train", "--resume", "--out", run, option, source("other seed"))
    assert code == 2
    assert_one_error(err, f"leave out {option}")
    assert (run / "model.safetensors").read_bytes() == before


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], None]]:
    """stop_at(stage, step): Ctrl-C behind that step; stop_at("", 0): no more."""
    original, wanted_at = loop._StageRun._step, ["", 0]

    class Stop:
        wanted, signal_number = False, 2

        def __enter__(self) -> Stop:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def step_and_count(self: loop._StageRun, number: int, batches: object) -> dict[str, float]:
        numbers = original(self, number, batches)
        Stop.wanted = [self.name, number + 1] == wanted_at
        return numbers

    monkeypatch.setattr(loop._StageRun, "_step", step_and_count)
    monkeypatch.setattr(loop, "StopRequest", Stop)

    def set_stop(stage: str, step: int) -> None:
        wanted_at[:] = [stage, step]

    yield set_stop
    Stop.wanted = False


def test_a_resumed_run_keeps_what_it_took(
    source: Callable[[str], Path],
    data: dict[str, str],
    hts: Hts,
    tmp_path: Path,
    stop_at: Callable[[str, int], None],
) -> None:
    theirs = shutil.copytree(source("other seed"), tmp_path / "theirs")
    taken = ["--temporal-from", theirs]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command = ["train", "--data", data["own"], "--quiet", *options(joint__steps=0, spatial__steps=4), *taken]
    assert hts(*command, "--out", whole)[0] == 0
    stop_at("spatial", 2)
    code, _, err = hts(*command, "--out", parts)
    assert (code, "to continue, run hts train --resume" in err) == (130, True)
    stop_at("", 0)
    shutil.rmtree(theirs)  # it is not needed again
    code, _, err = hts("train", "--resume", "--out", parts, "--quiet", "--workers", 0)
    assert code == 0, err
    everything = ("motion_net", "spatial_stream", "temporal_stream")
    assert same(weights(parts), weights(whole), *everything)
    assert same(weights(parts), weights(source("other seed")), "motion_net", "temporal_stream")
    for run in (whole, parts):
        assert provenance(run)["stages"] == ["motion", "spatial", "temporal"]
        assert provenance(run)["warm_start"] == {"temporal": str(theirs)}
        assert seconds(run) == {"spatial"}


def test_a_run_that_stopped_before_its_first_step_takes_on_resuming(
    source: Callable[[str], Path],
    data: dict[str, str],
    hts: Hts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs, run = source("other seed"), tmp_path / "run"

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "decode_samples", interrupted)
        command = ["train", "--data", data["own"], "--out", run, "--quiet", "--motion-from", theirs]
        assert hts(*command, *options(joint__steps=0))[0] == 130
    code, _, err = hts("train", "--resume", "--out", run, "--quiet", "--workers", 0)
    assert code == 0, err
    assert same(weights(run), weights(theirs), "motion_net")
    assert provenance(run)["warm_start"] == {"motion": str(theirs)}


# -- image weights ---------------------------------------------------------------------------------

TINY_STEP: dict[str, object] = {
    "model__backbone": "resnet18", "motion__steps": 0, "joint__steps": 0, "spatial__steps": 1,
    "temporal__steps": 1, "spatial__learning_rate": 1e-12, "temporal__learning_rate": 1e-12,
}  # fmt: skip
"""ResNet-18 and steps so small that the weights at the end are those at the beginning."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of 1000 classes, as torchvision publishes it, but made up."""
    torch.manual_seed(77)
    network = build_backbone("resnet18", 3, 1000, 0.0)
    path = tmp_path_factory.mktemp("published") / "net.pth"
    torch.save(network.state_dict(), path)
    return path


def near(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() < 1e-6)


def test_streams_begin_with_image_weights(
    published: Path, data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", data["own"], "--out", run, "--init", published]
    code, _, err = hts(*command, *options(**TINY_STEP))
    assert code == 0, err
    note = [line for line in err.splitlines() if "image weights" in line]
    assert note == ["image weights from net.pth for spatial, temporal"]
    theirs = torch.load(published, weights_only=True)
    ours = weights(run)
    for stream in ("spatial", "temporal"):
        for name in ("layer1.0.conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.conv2.weight"):
            assert near(ours[f"{stream}_stream.backbone.{name}"], theirs[name])
        assert ours[f"{stream}_stream.backbone.fc.weight"].shape == (3, 512)  # three classes, not 1000
    described = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert described["recipe"]["init"] == str(published)


def test_quiet_says_nothing_and_none_begins_at_random(
    published: Path, data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs = torch.load(published, weights_only=True)["layer4.1.conv2.weight"]
    spatial_alone = {**TINY_STEP, "model__streams": "[spatial]", "temporal__steps": 0}
    for init, expected in ((str(published), True), ("none", False)):
        run = tmp_path / init.replace("/", "_")
        command = ["train", "--data", data["own"], "--out", run, "--init", init, "--quiet"]
        code, _, err = hts(*command, *options(**spatial_alone))
        assert code == 0, err
        assert "image weights" not in err
        assert near(weights(run)["spatial_stream.backbone.layer4.1.conv2.weight"], theirs) == expected


def test_init_goes_before_the_recipe(published: Path, data: dict[str, str], hts: Hts, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", data["own"], "--out", run, "--quiet", "--init", "none"]
    code, _, err = hts(*command, *options(init=tmp_path / "nowhere.pth"))
    assert code == 0, err
    assert json.loads((run / "plan.json").read_text(encoding="utf-8"))["recipe"]["init"] == "none"


def test_imagenet_without_network_is_one_line(
    data: dict[str, str], hts: Hts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def no_network(url: str, *_: object, **__: object) -> None:
        asked.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    command = ["train", "--data", data["own"], "--out", tmp_path / "run", "--quiet", "--init", "imagenet"]
    code, out, err = hts(*command, *options(**TINY_STEP))
    assert (code, out) == (1, "")
    assert_one_error(err, "cannot download https://.*resnet18.*no route to host.*--init FILE")
    assert len(asked) == 1
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("init", "changes", "code", "named"),
    [
        ("imagenet", {}, 2, "backbone 'small' has no published image weights"),
        ("nowhere.pth", TINY_STEP, 2, "no weights at 'nowhere.pth'"),
        ("imagenet", {**TINY_STEP, "model__temporal": "branched", "model__streams": "[temporal]",
                      "spatial__steps": 0}, 2, "no backbone that image weights fit"),
    ],
)  # fmt: skip
def test_image_weights_that_do_not_fit_are_named(
    init: str,
    changes: dict[str, object],
    code: int,
    named: str,
    data: dict[str, str],
    hts: Hts,
    tmp_path: Path,
) -> None:
    command = ["train", "--data", data["own"], "--out", tmp_path / "run", "--quiet", "--init", init]
    found, out, err = hts(*command, *options(**changes))
    assert (found, out) == (code, "")
    assert_one_error(err, named)


def test_a_file_of_another_network_is_one_line(data: dict[str, str], hts: Hts, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "odd.pth")
    command = ["train", "--data", data["own"], "--out", tmp_path / "run", "--quiet"]
    code, _, err = hts(*command, "--init", tmp_path / "odd.pth", *options(**TINY_STEP))
    assert code == 1
    assert_one_error(err, "holds no weights of resnet18")


def test_init_is_not_read_again_on_resuming(
    published: Path,
    data: dict[str, str],
    hts: Hts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: Callable[[str, int], None],
) -> None:
    own = Path(shutil.copy(published, tmp_path / "own.pth"))
    calls: list[str] = []
    original = warm_start_module.initialize_streams

    def counted(*arguments: Any, **options: Any) -> object:
        calls.append(arguments[2])
        return original(*arguments, **options)

    monkeypatch.setattr(warm_start_module, "initialize_streams", counted)
    spatial_alone = {**TINY_STEP, "model__streams": "[spatial]", "temporal__steps": 0, "spatial__steps": 2,
                     "spatial__learning_rate": 1e-4}  # fmt: skip
    command = ["train", "--data", data["own"], "--quiet", "--init", own, *options(**spatial_alone)]
    assert hts(*command, "--out", tmp_path / "whole")[0] == 0
    stop_at("spatial", 1)
    assert hts(*command, "--out", tmp_path / "parts")[0] == 130
    stop_at("", 0)
    assert calls == [str(own), str(own)]
    own.unlink()
    code, _, err = hts("train", "--resume", "--out", tmp_path / "parts", "--quiet", "--workers", 0)
    assert code == 0, err
    assert calls == [str(own), str(own)]
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"), "spatial_stream")


def test_image_weights_stay_out_of_what_is_taken(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    """With all streams taken there is nothing to start: no weights are asked for."""
    run = tmp_path / "run"
    code, _, err = hts(
        "train", "--data", data["own"], "--out", run, "--init", "imagenet", "--spatial-from", source("whole"),
        "--temporal-from", source("whole"), *options(**dict.fromkeys(NO_STEPS, 0)),
    )  # fmt: skip
    assert code == 0, err
    assert "image weights" not in err
    assert same(weights(run), weights(source("whole")), "spatial_stream", "temporal_stream", "motion_net")


# -- what is left out, and when a slip shows ---------------------------------------------------------


def test_a_taken_temporal_stream_is_trained_on_only_when_its_stage_is_asked_for(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs = source("whole")
    command = ["train", "--data", data["own"], "--temporal-from", theirs, "--quiet"]
    kept, tuned = tmp_path / "kept", tmp_path / "tuned"
    code, _, err = hts(*command, "--out", kept, *options())
    assert code == 0, err
    assert seconds(kept) == {"spatial"}
    assert same(weights(kept), weights(theirs), "motion_net", "temporal_stream")
    code, _, err = hts(*command, "--out", tuned, "--stage", "joint", *options(joint__learning_rate=1e-3))
    assert code == 0, err
    assert seconds(tuned) == {"joint"}
    assert provenance(tuned)["stages"] == ["motion", "temporal", "joint"]
    assert not same(weights(tuned), weights(theirs), "temporal_stream")


def test_motion_that_was_never_trained_is_not_given(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    command = ["train", "--data", data["own"], "--quiet"]
    assert hts(*command, "--out", alone, "--stage", "spatial", *options())[0] == 0
    code, out, err = hts(*command, "--out", tmp_path / "run", "--motion-from", alone, *options())
    assert (code, out) == (2, "")
    assert "has no trained MotionNet; its trained stages are spatial" in err


@pytest.mark.parametrize(
    "slip", [["--motion-from", "nowhere"], ["--init", "nowhere.pth"], ["--init", "imagenet"]]
)
def test_a_slip_shows_before_anything_is_decoded_and_leaves_the_folder_free(
    slip: list[str], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _, err = hts("train", "--data", data["own"], "--out", run, *slip, *options())  # backbone: small
    assert code == 2
    assert "decode" not in err
    assert not run.exists()


def wrong_weights(kind: str, folder: Path, published: Path) -> Path:
    """A file that is no initial weights for ResNet-18, in one of several ways."""
    path = folder / "wrong.pth"
    theirs = torch.load(published, weights_only=True)
    match kind:
        case "text":
            path.write_text("not weights")
        case "empty":
            path.write_bytes(b"")
        case "other network":
            torch.save(build_backbone("small", 3, 5, 0.5).state_dict(), path)
        case "other shape":
            torch.save(theirs | {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}, path)
        case "missing":
            torch.save({name: tensor for name, tensor in theirs.items() if name != "bn1.weight"}, path)
        case "not finite":
            torch.save(theirs | {"bn1.weight": torch.full((64,), float("nan"))}, path)
        case "statistics not finite":
            torch.save(theirs | {"layer4.1.bn2.running_var": torch.full((512,), float("inf"))}, path)
        case "too large":
            torch.save(theirs | {"conv1.weight": torch.full((64, 3, 7, 7), 3e38)}, path)
        case "whole numbers":
            torch.save(theirs | {"bn1.weight": torch.ones(64, dtype=torch.int64)}, path)
        case "a list":
            torch.save([torch.zeros(1)], path)
        case "motion weights":
            path = SHIPPED / "nano.safetensors"
        case "a run":
            path = folder / "wrong.safetensors"
            save_file({"motion_net.a": torch.zeros(1)}, path)
    return path


WRONG = ("text", "empty", "other network", "other shape", "missing", "not finite", "statistics not finite",
         "too large", "whole numbers", "a list", "motion weights", "a run")  # fmt: skip


@pytest.mark.parametrize(
    ("command", "kind"),
    [*(("train", kind) for kind in WRONG), ("compare", "text"), ("compare", "not finite")],
)
def test_wrong_image_weights_show_before_anything_is_decoded(
    kind: str, command: str, published: Path, data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    out, path = tmp_path / "out", wrong_weights(kind, tmp_path, published)
    words = ["--set", f"init={path}"] if command == "compare" else ["--init", path]
    more = ["--methods", "frames,hidden-frozen"] if command == "compare" else []
    code, _, err = hts(command, "--data", data["own"], "--out", out, *words, *more, *options(**TINY_STEP))
    assert code == 1
    assert_one_error(err, str(path))
    assert "decode" not in err
    assert not out.exists()


@pytest.mark.parametrize("field", ["motion_teacher", "motion_init"])
@pytest.mark.parametrize(
    "kind", ["text", "nowhere", "image weights", "other network", "not finite", "frames"]
)
def test_a_wrong_file_of_motion_weights_shows_before_anything_is_decoded(
    kind: str, field: str, published: Path, data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    path = tmp_path / "motion.safetensors"
    tensors, metadata = read_tensors(SHIPPED / "nano.safetensors")
    match kind:
        case "text":
            path.write_text("not weights")
        case "image weights":
            save_file(torch.load(published, weights_only=True), path)
        case "other network":
            save_file({name: t for name, t in tensors.items() if "refine2" not in name}, path, metadata)
        case "not finite":
            save_file({name: torch.full_like(t, float("nan")) for name, t in tensors.items()}, path, metadata)
        case "frames":
            path = SHIPPED / "tiny.safetensors"  # for 11 frames
    command = ["train", "--data", data["own"], "--out", tmp_path / "run"]
    code, _, err = hts(*command, *options(**{field: path}))
    assert code in (1, 2)
    assert_one_error(err, "motion weights|not a complete safetensors|does not fit|not finite|11 frames")
    assert "decode" not in err
    assert not (tmp_path / "run").exists()
    assert hts(*command, "--quiet", *options(spatial__steps=0, joint__steps=0))[0] == 0


def test_a_run_with_weights_that_are_not_finite_is_not_taken(
    source: Callable[[str], Path], data: dict[str, str], hts: Hts, tmp_path: Path
) -> None:
    theirs = Path(shutil.copytree(source("whole"), tmp_path / "theirs"))
    tensors, metadata = read_tensors(theirs / "model.safetensors")
    next(tensor for name, tensor in tensors.items() if name.startswith("motion_net.")).fill_(float("nan"))
    save_file(tensors, theirs / "model.safetensors", metadata)
    command = ["train", "--data", data["own"], "--out", tmp_path / "run", "--motion-from", theirs]
    code, _, err = hts(*command, *options())
    assert code == 1
    assert_one_error(err, r"cannot be used: motion_net\..* is not finite")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["[]", "{", "[" * 50_000, "9" * 5000])
def test_a_damaged_record_of_motion_weights_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "motion_init.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"motion_init\.json' is damaged"):
        warm_start_module.read_origins(tmp_path)
