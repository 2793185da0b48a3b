"""Dataset indexes: the samples that folders and CSV files hold, and invalid input."""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample, look_alikes
from hidden_two_stream.data.splits import split_dataset
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import expand_sources
from hidden_two_stream.video.writer import write_video

from .benchmark_trees import touch


def found(dataset: DatasetIndex, root: Path) -> list[tuple[str, str]]:
    return [(Path(s.path).relative_to(root).as_posix(), s.label) for s in dataset.samples]


def listed(root: Path, text: str | bytes) -> Path:
    path = root / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


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
    dataset = read_dataset_index(tmp_path)
    assert found(dataset, tmp_path) == [
        ("run/y.gif", "run"),
        ("run/z.mkv", "run"),
        ("walk/a.AVI", "walk"),
        ("walk/b.mp4", "walk"),
        ("walk/deep/er/c.webm", "walk"),
    ]
    assert dataset.classes == ("run", "walk")
    assert dataset.counts() == {"run": 2, "walk": 3}
    assert {sample.split for sample in dataset.samples} == {None}
    assert read_dataset_index(str(tmp_path)) == dataset


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
    dataset = read_dataset_index(tmp_path)
    assert dataset.classes == ("run", "walk")
    split = split_dataset(dataset, test_fraction=0.9, seed=5)
    assert {(Path(s.path).name, s.label, s.split) for s in split.train} == {
        ("a.mp4", "walk", "train"),
        ("b.mp4", "run", "train"),
    }
    assert split.val == ()
    assert {(Path(s.path).name, s.label) for s in split.test} == {("c.mp4", "walk"), ("frames", "run")}
    assert "own split" in split.rule


def test_odd_names(tmp_path: Path) -> None:
    names = ("-rechts/-начало.mp4", "-rechts/動画 (1).avi", "größe, 'x'/a ”b”.mp4", "größe, 'x'/%20.mp4")
    touch(tmp_path, *names)
    dataset = read_dataset_index(tmp_path)
    assert dataset.classes == ("-rechts", "größe, 'x'")
    assert {name for name, _ in found(dataset, tmp_path)} == set(names)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no data at .*nowhere.*CSV"):
        read_dataset_index(tmp_path / "nowhere")


def test_no_videos(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    touch(tmp_path, "run/readme.txt", "stray.mp4")
    with pytest.raises(DataError, match=r"(no videos|directly) in .*sub-folder of videos per class"):
        read_dataset_index(tmp_path)


def test_a_recognizer_of_one_class_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "walk/a.mp4", "walk/b.mp4", "run/readme.txt")
    with pytest.raises(DataError, match="only one class, 'walk'"):
        read_dataset_index(tmp_path)


# -- CSV -------------------------------------------------------------------------------------------


def test_csv_paths_are_relative_to_the_csv_and_extra_columns_are_kept(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "c.mp4"
    text = f"subject,path,label,note\n1,clips/a.mp4, walk ,\n10,-b.mp4,run,x\n2,{elsewhere},run,y\n"
    dataset = read_dataset_index(listed(tmp_path, text))
    assert [(Path(s.path), s.label) for s in dataset.samples] == [
        (tmp_path / "clips" / "a.mp4", "walk"),
        (tmp_path / "-b.mp4", "run"),
        (elsewhere, "run"),
    ]
    assert [(s.columns["subject"], s.columns["note"]) for s in dataset.samples] == [
        ("1", ""),
        ("10", "x"),
        ("2", "y"),
    ]
    assert {(s.split, s.start_seconds, s.end_seconds) for s in dataset.samples} == {(None, None, None)}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, newline: str) -> None:
    rows = ["path,label", '"a, b.mp4","say ""hi"""', '"über\nzwei.mp4",gehen', "", "c.mp4,gehen"]
    dataset = read_dataset_index(listed(tmp_path, "\ufeff" + newline.join(rows) + newline))
    assert [(Path(s.path).name, s.label) for s in dataset.samples] == [
        ("a, b.mp4", 'say "hi"'),
        ("über\nzwei.mp4", "gehen"),
        ("c.mp4", "gehen"),
    ]


def test_csv_without_a_last_newline(tmp_path: Path) -> None:
    assert len(read_dataset_index(listed(tmp_path, "path,label\na.mp4,x\nb.mp4,y")).samples) == 2


def test_csv_split(tmp_path: Path) -> None:
    text = "path,label,split\na,x,train\nb,y, TRAINING\nc,x,test\nd,y,Val\ne,y,validation\n"
    split = split_dataset(read_dataset_index(listed(tmp_path, text)))
    assert [Path(s.path).name for s in split.train] == ["a", "b"]
    assert [Path(s.path).name for s in split.test] == ["c"]
    assert [Path(s.path).name for s in split.val] == ["d", "e"]
    assert "val left out (2 videos)" in split.rule


def test_val_is_the_test_part_where_nothing_else_is(tmp_path: Path) -> None:
    text = "path,label,split\na,x,train\nb,y,train\nc,x,val\nd,y,valid\n"
    index = read_dataset_index(listed(tmp_path, text))
    split = split_dataset(index)
    assert [Path(s.path).name for s in split.test] == ["c", "d"]
    assert split.val == ()
    assert "val as the test part" in split.rule
    # Earlier versions read both names as "test"; a run that they began can be resumed.
    tested = read_dataset_index(listed(tmp_path, text.replace("valid", "test").replace("val", "test")))
    assert index.fingerprint() == tested.fingerprint()


def test_train_val_and_test_of_folders(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{label}/{part}.mp4" for part in ("train", "Val", "test") for label in "xy"))
    split = split_dataset(read_dataset_index(tmp_path))
    assert {Path(s.path).name for s in split.test} == {"test.mp4"}
    assert {Path(s.path).name for s in split.train} == {"train.mp4"}
    assert {Path(s.path).name for s in split.val} == {"Val.mp4"}


def test_a_folder_of_test_videos_alone_has_the_labels_below_it(tmp_path: Path) -> None:
    touch(tmp_path, "test/x/a.mp4", "test/y/b.mp4", "val/x/c.mp4")
    dataset = read_dataset_index(tmp_path)
    assert dataset.classes == ("x", "y")
    assert [s.split for s in dataset.samples] == ["test", "test", "val"]
    touch(tmp_path / "flat", "test/a.mp4", "val/b.mp4")
    assert read_dataset_index(tmp_path / "flat").classes == ("test", "val")


def test_the_faulty_list_with_three_parts(data_root: Path) -> None:
    split = split_dataset(read_dataset_index(data_root / "faults" / "30_train_val_test.csv"))
    assert (len(split.train), len(split.val), len(split.test)) == (9, 6, 3)


def test_csv_split_that_is_empty_throughout_is_none(tmp_path: Path) -> None:
    text = "path,label,split\n" + "".join(f"{label}{n},{label},\n" for label in "xy" for n in range(4))
    assert len(split_dataset(read_dataset_index(listed(tmp_path, text))).test) == 2


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
        ("path;label\na;x\n", "only one class, 'x'"),
        ("path:label\na:x\n", r"no column \['label', 'path'\] in the first line, 'path:label'"),
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
        ("path,label\nbär,x\nb,y\n".encode("latin-1"), "not a CSV in UTF-8: line 2 holds the byte 0xe4"),
        ("path,label\na,x\nb,y\n".encode("utf-16")[2:], "not a CSV in UTF-8: it holds zero bytes"),
        ("path,label\na,x\nb,y\n".encode("utf-16")[:-1], "in UTF-16 does, but is not: .*as UTF-8"),
        ("path,label,,\na,x,1,\nb,y,2,z\n", "line 3: two columns without a name have values"),
        (b"PK\x03\x04rest", "not a CSV in UTF-8 but a spreadsheet or an archive; export it as CSV"),
        (bytes(range(256)), "not a CSV in UTF-8: "),
        (bytes(64), "not a CSV in UTF-8: it holds zero bytes"),
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


def same_rows(path: Path) -> list[tuple[str, str]]:
    return [
        (Path(s.path).relative_to(path.parent).as_posix(), s.label) for s in read_dataset_index(path).samples
    ]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\nds/a.mp4,x\nds/b.mp4,y\n",
        "path;label\nds/a.mp4;x\nds/b.mp4;y\n",
        "path\tlabel\nds/a.mp4\tx\nds/b.mp4\ty\n",
        "path|label\nds/a.mp4|x\nds/b.mp4|y\n",
        "sep=;\r\npath;label\r\nds/a.mp4;x\r\nds/b.mp4;y\r\n",
        '\n\nPath , LABEL\nds/a.mp4, x\nds/b.mp4, "y"\n',
        "path,label\nds\\a.mp4,x\nds\\b.mp4,y\n",
        "path,label\nds/a.mp4,x\n  \nds/b.mp4,y\n",
        "path,label,,\nds/a.mp4,x,,\nds/b.mp4,y,,\n,,,\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_csv_as_people_write_it(tmp_path: Path, text: str, encoding: str) -> None:
    touch(tmp_path, "ds/a.mp4", "ds/b.mp4")
    assert same_rows(listed(tmp_path, text.encode(encoding))) == [("ds/a.mp4", "x"), ("ds/b.mp4", "y")]


def test_csv_of_a_german_spreadsheet(tmp_path: Path) -> None:
    text = "path;label;start_seconds;end_seconds\na.mp4;x;0,5;1,25\nb.mp4;y;;2\n"
    samples = read_dataset_index(listed(tmp_path, text)).samples
    assert [(s.start_seconds, s.end_seconds) for s in samples] == [(0.5, 1.25), (None, 2.0)]
    with pytest.raises(DataError, match="line 2: start_seconds is '0,5'"):
        read_dataset_index(listed(tmp_path, 'path,label,start_seconds\na,x,"0,5"\nb,y,1\n'))


def test_known_columns_ignore_case_and_others_keep_it(tmp_path: Path) -> None:
    text = "PATH,Label,Start_Seconds,Subject\na.mp4,x,1,S1\nb.mp4,y,2,S2\n"
    first = read_dataset_index(listed(tmp_path, text)).samples[0]
    assert (first.start_seconds, first.columns["Subject"]) == (1.0, "S1")
    with pytest.raises(DataError, match="two columns have the same name"):
        read_dataset_index(listed(tmp_path, "path,label,Label\na,x,y\n"))


@pytest.mark.skipif(os.name == "nt", reason="these are paths of this system there")
@pytest.mark.parametrize("path", ["C:\\ds\\a.mp4", "d:/ds/a.mp4", "\\\\server\\ds\\a.mp4"])
def test_paths_with_a_drive_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(
        DataError, match=r"line 3: the path .* begins with a drive or server of Windows.*relative"
    ):
        read_dataset_index(listed(tmp_path, f"path,label\na.mp4,x\n{path},y\n"))


@pytest.mark.skipif(os.name == "nt", reason="backslashes separate folders there")
def test_a_file_whose_name_holds_a_backslash_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "a\\b.mp4", "c.mp4")
    assert same_rows(listed(tmp_path, "path,label\na\\b.mp4,x\nc.mp4,y\n"))[0] == ("a\\b.mp4", "x")


def test_a_name_that_no_system_takes_is_left_for_the_reader(tmp_path: Path) -> None:
    rows = same_rows(listed(tmp_path, f"path,label\n{'é' * 300}.mp4,x\na\\{'b' * 300},y\n"))
    assert [name for name, _ in rows] == ["é" * 300 + ".mp4", "a/" + "b" * 300]


@pytest.mark.parametrize("name", ["case", "semi", "space_header", "tab"])
def test_faulty_lists_are_read(data_root: Path, name: str) -> None:
    samples = read_dataset_index(data_root / "faults" / "03_csv" / f"{name}.csv").samples
    assert [(Path(s.path).parts[-3:], s.label) for s in samples] == [
        (("ds", "left", "test_0000.mp4"), "left"),
        (("ds", "right", "test_0000.mp4"), "right"),
    ]


def test_the_faulty_list_of_windows_is_refused(data_root: Path) -> None:
    with pytest.raises(DataError, match=r"win\.csv, line 3: the path 'C:.*drive"):
        read_dataset_index(data_root / "faults" / "03_csv" / "win.csv")


# -- labels ----------------------------------------------------------------------------------------

COMPOSED, APART = "caf\u00e9", "cafe\u0301"


def test_composed_and_decomposed_labels_are_one_class(tmp_path: Path) -> None:
    text = f"path,label,subject\na,{COMPOSED},{APART}\nb,{APART},{COMPOSED}\nc,tea,x\n"
    dataset = read_dataset_index(listed(tmp_path, text))
    assert dataset.counts() == {COMPOSED: 2, "tea": 1}
    assert {s.columns["subject"] for s in dataset.samples} == {COMPOSED, "x"}
    touch(tmp_path / "folder", f"{COMPOSED}/a.mp4", f"{APART}/b.mp4", "tea/c.mp4")
    assert read_dataset_index(tmp_path / "folder").counts() == {COMPOSED: 2, "tea": 1}
    assert read_dataset_index(tmp_path / "folder").empty == ()
    assert DatasetIndex("x", (Sample("a", APART),), class_order=(APART,)).counts() == {COMPOSED: 1}


def test_a_listed_file_is_found_in_either_form(tmp_path: Path) -> None:
    touch(tmp_path, f"{APART}.mp4", f"{COMPOSED}2.mp4")
    rows = same_rows(listed(tmp_path, f"path,label\n{COMPOSED}.mp4,x\n{APART}2.mp4,y\n"))
    assert rows == [(f"{APART}.mp4", "x"), (f"{COMPOSED}2.mp4", "y")]


def test_the_faulty_labels(data_root: Path) -> None:
    dataset = read_dataset_index(data_root / "faults" / "25_nfc_nfd_labels.csv")
    assert dataset.counts() == {"Right": 3, COMPOSED: 6, "right": 3}
    assert look_alikes(dataset.classes) == [("Right", "right")]


def test_look_alikes() -> None:
    assert look_alikes(["walk", "Walk", "walk ", "run", "sit down", "sit  down"]) == [
        ("walk", "Walk", "walk "),
        ("sit down", "sit  down"),
    ]
    assert look_alikes(["walk", "wa\u200blk", "\uff57alk"]) == [("walk", "wa\u200blk", "\uff57alk")]
    assert look_alikes(["walk", "walking", "sit_down", "sit"]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_label_that_is_not_utf_8_is_escaped(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    (Path(folder) / "a.mp4").touch()
    (sample,) = read_dataset_index(tmp_path, min_classes=1).samples
    assert sample.label == "caf\\udce9"
    assert Path(sample.path).exists()


# -- what is left out ------------------------------------------------------------------------------


def test_files_that_are_no_videos_are_counted_and_named(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("walk/a.mp4", "walk/a.txt", "walk/b.TXT", "walk/clip/1.jpg", "walk/clip/2.jpg", "walk/clip/note"),
        *("walk/clip/masks/1.png", "walk/clip/flow_x_1.jpg", "run/day/clip/1.png", "run/day/clip/2.png"),
        *("run/poster.jpg", "stray.mp4", ".DS_Store", "walk/Thumbs.db", "run/.git/x", "run/@eaDir/a.jpg"),
        "empty/readme",
    )
    dataset = read_dataset_index(tmp_path)
    assert found(dataset, tmp_path) == [
        ("run/day/clip", "run"),
        ("walk/a.mp4", "walk"),
        ("walk/clip", "walk"),
    ]
    assert dataset.left_out.by_suffix() == {
        "": ["empty/readme", "walk/clip/note"],
        ".jpg": ["run/poster.jpg", "walk/clip/flow_x_1.jpg"],
        ".txt": ["walk/a.txt", "walk/b.TXT"],
        ".mp4": ["stray.mp4"],
        ".png": ["walk/clip/masks/1.png"],
    }
    assert dataset.left_out.num_hidden == 4
    assert "2 .txt (walk/a.txt, walk/b.TXT)" in str(dataset.left_out)
    assert dataset.left_out.to_dict()["suffixes"][".mp4"] == {"num_files": 1, "first": ["stray.mp4"]}
    assert [Path(path).name for path in dataset.empty] == ["empty"]


def test_a_folder_without_videos_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, "walk/a.xyz", "walk/b.xyz")
    with pytest.raises(DataError, match=r"no videos in .*, which holds 2 \.xyz \(walk/a\.xyz, walk/b"):
        read_dataset_index(tmp_path)


@pytest.mark.parametrize("archive", ["06_nested_frame_folder", "07_suffixes"])
def test_faulty_folders_hold_the_videos_that_predict_finds(
    data_root: Path, tmp_path: Path, archive: str
) -> None:
    with tarfile.open(data_root / "faults" / f"{archive}.tgz") as file:
        file.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    dataset = read_dataset_index(root)
    assert sorted(s.path for s in dataset.samples) == expand_sources([str(root)])
    assert len(dataset.samples) == {"06_nested_frame_folder": 3, "07_suffixes": 11}[archive]
    assert dataset.left_out.files == ()


# -- real data -------------------------------------------------------------------------------------


def test_listed_frame_counts_are_those_of_the_store(data_root: Path) -> None:
    samples = read_dataset_index(data_root / "weizmann4" / "labels.csv").samples[::9]
    store = open_clip_cache(samples, 64, budget_bytes=0)
    assert [v.num_frames for v in store.videos] == [int(s.columns["frames"]) for s in samples]
    with av.open(samples[0].path) as container:
        assert store.videos[0].num_frames == sum(1 for _ in container.decode(video=0))
