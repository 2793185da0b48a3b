"""Late fusion: published scores give the published accuracies; rows, columns and weights are correct."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, wilson_interval
from hidden_two_stream.evaluation.late_fusion import FusionResult, fuse_score_files, search_weights

Array = npt.NDArray[np.float64]
Run = Callable[..., tuple[int, str, str]]


# -- the published scores --------------------------------------------------------------------------


@pytest.fixture
def published(data_root: Path) -> tuple[Path, Path, Path]:
    """Return the spatial and temporal scores of UCF101 split 1, and its test list."""
    folder = data_root / "scores"
    names = ("spatial_quality100_split01.mat", "temporal_hidden_split01.mat", "testlist01.txt")
    return folder / names[0], folder / names[1], folder / names[2]


def numbers(files: tuple[Path, Path, Path]) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    from scipy.io import loadmat

    labels = [line.split("/")[0] for line in files[2].read_text().split()]
    order = [label for label, _ in itertools.groupby(labels)]
    assert len(order) == len(set(labels)) == 101
    truth = np.array([order.index(label) for label in labels])
    return loadmat(files[0])["spatial_prediction"], loadmat(files[1])["hidden_prediction"], truth


def shares(scores: Array) -> Array:
    """Clip scores at 0 and divide each row by its sum, in double precision."""
    positive = np.where(scores > 0, scores, 0.0)
    total: Array = positive.sum(axis=1)[:, None]
    return positive / total


@pytest.mark.parametrize(("weight", "right"), [("1", 3337), ("1.5", 3367), ("2", 3374)])
def test_published_scores_give_the_published_accuracies(
    published: tuple[Path, Path, Path], hts: Run, weight: str, right: int
) -> None:
    spatial, temporal, truth = numbers(published)
    mixed = shares(spatial) + float(weight) * shares(temporal)
    assert int((mixed.argmax(axis=1) == truth).sum()) == right
    code, out, _ = hts("fuse", *published[:2], "--labels", published[2], "--weights", "1", weight, "--json")
    assert code == 0
    found = json.loads(out)
    assert list(found) == [
        "num_videos", "accuracy", "accuracy_interval_95", "method", "weights", "streams", "num_classes",
        "protocol", "protocols", "unlisted_rows", "searched_on",
    ]  # fmt: skip
    result = fuse_score_files(published[:2], published[2], weights=(1, float(weight)))
    assert json.loads(json.dumps(result.to_dict())) == found
    assert found["num_videos"] == 3783
    assert found["accuracy"] == {"streams": [3063 / 3783, 3180 / 3783], "fused": right / 3783}
    assert found["accuracy_interval_95"]["fused"] == pytest.approx(wilson_interval(right / 3783, 3783))
    assert found["accuracy_interval_95"]["streams"][1] == pytest.approx(wilson_interval(3180 / 3783, 3783))
    assert (found["method"], found["weights"]) == ("l1", [1.0, float(weight)])
    assert [name.rsplit("/", 1)[1] for name in found["streams"]] == [
        "spatial_quality100_split01.mat:spatial_prediction", "temporal_hidden_split01.mat:hidden_prediction"
    ]  # fmt: skip
    assert (found["protocol"], found["protocols"], found["searched_on"]) == (None, [None, None], None)


def test_no_video_changes_its_class_in_single_precision(published: tuple[Path, Path, Path]) -> None:
    from hidden_two_stream.recognition.fusion import fuse

    spatial, temporal, _ = numbers(published)
    for weight in (1, 1.5, 2):
        exact = (shares(spatial) + weight * shares(temporal)).argmax(axis=1)
        np.testing.assert_array_equal(fuse([spatial, temporal], [1, weight], "l1").argmax(axis=1), exact)


def test_text_output(published: tuple[Path, Path, Path], hts: Run) -> None:
    code, out, _ = hts("fuse", *published[:2], "--labels", published[2], "--weights", 1, 1.5)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "3783 videos, 101 classes, l1 fusion, weights 1 : 1.5, protocol not known"
    assert lines[1].endswith("80.97%  (95%: 79.69% to 82.19%)")
    assert lines[3].split() == ["fused", "89.00%", "(95%:", "87.97%", "to", "89.96%)"]


def test_weights_searched_on_one_half_are_tested_on_the_other(
    published: tuple[Path, Path, Path], hts: Run, tmp_path: Path
) -> None:
    spatial, temporal, truth = numbers(published)
    lines = published[2].read_text().split()
    (tmp_path / "val.txt").write_text("\n".join(reversed(lines[::2])))
    code, out, _ = hts(
        "fuse", *published[:2], "--labels", published[2], "--search", tmp_path / "val.txt", "--json"
    )
    assert code == 0
    found = json.loads(out)
    first, second = shares(spatial), shares(temporal)

    def count(weight: float, part: slice) -> int:
        return int(((first + weight * second).argmax(axis=1) == truth)[part].sum())

    right = [count(n / 10, slice(0, None, 2)) for n in range(41)]
    best = found["weights"][1]
    assert found["weights"][0] == 1
    assert right[round(10 * best)] == max(right)
    assert found["validation_accuracy"] == max(right) / 1892
    assert (found["searched_on"], found["num_videos"]) == (1892, 1891)
    test = slice(1, None, 2)
    assert found["accuracy"]["fused"] == count(best, test) / 1891
    assert found["accuracy"]["streams"][0] == int((spatial.argmax(1) == truth)[test].sum()) / 1891
    text = hts("fuse", *published[:2], "--labels", published[2], "--search", tmp_path / "val.txt")[1]
    assert "weights searched on 1892 other videos" in text


# -- small files -----------------------------------------------------------------------------------

CLASSES = ("jump", "run", "walk")
VIDEOS = tuple(f"{label}/v{n}.avi" for n in range(4) for label in CLASSES)
LABELS = CLASSES * 4


def saved(
    folder: Path, name: str = "scores.npz", seed: int = 0, protocol: str = "25x10", n: int = 12
) -> Path:
    rng = np.random.default_rng(seed)
    logits = {s: rng.normal(2, size=(n, 3)).astype(np.float32) for s in ("spatial", "temporal")}
    truth = np.array([0, 1, 2] * 4)[:n]
    Evaluation(
        CLASSES,
        tuple(f"/data/videos/{video}" for video in VIDEOS[:n]),
        truth,
        logits,
        logits["spatial"],
        protocol,
    ).save_scores(folder / name)
    return folder / name


def written(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines))
    return path


def alone(result: FusionResult) -> list[float]:
    """Return the accuracy of each stream alone."""
    return [stream.accuracy for stream in result.streams]


def logits_of(path: Path, stream: str) -> Any:
    with np.load(path) as arrays:
        return arrays[stream]


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_scores_of_hts_evaluate_find_their_videos_by_name(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, f"scores{suffix}")
    order = np.random.default_rng(1).permutation(12)
    label_list = written(tmp_path / "list.txt", [VIDEOS[n] for n in order])
    found = fuse_score_files([path], label_list, weights=(1, 1.5))
    archive = saved(tmp_path, "same.npz")
    spatial, temporal = (logits_of(archive, name) for name in ("spatial", "temporal"))
    truth = np.array([0, 1, 2] * 4)
    assert alone(found) == [(s.argmax(1) == truth).mean() for s in (spatial, temporal)]
    mixed = shares(spatial.astype(float)) + 1.5 * shares(temporal.astype(float))
    assert found.accuracy == (mixed.argmax(1) == truth).mean()
    assert (found.protocol, found.num_videos, found.num_classes) == ("25x10", 12, 3)
    assert [stream.source for stream in found.streams] == [f"{path}:spatial", f"{path}:temporal"]


def test_columns_go_by_the_names_of_their_classes(tmp_path: Path, hts: Run) -> None:
    path = saved(tmp_path)
    spatial = logits_of(path, "spatial").astype(float)
    rows = [f"{v},{r[2]!r},{r[0]!r},{r[1]!r}" for v, r in zip(VIDEOS, spatial.tolist(), strict=True)]
    table = written(tmp_path / "turned.csv", ["path,walk,jump,run", *rows])
    label_list = written(tmp_path / "list.txt", VIDEOS)
    one = fuse_score_files([f"{path}:spatial"], label_list)
    two = fuse_score_files([f"{path}:spatial", str(table)], label_list)
    assert alone(two) == alone(one) * 2
    assert two.accuracy == one.accuracy
    assert [stream.weight for stream in two.streams] == [1, 1]
    assert (two.protocol, [stream.protocol for stream in two.streams]) == (None, ["25x10", None])
    code, out, _ = hts("fuse", f"{path}:spatial", table, "--labels", label_list)
    assert code == 0
    assert "scores.npz:spatial has protocol 25x10\n" in out + "\n"


def test_weights_are_equal_unless_given_and_softmax_is_another_fusion(tmp_path: Path) -> None:
    path, label_list = saved(tmp_path, seed=3), written(tmp_path / "list.txt", VIDEOS)
    plain = fuse_score_files([path], label_list)
    assert ([stream.weight for stream in plain.streams], plain.method) == ([1.0, 1.0], "l1")
    found = fuse_score_files([path], label_list, method="softmax", weights=(1, 3))
    powers = [np.exp(logits_of(path, name).astype(float)) for name in ("spatial", "temporal")]
    mixed = powers[0] / powers[0].sum(1)[:, None] + 3 * powers[1] / powers[1].sum(1)[:, None]
    assert found.accuracy == (mixed.argmax(1) == np.array([0, 1, 2] * 4)).mean()


def test_scored_videos_that_are_not_listed_are_reported(tmp_path: Path, hts: Run) -> None:
    path, label_list = saved(tmp_path), written(tmp_path / "list.txt", VIDEOS[:7])
    found = fuse_score_files([path], label_list)
    assert (found.num_videos, [stream.unlisted_rows for stream in found.streams]) == (7, [5, 5])
    code, out, _ = hts("fuse", path, "--labels", label_list)
    assert code == 0
    assert f"5 videos of {path}:temporal are not in the list" in out


def plain(folder: Path, rows: int = 4, columns: int = 3) -> str:
    np.savez(folder / "plain.npz", logits=np.eye(rows, columns))
    return str(folder / "plain.npz")


@pytest.mark.parametrize(
    ("lines", "accuracy"),
    [
        (["a/1.avi", "b/2.avi", "c/3.avi", "a/4.avi"], 1.0),
        (["b/1.avi", "a/2.avi", "c/3.avi", "b/4.avi"], 0.25),
        (["1.avi 1", "2.avi 2", "3.avi 10", "4.avi 1"], 1.0),
        (["1.avi 0", "2.avi 1", "3.avi 2", "4.avi 0"], 1.0),
    ],
)
def test_rows_and_columns_without_names_go_by_order(
    tmp_path: Path, lines: list[str], accuracy: float
) -> None:
    np.savez(tmp_path / "plain.npz", logits=np.eye(3)[[0, 1, 2, 0]])
    found = fuse_score_files([str(tmp_path / "plain.npz")], written(tmp_path / "list.txt", lines))
    assert alone(found) == [accuracy]


def test_a_list_of_classes_gives_their_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", logits=np.eye(4)[[2, 0]])
    source, label_list = str(tmp_path / "plain.npz"), written(tmp_path / "list.txt", ["a/1.avi", "b/2.avi"])
    with pytest.raises(DataError, match=r"has 4 columns but .*list\.txt.* has 2 classes; .*--classes"):
        fuse_score_files([source], label_list)
    for lines in (["b", "x", "a", "y"], ["2 x", "1 b", "3 a", "4 y"]):
        classes = written(tmp_path / "classes.txt", lines)
        assert fuse_score_files([source], label_list, classes=classes).accuracy == 1
    by_number = written(tmp_path / "numbers.txt", ["1.avi 3", "2.avi 1"])
    assert fuse_score_files([source], by_number, classes=classes).accuracy == 1


# -- search ----------------------------------------------------------------------------------------


def counts(first: Array, second: Array, truth: npt.NDArray[np.int64]) -> list[int]:
    mixed = [shares(first) + n / 10 * shares(second) for n in range(41)]
    return [int((m.argmax(axis=1) == truth).sum()) for m in mixed]


def one_sided(low: float, high: float) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Return scores that are right where low < weight (first video) and weight < high (second)."""
    first = np.array([[0.5 + 0.1 * low, 0.5 - 0.1 * low], [0.5 + 0.1 * high, 0.5 - 0.1 * high]])
    return first, np.array([[0.4, 0.6]] * 2), np.array([1, 0])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.55, 1.85, 1.2),  # 0.6 ... 1.8
        (1.95, 2.25, 2.1),  # 2.0 ... 2.2
        (1.95, 2.35, 2.1),  # 2.0 ... 2.3: of two middles the one nearer to equal weights
        (0.15, 0.55, 0.4),  # 0.2 ... 0.5
        (0.05, 4.95, 2.0),  # 0.1 ... 4.0: 2.0 and 2.1 are the middles
        (-0.5, 4.95, 2.0),  # everywhere
        (2.85, 2.95, 2.9),
    ],
)
def test_the_middle_of_the_best_weights_is_chosen(low: float, high: float, expected: float) -> None:
    first, second, truth = one_sided(low, high)
    right = counts(first, second, truth)
    assert [n for n, count in enumerate(right) if count == max(right)] == [
        n for n in range(41) if low < n / 10 < high
    ]
    assert search_weights([first, second], truth, "l1") == [1.0, expected]


def test_the_plateau_nearer_to_equal_weights_is_chosen() -> None:
    first, second, truth = one_sided(1.45, 1.85)
    # A third video, which is right from 2.65 on, where the second is not.
    first = np.concatenate((first, [[0.5 + 0.1 * 2.65, 0.5 - 0.1 * 2.65]]))
    second, truth = np.concatenate((second, [[0.4, 0.6]])), np.concatenate((truth, [1]))
    right = counts(first, second, truth)
    assert [n for n, count in enumerate(right) if count == max(right)] == [15, 16, 17, 18, *range(27, 41)]
    assert search_weights([first, second], truth, "l1") == [1.0, 1.6]


def test_the_nearer_plateau_may_be_the_upper_one() -> None:
    first, second, truth = (
        np.concatenate(pair) for pair in zip(one_sided(1.25, 1.55), one_sided(9.0, 0.25), strict=True)
    )
    right = counts(first, second, truth)
    assert [n for n, count in enumerate(right) if count == max(right)] == [0, 1, 2, 13, 14, 15]
    assert search_weights([first, second], truth, "l1") == [1.0, 1.4]


def test_three_streams_have_a_plane_of_weights() -> None:
    first, second, truth = one_sided(1.15, 1.65)
    nothing = np.full_like(first, 0.5)
    # The third stream is uniform, so its weight has no effect, and the middle of 0 ... 4 is 2.
    assert search_weights([first, second, nothing], truth, "l1") == [1.0, 1.4, 2.0]
    assert search_weights([first, nothing, second], truth, "l1") == [1.0, 2.0, 1.4]


def test_the_search_takes_two_or_three_streams() -> None:
    for number in (1, 4):
        with pytest.raises(UsageError, match=rf"two or three streams, not {number}; give --weights"):
            search_weights([np.eye(2)] * number, np.array([0, 1]), "l1")


def test_the_search_ignores_test_videos(tmp_path: Path) -> None:
    """Other scores of the test videos give the same weights."""
    label_list, validation = written(tmp_path / "list.txt", VIDEOS), written(tmp_path / "val.txt", VIDEOS[:6])
    chosen = []
    for seed in (0, 1, 2):
        path = saved(tmp_path, f"{seed}.npz", 0)
        with np.load(path) as arrays:
            changed = dict(arrays)
        for name in ("spatial", "temporal"):
            changed[name][6:] = np.random.default_rng(seed).normal(size=(6, 3))
        np.savez(path, **changed)
        found = fuse_score_files([path], label_list, search=validation)
        assert (found.num_videos, found.searched_on) == (6, 6)
        temporal = changed["temporal"][6:].argmax(1)
        assert alone(found)[1] == (temporal == np.array([0, 1, 2] * 2)).mean()
        chosen.append([stream.weight for stream in found.streams])
    assert chosen[0] == chosen[1] == chosen[2]


def test_invalid_searches_are_rejected(tmp_path: Path) -> None:
    path, label_list = str(saved(tmp_path)), written(tmp_path / "list.txt", VIDEOS)
    with pytest.raises(UsageError, match="no test video is left"):
        fuse_score_files([path], label_list, search=label_list)
    with pytest.raises(UsageError, match="no test video is left"):
        fuse_score_files([path], label_list, search=written(tmp_path / "all.txt", [f"x/{v}" for v in VIDEOS]))
    with pytest.raises(UsageError, match="got weights and a list to search them on; leave out --weights"):
        fuse_score_files([path], label_list, search=written(tmp_path / "val.txt", VIDEOS[:3]), weights=(1, 1))
    with pytest.raises(DataError, match=r"list\.txt lacks 1 of 2 listed videos, first 'run/new\.avi'"):
        fuse_score_files([path], label_list, search=written(tmp_path / "val.txt", [VIDEOS[0], "run/new.avi"]))
    with pytest.raises(DataError, match=r"'jump/v0\.avi' is 'run' in .*val\.txt but 'jump' in .*list\.txt"):
        fuse_score_files([path], label_list, search=written(tmp_path / "val.txt", ["jump/v0.avi run"]))


# -- invalid input ---------------------------------------------------------------------------------


def test_files_that_contradict_the_list_are_rejected(tmp_path: Path) -> None:
    label_list = written(tmp_path / "list.txt", ["a/1.avi", "b/2.avi", "c/3.avi", "a/4.avi"])
    with pytest.raises(DataError, match=r"5 rows without names but .*list\.txt lists 4 videos"):
        fuse_score_files([plain(tmp_path, 5)], label_list)
    with pytest.raises(DataError, match=r"plain\.npz:logits has 4 columns but .* has 3 classes"):
        fuse_score_files([plain(tmp_path, 4, 4)], label_list)
    table = written(tmp_path / "t.csv", ["path,a,b,d", *(f"{n}.avi,1,2,3" for n in range(1, 5))])
    with pytest.raises(DataError, match=r"has a class 'c' that the scores lack; they have a, b, d"):
        fuse_score_files([str(table)], label_list)
    other = written(tmp_path / "u.csv", ["path,a,b,c", *(f"{n}.avi,1,2,3" for n in range(1, 5))])
    with pytest.raises(DataError, match=r"t\.csv has no class 'c'; it has a, b, d"):
        fuse_score_files([str(other), str(table)], label_list)
    labeled = written(tmp_path / "w.csv", ["path,label,a,b,c", *(f"{n}.avi,a,1,2,3" for n in range(1, 5))])
    with pytest.raises(DataError, match=r"'b/2\.avi' is 'b' in .*list\.txt but 'a' in .*w\.csv"):
        fuse_score_files([str(labeled)], label_list)


def test_contradicting_options_are_rejected(tmp_path: Path) -> None:
    path, label_list = str(saved(tmp_path)), written(tmp_path / "list.txt", VIDEOS)
    with pytest.raises(UsageError, match=r"3 weights for 2 streams \(.*:spatial, .*:temporal\)"):
        fuse_score_files([path], label_list, weights=(1, 1, 1))
    with pytest.raises(UsageError, match="unknown fusion 'max'"):
        fuse_score_files([path], label_list, method="max")
    with pytest.raises(UsageError, match="not negative"):
        fuse_score_files([path], label_list, weights=(1, -1))


def test_errors_are_one_line_with_a_code(tmp_path: Path, hts: Run) -> None:
    (tmp_path / "text.mat").write_text("accuracy 80.97 %")
    np.savez(tmp_path / "nan.npz", logits=np.array([[0, np.nan, 1]]))
    label_list = written(tmp_path / "list.txt", VIDEOS)
    for source, code, expected in (
        ("text.mat", 1, "not a MATLAB 5 file"),
        ("gone.mat", 2, "no score file"),
        ("nan.npz", 1, "NaN or infinite"),
    ):
        got, out, err = hts("fuse", tmp_path / source, "--labels", label_list, "--json")
        assert (got, out) == (code, "")
        assert err.startswith("hts: ")
        assert err.count("\n") == 1
        assert expected in err
        assert source in err


def test_evaluate_checks_the_score_file_first(tmp_path: Path, hts: Run) -> None:
    """The run does not exist, and the error is about the suffix."""
    code, _, err = hts("evaluate", tmp_path / "run", "--data", tmp_path, "--save-scores", tmp_path / "s.mat")
    assert code == 2
    assert err == "hts: cannot write scores as 's.mat'; expected a name that ends in .npz or .csv\n"


def test_columns_without_names_ignore_the_order_of_other_files(tmp_path: Path, hts: Run) -> None:
    """The columns of the named file are not in alphabetical order; those of the nameless one are."""
    names = [f"{label}/v{i}.avi" for label in ("a", "b", "c") for i in range(2)]
    right = np.repeat(np.eye(3), 2, axis=0)
    (tmp_path / "list.txt").write_text("\n".join(names), encoding="utf-8")
    np.savez(tmp_path / "plain.npz", scores=right)
    np.savez(
        tmp_path / "named.npz",
        scores=right[:, [2, 0, 1]],
        names=np.array(names),
        classes=np.array(["c", "a", "b"]),
    )
    for order in (["plain.npz", "named.npz"], ["named.npz", "plain.npz"]):
        files = [tmp_path / name for name in order]
        code, out, err = hts("fuse", *files, "--labels", tmp_path / "list.txt", "--json")
        assert code == 0, err
        assert json.loads(out)["accuracy"] == {"streams": [1.0, 1.0], "fused": 1.0}
