"""`hts fuse`: published scores give the published figures; rows, columns and weights are the right ones."""

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
from hidden_two_stream.evaluation.fusion_search import search_weights
from hidden_two_stream.evaluation.late_fusion import fuse_command, fusion_text
from hidden_two_stream.evaluation.score_labels import class_order, match, read_classes, read_labels

Array = npt.NDArray[np.float64]
Run = Callable[..., tuple[int, str, str]]


# -- the published scores --------------------------------------------------------------------------


@pytest.fixture
def published(data_root: Path) -> tuple[Path, Path, Path]:
    """Spatial and temporal scores of UCF101 split 1, and its test list."""
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
    """Clipped at 0 and divided by the sum, in double precision."""
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
    assert list(found)[:2] == ["num_videos", "accuracy"]
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


def test_the_text_for_people(published: tuple[Path, Path, Path], hts: Run) -> None:
    code, out, _ = hts("fuse", *published[:2], "--labels", published[2], "--weights", 1, 1.5)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "3783 videos, 101 classes, l1 fusion, weights 1 : 1.5, protocol not known"
    assert lines[1].endswith("80.97%  (95 %: 79.69% to 82.19%)")
    assert lines[3].split() == ["fused", "89.00%", "(95", "%:", "87.97%", "to", "89.96%)"]


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


def written(path: Path, lines: Sequence[str], newline: str = "\n") -> Path:
    path.write_text("".join(line + newline for line in lines), newline="")
    return path


def logits_of(path: Path, stream: str) -> Any:
    with np.load(path) as arrays:
        return arrays[stream]


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_scores_of_hts_evaluate_find_their_videos_by_name(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, f"scores{suffix}")
    order = np.random.default_rng(1).permutation(12)
    listing = written(tmp_path / "list.txt", [VIDEOS[n] for n in order])
    found = fuse_command([str(path)], listing, weights=(1, 1.5))
    archive = saved(tmp_path, "same.npz")
    spatial, temporal = (logits_of(archive, name) for name in ("spatial", "temporal"))
    truth = np.array([0, 1, 2] * 4)
    assert found["accuracy"]["streams"] == [(s.argmax(1) == truth).mean() for s in (spatial, temporal)]
    mixed = shares(spatial.astype(float)) + 1.5 * shares(temporal.astype(float))
    assert found["accuracy"]["fused"] == (mixed.argmax(1) == truth).mean()
    assert (found["protocol"], found["num_videos"], found["num_classes"]) == ("25x10", 12, 3)
    assert found["streams"] == [f"{path}:spatial", f"{path}:temporal"]


def test_columns_go_by_the_names_of_their_classes(tmp_path: Path) -> None:
    path = saved(tmp_path)
    spatial = logits_of(path, "spatial").astype(float)
    rows = [f"{v},{r[2]!r},{r[0]!r},{r[1]!r}" for v, r in zip(VIDEOS, spatial.tolist(), strict=True)]
    table = written(tmp_path / "turned.csv", ["path,walk,jump,run", *rows])
    listing = written(tmp_path / "list.txt", VIDEOS)
    one = fuse_command([f"{path}:spatial"], listing)
    two = fuse_command([f"{path}:spatial", str(table)], listing)
    assert two["accuracy"] == {"streams": one["accuracy"]["streams"] * 2, "fused": one["accuracy"]["fused"]}
    assert two["weights"] == [1, 1]
    assert (two["protocol"], two["protocols"]) == (None, ["25x10", None])
    assert "scores.npz:spatial is of protocol 25x10" in fusion_text(two)


def test_weights_are_equal_unless_given_and_softmax_is_another_fusion(tmp_path: Path) -> None:
    path, listing = saved(tmp_path, seed=3), written(tmp_path / "list.txt", VIDEOS)
    plain = fuse_command([str(path)], listing)
    assert (plain["weights"], plain["method"]) == ([1.0, 1.0], "l1")
    found = fuse_command([str(path)], listing, method="softmax", weights=(1, 3))
    powers = [np.exp(logits_of(path, name).astype(float)) for name in ("spatial", "temporal")]
    mixed = powers[0] / powers[0].sum(1)[:, None] + 3 * powers[1] / powers[1].sum(1)[:, None]
    assert found["accuracy"]["fused"] == (mixed.argmax(1) == np.array([0, 1, 2] * 4)).mean()


def test_scored_videos_that_are_not_listed_are_told(tmp_path: Path) -> None:
    found = fuse_command([str(saved(tmp_path))], written(tmp_path / "list.txt", VIDEOS[:7]))
    assert (found["num_videos"], found["unlisted_rows"]) == (7, [5, 5])
    assert "5 videos of " in fusion_text(found)


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
    found = fuse_command([str(tmp_path / "plain.npz")], written(tmp_path / "list.txt", lines))
    assert found["accuracy"]["streams"] == [accuracy]


def test_a_list_of_classes_gives_their_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", logits=np.eye(4)[[2, 0]])
    source, listing = str(tmp_path / "plain.npz"), written(tmp_path / "list.txt", ["a/1.avi", "b/2.avi"])
    with pytest.raises(DataError, match=r"has 4 columns but .*list\.txt.* has 2 classes; .*--classes"):
        fuse_command([source], listing)
    for lines in (["b", "x", "a", "y"], ["2 x", "1 b", "3 a", "4 y"]):
        classes = written(tmp_path / "classes.txt", lines)
        assert fuse_command([source], listing, classes=classes)["accuracy"]["fused"] == 1
    by_number = written(tmp_path / "numbers.txt", ["1.avi 3", "2.avi 1"])
    assert fuse_command([source], by_number, classes=classes)["accuracy"]["fused"] == 1


# -- lists -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_forms_of_a_list(tmp_path: Path, newline: str) -> None:
    def read(name: str, *lines: str) -> list[tuple[str, str]]:
        found = read_labels(written(tmp_path / name, lines, newline))
        return list(zip(found.names, found.labels, strict=True))

    assert read("a.txt", "Run/my clip.avi", "", "x/Walk/v_1") == [
        ("Run/my clip.avi", "Run"),
        ("x/Walk/v_1", "Walk"),
    ]
    assert read("b.txt", "Run/1.avi 3", "my clip.avi 12") == [("Run/1.avi", "3"), ("my clip.avi", "12")]
    rows = read("c.csv", "path,label", "1.avi,fall down", "2.avi,stand")
    assert rows == [(str(tmp_path / "1.avi"), "fall down"), (str(tmp_path / "2.avi"), "stand")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "lists no videos"),
        (["a/1.avi", "b/2.avi", "a/1.avi"], "lists 'a/1.avi' twice"),
        (["a/1.avi", "2.avi"], "line 2: '2.avi' has no class"),
        (["a/1.avi", "b/2.avi 2"], "line 2: .* not of the same form"),
    ],
)
def test_broken_lists_say_where(tmp_path: Path, lines: list[str], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_labels(written(tmp_path / "list.txt", lines))


def test_lists_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_labels(tmp_path / "list.txt")
    for read in (read_labels, read_classes):
        with pytest.raises(UsageError, match=r"no list of .*gone\.txt"):
            read(tmp_path / "gone.txt")
    for lines in (["a"], ["a", "b", "a"], ["1 a", "2 a"], ["1 a", "1 b"]):
        with pytest.raises(DataError, match="expected two or more, each once"):
            read_classes(written(tmp_path / "classes.txt", lines))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c")),
        (["10", "9", "1"], ("1", "9", "10")),
        # UCF101's numbering makes no difference between capitals and small letters.
        (["Hammering", "Hammering", "HammerThrow"], ("Hammering", "HammerThrow")),
        (["HammerThrow", "HammerThrow", "Hammering"], ("HammerThrow", "Hammering")),
        (["Hammering", "HammerThrow", "Hammering"], None),
        (["b", "b", "a"], None),
    ],
)
def test_order_of_the_classes(labels: list[str], expected: tuple[str, ...] | None) -> None:
    if expected is None:
        with pytest.raises(DataError, match=r"list\.txt: .*cannot be told.*--classes"):
            class_order(labels, "list.txt")
    else:
        assert class_order(labels, "list.txt") == expected


def test_ucf101_columns_are_in_the_order_of_its_numbering(data_root: Path) -> None:
    folder = data_root / "splits" / "ucf101_splits"
    numbering = tuple(line.split()[1] for line in (folder / "classInd.txt").read_text().splitlines() if line)
    assert class_order(read_labels(folder / "testlist01.txt").labels, "") == numbering
    assert tuple(read_classes(folder / "classInd.txt").values()) == numbering


@pytest.mark.parametrize(
    ("wanted", "names", "expected"),
    [
        (["a/1.avi", "b/1.avi"], ["/data/b/1.avi", "/data/a/1.avi"], [1, 0]),
        (["/data/a/1.avi"], ["a/1.avi"], [0]),
        (["a/1.avi"], ["x/a/1.avi", "a/1.avi"], [1]),
        (["a/1.avi"], ["a\\1.mp4"], [0]),
        (["a/1.avi", "a/1.mp4"], ["x/a/1.mp4", "x/a/1.avi"], [1, 0]),
        (["a/v_1.avi"], ["frames/v_1", "frames/v_11"], [0]),
        (["v1.2_x.avi"], ["v1.2_x", "v1"], [0]),
        (["a.mp4[0-1 s]", "a.mp4[1-2 s]"], ["/x/a.mp4[1-2 s]", "/x/a.mp4[0-1 s]"], [1, 0]),
    ],
)
def test_videos_are_matched_by_name(wanted: list[str], names: list[str], expected: list[int]) -> None:
    assert match(wanted, names, "a.csv") == expected


@pytest.mark.parametrize(
    ("wanted", "names", "expected"),
    [
        (["a/1.avi"], ["x/a/1.avi", "y/a/1.avi"], r"'a/1\.avi' could be 'x/a/1\.avi' or 'y/a/1\.avi'"),
        (["a/1.avi"], ["b/1.avi", "c/1.avi"], "could be"),
        (["a/1.avi", "b/1.avi"], ["1.avi"], r"'1\.avi' could be 'a/1\.avi' or 'b/1\.avi'"),
        (["a/1.avi"], ["a/1.avi", "a/1.avi"], "could be"),
        (["a/1.avi", "a/2.avi", "a/3.avi"], ["a/1.avi"], r"lacks 2 of 3 listed videos, first 'a/2\.avi'"),
    ],
)
def test_names_that_fit_none_or_several(wanted: list[str], names: list[str], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        match(wanted, names, "a.csv")
    assert "a.csv" in str(caught.value)


# -- search ----------------------------------------------------------------------------------------


def counts(first: Array, second: Array, truth: npt.NDArray[np.int64]) -> list[int]:
    mixed = [shares(first) + n / 10 * shares(second) for n in range(41)]
    return [int((m.argmax(axis=1) == truth).sum()) for m in mixed]


def one_sided(low: float, high: float) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Right where low < weight (first video) and weight < high (second)."""
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
def test_the_middle_of_the_best_weights_is_taken(low: float, high: float, expected: float) -> None:
    first, second, truth = one_sided(low, high)
    right = counts(first, second, truth)
    assert [n for n, count in enumerate(right) if count == max(right)] == [
        n for n in range(41) if low < n / 10 < high
    ]
    assert search_weights([first, second], truth, "l1") == [1.0, expected]


def test_of_two_plateaus_the_one_nearer_to_equal_weights_is_taken() -> None:
    first, second, truth = one_sided(1.45, 1.85)
    # A third video that is right from 2.65 on, where the second no longer is.
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
    # The third stream says nothing: its weight is free, and the middle of 0 ... 4 is 2.
    assert search_weights([first, second, nothing], truth, "l1") == [1.0, 1.4, 2.0]
    assert search_weights([first, nothing, second], truth, "l1") == [1.0, 2.0, 1.4]


def test_the_search_takes_two_or_three_streams() -> None:
    for number in (1, 4):
        with pytest.raises(UsageError, match=rf"two or three streams, not {number}; give --weights"):
            search_weights([np.eye(2)] * number, np.array([0, 1]), "l1")


def test_the_search_sees_no_test_video(tmp_path: Path) -> None:
    """Scores of the test videos may change as they like: the weights stay."""
    listing, validation = written(tmp_path / "list.txt", VIDEOS), written(tmp_path / "val.txt", VIDEOS[:6])
    chosen = []
    for seed in (0, 1, 2):
        path = saved(tmp_path, f"{seed}.npz", 0)
        with np.load(path) as arrays:
            changed = dict(arrays)
        for name in ("spatial", "temporal"):
            changed[name][6:] = np.random.default_rng(seed).normal(size=(6, 3))
        np.savez(path, **changed)
        found = fuse_command([str(path)], listing, search=validation)
        assert (found["num_videos"], found["searched_on"]) == (6, 6)
        temporal = changed["temporal"][6:].argmax(1)
        assert found["accuracy"]["streams"][1] == (temporal == np.array([0, 1, 2] * 2)).mean()
        chosen.append(found["weights"])
    assert chosen[0] == chosen[1] == chosen[2]


def test_searches_that_are_refused(tmp_path: Path) -> None:
    path, listing = str(saved(tmp_path)), written(tmp_path / "list.txt", VIDEOS)
    with pytest.raises(UsageError, match="no test video is left"):
        fuse_command([path], listing, search=listing)
    with pytest.raises(UsageError, match="no test video is left"):
        fuse_command([path], listing, search=written(tmp_path / "all.txt", [f"x/{v}" for v in VIDEOS]))
    with pytest.raises(UsageError, match="leave out --weights"):
        fuse_command([path], listing, search=written(tmp_path / "val.txt", VIDEOS[:3]), weights=(1, 1))
    with pytest.raises(DataError, match=r"list\.txt lacks 1 of 2 listed videos, first 'run/new\.avi'"):
        fuse_command([path], listing, search=written(tmp_path / "val.txt", [VIDEOS[0], "run/new.avi"]))
    with pytest.raises(DataError, match=r"'jump/v0\.avi' is 'run' in .*val\.txt but 'jump' in .*list\.txt"):
        fuse_command([path], listing, search=written(tmp_path / "val.txt", ["jump/v0.avi run"]))


# -- what does not fit -----------------------------------------------------------------------------


def test_files_that_do_not_fit_the_list(tmp_path: Path) -> None:
    listing = written(tmp_path / "list.txt", ["a/1.avi", "b/2.avi", "c/3.avi", "a/4.avi"])
    with pytest.raises(DataError, match=r"5 rows without names but .*list\.txt lists 4 videos"):
        fuse_command([plain(tmp_path, 5)], listing)
    with pytest.raises(DataError, match=r"plain\.npz:logits has 4 columns but .* has 3 classes"):
        fuse_command([plain(tmp_path, 4, 4)], listing)
    table = written(tmp_path / "t.csv", ["path,a,b,d", *(f"{n}.avi,1,2,3" for n in range(1, 5))])
    with pytest.raises(DataError, match=r"has a class 'c' that the scores lack; they have a, b, d"):
        fuse_command([str(table)], listing)
    other = written(tmp_path / "u.csv", ["path,a,b,c", *(f"{n}.avi,1,2,3" for n in range(1, 5))])
    with pytest.raises(DataError, match=r"t\.csv has no class 'c'; it has a, b, d"):
        fuse_command([str(other), str(table)], listing)
    labelled = written(tmp_path / "w.csv", ["path,label,a,b,c", *(f"{n}.avi,a,1,2,3" for n in range(1, 5))])
    with pytest.raises(DataError, match=r"'b/2\.avi' is 'b' in .*list\.txt but 'a' in .*w\.csv"):
        fuse_command([str(labelled)], listing)


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    path, listing = str(saved(tmp_path)), written(tmp_path / "list.txt", VIDEOS)
    with pytest.raises(UsageError, match=r"3 weights for 2 streams \(.*:spatial, .*:temporal\)"):
        fuse_command([path], listing, weights=(1, 1, 1))
    with pytest.raises(UsageError, match="unknown fusion 'max'"):
        fuse_command([path], listing, method="max")
    with pytest.raises(UsageError, match="not negative"):
        fuse_command([path], listing, weights=(1, -1))


def test_errors_are_one_line_with_a_code(tmp_path: Path, hts: Run) -> None:
    (tmp_path / "text.mat").write_text("accuracy 80.97 %")
    np.savez(tmp_path / "nan.npz", logits=np.array([[0, np.nan, 1]]))
    listing = written(tmp_path / "list.txt", VIDEOS)
    for source, code, expected in (
        ("text.mat", 1, "no MATLAB 5 file"),
        ("gone.mat", 2, "no score file"),
        ("nan.npz", 1, "NaN or infinite"),
    ):
        got, out, err = hts("fuse", tmp_path / source, "--labels", listing, "--json")
        assert (got, out) == (code, "")
        assert err.startswith("hts: ")
        assert err.count("\n") == 1
        assert expected in err
        assert source in err


def test_evaluate_refuses_other_score_files_before_it_works(tmp_path: Path, hts: Run) -> None:
    """The run does not even exist: the suffix is looked at first."""
    code, _, err = hts("evaluate", tmp_path / "run", "--data", tmp_path, "--save-scores", tmp_path / "s.mat")
    assert code == 2
    assert err == "hts: cannot write scores as 's.mat'; expected a name that ends in .npz, .csv\n"


def test_columns_without_names_do_not_follow_another_files_order(tmp_path: Path, hts: Run) -> None:
    """The named file has its classes in another order than the alphabet; the nameless one is alphabetical."""
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
