"""Trained MotionNets in `hts train`, `hts cross-validate`, `hts flow` and from Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hidden_two_stream
from hidden_two_stream.checkpoint import load_run
from hidden_two_stream.errors import UsageError
from hidden_two_stream.experiments import cross_validation as cross_validate
from hidden_two_stream.inference.flow_export import default_flow_path
from hidden_two_stream.motion.flo import read_flo
from hidden_two_stream.motion.flow import median_filter
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training import runner as train
from hidden_two_stream.video.reader import probe
from hidden_two_stream.video.transforms import normalize, to_tensor
from hidden_two_stream.weights import motion
from hidden_two_stream.weights.motion import save_motion_weights

Hts = Callable[..., tuple[int, str, str]]
STAGES = ("motion", "spatial", "temporal", "joint")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of 8 classes, one training and one test clip each, 32×32."""
    folder = tmp_path_factory.mktemp("data")
    return write_dataset(folder, train_per_class=1, test_per_class=1, num_frames=4, size=32)


@pytest.fixture(scope="module")
def video(data: Path) -> Path:
    return data.parent / "videos" / "left" / "test_0000.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of nano and tiny-2 such as no training begins with by itself."""
    made = tmp_path_factory.mktemp("shipped")
    for name, member, frames in (("nano", "nano", 0), ("tiny-2", "tiny", 2)):
        torch.manual_seed(99)
        network = build_motion(member, frames or 2)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        save_motion_weights(made / f"{name}.safetensors", network, member, frames, {"data": "none"})
    return made


@pytest.fixture(autouse=True)
def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(motion, "SHIPPED", folder)
    return folder


def options(motion_steps: int = 0, streams: str = "[spatial,temporal]", **changes: object) -> list[str]:
    """Options of a run of one step, of the spatial stream; `model__motion="tiny"` sets model.motion."""
    fields = {name.replace("__", "."): value for name, value in changes.items()}
    chosen: dict[str, object] = {
        "model.num_frames": 3, "input.size": 32, "model.streams": streams,
        "motion.steps": motion_steps, "spatial.steps": 0 if streams == "[]" else 1,
        "temporal.steps": 0, "joint.steps": 0,
        **{f"{stage}.batch_size": 2 for stage in STAGES}, **fields,
    }  # fmt: skip
    pairs = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    return ["--workers", "0", "--quiet", "--protocol", "center", *pairs]


def motion_net(run: Path) -> dict[str, Tensor]:
    return load_run(run)[0].motion_net.state_dict()


def provenance(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))["provenance"]
    return found


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def written(name: str) -> dict[str, Tensor]:
    """The weights of a file, as the network holds them."""
    return motion.motion_weights_info(name).build().state_dict()


# -- training --------------------------------------------------------------------------------------


def test_training_begins_exactly_from_the_file(hts: Hts, data: Path, tmp_path: Path, folder: Path) -> None:
    """By "shipped" and by the file's own name; with no step of stage motion nothing has moved since."""
    for number, source in enumerate(("shipped", folder / "nano.safetensors")):
        run = tmp_path / str(number)
        code, _, err = hts("train", "--data", data, "--out", run, *options(motion_init=source))
        assert code == 0, err
        assert same(motion_net(run), written("nano"))
        began = provenance(run)["motion_init"]
        assert began["source"] == str(source)
        assert (began["file"], began["network"]) == ("nano.safetensors", "nano")
        assert began["provenance"] == {"data": "none"}
        assert len(began["sha256"]) == 64


def test_two_frame_weights_of_a_two_frame_network(hts: Hts, data: Path, tmp_path: Path) -> None:
    chosen = options(
        motion_init="shipped",
        model__motion="tiny",
        model__motion_frames=2,
        model__temporal="stacked",
        temporal_init="none",
    )
    assert hts("train", "--data", data, "--out", tmp_path / "run", *chosen)[0] == 0
    assert same(motion_net(tmp_path / "run"), written("tiny-2"))


def test_stage_motion_goes_on_from_the_weights(hts: Hts, data: Path, tmp_path: Path) -> None:
    assert hts("train", "--data", data, "--out", tmp_path / "run",
               *options(1, "[]", motion_init="shipped"))[0] == 0  # fmt: skip
    found, begin = motion_net(tmp_path / "run"), written("nano")
    assert not same(found, begin)
    # AdamW's first step is at most the learning rate, 4e-3, and some weight decay.
    assert all((found[name] - begin[name]).abs().max() < 5e-3 for name in begin)


def test_stage_motion_learns_from_a_teacher(hts: Hts, data: Path, tmp_path: Path, folder: Path) -> None:
    """The record says from which, the log has its loss, and the weights come out otherwise."""
    runs = {"teacher": {"motion_teacher": str(folder / "nano.safetensors")}, "alone": {}}
    for name, fields in runs.items():
        chosen = options(1, "[]", motion_init="none", **fields)
        assert hts("train", "--data", data, "--out", tmp_path / name, *chosen)[0] == 0
    began = provenance(tmp_path / "teacher")["motion_teacher"]
    assert (began["file"], began["network"], len(began["sha256"])) == ("nano.safetensors", "nano", 64)
    assert provenance(tmp_path / "alone")["motion_teacher"] is None
    assert '"teacher"' in (tmp_path / "teacher" / "metrics.jsonl").read_text(encoding="utf-8")
    assert not same(motion_net(tmp_path / "teacher"), motion_net(tmp_path / "alone"))


def test_from_scratch_begins_as_without_weights(hts: Hts, data: Path, tmp_path: Path) -> None:
    plain, scratch = tmp_path / "plain", tmp_path / "scratch"
    assert hts("train", "--data", data, "--out", plain, *options(motion_init="none"))[0] == 0
    assert hts("train", "--data", data, "--out", scratch, "--from-scratch",
               *options(motion_init="shipped"))[0] == 0  # fmt: skip
    assert same(motion_net(plain), motion_net(scratch))
    assert not same(motion_net(plain), written("nano"))
    assert [provenance(run)["motion_init"] for run in (plain, scratch)] == [None, None]
    assert not (scratch / "motion_init.json").exists()


def test_motion_of_another_run_goes_before(hts: Hts, data: Path, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert hts("train", "--data", data, "--out", first, *options(1, "[]"))[0] == 0
    taking = ["train", "--data", data, "--motion-from", first]
    assert hts(*taking, "--out", second, *options(motion_init="shipped"))[0] == 0
    assert same(motion_net(first), motion_net(second))
    assert provenance(second)["motion_init"] is None
    code, _, err = hts(*taking, "--out", third, "--from-scratch", *options())
    assert (code, "--motion-from brings a trained MotionNet: leave out --from-scratch" in err) == (2, True)


def test_motion_that_began_from_weights_can_be_taken(hts: Hts, data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert hts("train", "--data", data, "--out", first, *options(motion_init="shipped"))[0] == 0
    code, _, err = hts("train", "--data", data, "--out", second, "--motion-from", first, *options())
    assert code == 0, err
    assert same(motion_net(second), written("nano"))


def test_a_resumed_run_keeps_where_it_began(
    hts: Hts, data: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the weights are gone by then: what they were is in the run's own state."""
    run = tmp_path / "run"
    assert hts("train", "--data", data, "--out", run, *options(motion_init="shipped"))[0] == 0
    before = motion_net(run), provenance(run)
    (run / "model.safetensors").unlink()
    monkeypatch.setattr(motion, "SHIPPED", tmp_path)
    assert hts("train", "--resume", "--out", run, "--workers", 0, "--quiet")[0] == 0
    assert same(motion_net(run), before[0])
    assert provenance(run)["motion_init"] == before[1]["motion_init"]


def never(*_: object, **__: object) -> None:
    raise AssertionError("decoding began")


SLIPS: list[tuple[dict[str, str], str]] = [
    (
        {"motion_init": "shipped", "model.motion": "tiny"},
        "the package has no weights for tiny on 3 frames",
    ),
    ({"motion_init": "gone"}, "no motion weights 'gone'"),
    ({"motion_init": "tiny-2"}, "expected weights for nano on 3 frames"),
    ({"motion_teacher": "gone", "motion.steps": "1"}, "no motion weights 'gone'"),
    ({"motion_teacher": "tiny-2", "motion.steps": "1"}, "takes 2 frames at once, but clips have 3"),
    ({"init": "gone.pth", "model.backbone": "resnet18"}, "no weights at 'gone.pth'"),
    ({"spatial.steps": "0"}, "nothing to train"),
]


def test_initial_weights_of_a_run_without_a_state_are_checked_again(
    hts: Hts, data: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was stopped while it decoded, and its weights file is gone by now."""
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes((folder / "nano.safetensors").read_bytes())
    monkeypatch.setattr(train, "decode_samples", never)
    with pytest.raises(AssertionError, match="decoding began"):
        hts("train", "--debug", "--data", data, "--out", tmp_path / "run", *options(motion_init=weights))
    weights.unlink()
    code, _, err = hts("train", "--resume", "--out", tmp_path / "run", "--workers", 0, "--quiet")
    assert (code, "no motion weights" in err, err.count("\n")) == (2, True, 1), err


@pytest.mark.parametrize(("fields", "message"), SLIPS)
def test_wrong_weights_show_before_decoding(
    hts: Hts, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str], message: str,
) -> None:  # fmt: skip
    chosen = options(0, "[spatial,temporal]", **fields)
    run: Sequence[object] = ("--data", data, "--out", tmp_path / "run")
    for module, command in ((train, ["train"]), (cross_validate, ["cross-validate", "--group", "split"])):
        monkeypatch.setattr(module, "decode_samples", never)
        code, _, err = hts(*command, *run, *chosen)
        assert (code, message in err, err.count("\n")) == (2, True, 1), err
    assert not (tmp_path / "run").exists()


def test_cross_validate_from_scratch(hts: Hts, data: Path, tmp_path: Path) -> None:
    for name, flag in (("weights", []), ("scratch", ["--from-scratch"])):
        code, _, err = hts("cross-validate", "--data", data, "--group", "split", "--out", tmp_path / name,
                           *flag, *options(motion_init="shipped"))  # fmt: skip
        assert code == 0, err
        found = same(motion_net(tmp_path / name / "fold_test"), written("nano"))
        assert found == (name == "weights")


def test_resume_takes_no_from_scratch(hts: Hts, tmp_path: Path) -> None:
    code, _, err = hts("train", "--resume", "--out", tmp_path, "--from-scratch")
    assert (code, "leave out --from-scratch" in err) == (2, True)


# -- flow ------------------------------------------------------------------------------------------


def reference(name: str, clip: np.ndarray) -> np.ndarray:
    """Flow of a whole clip by the network itself, pair by pair; that of stacked frames is filtered."""
    info = motion.motion_weights_info(name)
    network = info.build()
    frames = normalize(to_tensor(clip))
    pairs = torch.stack([frames[:-1], frames[1:]], dim=1)
    with torch.inference_mode():
        flow = network(pairs)[0][:, 0]
    found: np.ndarray = (median_filter(flow) if info.num_frames == 2 else flow).numpy()
    return found


@pytest.mark.parametrize("num_frames", [2, 5, 12, 24])
@pytest.mark.parametrize(("name", "size"), [("nano", 32), ("tiny-2", 128)])
def test_flow_from_python(name: str, size: int, num_frames: int) -> None:
    clip = generate_clip("up", 2, num_frames=num_frames, size=size).frames
    estimator = hidden_two_stream.motion_estimator(name)
    assert isinstance(estimator, hidden_two_stream.MotionEstimator)
    flow = estimator.flow(clip)
    expected = reference(name, clip)
    assert (flow.dtype.name, flow.shape) == ("float32", expected.shape)
    # Sums of batches of another size are rounded otherwise, by a few 1e-6 of flows of some 20 px.
    np.testing.assert_allclose(flow, expected, rtol=2e-5, atol=1e-4)
    assert np.abs(flow).max() > 1e-2


def test_a_file_and_a_single_frame(folder: Path, video: Path) -> None:
    by_name, by_file = (
        hidden_two_stream.motion_estimator(source) for source in ("nano", folder / "nano.safetensors")
    )
    np.testing.assert_array_equal(by_name.flow(video), by_file.flow(video))
    assert by_name.flow(np.zeros((1, 32, 32, 3), np.uint8)).shape[:2] == (0, 2)
    with pytest.raises(UsageError, match="short side is 8"):
        by_name.flow(video, short_side=8)
    with pytest.raises(UsageError, match="cannot compute on 'toaster'"):
        hidden_two_stream.motion_estimator("nano", "toaster")
    with pytest.raises(UsageError, match="no motion weights 'gone'"):
        hidden_two_stream.motion_estimator("gone")


def test_large_videos_are_made_smaller() -> None:
    clip = np.zeros((2, 400, 520, 3), np.uint8)
    frames, _ = next(hidden_two_stream.motion_estimator("nano").flow_windows(clip))
    assert frames.shape == (2, 3, 256, 333)


def test_flow_command_needs_no_run(
    hts: Hts, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = hts("flow", "--network", "nano", video, "--json")
    assert code == 0, err
    assert json.loads(out)["output"] == "test_0000.flow.mp4"
    info = probe(tmp_path / "test_0000.flow.mp4")
    assert (info.num_frames, info.height, info.width) == (3, 32, 64)


def test_flow_does_not_overwrite_its_video(hts: Hts, video: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(video.read_bytes())
    code, _, err = hts("flow", "--network", "nano", copy, "-o", copy)
    assert code == 2
    assert "is the video itself" in err
    assert copy.read_bytes() == video.read_bytes()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0), (0, 2, 1)])
def test_flow_options_stand_anywhere(hts: Hts, video: Path, tmp_path: Path, order: tuple[int, ...]) -> None:
    parts: tuple[tuple[object, ...], ...] = (("--network", "nano"), ("-o", tmp_path / "flo"), (video,))
    assert hts("flow", *(argument for place in order for argument in parts[place]))[0] == 0
    found = np.stack([read_flo(path) for path in sorted((tmp_path / "flo").iterdir())])
    np.testing.assert_array_equal(found, hidden_two_stream.motion_estimator("nano").flow(video))


def test_flow_of_a_run_still_works(hts: Hts, data: Path, video: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert hts("train", "--data", data, "--out", run, *options(motion_init="shipped"))[0] == 0
    for number, order in enumerate([(run, video, "-o"), (run, "-o", video), ("-o", run, video)]):
        out = tmp_path / f"{number}"
        chosen = [part for one in order for part in ((one, out) if one == "-o" else (one,))]
        assert hts("flow", *chosen)[0] == 0
        assert len(list(out.iterdir())) == 3
    code, _, err = hts("flow", "--network", "nano", run, video)
    assert (code, "both give a MotionNet; leave one out" in err) == (2, True)
    code, _, err = hts("flow", video)
    assert (code, "the following arguments are required: VIDEO" in err) == (2, True)
    code, _, err = hts("flow", "--network", "nano")
    assert (code, "required: RUN" in err) == (2, True)


@pytest.mark.parametrize("name", ["full", "gone"])
def test_flow_of_a_network_without_weights(hts: Hts, video: Path, name: str) -> None:
    code, _, err = hts("flow", "--network", name, video)
    assert (code, "package" in err, "nano, tiny-2" in err, err.count("\n")) == (2, True, True, 1), err


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b/clip.one.avi", "clip.one.flow.mp4"),
        ("frames/", "frames.flow.mp4"),
        ("https://host/x/clip.mp4?key=a/b.c", "clip.flow.mp4"),
        ("https://host/", "video.flow.mp4"),
    ],
)
def test_where_flow_goes_by_default(source: str, name: str) -> None:
    assert default_flow_path(source) == Path(name)


def test_where_flow_of_this_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_flow_path(".") == Path(f"{tmp_path.name}.flow.mp4")
