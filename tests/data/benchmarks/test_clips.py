"""UCF101, HMDB51 and TSN lists by name: official lists, counts, class order, and invalid input."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from hidden_two_stream.data.benchmarks.reference import Reference, parse_reference
from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex
from hidden_two_stream.data.splits import split_dataset
from hidden_two_stream.errors import DataError, UsageError

from ..benchmark_trees import make_hmdb51, make_ucf101, touch, write

# Counted in the official lists with `grep -c .`, of HMDB51 with `awk '{print $2}' | sort | uniq -c`.
UCF_COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
HMDB_COUNTS = {1: (3570, 1530), 2: (3570, 1530), 3: (3570, 1530)}


def counts(dataset: DatasetIndex) -> tuple[int, int]:
    found = Counter(sample.split for sample in dataset.samples)
    return found["train"], found["test"]


def names(dataset: DatasetIndex, part: str) -> list[str]:
    return sorted(Path(s.path).name for s in dataset.samples if s.split == part)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("ucf101:data:2", Reference("ucf101", ("data",), (2,))),
        ("UCF101:data", Reference("ucf101", ("data",), (1,))),
        ("hmdb51:/a b/c:1..3", Reference("hmdb51", ("/a b/c",), (1, 2, 3))),
        ("hmdb51:x:2..2", Reference("hmdb51", ("x",), (2,))),
        (r"ucf101:C:\data\UCF101:3", Reference("ucf101", (r"C:\data\UCF101",), (3,))),
        (r"ucf101:C:\data", Reference("ucf101", (r"C:\data",), (1,))),
        ("ucf101:odd:name", Reference("ucf101", ("odd:name",), (1,))),
        ("thumos14:odd:2", Reference("thumos14", ("odd:2",))),
        ("tsn:a.txt", Reference("tsn", ("a.txt",))),
        ("tsn:a.txt:/b/c.txt", Reference("tsn", ("a.txt", "/b/c.txt"))),
        (r"tsn:C:\a.txt:D:/b.txt", Reference("tsn", (r"C:\a.txt", "D:/b.txt"))),
        ("ucf101", None),
        ("videos/ucf101:1", None),
        (r"C:\data", None),
        ("labels.csv", None),
    ],
)
def test_names(data: str, expected: Reference | None) -> None:
    found = parse_reference(data)
    assert found == expected
    if found is not None:
        assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("ucf101:", "names no folder; expected ucf101:ROOT:SPLIT"),
        ("kinetics:", "names no folder; expected kinetics:ROOT"),
        ("ucf101:x:0", "split '0' of ucf101; expected a number from 1 to 3"),
        ("hmdb51:x:4", "split '4' of hmdb51; expected a number from 1 to 3"),
        ("hmdb51:x:2..4", r"split '2\.\.4'"),
        ("hmdb51:x:3..1", r"split '3\.\.1'"),
        ("tsn:a:b:c", "names 3 lists; expected tsn:TRAIN.txt"),
        ("ucf101:nowhere:1", "no folder at 'nowhere'"),
        ("kinetics:nowhere", "nothing at 'nowhere'"),
        ("tsn:nowhere.txt", r"no list at 'nowhere\.txt'"),
    ],
)
def test_wrong_names(data: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_dataset_index(data)


def test_several_splits_are_for_cross_validation(tmp_path: Path) -> None:
    make_ucf101(tmp_path / "ucf", num_frames=1)
    with pytest.raises(UsageError, match=r"expected one, such as 'ucf101:.*:1': hts cross-validate"):
        read_dataset_index(f"ucf101:{tmp_path / 'ucf'}:1..3")


def test_absolute_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_data("videos") == str(tmp_path / "videos")
    assert absolute_data("ucf101:ucf") == f"ucf101:{tmp_path / 'ucf'}:1"
    assert absolute_data("tsn:a.txt:../b.txt") == f"tsn:{tmp_path / 'a.txt'}:{tmp_path.parent / 'b.txt'}"


# -- UCF101 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_lists_of_ucf101(data_root: Path, tmp_path: Path, split: int) -> None:
    shutil.copytree(data_root / "splits" / "ucf101_splits", tmp_path / "ucfTrainTestlist")
    dataset = read_dataset_index(f"ucf101:{tmp_path}:{split}")
    assert counts(dataset) == UCF_COUNTS[split]
    lines = (data_root / "splits" / "ucf101_splits" / "classInd.txt").read_text().split("\n")
    assert dataset.classes == tuple(line.split()[1] for line in lines if line.strip())
    assert dataset.classes[0] == "ApplyEyeMakeup"
    assert dataset.classes[100] == "YoYo"
    assert len({s.name for s in dataset.samples}) == 13320
    assert len(split_dataset(dataset).test) == UCF_COUNTS[split][1]


def test_ucf101_finds_its_videos(tmp_path: Path) -> None:
    make_ucf101(tmp_path, num_frames=1)
    dataset = read_dataset_index(f"ucf101:{tmp_path}:2")
    assert dataset.classes == ("Archery", "HandstandPushups", "Bowling")
    assert all(Path(sample.path).is_file() for sample in dataset.samples)
    assert names(dataset, "test") == sorted(
        f"v_{name}_g02_c{clip:02d}.avi"
        for name in ("Archery", "HandStandPushups", "Bowling")
        for clip in (1, 2)
    )
    assert counts(dataset) == (12, 6)
    assert dataset.counts() == {"Archery": 6, "HandstandPushups": 6, "Bowling": 6}


@pytest.mark.parametrize(
    ("lists", "videos"),
    [
        ("", ""),
        ("ucfTrainTestlist", "UCF-101"),
        ("splits", "videos"),
        ("annotations", ""),
        ("ucf101_splits", "videos"),
    ],
)
def test_ucf101_layouts(tmp_path: Path, lists: str, videos: str) -> None:
    folder = tmp_path / lists
    write(folder / "classInd.txt", ["1 B", "2 A"])
    write(folder / "trainlist01.txt", ["B/v_B_g01_c01.avi 1", "A/v_A_g01_c01.avi 2"])
    write(folder / "testlist01.txt", ["B/v_B_g02_c01.avi", "A/v_A_g02_c01.avi"])
    touch(tmp_path / videos, "B/v_B_g01_c01.avi", "B/v_B_g02_c01.avi.txt", "A/v_A_g02_c01.mp4")
    touch(tmp_path / videos, "A/v_A_g01_c01/img_00001.jpg", "B/v_b_G02_c01.AVI")
    dataset = read_dataset_index(f"ucf101:{tmp_path}")
    assert [Path(s.path).relative_to(tmp_path / videos).as_posix() for s in dataset.samples] == [
        "B/v_B_g01_c01.avi",
        "A/v_A_g01_c01",
        "B/v_b_G02_c01.AVI",
        "A/v_A_g02_c01.mp4",
    ]
    assert [s.split for s in dataset.samples] == ["train", "train", "test", "test"]
    assert dataset.classes == ("B", "A")


def test_a_file_is_taken_before_one_that_differs_in_case_and_before_frames(tmp_path: Path) -> None:
    make_ucf101(tmp_path, num_frames=1)
    folder = tmp_path / "UCF-101" / "Archery"
    touch(folder, "V_ARCHERY_G01_C01.AVI", "v_Archery_g01_c01/img_1.jpg", "v_Archery_g01_c01.mp4")
    paths = {Path(sample.path) for sample in read_dataset_index(f"ucf101:{tmp_path}").samples}
    assert folder / "v_Archery_g01_c01.avi" in paths
    assert len(paths) == 18


def test_a_missing_video_is_a_sample_that_cannot_be_read(tmp_path: Path) -> None:
    make_ucf101(tmp_path, num_frames=2)
    gone = tmp_path / "UCF-101" / "Bowling" / "v_Bowling_g01_c01.avi"
    gone.unlink()
    dataset = read_dataset_index(f"ucf101:{tmp_path}:1")
    assert counts(dataset) == (12, 6)
    for workers in (0, 1):
        store = open_clip_cache(dataset.samples, 32, workers=workers)
        assert len(store.samples) == 17
        [(sample, error)] = store.unreadable
        assert sample.path == str(gone)
        assert "nothing found" in str(error)


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("trainlist01.txt", "Dog/v_Dog_g01_c01.avi 1", "line 13: got 'Dog'; expected one of the 3 classes"),
        ("testlist01.txt", "Dog/v_Dog_g01_c01.avi", "line 7: got 'Dog'; expected one of the 3 classes"),
        ("trainlist01.txt", "Archery/x.avi 2", "line 13: got .* expected 1, the number of Archery"),
        ("trainlist01.txt", "v_Archery_g09_c01.avi 1", r"line 13: got 'v_Arch.*expected CLASS/NAME\.avi"),
        ("testlist01.txt", "Archery/v_Archery_g02_c01.avi", r"listed as 'Archery' \(train\) and .*\(test\)"),
        ("classInd.txt", "5 Juggling", r"line 4: got '5 Juggling'; expected 4 and the name"),
        ("classInd.txt", "4 Archery", r"line 4: got '4 Archery'; expected 4 and the name of a further class"),
        ("classInd.txt", "4 Juggling", r"no training video of \['Juggling'\]"),
        ("trainlist01.txt", b"\xff\xfe\n", r"is not text in UTF-8: line \d+ holds the byte 0xff"),
    ],
)  # fmt: skip
def test_broken_lists_of_ucf101(tmp_path: Path, file: str, line: str | bytes, message: str) -> None:
    path = make_ucf101(tmp_path, num_frames=1) / "ucfTrainTestlist" / file
    path.write_bytes(path.read_bytes() + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(DataError, match=message) as caught:
        split_dataset(read_dataset_index(f"ucf101:{tmp_path}"))
    assert "\n" not in str(caught.value)


def test_missing_lists_are_named_with_their_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no classInd\.txt .*crcv\.ucf\.edu.*ucfTrainTestlist'"):
        read_dataset_index(f"ucf101:{tmp_path}")
    with pytest.raises(DataError, match=r"serre-lab\.clps\.brown\.edu.*testTrainMulti_7030_splits'"):
        read_dataset_index(f"hmdb51:{tmp_path}")
    (make_ucf101(tmp_path, num_frames=1) / "ucfTrainTestlist" / "testlist03.txt").unlink()
    assert read_dataset_index(f"ucf101:{tmp_path}:2")
    with pytest.raises(DataError, match=r"no testlist03\.txt"):
        read_dataset_index(f"ucf101:{tmp_path}:3")


# -- HMDB51 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_lists_of_hmdb51(data_root: Path, tmp_path: Path, split: int) -> None:
    (tmp_path / "splits").symlink_to(data_root / "splits" / "hmdb51_splits")
    dataset = read_dataset_index(f"hmdb51:{tmp_path}:{split}")
    assert counts(dataset) == HMDB_COUNTS[split]
    assert len(dataset.classes) == 51
    assert dataset.classes == tuple(sorted(dataset.classes))
    # 70 and 30 of each class are the data set's design.
    assert set(Counter(s.label for s in dataset.samples if s.split == "train").values()) == {70}
    assert set(Counter(s.label for s in dataset.samples if s.split == "test").values()) == {30}


@pytest.mark.parametrize("videos", ["hmdb51_org", "videos", "."])
def test_hmdb51_finds_its_videos(tmp_path: Path, videos: str) -> None:
    make_hmdb51(tmp_path, num_frames=1)
    if videos != "hmdb51_org":
        shutil.copytree(tmp_path / "hmdb51_org", tmp_path / videos, dirs_exist_ok=True)
        shutil.rmtree(tmp_path / "hmdb51_org")
    for split in (1, 2, 3):
        dataset = read_dataset_index(f"hmdb51:{tmp_path}:{split}")
        assert dataset.classes == ("climb", "climb_stairs", "wave")
        assert counts(dataset) == (9, 6)
        assert all(Path(sample.path).is_file() for sample in dataset.samples)
        assert all(Path(sample.path).parent.name == sample.label for sample in dataset.samples)
    # The case of letters counts here.
    touch(tmp_path / videos / "wave", "X.avi")
    path = tmp_path / "testTrainMulti_7030_splits" / "wave_test_split1.txt"
    path.write_text(path.read_text(encoding="utf-8") + "x.avi 1\n", encoding="utf-8")
    missing = [s.path for s in read_dataset_index(f"hmdb51:{tmp_path}").samples if not Path(s.path).exists()]
    assert [Path(path).name for path in missing] == ["x.avi"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.avi 3", r"wave_test_split1\.txt, line 7: got 'a\.avi 3'; expected NAME\.avi and 0 \(unused\)"),
        ("a.avi", "line 7: got 'a.avi'"),
        ("2", "line 7: got '2'"),
    ],
)
def test_broken_lists_of_hmdb51(tmp_path: Path, line: str, message: str) -> None:
    path = make_hmdb51(tmp_path, num_frames=1) / "testTrainMulti_7030_splits" / "wave_test_split1.txt"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(DataError, match=message):
        read_dataset_index(f"hmdb51:{tmp_path}:1")
    path.unlink()
    with pytest.raises(DataError, match=r"class 'wave' has no wave_test_split1\.txt but other lists"):
        read_dataset_index(f"hmdb51:{tmp_path}:1")


# -- lists of TSN ----------------------------------------------------------------------------------


def test_tsn_lists(tmp_path: Path) -> None:
    train = write(tmp_path / "a" / "train.txt", ["frames/one two 12 1", f"{tmp_path}/b.avi 30 0"])
    test = write(tmp_path / "b" / "test.txt", ["../c.mp4 7 2"])
    dataset = read_dataset_index(f"tsn:{train}:{test}")
    assert [(s.path, s.label, s.split, s.columns["frames"]) for s in dataset.samples] == [
        (str(tmp_path / "a" / "frames" / "one two"), "class_001", "train", "12"),
        (str(tmp_path / "b.avi"), "class_000", "train", "30"),
        (str(tmp_path / "b" / ".." / "c.mp4"), "class_002", "test", "7"),
    ]
    assert dataset.classes == ("class_000", "class_001", "class_002")
    assert {sample.split for sample in read_dataset_index(f"tsn:{train}").samples} == {None}
    with pytest.raises(DataError, match=r"no training video of \['class_002'\]"):
        split_dataset(dataset)


def test_tsn_lists_without_numbers_of_frames(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", ["frames/one two 1", "b.avi 0"])
    test = write(tmp_path / "test.txt", ["c.mp4 1"])
    dataset = read_dataset_index(f"tsn:{train}:{test}")
    assert [(Path(s.path).name, s.label, s.split, dict(s.columns)) for s in dataset.samples] == [
        ("one two", "class_001", "train", {}),
        ("b.avi", "class_000", "train", {}),
        ("c.mp4", "class_001", "test", {}),
    ]


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize(
    ("file", "lines"),
    [("classInd.txt", ["2 stand up", "1 walk", "3 run"]), ("labels.txt", ["walk", "stand up", "run"])],
)
def test_tsn_class_names_and_both_ways_of_counting(
    tmp_path: Path, base: int, file: str, lines: list[str]
) -> None:
    write(tmp_path / file, lines)
    train = write(tmp_path / "train.txt", [f"a 5 {base}", f"b 5 {base + 1}"])
    dataset = read_dataset_index(f"tsn:{train}")
    assert [sample.label for sample in dataset.samples] == ["walk", "stand up"]
    assert dataset.classes == ("walk", "stand up", "run")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a 5 0", "b 5"], r"line 2: got 'b 5'; expected the form of the lines before it: 'path frames"),
        (["a 0", "b 5 1"], r"line 2: got 'b 5 1'; expected the form of the lines before it: 'path frames"),
        (["a 5 0", "b five 1"], "line 2: got 'b five 1'"),
        (["a 5 0", "b 5 -1"], "line 2: got 'b 5 -1'"),
        (
            ["a 5 0", "b 5 2"],
            r"line 2: got 'class 2'; expected a class from 0 to 1, as .*classInd\.txt has 2",
        ),
        (["a 5 1", "b 5 3"], "line 2: got 'class 3'; expected a class from 1 to 2"),
        (["a 5 2", "b 5 3"], "the lowest class number is 2; expected classes from 0 or 1 on"),
        (["a 5 0", "b 5 1", "a 6 1"], "'.*a' is listed as 'x' .* and as 'y'"),
        ([], "is empty"),
    ],
)
def test_broken_lists_of_tsn(tmp_path: Path, lines: list[str], message: str) -> None:
    write(tmp_path / "classInd.txt", ["1 x", "2 y"])
    with pytest.raises(DataError, match=message):
        read_dataset_index(f"tsn:{write(tmp_path / 'train.txt', lines)}")
