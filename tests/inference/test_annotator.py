"""Labels of frames: post-processing, any rate, one row per frame, and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.cli.main import main
from hidden_two_stream.data.annotations.files import read_annotations
from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.inference.annotator import Annotator, load_annotator
from hidden_two_stream.inference.frame_features import FeatureParts, VideoFeatures, frame_features
from hidden_two_stream.inference.frame_scores import FrameSettings, bridged_and_long
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.recognition.frame_head import CONTEXT, FrameHead
from hidden_two_stream.training.frame_runs import feature_networks
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video

NAMES = ("groom", "rest")


def annotator(exclusive: bool = False, fps: float = 0.0, lively: bool = True) -> Annotator:
    networks, info = feature_networks(None, NAMES, 32, fps, "cpu")
    torch.manual_seed(0)
    head = FrameHead(128, len(NAMES) + exclusive, dropout=0.0)
    if lively:
        torch.nn.init.normal_(head.outputs[1].weight)  # type: ignore[arg-type]
    return Annotator(networks, head, info, exclusive, 1.3, (0.0, 0.0) if exclusive else (0.4, 0.6))


def moving(num_frames: int) -> RawClip:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (40, 60 + num_frames, 3), dtype=np.uint8)
    return np.stack([scene[:, t : t + 48] for t in range(num_frames)])


# -- scores to labels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "shortest", "bridge", "after", "removed"),
    [
        ("0110100", 0.0, 0.0, "0110100", []),
        ("0110100", 2.0, 0.0, "0110000", [(4, 5)]),
        ("0110100", 0.0, 1.5, "0111100", []),
        ("0110100", 3.0, 1.5, "0111100", []),  # gaps are filled first
        ("0110100", 5.0, 1.5, "0000000", [(1, 5)]),
        ("0100001", 0.0, 4.0, "0100001", []),  # a gap as long as this stays
        ("1000000", 2.0, 9.0, "0000000", [(0, 1)]),
    ],
)
def test_short_bouts_and_gaps(
    before: str, shortest: float, bridge: float, after: str, removed: list[tuple[int, int]]
) -> None:
    values = np.array([int(letter) for letter in before], np.int8)
    settings = FrameSettings(shortest_seconds=shortest, bridge_seconds=bridge)
    assert bridged_and_long(values, np.arange(8.0), settings) == removed
    assert "".join(map(str, values)) == after


def scored(one: Annotator, scores: list[list[float]], settings: FrameSettings) -> list[list[int]]:
    times = np.arange(len(scores)) / 10
    found = VideoFeatures(torch.zeros(len(scores), 128), times, times)
    labels = one.labels_of_scores("a", found, np.array(scores, np.float32), settings)
    return labels.values.tolist()


def test_thresholds_are_per_behavior() -> None:
    one, rows = annotator(), [[0.41, 0.59], [0.39, 0.61], [0.5, 0.7]]
    assert scored(one, rows, FrameSettings()) == [[1, 0], [0, 1], [1, 1]]
    assert scored(one, rows, FrameSettings({"rest": 0.5})) == [[1, 1], [0, 1], [1, 1]]
    with pytest.raises(UsageError, match="a threshold is given for 'sleep'"):
        one.annotate(moving(4), FrameSettings({"sleep": 0.5}))


def test_exclusive_behaviors_compete_with_the_background() -> None:
    one, rows = annotator(exclusive=True), [[0.5, 0.1], [0.3, 0.31], [0.3, 0.2], [0.1, 0.8]]
    assert scored(one, rows, FrameSettings()) == [[1, 0], [0, 0], [0, 0], [0, 1]]
    assert scored(one, rows, FrameSettings({"groom": 0.6})) == [[0, 0], [0, 0], [0, 0], [0, 1]]


# -- features --------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_frames", [1, 2, 32, 33, 34, 65, 70])
def test_each_frame_has_the_vector_of_the_pair_that_ends_with_it(num_frames: int) -> None:
    """In pieces or at once."""
    one, clip = annotator(), moving(num_frames)
    found = frame_features(one.networks, one.info, clip)
    assert len(found.features) == len(found.sampled_seconds) == len(found.pts_seconds) == num_frames
    if num_frames == 1:
        return
    images = resized(clip, (32, 32))
    with torch.inference_mode():
        vectors = one.networks.pair_vectors(one.networks.preprocess(images[None]))[0]
    torch.testing.assert_close(found.features[1:], vectors, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.features[0], found.features[1])


def test_a_sampled_video_still_has_a_row_per_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving(50), 50)
    one = annotator(fps=25)
    found = frame_features(one.networks, one.info, tmp_path / "a.mp4")
    assert len(found.pts_seconds) == 50
    assert len(found.features) == 25
    labels = one.annotate(tmp_path / "a.mp4")
    assert labels.scores.shape == labels.values.shape == (50, 2)
    np.testing.assert_allclose(
        labels.scores[::2], one.labels("a", found, FrameSettings()).scores[::2], atol=1e-6
    )
    middle = (labels.scores[0:-2:2] + labels.scores[2::2]) / 2
    np.testing.assert_allclose(labels.scores[1:-1:2], middle, atol=1e-5)


def test_the_vectors_of_cells_follow_that_of_the_frame() -> None:
    one, clip = annotator(), moving(34)
    found = frame_features(one.networks, one.info, clip, FeatureParts(grid=(1, 2))).features
    assert found.shape == (34, 3 * 128)
    torch.testing.assert_close(found[:, :128], frame_features(one.networks, one.info, clip).features)
    assert not torch.equal(found[:, 128:256], found[:, 256:])


def test_cells_are_cut_from_the_features_of_the_pairs() -> None:
    networks, _ = feature_networks(None, NAMES, 64, 0.0, "cpu")
    clip = networks.preprocess(resized(moving(3), (64, 64))[None])
    with torch.inference_mode():
        found = networks.pair_vectors(clip, (2, 3))
        pairs = networks.temporal_inputs(clip)[0]
        assert isinstance(pairs, torch.Tensor)
        parts = [pairs]
        for rows in (slice(0, 8), slice(8, 16)):
            parts += [pairs[..., rows, columns] for columns in (slice(0, 6), slice(6, 11), slice(11, 16))]
        expected = [networks.temporal_stream.encode(part) for part in parts]
    torch.testing.assert_close(found, torch.cat(expected, dim=2))


def test_a_label_depends_on_its_neighborhood_alone() -> None:
    head = annotator().head
    features = torch.randn(1, 200, 128)
    changed = features.clone()
    changed[:, 100] += 1
    moved = (head(features) - head(changed)).abs().amax(dim=(0, 2)) > 0
    assert moved.nonzero().flatten().tolist()[0] >= 100 - CONTEXT
    assert moved.nonzero().flatten().tolist()[-1] <= 100 + CONTEXT
    assert moved[100 - CONTEXT]
    assert moved[100 + CONTEXT]


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_saved_annotator_gives_the_same_scores(tmp_path: Path, exclusive: bool) -> None:
    one = annotator(exclusive)
    one.save(tmp_path)
    other = load_annotator(tmp_path)
    clip = moving(40)
    np.testing.assert_array_equal(one.annotate(clip).scores, other.annotate(clip).scores)
    assert (other.names, other.exclusive, other.thresholds) == (NAMES, exclusive, one.thresholds)
    with pytest.raises(CheckpointError, match="labels frames, not clips"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [0.5]},
        {"thresholds": [0.5, 2]},
        {"temperature": 0},
        {"exclusive": "yes"},
        {"features": -1},
        {"width": None},
        {"streams": ["spatial"]},
        {"grid": [1]},
        {"grid": [0, 9]},
    ],
)
def test_a_damaged_description_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    annotator().save(tmp_path)
    file = tmp_path / "model.safetensors"
    with safe_open(file, "pt") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    data = json.loads(metadata["hidden_two_stream"])
    data["frame_labels"] = json.dumps(json.loads(data["frame_labels"]) | change)
    save_file(tensors, file, {"hidden_two_stream": json.dumps(data)})
    with pytest.raises(CheckpointError, match="description of frame labels"):
        load_annotator(tmp_path)


def test_the_command_writes_a_row_per_frame_and_a_row_per_bout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    one = annotator()
    one.save(run)
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", moving(40 if name == "a" else 20))
    (tmp_path / "c.mp4").write_text("no video", encoding="utf-8")
    videos = [str(tmp_path / f"{name}.mp4") for name in ("a", "b", "c")]
    code = main(["annotate", str(run), *videos, "--out", str(out), "--format", "deepethogram", "--json"])
    assert code == 1  # c.mp4
    printed = json.loads(capsys.readouterr().out)
    assert [video["num_frames"] for video in printed["videos"]] == [40, 20]
    assert printed["unreadable"][0]["source"] == videos[2]
    expected = one.annotate(tmp_path / "a.mp4")
    with (out / "a_frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(40))
    np.testing.assert_allclose([float(row["seconds"]) for row in rows], np.arange(40) / 25, atol=1e-6)
    assert [[int(row[name]) for name in NAMES] for row in rows] == expected.values.tolist()
    with (out / "bouts.csv").open(newline="") as file:
        bouts = [row for row in csv.DictReader(file) if row["path"] == videos[0]]
    found = [(row["label"], float(row["start_seconds"]), float(row["end_seconds"])) for row in bouts]
    assert sorted(found) == sorted(
        (bout.label, round(bout.start_seconds, 6), round(bout.end_seconds, 6)) for bout in expected.bouts()
    )
    assert len(found) > 0
    for row in bouts:
        column = NAMES.index(row["label"])
        inside = slice(int(row["start_frame"]), int(row["end_frame"]))
        assert expected.values[inside, column].all()
    (back,) = read_annotations(out / "a.csv", "deepethogram", fps=25.0)
    assert len(back.segments) == len(found)


def test_two_videos_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is computed: the second would replace the table of the first."""
    annotator().save(tmp_path)
    videos = [tmp_path / "one" / "a.mp4", tmp_path / "two" / "a.mp4", tmp_path / "two" / "b.mp4"]
    for video in videos:
        video.parent.mkdir(exist_ok=True)
        write_video(video, moving(3))
    out = ["--out", str(tmp_path / "out")]
    assert main(["annotate", str(tmp_path), *map(str, videos), *out]) == 2
    assert "would both write 'a_frames.csv'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["annotate", str(tmp_path), *map(str, videos[1:]), str(videos[1]), *out]) == 0
    assert "named 2 times, labeled once" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a_frames.csv", "b_frames.csv", "bouts.csv",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--threshold", "groom"], "expected BEHAVIOR=SCORE"),
        (["--threshold", "groom=2"], "expected a score from 0 to 1"),
        (["--shortest-seconds", "-1"], "shortest_seconds is -1.0"),
        (["--format", "deepethogram"], "--format needs --out"),
        (["--format", "nothing", "--out", "x"], "unknown label format 'nothing'"),
    ],
)
def test_a_clear_line_for_wrong_arguments(
    tmp_path: Path, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    annotator().save(tmp_path)
    assert main(["annotate", str(tmp_path), "a.mp4", *arguments]) == 2
    assert named in capsys.readouterr().err
