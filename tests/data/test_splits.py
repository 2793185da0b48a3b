"""Division into training and test: by draw, by the dataset's own split, by group."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.data.splits import divide, draw_per_class, group_values, hold_out, split_dataset
from hidden_two_stream.errors import DataError, UsageError


def listed(root: Path, text: str | bytes) -> Path:
    path = root / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def made(counts: dict[str, int]) -> DatasetIndex:
    return DatasetIndex(
        "made", tuple(Sample(f"{label}/{n}", label) for label in counts for n in range(counts[label]))
    )


# -- one draw --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 7])
def test_drawn_split_is_stratified_disjoint_and_complete(fraction: float, seed: int) -> None:
    counts = {"a": 2, "b": 3, "c": 20, "d": 101}
    dataset = made(counts)
    split = split_dataset(dataset, fraction, seed)
    train, test = ({s.name for s in part} for part in (split.train, split.test))
    assert len(train) + len(test) == 126
    assert train | test == {s.name for s in dataset.samples}
    tested = Counter(s.label for s in split.test)
    for label, count in counts.items():
        assert 1 <= tested[label] <= count - 1
        assert abs(tested[label] - fraction * count) <= 1
    # The order of the dataset is kept.
    order = {s.name: n for n, s in enumerate(dataset.samples)}
    for part in (split.train, split.test):
        assert [order[s.name] for s in part] == sorted(order[s.name] for s in part)
    assert str(seed) in split.rule
    assert f"{fraction:g}" in split.rule


def test_drawn_split_depends_on_the_seed_alone() -> None:
    dataset = made({"a": 30, "b": 30})
    random.seed(1)
    first = split_dataset(dataset, 0.5, seed=3)
    random.seed(2)
    assert split_dataset(dataset, 0.5, seed=3) == first
    assert split_dataset(dataset, 0.5, seed=4).test != first.test
    # Another class beside it leaves the draw within a class as it was.
    more = split_dataset(made({"a": 30, "aa": 8, "b": 30}), 0.5, seed=3)
    assert tuple(s for s in more.test if s.label != "aa") == first.test
    numbers = [[s.path.split("/")[1] for s in first.test if s.label == label] for label in "ab"]
    assert numbers[0] != numbers[1], "each class is drawn on its own"


def test_few_of_each_class_are_drawn_by_the_seed() -> None:
    """At most so many readable ones, in the order of the dataset; smaller draws are in larger ones."""
    dataset = made({"a": 9, "b": 5, "c": 2})
    split = split_dataset(dataset, 0.2, seed=1)
    readable = {s.name for s in dataset.samples} - {"b/0", "b/1", "b/2"}
    smaller: set[str] = set()
    for count in (1, 2, 4, 99):
        drawn = draw_per_class(split, count, 3, readable)
        names = [s.name for s in drawn.train]
        found = Counter(s.label for s in drawn.train)
        for label in "abc":
            left = sum(s.label == label and s.name in readable for s in split.train)
            assert found[label] == min(count, left)
        assert names == [s.name for s in split.train if s.name in set(names)]
        assert smaller <= set(names) <= readable
        assert drawn.test == split.test
        assert "seed 3" in drawn.rule
        smaller = set(names)
    seeds = {tuple(s.name for s in draw_per_class(split, 2, seed, readable).train) for seed in range(9)}
    assert len(seeds) > 1
    with pytest.raises(UsageError, match="got 0 clips of each class"):
        draw_per_class(split, 0, 0, readable)


def test_nothing_is_tested_where_the_fraction_is_0() -> None:
    dataset = made({"a": 1, "b": 3})
    split = split_dataset(dataset, 0)
    assert (split.train, split.test) == (dataset.samples, ())


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 25, float("nan")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(UsageError, match=f"test fraction is {fraction}"):
        split_dataset(made({"a": 4, "b": 4}), fraction)


def test_a_class_with_one_video_cannot_be_divided() -> None:
    with pytest.raises(DataError, match=r"class 'b' has only one video.*--test-fraction 0"):
        split_dataset(made({"a": 4, "b": 1}))


def test_partly_filled_split(tmp_path: Path) -> None:
    dataset = read_dataset_index(listed(tmp_path, "path,label,split\na,x,train\nb,y,\nc,y,test\n"))
    with pytest.raises(DataError, match=r"'.*b' has no split while others have"):
        split_dataset(dataset)


def test_own_split_must_train_every_class(tmp_path: Path) -> None:
    dataset = read_dataset_index(listed(tmp_path, "path,label,split\na,x,train\nb,y,test\nc,x,test\n"))
    with pytest.raises(DataError, match=r"no training video of \['y'\]"):
        split_dataset(dataset)


# -- groups ----------------------------------------------------------------------------------------


def grouped(root: Path, groups: list[str], labels: str = "xy") -> DatasetIndex:
    rows = [f"{n},{labels[n % len(labels)]},{group}" for n, group in enumerate(groups)]
    return read_dataset_index(listed(root, "\n".join(["path,label,subject", *rows])))


@pytest.mark.parametrize(
    "groups",
    [
        ["1", "2", "9", "10", "11", "100"],
        ["person1", "person2", "person10"],
        ["g01", "g02", "g10", "g25"],
        ["20170203", "20170210", "20180101"],
    ],
)
def test_groups_come_in_natural_order(tmp_path: Path, groups: list[str]) -> None:
    shuffled = groups * 2
    random.Random(0).shuffle(shuffled)
    assert group_values(grouped(tmp_path, shuffled), "subject") == tuple(groups)


def test_holding_out_each_group_tests_every_video_once(tmp_path: Path) -> None:
    dataset = grouped(tmp_path, ["1", "1", "2", "2", "10", "10", "10"])
    tested: list[Sample] = []
    for value in group_values(dataset, "subject"):
        split = hold_out(dataset, "subject", value)
        assert {s.columns["subject"] for s in split.test} == {value}
        assert value not in {s.columns["subject"] for s in split.train}
        assert len(split.train) + len(split.test) == 7
        assert f"subject {value}" in split.rule
        tested += split.test
    assert sorted(s.name for s in tested) == sorted(s.name for s in dataset.samples)


def test_groups_that_do_not_serve(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no 'date'; columns are path, label, subject"):
        group_values(grouped(tmp_path, ["1", "2"]), "date")
    with pytest.raises(DataError, match="has only one value"):
        group_values(grouped(tmp_path, ["1", "1"]), "subject")
    with pytest.raises(DataError, match=r"'.*1' has no 'subject'"):
        group_values(grouped(tmp_path, ["1", " ", "2"]), "subject")
    with pytest.raises(DataError, match="a folder has no columns"):
        group_values(made({"a": 2, "b": 2}), "subject")
    with pytest.raises(DataError, match="no sample has subject '3'"):
        hold_out(grouped(tmp_path, ["1", "2"]), "subject", "3")
    with pytest.raises(DataError, match=r"no training video of \['y'\].*held out: subject 2"):
        hold_out(grouped(tmp_path, ["1", "2"]), "subject", "2")


def test_divide_holds_out_the_named_group_or_draws(tmp_path: Path) -> None:
    dataset = grouped(tmp_path, ["1", "1", "2", "2", "10", "10", "10"])
    assert divide(dataset, "subject=10", 0.25, 0) == hold_out(dataset, "subject", "10")
    assert divide(dataset, None, 0.5, 3) == split_dataset(dataset, 0.5, 3)
    for rule in ("subject", "subject=", "=1"):
        with pytest.raises(UsageError, match=f"cannot hold out '{rule}'; expected COLUMN=VALUE"):
            divide(dataset, rule, 0.25, 0)
    with pytest.raises(DataError, match="no sample has subject '3'; there are 1, 2, 10"):
        divide(dataset, "subject=3", 0.25, 0)


# -- real data -------------------------------------------------------------------------------------


def test_weizmann(data_root: Path) -> None:
    dataset = read_dataset_index(data_root / "weizmann4" / "labels.csv")
    assert dataset.counts() == {"bend": 9, "jack": 9, "wave1": 9, "wave2": 9}
    assert group_values(dataset, "subject") == tuple("123456789")
    assert all(Path(sample.path).is_file() for sample in dataset.samples)
    split = hold_out(dataset, "subject", "4")
    assert Counter(s.label for s in split.test) == {"bend": 1, "jack": 1, "wave1": 1, "wave2": 1}
    assert Counter(s.label for s in split_dataset(dataset).test) == dict.fromkeys(dataset.classes, 2)
    # The folder above it says the same, but for the order.
    folder = read_dataset_index(data_root / "weizmann4")
    assert {Path(s.path) for s in folder.samples} == {Path(s.path) for s in dataset.samples}
    assert folder.counts() == dataset.counts()


def test_thermal(data_root: Path) -> None:
    dataset = read_dataset_index(data_root / "thermal7" / "labels.csv")
    assert len(dataset.samples) == 1680
    assert dataset.classes == ("falling", "lie", "sit", "sitdown", "stand", "standup", "walk")
    dates = group_values(dataset, "date")
    assert len(dates) == 3
    assert sum(len(hold_out(dataset, "date", date).test) for date in dates) == 1680
