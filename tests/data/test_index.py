"""Data sets as listings: what is found in folders and CSV files, what is refused, how they are divided."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.index import (
    DatasetIndex,
    Sample,
    group_values,
    hold_out,
    read_dataset_index,
    split_listing,
    unreadable_lines,
)
from hidden_two_stream.data.samples import below_common_folder
from hidden_two_stream.errors import DataError, UsageError, VideoError
from hidden_two_stream.video.writer import write_video


def touch(root: Path, *names: str) -> None:
    """Empty files: a listing goes by names and never opens a video."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def found(listing: DatasetIndex, root: Path) -> list[tuple[str, str]]:
    return [(Path(s.path).relative_to(root).as_posix(), s.label) for s in listing.samples]


def listed(root: Path, text: str | bytes) -> Path:
    path = root / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def made(counts: dict[str, int]) -> DatasetIndex:
    return DatasetIndex(
        "made", tuple(Sample(f"{label}/{n}", label) for label in counts for n in range(counts[label]))
    )


# -- folders ---------------------------------------------------------------------------------------


def test_one_class_per_folder_at_any_depth_without_hidden_and_other_files(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("walk/b.mp4", "walk/a.AVI", "walk/deep/er/c.webm", "run/z.mkv", "run/y.gif"),
        *(
            "walk/.hidden.mp4",
            "walk/.cache/d.mp4",
            ".trash/e.mp4",
            "walk/notes.txt",
            "walk/a.flow.npz",
            "stray.mp4",
        ),
    )
    listing = read_dataset_index(tmp_path)
    assert found(listing, tmp_path) == [
        ("run/y.gif", "run"),
        ("run/z.mkv", "run"),
        ("walk/a.AVI", "walk"),
        ("walk/b.mp4", "walk"),
        ("walk/deep/er/c.webm", "walk"),
    ]
    assert listing.classes == ("run", "walk")
    assert listing.counts() == {"run": 2, "walk": 3}
    assert {sample.split for sample in listing.samples} == {None}
    assert read_dataset_index(str(tmp_path)) == listing


def test_folders_of_frames_are_samples(tmp_path: Path) -> None:
    touch(tmp_path, "walk/one/f1.png", "walk/one/f2.png", "walk/two/f1.jpg", "walk/three.mp4", "run/x.mp4")
    touch(tmp_path, "walk/mixed/thumbnail.jpg", "walk/mixed/four.mp4")
    assert found(read_dataset_index(tmp_path), tmp_path) == [
        ("run/x.mp4", "run"),
        ("walk/mixed/four.mp4", "walk"),
        ("walk/one", "walk"),
        ("walk/three.mp4", "walk"),
        ("walk/two", "walk"),
    ]


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("training", "testing"), ("Train", "Val"), ("TRAIN", "validation")]
)
def test_folders_for_train_and_test(tmp_path: Path, train: str, test: str) -> None:
    touch(
        tmp_path,
        f"{train}/walk/a.mp4",
        f"{train}/run/b.mp4",
        f"{test}/walk/c.mp4",
        f"{test}/run/frames/0.png",
    )
    listing = read_dataset_index(tmp_path)
    assert listing.classes == ("run", "walk")
    split = split_listing(listing, test_fraction=0.9, seed=5)
    assert {(Path(s.path).name, s.label, s.split) for s in split.train} == {
        ("a.mp4", "walk", "train"),
        ("b.mp4", "run", "train"),
    }
    assert {(Path(s.path).name, s.label) for s in split.test} == {("c.mp4", "walk"), ("frames", "run")}
    assert "own split" in split.rule


def test_odd_names(tmp_path: Path) -> None:
    names = ("-rechts/-начало.mp4", "-rechts/動画 (1).avi", "größe, 'x'/a ”b”.mp4", "größe, 'x'/%20.mp4")
    touch(tmp_path, *names)
    listing = read_dataset_index(tmp_path)
    assert listing.classes == ("-rechts", "größe, 'x'")
    assert {name for name, _ in found(listing, tmp_path)} == set(names)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no data at .*nowhere.*CSV"):
        read_dataset_index(tmp_path / "nowhere")


def test_no_videos(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    touch(tmp_path, "run/readme.txt", "stray.mp4")
    with pytest.raises(DataError, match=r"(no videos|directly) in .*sub-folder of videos per class"):
        read_dataset_index(tmp_path)


def test_a_recogniser_of_one_class_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "walk/a.mp4", "walk/b.mp4", "run/readme.txt")
    with pytest.raises(DataError, match="only one class, 'walk'"):
        read_dataset_index(tmp_path)


# -- CSV -------------------------------------------------------------------------------------------


def test_csv_paths_are_relative_to_the_csv_and_extra_columns_are_kept(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "c.mp4"
    text = f"subject,path,label,note\n1,clips/a.mp4, walk ,\n10,-b.mp4,run,x\n2,{elsewhere},run,y\n"
    listing = read_dataset_index(listed(tmp_path, text))
    assert [(Path(s.path), s.label) for s in listing.samples] == [
        (tmp_path / "clips" / "a.mp4", "walk"),
        (tmp_path / "-b.mp4", "run"),
        (elsewhere, "run"),
    ]
    assert [(s.columns["subject"], s.columns["note"]) for s in listing.samples] == [
        ("1", ""),
        ("10", "x"),
        ("2", "y"),
    ]
    assert {(s.split, s.start_seconds, s.end_seconds) for s in listing.samples} == {(None, None, None)}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, newline: str) -> None:
    rows = ["path,label", '"a, b.mp4","say ""hi"""', '"über\nzwei.mp4",gehen', "", "c.mp4,gehen"]
    listing = read_dataset_index(listed(tmp_path, "\ufeff" + newline.join(rows) + newline))
    assert [(Path(s.path).name, s.label) for s in listing.samples] == [
        ("a, b.mp4", 'say "hi"'),
        ("über\nzwei.mp4", "gehen"),
        ("c.mp4", "gehen"),
    ]


def test_csv_without_a_last_newline(tmp_path: Path) -> None:
    assert len(read_dataset_index(listed(tmp_path, "path,label\na.mp4,x\nb.mp4,y")).samples) == 2


def test_csv_split(tmp_path: Path) -> None:
    text = "path,label,split\na,x,train\nb,y, TRAINING\nc,x,test\nd,y,Val\ne,y,validation\n"
    split = split_listing(read_dataset_index(listed(tmp_path, text)))
    assert [Path(s.path).name for s in split.train] == ["a", "b"]
    assert [Path(s.path).name for s in split.test] == ["c", "d", "e"]


def test_csv_split_that_is_empty_throughout_is_none(tmp_path: Path) -> None:
    text = "path,label,split\n" + "".join(f"{label}{n},{label},\n" for label in "xy" for n in range(4))
    assert len(split_listing(read_dataset_index(listed(tmp_path, text))).test) == 2


def test_csv_seconds_name_parts_of_one_file(tmp_path: Path) -> None:
    parts = ("x,,1.5", "y,1.5,2e0", "x,2,", "y,,", "x,0,1")
    text = "\n".join(["path,label,start_seconds,end_seconds", *(f"a.mp4,{part}" for part in parts)])
    samples = read_dataset_index(listed(tmp_path, text)).samples
    assert [(s.start_seconds, s.end_seconds) for s in samples] == [
        (None, 1.5),
        (1.5, 2.0),
        (2.0, None),
        (None, None),
        (0.0, 1.0),
    ]
    path = str(tmp_path / "a.mp4")
    assert [s.name for s in samples] == [
        f"{path}[0-1.5 s]",
        f"{path}[1.5-2 s]",
        f"{path}[2-end s]",
        path,
        f"{path}[0-1 s]",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no column \['label', 'path'\].*must name path and label"),
        ("a.mp4,x\nb.mp4,y\n", r"no column \['label', 'path'\]"),
        ("path,class\na,x\n", r"no column \['label'\]"),
        ("path;label\na;x\n", r"no column \['label', 'path'\]"),
        ("path,label\n", "no videos"),
        ("path,label\na,x\nb,x\n", "only one class, 'x'"),
        ("path,label\na,x\nb,y\nc,x\na,y\n", "'.*a' is listed twice, in lines 2 and 5"),
        ("path,label,start_seconds\na,x,1\nb,y,\na,x,1.0\n", r"listed twice, in lines 2 and 4"),
        ("path,label\na,x\n,y\n", "line 3: path or label is empty"),
        ("path,label\na, \nb,y\n", "line 2: path or label is empty"),
        ("path,label\na,x\nb\n", "line 3: the number of values differs"),
        ("path,label\na,x,9\nb,y\n", "line 2: the number of values differs"),
        ("path,label,split\na,x,train\nb,y,tset\n", "line 3: unknown split 'tset'; expected train"),
        ("path,label,start_seconds\na,x,0\nb,y,soon\n", "line 3: .*'soon'"),
        ("path,label,start_seconds\na,x,0\nb,y,-1\n", "line 3: start_seconds is '-1'; expected seconds"),
        ("path,label,start_seconds\na,x,nan\nb,y,1\n", "line 2: start_seconds is 'nan'"),
        ("path,label,end_seconds\na,x,inf\nb,y,1\n", "line 2: end_seconds is 'inf'"),
        ("path,label,end_seconds\na,x,1\nb,y,0\n", "line 3: end_seconds 0 is not after start_seconds 0"),
        ("path,label,start_seconds,end_seconds\na,x,1,2\nb,y,2,2\n", "line 3: end_seconds 2 is not after"),
        ('path,label\na,x\nb,"y\n', "not a CSV in UTF-8: "),
        ('path,label\n"a"b,x\nb,y\n', "not a CSV in UTF-8: "),
        ("path,label\nbär,x\nb,y\n".encode("latin-1"), "not a CSV in UTF-8: "),
        ("path,label\na,x\nb,y\n".encode("utf-16"), "not a CSV in UTF-8: "),
        (bytes(range(256)), "not a CSV in UTF-8: "),
        (bytes(64), "no column"),
    ],
)  # fmt: skip
def test_broken_csv_is_refused_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_dataset_index(listed(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_video_is_no_data_set(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", np.zeros((2, 16, 16, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.mp4"):
        read_dataset_index(tmp_path / "a.mp4")


# -- division --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 7])
def test_drawn_split_is_stratified_disjoint_and_complete(fraction: float, seed: int) -> None:
    counts = {"a": 2, "b": 3, "c": 20, "d": 101}
    listing = made(counts)
    split = split_listing(listing, fraction, seed)
    train, test = ({s.name for s in part} for part in (split.train, split.test))
    assert len(train) + len(test) == 126
    assert train | test == {s.name for s in listing.samples}
    tested = Counter(s.label for s in split.test)
    for label, count in counts.items():
        assert 1 <= tested[label] <= count - 1
        assert abs(tested[label] - fraction * count) <= 1
    # The order of the listing is kept.
    order = {s.name: n for n, s in enumerate(listing.samples)}
    for part in (split.train, split.test):
        assert [order[s.name] for s in part] == sorted(order[s.name] for s in part)
    assert str(seed) in split.rule
    assert f"{fraction:g}" in split.rule


def test_drawn_split_depends_on_the_seed_alone() -> None:
    listing = made({"a": 30, "b": 30})
    random.seed(1)
    first = split_listing(listing, 0.5, seed=3)
    random.seed(2)
    assert split_listing(listing, 0.5, seed=3) == first
    assert split_listing(listing, 0.5, seed=4).test != first.test
    # Another class beside it leaves the draw within a class as it was.
    more = split_listing(made({"a": 30, "aa": 8, "b": 30}), 0.5, seed=3)
    assert tuple(s for s in more.test if s.label != "aa") == first.test
    numbers = [[s.path.split("/")[1] for s in first.test if s.label == label] for label in "ab"]
    assert numbers[0] != numbers[1], "each class is drawn on its own"


def test_nothing_is_tested_where_the_fraction_is_0() -> None:
    listing = made({"a": 1, "b": 3})
    split = split_listing(listing, 0)
    assert (split.train, split.test) == (listing.samples, ())


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 25, float("nan")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(UsageError, match=f"test fraction is {fraction}"):
        split_listing(made({"a": 4, "b": 4}), fraction)


def test_a_class_with_one_video_cannot_be_divided() -> None:
    with pytest.raises(DataError, match=r"class 'b' has one video only.*--test-fraction 0"):
        split_listing(made({"a": 4, "b": 1}))


def test_partly_filled_split(tmp_path: Path) -> None:
    listing = read_dataset_index(listed(tmp_path, "path,label,split\na,x,train\nb,y,\nc,y,test\n"))
    with pytest.raises(DataError, match=r"'.*b' has no split while others have"):
        split_listing(listing)


def test_own_split_must_train_every_class(tmp_path: Path) -> None:
    listing = read_dataset_index(listed(tmp_path, "path,label,split\na,x,train\nb,y,test\nc,x,test\n"))
    with pytest.raises(DataError, match=r"no training video of \['y'\]"):
        split_listing(listing)


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
    listing = grouped(tmp_path, ["1", "1", "2", "2", "10", "10", "10"])
    tested: list[Sample] = []
    for value in group_values(listing, "subject"):
        split = hold_out(listing, "subject", value)
        assert {s.columns["subject"] for s in split.test} == {value}
        assert value not in {s.columns["subject"] for s in split.train}
        assert len(split.train) + len(split.test) == 7
        assert f"subject {value}" in split.rule
        tested += split.test
    assert sorted(s.name for s in tested) == sorted(s.name for s in listing.samples)


def test_groups_that_do_not_serve(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no 'date'; columns are path, label, subject"):
        group_values(grouped(tmp_path, ["1", "2"]), "date")
    with pytest.raises(DataError, match="has one value only"):
        group_values(grouped(tmp_path, ["1", "1"]), "subject")
    with pytest.raises(DataError, match=r"'.*1' has no 'subject'"):
        group_values(grouped(tmp_path, ["1", " ", "2"]), "subject")
    with pytest.raises(DataError, match="a folder has no columns"):
        group_values(made({"a": 2, "b": 2}), "subject")
    with pytest.raises(DataError, match="no sample has subject '3'"):
        hold_out(grouped(tmp_path, ["1", "2"]), "subject", "3")
    with pytest.raises(DataError, match=r"no training video of \['y'\].*held out: subject 2"):
        hold_out(grouped(tmp_path, ["1", "2"]), "subject", "2")


def test_unreadable_lines_name_the_sample_and_the_reason() -> None:
    failed = [
        (Sample("a.mp4", "x", start_seconds=2.0), VideoError("a.mp4", "too short")),
        (Sample("b.mp4", "x"), UsageError("nothing found at 'b.mp4'")),
    ]
    assert unreadable_lines(failed) == ["a.mp4[2-end s]: too short", "b.mp4: nothing found at 'b.mp4'"]


# -- real data -------------------------------------------------------------------------------------


def test_weizmann(data_root: Path) -> None:
    listing = read_dataset_index(data_root / "weizmann4" / "labels.csv")
    assert listing.counts() == {"bend": 9, "jack": 9, "wave1": 9, "wave2": 9}
    assert group_values(listing, "subject") == tuple("123456789")
    assert all(Path(sample.path).is_file() for sample in listing.samples)
    split = hold_out(listing, "subject", "4")
    assert Counter(s.label for s in split.test) == {"bend": 1, "jack": 1, "wave1": 1, "wave2": 1}
    assert Counter(s.label for s in split_listing(listing).test) == dict.fromkeys(listing.classes, 2)
    # The folder above it says the same, but for the order.
    folder = read_dataset_index(data_root / "weizmann4")
    assert {Path(s.path) for s in folder.samples} == {Path(s.path) for s in listing.samples}
    assert folder.counts() == listing.counts()


def test_thermal(data_root: Path) -> None:
    listing = read_dataset_index(data_root / "thermal7" / "labels.csv")
    assert len(listing.samples) == 1680
    assert listing.classes == ("falling", "lie", "sit", "sitdown", "stand", "standup", "walk")
    dates = group_values(listing, "date")
    assert len(dates) == 3
    assert sum(len(hold_out(listing, "date", date).test) for date in dates) == 1680


def test_listed_frame_counts_are_those_of_the_store(data_root: Path) -> None:
    samples = read_dataset_index(data_root / "weizmann4" / "labels.csv").samples[::9]
    store = open_clip_cache(samples, 64, budget_bytes=0)
    assert [v.num_frames for v in store.videos] == [int(s.columns["frames"]) for s in samples]
    with av.open(samples[0].path) as container:
        assert store.videos[0].num_frames == sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["data/up/1.mp4", "data/down/2.mp4"], ["up/1.mp4", "down/2.mp4"]),
        (["/x/data/up/1.mp4", "/x/data/down/2.mp4"], ["up/1.mp4", "down/2.mp4"]),
        (["data/up/1.mp4", "data/up/12.mp4[0-3 s]"], ["1.mp4", "12.mp4[0-3 s]"]),
        (["up/1.mp4", "/x/2.mp4"], ["up/1.mp4", "/x/2.mp4"]),
        (["data/1.mp4", "data/up/1.mp4"], ["1.mp4", "up/1.mp4"]),
        (["data/1.mp4"], ["1.mp4"]),
        ([], []),
    ],
)
def test_names_below_the_common_folder(names: list[str], short: list[str]) -> None:
    assert below_common_folder(names) == short
