"""THUMOS14, ActivityNet and Kinetics by name: parts, classes, segments, and invalid input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.splits import split_dataset
from hidden_two_stream.errors import DataError
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

from ..benchmark_trees import touch, write

VALIDATION, TEST = "video_validation_0000051", "video_test_0000004"


def times(samples: tuple[Sample, ...]) -> list[tuple[str, str, float | None, float | None]]:
    return [(Path(s.path).name, s.label, s.start_seconds, s.end_seconds) for s in samples]


# -- THUMOS14 --------------------------------------------------------------------------------------


def make_thumos14(root: Path, annotations: str = "annotations") -> Path:
    folder = root / annotations
    write(
        folder / "Diving_val.txt",
        [f"{VALIDATION}  67.5  75.9", f"{VALIDATION} 80 81.25", f"{VALIDATION} 67.5 75.9"],
    )
    write(folder / "CliffDiving_val.txt", [f"{VALIDATION} 80.0 81.25"])
    write(folder / "Diving_test.txt", [f"{TEST}  0.0  2.5"])
    write(folder / "CliffDiving_test.txt", [f"{TEST} 3 4"])
    write(folder / "Ambiguous_val.txt", [f"{VALIDATION} 1 2"])
    write(folder / "readme.txt", ["what this is"])
    touch(root, f"validation/{VALIDATION}.mp4", f"test/{TEST}.mkv")
    return root


@pytest.mark.parametrize(
    "folder", ["annotations", "annotation_all", ".", "TH14_Temporal_annotations_test/annotation"]
)
def test_thumos14(tmp_path: Path, folder: str) -> None:
    dataset = read_dataset_index(f"thumos14:{make_thumos14(tmp_path, folder)}")
    assert dataset.classes == ("CliffDiving", "Diving")
    split = split_dataset(dataset)
    assert times(split.train) == [
        (f"{VALIDATION}.mp4", "Diving", 67.5, 75.9),
        (f"{VALIDATION}.mp4", "CliffDiving", 80.0, 81.25),
    ]
    assert times(split.test) == [
        (f"{TEST}.mkv", "Diving", 0.0, 2.5),
        (f"{TEST}.mkv", "CliffDiving", 3.0, 4.0),
    ]
    assert all(Path(sample.path).is_file() for sample in dataset.samples)


def test_a_segment_with_two_labels_is_one_sample_of_the_narrower_class(tmp_path: Path) -> None:
    samples = read_dataset_index(f"thumos14:{make_thumos14(tmp_path)}").samples
    assert len({sample.name for sample in samples}) == len(samples) == 4
    assert [s.columns.get("other_labels") for s in samples if s.start_seconds == 80] == ["Diving"]
    assert [s.columns for s in samples if s.start_seconds == 67.5] == [{}]


def test_segments_of_thumos14_are_decoded_as_parts(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "Diving_val.txt", [f"{VALIDATION} 0.2 0.6", f"{VALIDATION} 9 10"])
    write(tmp_path / "annotations" / "Shotput_val.txt", [f"{VALIDATION} 0.4 0.4"])
    write_video(tmp_path / f"{VALIDATION}.avi", generate_clip("up", 0, num_frames=20, size=32).frames, fps=25)
    store = open_clip_cache(read_dataset_index(f"thumos14:{tmp_path}").samples, 32)
    assert [(video.first_frame, video.num_frames) for video in store.videos] == [(5, 10), (10, 1)]
    [(sample, error)] = store.unreadable
    assert "no frame from 9 s on" in str(error)
    assert sample.start_seconds == 9


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{VALIDATION} 5", r"Shotput_val\.txt, line 2: got .*expected a video's name, and the start"),
        (f"{VALIDATION} 5 4", "line 2: got"),
        (f"{VALIDATION} soon 4", "line 2: got"),
        (f"{VALIDATION} 1 inf", "line 2: got"),
    ],
)
def test_broken_lists_of_thumos14(tmp_path: Path, line: str, message: str) -> None:
    write(make_thumos14(tmp_path) / "annotations" / "Shotput_val.txt", [f"{VALIDATION} 1 2", line])
    with pytest.raises(DataError, match=message):
        read_dataset_index(f"thumos14:{tmp_path}")


def test_no_annotations_of_thumos14(tmp_path: Path) -> None:
    touch(tmp_path, "annotations/Ambiguous_val.txt")
    with pytest.raises(DataError, match=r"no annotations CLASS_val\.txt.*crcv\.ucf\.edu"):
        read_dataset_index(f"thumos14:{tmp_path}")


# -- ActivityNet -----------------------------------------------------------------------------------


def node(name: str, parent: str | None) -> dict[str, Any]:
    return {"nodeName": name, "nodeId": 0, "parentName": parent, "parentId": None}


def annotation() -> dict[str, Any]:
    return {
        "database": {
            "-ab_C": {
                "subset": "training",
                "duration": 30.0,
                "annotations": [
                    {"label": "Zumba", "segment": [3.5, 9.25]},
                    {"label": "Arm wrestling", "segment": [10, 12]},
                ],
            },
            "-ab_c": {
                "subset": "validation",
                "duration": 9,
                "annotations": [{"label": "Zumba", "segment": [0, 9]}],
            },
            "zzz": {"subset": "testing", "duration": 9, "annotations": []},
        },
        "taxonomy": [node("Sport", "Root"), node("Zumba", "Sport"), node("Arm wrestling", "Sport")],
        "version": "VERSION 1.2",
    }


@pytest.mark.parametrize("name", ["activity_net.v1-2.min.json", "annotations/activity_net_1.json"])
def test_activitynet(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, [json.dumps(annotation())])
    touch(tmp_path, "train/v_-ab_C.mp4", "val/-ab_c.webm")
    dataset = read_dataset_index(f"activitynet:{tmp_path}")
    assert dataset.classes == ("Zumba", "Arm wrestling")
    split = split_dataset(dataset)
    assert times(split.train) == [
        ("v_-ab_C.mp4", "Zumba", 3.5, 9.25),
        ("v_-ab_C.mp4", "Arm wrestling", 10.0, 12.0),
    ]
    # Identities differ in case alone.
    assert times(split.test) == [("-ab_c.webm", "Zumba", 0.0, 9.0)]


def test_of_several_releases_of_activitynet_1_2_is_read(tmp_path: Path) -> None:
    write(tmp_path / "activity_net.v1-2.min.json", [json.dumps(annotation())])
    write(tmp_path / "activity_net.v1-3.min.json", ["{}"])
    assert len(read_dataset_index(f"activitynet:{tmp_path}").samples) == 3
    (tmp_path / "activity_net.v1-2.min.json").rename(tmp_path / "activity_net.json")
    with pytest.raises(DataError, match=r"several annotations: activity_net\.json, activity_net\.v1-3"):
        read_dataset_index(f"activitynet:{tmp_path}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "Curling", "segment": [0, 1]}, "'-ab_C' has the unknown class 'Curling'"),
        ({"label": "Zumba", "segment": [2, 1]}, r"'-ab_C' has the annotation .*\[2, 1\].*expected a label"),
        ({"label": "Zumba"}, "expected a label, and a segment"),
        ({"segment": [0, 1]}, "expected a label, and a segment"),
        ("Zumba", "expected a label, and a segment"),
    ],
)
def test_broken_annotations_of_activitynet(tmp_path: Path, change: Any, message: str) -> None:
    data = annotation()
    data["database"]["-ab_C"]["annotations"].append(change)
    write(tmp_path / "activity_net.v1-2.json", [json.dumps(data)])
    with pytest.raises(DataError, match=message):
        read_dataset_index(f"activitynet:{tmp_path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "no 'database'"),
        ('{"database": {"x": {"subset": "train"}}}', "'x' has subset 'train'; expected training, valid"),
        ('{"database": {"x": {"subset": "training"}}}', "'x' has no list of annotations"),
        ('{"database": {}}', "name no video"),
    ],
)
def test_no_annotation_of_activitynet(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "activity_net.v1-2.json", [text])
    with pytest.raises(DataError, match=message):
        read_dataset_index(f"activitynet:{tmp_path}")


# -- Kinetics --------------------------------------------------------------------------------------

HEADER = "label,youtube_id,time_start,time_end,split"


def test_kinetics_folder(tmp_path: Path) -> None:
    write(
        tmp_path / "train.csv",
        [
            HEADER,
            "zumba,-Ab,10,20,train",
            '"brush, comb",cd,0,10,train',
            "zumba,ef,7,17,train",
            "zumba,gone,1,2,train",
        ],
    )
    write(tmp_path / "validate.csv", [HEADER, "zumba,ij,3,13,validate"])
    write(tmp_path / "test.csv", [HEADER.removeprefix("label,"), "kl,3,13,test"])
    touch(
        tmp_path,
        *("train/zumba/-Ab_000010_000020.mp4", "train/zumba/-ab_000010_000020.mp4"),
        *("brush,_comb/cd.mkv", "ef_000007_000017.webm", "val/zumba/ij.mp4"),
    )
    dataset = read_dataset_index(f"kinetics:{tmp_path}")
    assert dataset.classes == ("brush, comb", "zumba")
    split = split_dataset(dataset)
    assert [Path(sample.path).relative_to(tmp_path).as_posix() for sample in split.train] == [
        "train/zumba/-Ab_000010_000020.mp4",
        "brush,_comb/cd.mkv",
        "ef_000007_000017.webm",
        "train/zumba/gone_000001_000002.mp4",
    ]
    assert [Path(sample.path).relative_to(tmp_path).as_posix() for sample in split.test] == [
        "val/zumba/ij.mp4"
    ]
    assert {(s.start_seconds, s.end_seconds) for s in dataset.samples} == {(None, None)}


def test_kinetics_tests_on_the_test_part_where_there_is_no_validation_part(tmp_path: Path) -> None:
    rows = [HEADER, "a,x,0,1,train", "b,y,0,1,train", "a,z,0,1,test"]
    path = write(tmp_path / "mine.csv", rows)
    assert [s.split for s in read_dataset_index(f"kinetics:{path}").samples] == ["train", "train", "test"]
    write(path, [*rows, "b,w,0,1,val"])
    dataset = read_dataset_index(f"kinetics:{path}")
    assert [(Path(s.path).name, s.split) for s in dataset.samples if s.split == "test"] == [
        ("w_000000_000001.mp4", "test")
    ]
    assert len(dataset.samples) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,x,soon,20,train", r"line 2: got 'soon and 20'; expected the seconds time_start"),
        ("a,x,1,2,tran", "line 2: got 'tran'; expected the split train, val or test"),
        (",x,1,2,train", "line 2: .*expected a label and a youtube_id"),
        ("a,,1,2,train", "expected a label and a youtube_id"),
        ("a,x,1,2", "line 2: the number of values differs from the number of columns: 4 and 5"),
        ("a,x,1,2,train\nb,x,1,2,train", r"x_000001_000002\.mp4' is listed as 'a' \(train\) and as 'b'"),
    ],
)
def test_broken_lists_of_kinetics(tmp_path: Path, line: str, message: str) -> None:
    touch(tmp_path, "x_000001_000002.mp4")
    path = write(tmp_path / "train.csv", [HEADER, line, "c,q,1,2,train", "d,r,1,2,train"])
    with pytest.raises(DataError, match=message):
        read_dataset_index(f"kinetics:{path}")


def test_no_lists_of_kinetics(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train\.csv, val\.csv or test\.csv"):
        read_dataset_index(f"kinetics:{tmp_path}")
    write(tmp_path / "train.csv", ["path,label", "a,b"])
    with pytest.raises(DataError, match=r"no column \['youtube_id'\] in the first line, 'path,label'"):
        read_dataset_index(f"kinetics:{tmp_path}")
    write(tmp_path / "k400_train.csv", [HEADER])
    with pytest.raises(DataError, match=r"several lists of the same part: k400_train\.csv, train\.csv"):
        read_dataset_index(f"kinetics:{tmp_path}")
