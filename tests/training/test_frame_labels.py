"""Learning labels of frames: thresholds, weights, unlabeled frames, cross-fitting, and forms of data."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import hidden_two_stream as hts
from hidden_two_stream.checkpoint import RunInfo, build_model, save_run
from hidden_two_stream.cli.main import main
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.annotations.files import write_annotations
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.data.frame_dataset import read_frame_dataset
from hidden_two_stream.errors import DataError, TrainingError, UsageError
from hidden_two_stream.files import make_folder
from hidden_two_stream.inference.annotator import load_annotator
from hidden_two_stream.inference.frame_features import frame_features
from hidden_two_stream.inference.frame_scores import FrameSettings
from hidden_two_stream.recognition.frame_head import frame_logits, frame_scores
from hidden_two_stream.training.frame_labels import (
    FeatureVideo,
    FrameLabelSettings,
    _loss,
    _parts,
    best_threshold,
    fit_frame_labels,
)
from hidden_two_stream.training.frame_runs import train_frames
from hidden_two_stream.types import Segment
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

FAST = FrameLabelSettings(steps=60, batch_size=4, piece_frames=32, width=16, dropout=0.0, learning_rate=1e-2)


def f1(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int8], limit: float) -> float:
    found, true = scores >= limit, labels == 1
    return 2 * (found & true).sum() / max(1, found.sum() + true.sum())


@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_has_a_higher_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(80) < 0.2).astype(np.int8)
    scores = np.clip(rng.normal(0.35 + 0.2 * labels, 0.15), 0.03, 0.97).round(2)
    unknown = rng.random(80) < 0.2
    hidden = np.where(unknown, -1, labels).astype(np.int8)
    found = best_threshold(scores, hidden)
    best = max(f1(scores[~unknown], labels[~unknown], limit) for limit in np.linspace(0.02, 0.98, 961))
    assert f1(scores[~unknown], labels[~unknown], found) == pytest.approx(best, abs=1e-12)


def test_a_behavior_without_examples_keeps_the_middle() -> None:
    assert best_threshold(np.array([0.1, 0.9]), np.array([0, 0], np.int8)) == 0.5
    assert best_threshold(np.array([0.1, 0.9]), np.array([-1, -1], np.int8)) == 0.5


def test_unlabeled_frames_have_no_loss() -> None:
    logits = torch.randn(2, 6, 3, requires_grad=True)
    labels = torch.zeros(2, 6, 2, dtype=torch.long)
    labels[0, :, 0] = 1
    labels[:, 3:] = -1
    for exclusive, outputs in ((True, logits), (False, logits[..., :2])):
        loss = _loss(outputs, labels, exclusive, torch.ones(outputs.shape[-1]))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient[:, 3:] == 0).all()
        assert (gradient[:, :3].abs().sum(dim=2) > 0).all()


def test_half_labeled_frames_teach_what_is_known() -> None:
    """Several at once: a frame where one behavior is unknown still counts for the other."""
    logits = torch.zeros(1, 1, 2, requires_grad=True)
    loss = _loss(logits, torch.tensor([[[1, -1]]]), False, torch.ones(2))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].tolist() == pytest.approx([-0.5, 0.0])


def features(seed: int, count: int = 150, exclusive: bool = True) -> FeatureVideo:
    """Frames whose first features say what happens, a few frames late."""
    rng = np.random.default_rng(seed)
    values = np.zeros((count, 2), np.int8)
    for first in range(10, count - 20, 40):
        values[first : first + 15, 0] = 1
        values[first + (20 if exclusive else 5) : first + 32, 1] = 1
    rows = rng.normal(size=(count, 6)).astype(np.float32) * 0.3
    rows[3:, :2] += values[:-3]
    return FeatureVideo(f"video {seed}", torch.from_numpy(rows), values, group=str(seed % 2))


@pytest.mark.parametrize("exclusive", [True, False])
def test_what_was_learned_holds_on_another_video(exclusive: bool) -> None:
    videos = [features(seed, exclusive=exclusive) for seed in range(4)]
    fitted = fit_frame_labels(videos, FAST)
    assert fitted.exclusive is exclusive
    new = features(9, exclusive=exclusive)
    scores = frame_scores(frame_logits(fitted.head, new.features), exclusive, fitted.temperature)
    if exclusive:  # the highest score wins, that of the background too
        assert fitted.thresholds == (0.0, 0.0)
        rivals = np.concatenate((1 - scores.sum(axis=1, keepdims=True), scores), axis=1)
        scores = np.eye(3)[rivals.argmax(axis=1)][:, 1:]
    for column in range(2):
        limit = 0.5 if exclusive else fitted.thresholds[column]
        assert f1(scores[:, column], new.labels[:, column], limit) > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    videos = [features(seed) for seed in range(3)]
    one, same, other = (fit_frame_labels(videos, FAST, seed) for seed in (1, 1, 2))
    pairs = zip(one.head.state_dict().values(), same.head.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert one.thresholds == same.thresholds
    assert not torch.equal(one.head.outputs[1].weight, other.head.outputs[1].weight)  # type: ignore[arg-type]


def test_groups_are_held_back_together() -> None:
    videos = [features(seed) for seed in range(7)]
    parts = _parts(videos, 3, 0)
    assert len(parts) == 2  # there are two groups
    assert sorted(itertools.chain(*parts)) == list(range(7))
    for part in parts:
        assert len({videos[place].group for place in part}) == 1


def test_held_back_scores_are_of_networks_that_did_not_see_the_video() -> None:
    """A video whose labels are wrong: the others do not learn its labels."""
    videos = [features(seed) for seed in range(4)]
    wrong = FeatureVideo("wrong", videos[0].features, videos[0].labels[:, ::-1].copy(), group="x")
    fitted = fit_frame_labels([*videos[1:], wrong], FAST)
    scores, labels = fitted.held_back[-1], wrong.labels
    there = labels[:, 0] == 1
    assert (scores[there, 1] > scores[there, 0]).mean() > 0.8


@pytest.mark.parametrize(
    ("labels", "named"), [(-1, "no frame has a label"), (0, "all labeled frames have the same labels")]
)
def test_nothing_to_learn_is_named(labels: int, named: str) -> None:
    one = features(0)
    video = FeatureVideo("a", one.features, np.full_like(one.labels, labels))
    with pytest.raises(DataError, match=named):
        fit_frame_labels([video], FAST)


# -- runs ------------------------------------------------------------------------------------------


def film(path: Path, segments: list[tuple[int, int, str]], num_frames: int = 60) -> None:
    """A square that moves right in "right", down in "down", and rests otherwise; 25 frames per second."""
    rng = np.random.default_rng(5)
    scene = rng.integers(90, 110, (48, 64, 3), dtype=np.uint8)
    x, y, images = 4.0, 4.0, []
    for number in range(num_frames):
        label = next((label for first, stop, label in segments if first <= number < stop), "")
        x, y = (x + 1.5) % 40 if label == "right" else x, (y + 1.5) % 30 if label == "down" else y
        image = scene.copy()
        image[int(y) : int(y) + 14, int(x) : int(x) + 14] = rng.integers(0, 256, (14, 14, 1), dtype=np.uint8)
        images.append(image)
    write_video(path, np.stack(images))


SEGMENTS = [(8, 22, "right"), (30, 45, "down")]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, with their labels in all forms of data."""
    root = tmp_path_factory.mktemp("recordings")
    rows: list[list[object]] = [["path", "label", "start_seconds", "end_seconds", "person"]]
    files: list[list[object]] = [["path", "labels", "split", "person"]]
    for number in range(3):
        moved = [(first + 3 * number, stop + 3 * number, label) for first, stop, label in SEGMENTS]
        folder = root / "project" / f"v{number}"
        folder.mkdir(parents=True)
        film(folder / f"v{number}.mp4", moved)
        segments = tuple(Segment(first / 25, stop / 25, label) for first, stop, label in moved)
        found = Annotations(f"v{number}", segments, ("right", "down"), duration_seconds=60 / 25, fps=25)
        write_annotations(folder / f"v{number}_labels.csv", [found], "deepethogram")
        write_annotations(folder / f"v{number}.tsv", [found], "boris-tabular", lossy=True)
        name = f"project/v{number}/v{number}"
        rows += [[f"{name}.mp4", one.label, one.start_seconds, one.end_seconds, number] for one in segments]
        files.append([f"{name}.mp4", f"{name}.tsv", "test" if number == 2 else "train", number])
    for name, table in (("segments.csv", rows), ("files.csv", files)):
        with (root / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    return root


@pytest.mark.parametrize("form", ["project", "segments.csv", "files.csv"])
def test_all_forms_of_data_have_the_same_labels(recordings: Path, form: str) -> None:
    dataset = read_frame_dataset(recordings / form)
    assert sorted(dataset.names) == ["down", "right"]
    assert len(dataset.recordings) == 3
    for number, recording in enumerate(dataset.recordings):
        labels = recording.frame_labels(("right", "down"), np.arange(60) / 25, 25.0, "background")
        expected = np.zeros((60, 2), np.int8)
        for column, (first, stop, _) in enumerate(SEGMENTS):
            expected[first + 3 * number : stop + 3 * number, column] = 1
        np.testing.assert_array_equal(labels, expected)


def test_unlabeled_time_in_a_list_of_segments_is_unknown(recordings: Path) -> None:
    recording = read_frame_dataset(recordings / "segments.csv").recordings[0]
    times = np.arange(60) / 25
    labels = recording.frame_labels(("right", "down"), times, 25.0, "file")
    assert (labels[:8] == -1).all()
    assert (labels[8:22] == [1, 0]).all()
    listed = read_frame_dataset(recordings / "files.csv").recordings[0]
    assert (listed.frame_labels(("right", "down"), times, 25.0, "file")[:8] == 0).all()
    assert (listed.frame_labels(("right", "down"), times, 25.0, "unknown")[:8] == -1).all()


def test_ignored_time_is_unknown_where_no_behavior_is_labeled(recordings: Path, tmp_path: Path) -> None:
    ignore = tmp_path / "ignore.csv"
    first, other = recordings / "project/v0/v0.mp4", recordings / "elsewhere.mp4"
    rows = [f"{first},0.2,0.6", f"{first},1.0,1.12", f"{other},0,1"]
    ignore.write_text("\n".join(["path,start_seconds,end_seconds", *rows]))
    dataset = read_frame_dataset(recordings / "segments.csv", ignore=ignore)
    assert dataset.unused == 1
    labels = dataset.recordings[0].frame_labels(("right", "down"), np.arange(60) / 25, 25.0, "background")
    assert np.flatnonzero((labels == -1).any(axis=1)).tolist() == [5, 6, 7, 25, 26, 27]
    assert (labels[8:22] == [1, 0]).all()
    assert not dataset.recordings[1].ignored


def test_a_run_from_label_files(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    arguments = ["train-frames", "--data", str(recordings / "files.csv"), "--out", str(out)]
    assert main([*arguments, "--size", "64", "--steps", "60", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["exclusive"] is True
    assert printed["test"]["num_videos"] == 1
    assert printed["test"]["macro_f1"] > 0.7
    assert printed["cross_fitted"]["num_videos"] == 2
    assert json.loads((out / "results.json").read_text())["test"] == printed["test"]
    video = recordings / "project" / "v2" / "v2.mp4"
    assert load_annotator(out).annotate(video).values.shape == (60, 2)
    assert main([*arguments]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_held_out_and_groups(recordings: Path, tmp_path: Path) -> None:
    result = train_frames(
        recordings / "segments.csv", tmp_path / "run", held_out="person=1", group="person",
        unlabeled="background", settings=FAST, size=64, quiet=True,
    )  # fmt: skip
    assert result.test is not None
    assert (result.test.num_videos, result.test.num_frames) == (1, 60)
    assert result.cross_fitted is not None
    assert result.cross_fitted.num_videos == 2


def test_a_run_is_tested_by_the_command(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures as after training; the recordings that were held out are known."""
    out, data = tmp_path / "run", recordings / "segments.csv"
    options = {"unlabeled": "background", "settings": FAST, "size": 64, "quiet": True}
    result = train_frames(data, out, held_out="person=1", **options)  # type: ignore[arg-type]
    assert result.test is not None
    command = ["evaluate", str(out), "--task", "frames", "--data", str(data), "--unlabeled", "background"]
    assert main([*command, "--json", "--quiet"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["tested"] == "person=1"
    assert {name: figures[name] for name in result.test.to_dict()} == result.test.to_dict()
    assert main([*command, "--split", "all", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "3 videos (all recordings)" in printed.out
    assert "not those of unseen ones" in printed.err
    assert main([*command, "--threshold", "right=1", "--shortest-seconds", "0.1", "--json", "--quiet"]) == 0
    stricter = json.loads(capsys.readouterr().out)
    assert stricter["per_behavior"]["right"]["recall"] == 0 < figures["per_behavior"]["right"]["recall"]


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--split", "test"], 1, "no recording is in the test part; use --split all"),
        (["--split", "some"], 2, "unknown split 'some'"),
        (["--threshold", "fly=0.5"], 2, "a threshold is given for 'fly'"),
        (["--enter", "0.5"], 2, "--enter has no effect without --task segments"),
        (["--protocol", "center"], 2, "--protocol has no effect without --task clips"),
    ],
)
def test_a_clear_line_for_wrong_options_of_a_test(
    recordings: Path, tmp_path: Path, options: list[str], code: int, named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = recordings / "segments.csv"
    settings = FrameLabelSettings(steps=1, folds=0)
    train_frames(data, tmp_path / "run", unlabeled="background", settings=settings, size=32, quiet=True)
    command = ["evaluate", str(tmp_path / "run"), "--task", "frames", "--data", str(data)]
    assert main([*command, *options]) == code
    assert named in capsys.readouterr().err


def test_networks_of_a_run(recordings: Path, tmp_path: Path) -> None:
    """Features from a run of its own: its weights stay as they are."""
    from hidden_two_stream.synthetic.dataset import write_dataset

    labels = write_dataset(tmp_path / "data", train_per_class=2, test_per_class=1, num_frames=6, size=32)
    base = tmp_path / "base"
    changes = ["input.size=64", "model.num_frames=4", "temporal.steps=20", "calibration.method=none"]
    run = hts.train(labels, base, "quick", changes, resources=hts.Resources(workers=0, quiet=True))
    before = {name: tensor.clone() for name, tensor in run.recognizer.model.state_dict().items()}
    result = train_frames(recordings / "files.csv", tmp_path / "run", base=base, settings=FAST, quiet=True)
    after = result.annotator.networks.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert result.annotator.info.recipe.input.size == 64


@pytest.mark.parametrize("change", [{"input.normalize_contrast": True}, {"model.motion": "tiny"}])
def test_networks_whose_pairs_depend_on_the_window_are_refused(
    recordings: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    """A video is looked at in pieces, and features must not depend on where the pieces begin."""
    recipe = load_recipe("nano", {
        "model.streams": ["temporal"], "spatial.steps": 0, "input.size": 64, "input.resize": 64,
        "motion_init": "none", "temporal_init": "none", **change,
    })  # fmt: skip
    save_run(make_folder(tmp_path / "base"), build_model(recipe, 2), RunInfo(recipe, ("a", "b")))
    with pytest.raises(UsageError, match="its pairs of frames have other vectors in other windows"):
        train_frames(recordings / "files.csv", tmp_path / "run", base=tmp_path / "base", quiet=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--behaviors", "right,jump"], "has no behavior 'jump'"),
        (["--held-out", "person"], "expected COLUMN=VALUE"),
        (["--held-out", "person=9"], "no recording has person '9'"),
        (["--group", "cage"], "has no column 'cage'"),
        (["--size", "5"], "expected 32 to 1024 px"),
        (["--grid", "2"], "expected ROWSxCOLUMNS"),
        (["--grid", "1x9"], "the grid is (1, 9)"),
        (["--steps", "0"], "steps is 0"),
        (["--base", "nowhere"], "nowhere"),
    ],
)
def test_a_clear_line_for_wrong_arguments(
    recordings: Path, tmp_path: Path, change: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train-frames", "--data", str(recordings / "files.csv"), "--out", str(tmp_path / "run")]
    assert main([*arguments, *change]) in (1, 2)
    assert named in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "error", "named"),
    [
        ("path,labels\nno.mp4,no.csv\n", DataError, "line 2: there is no 'no.mp4'"),
        ("path,labels\n", DataError, "names no videos"),
        ("a,b\n1,2\n", DataError, "no column"),
    ],
)
def test_a_broken_list_is_named(tmp_path: Path, text: str, error: type[Exception], named: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=named):
        read_frame_dataset(path)
    with pytest.raises(UsageError, match="nothing found at"):
        read_frame_dataset(tmp_path / "other.csv")
    with pytest.raises(DataError, match="has no sub-folder with a video"):
        read_frame_dataset(tmp_path)


def test_labels_past_the_end_of_the_video_are_named(recordings: Path, tmp_path: Path) -> None:
    video = recordings / "project" / "v0" / "v0.mp4"
    path = tmp_path / "list.csv"
    path.write_text(f"path,label,start_seconds,end_seconds\n{video},right,0.5,1\n{video},down,30,31\n")
    with pytest.raises(DataError, match="'down' starts at 30 s, past the end of"):
        train_frames(path, tmp_path / "run", settings=FAST, size=64, quiet=True)


def test_both_streams_of_a_run_give_features(recordings: Path, tmp_path: Path) -> None:
    """Each frame has the embedding of the spatial stream behind the vector of its pair, in all chunks."""
    from hidden_two_stream.synthetic.dataset import write_dataset

    labels = write_dataset(tmp_path / "data", train_per_class=2, test_per_class=1, num_frames=6, size=32)
    base = tmp_path / "base"
    changes = [
        "input.size=64", "model.num_frames=4", "spatial.steps=2", "temporal.steps=2", "joint.steps=0",
        "motion.steps=0", "calibration.method=none",
    ]  # fmt: skip
    hts.train(labels, base, "nano", changes, resources=hts.Resources(workers=0, quiet=True))
    result = train_frames(recordings / "files.csv", tmp_path / "run", base=base, settings=FAST, quiet=True)
    assert result.annotator.parts.streams == ("temporal", "spatial")
    video = recordings / "project/v2/v2.mp4"
    networks, info = result.annotator.networks, result.annotator.info
    found = result.annotator.features(video).features
    motion = frame_features(networks, info, video).features
    width = motion.shape[1]
    torch.testing.assert_close(found[:, :width], motion)
    frames = resized(read_video(video)[0], (64, 64))
    for number in (0, 1, 31, 32, 33, 59):
        alone = networks.spatial_embedding(networks.preprocess(frames[None, number : number + 1]))[0]
        torch.testing.assert_close(found[number, width:], alone, rtol=1e-4, atol=1e-5)
    again = load_annotator(tmp_path / "run").annotate(video)
    np.testing.assert_allclose(again.scores, result.annotator.annotate(video).scores, atol=1e-6)


def moving_patch(segments: list[tuple[int, int, str]], seed: int) -> npt.NDArray[np.uint8]:
    """A textured patch that moves 2 px per frame in its segments, and rests otherwise."""
    rng = np.random.default_rng(seed)
    scene, patch = (
        rng.integers(90, 110, (96, 96, 3)),
        rng.integers(0, 256, (6, 6, 3)).repeat(4, 0).repeat(4, 1),
    )
    x, y, images = 8, 8, []
    for number in range(80):
        label = next((label for first, stop, label in segments if first <= number < stop), "")
        x, y = x + 2 * (label == "right"), y + 2 * (label == "down")
        image = scene.copy()
        image[y : y + 24, x : x + 24] = patch
        images.append(image)
    return np.stack(images).astype(np.uint8)


def test_bouts_are_right_to_the_frame_where_it_is_easy(tmp_path: Path) -> None:
    """A patch that starts and stops at once, at any time, in recordings that the networks did not see."""
    rng = np.random.default_rng(0)
    rows: list[list[object]] = [["path", "label", "start_seconds", "end_seconds", "split"]]
    for number in range(8):
        first = int(rng.integers(5, 25))
        second = first + int(rng.integers(20, 35))
        segments = [
            (first, first + int(rng.integers(8, 16)), ("right", "down")[number % 2]),
            (second, second + int(rng.integers(8, 16)), ("down", "right")[number % 2]),
        ]
        write_video(tmp_path / f"{number}.mp4", moving_patch(segments, number))
        split = "test" if number >= 6 else "train"
        rows += [[f"{number}.mp4", label, a / 25, b / 25, split] for a, b, label in segments]
    with (tmp_path / "segments.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    settings = replace(FAST, steps=150, width=32)
    run = train_frames(
        tmp_path / "segments.csv", tmp_path / "run", unlabeled="background", settings=settings, size=64,
        quiet=True,
    )  # fmt: skip
    smooth = FrameSettings(shortest_seconds=0.1, bridge_seconds=0.1)
    for recording in read_frame_dataset(tmp_path / "segments.csv").recordings[6:]:
        found = run.annotator.annotate(recording.path, smooth).bouts()
        assert [bout.label for bout in found] == [truth.label for truth in recording.segments]
        for bout, truth in zip(found, recording.segments, strict=True):
            assert abs(bout.start_seconds - truth.start_seconds) * 25 < 1.01
            assert abs(bout.end_seconds - truth.end_seconds) * 25 < 1.01


def test_a_killed_training_can_be_given_again(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is written last: without it, the folder holds no run."""
    out, options = tmp_path / "run", {"settings": FAST, "size": 64, "quiet": True}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hidden_two_stream.checkpoint.write_json", killed)  # config.json, before the model
        with pytest.raises(KeyboardInterrupt):
            train_frames(recordings / "files.csv", out, **options)  # type: ignore[arg-type]
    assert sorted(path.name for path in out.iterdir()) == ["results.json", "unreadable.txt"]
    train_frames(recordings / "files.csv", out, **options)  # type: ignore[arg-type]
    assert (out / "model.safetensors").exists()


def test_a_run_that_hts_train_has_begun_is_not_overwritten(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UsageError, match="already holds a run"):
        train_frames(recordings / "files.csv", tmp_path, settings=FAST, quiet=True)


def test_a_head_that_diverges_in_its_last_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def step(optimizer: torch.optim.Optimizer, *_: object, **__: object) -> None:
        steps.append(1)
        if len(steps) == FAST.steps:
            optimizer.param_groups[0]["params"][0].data.fill_(torch.nan)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(TrainingError, match=r"last step: .* is not finite; lower learning_rate"):
        fit_frame_labels([features(seed) for seed in range(3)], FAST)
