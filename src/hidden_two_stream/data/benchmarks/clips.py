"""Reads the lists of UCF101 and HMDB51: short clips of one action each, with three official splits."""

from __future__ import annotations

import re
from pathlib import Path

from hidden_two_stream.data.benchmarks.catalog import (
    Catalog,
    VideoFinder,
    broken,
    find_list,
    read_lines,
    require_folder,
    unique,
)
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import DataError

__all__ = ["read_hmdb51", "read_ucf101"]

_UCF_FOLDERS = ("", "ucfTrainTestlist", "splits", "annotations", "ucf101_splits")
_UCF_SOURCE = (
    "the train/test splits for action recognition of UCF101, published on its page at crcv.ucf.edu "
    "(UCF101TrainTestSplits-RecognitionTask.zip),"
)
_HMDB_FOLDERS = ("", "testTrainMulti_7030_splits", "splits", "annotations", "hmdb51_splits")
_HMDB_SOURCE = (
    "the three splits of HMDB51, published on its page at serre-lab.clps.brown.edu (test_train_splits.rar),"
)
_HMDB_PARTS = {"0": None, "1": "train", "2": "test"}


def read_ucf101(root: Path, split: int) -> Catalog:
    """Read UCF101 (Soomro et al., CRCV-TR-12-01): classInd.txt, trainlist0N.txt and testlist0N.txt.

    Classes are in the order of classInd.txt. Videos are in ROOT/UCF-101/CLASS, ROOT/videos/CLASS or
    ROOT/CLASS. The case of their names is ignored, because the lists and some copies spell HandstandPushups
    differently.

    Raises:
        UsageError: `root` is not a folder.
        DataError: a list is missing or broken, or names an unknown class.
    """
    require_folder(root, "UCF101")
    index = find_list(root, _UCF_FOLDERS, "classInd.txt", _UCF_SOURCE)
    classes = _class_index(index)
    finder = VideoFinder(
        [root / folder for folder in ("UCF-101", "videos", "frames", "rawframes", "")], ignore_case=True
    )
    samples: list[Sample] = []
    paths = []
    for part in ("train", "test"):
        path = find_list(root, _UCF_FOLDERS, f"{part}list0{split}.txt", _UCF_SOURCE)
        paths.append(path)
        for number, line in read_lines(path):
            label, name = _ucf_line(path, number, line, classes)
            samples.append(Sample(finder.find((name,), (label,)), label, part))
    bases = tuple(str(base) for base in finder.bases)
    return Catalog(classes, unique(samples, paths[0].parent), (str(index), *map(str, paths)), bases)


def _class_index(path: Path) -> tuple[str, ...]:
    classes: list[str] = []
    for number, line in read_lines(path):
        given, _, name = line.partition(" ")
        if given != str(len(classes) + 1) or not name.strip() or name.strip() in classes:
            raise broken(path, number, line, f"{len(classes) + 1} and the name of a further class")
        classes.append(name.strip())
    if not classes:
        raise DataError(f"{path} is empty; expected one class in each line, such as '1 ApplyEyeMakeup'")
    return tuple(classes)


def _ucf_line(path: Path, number: int, line: str, classes: tuple[str, ...]) -> tuple[str, str]:
    """Class and file name; the class number after them is optional, but must be correct."""
    found = re.fullmatch(r"([^/\\]+)[/\\]([^/\\]+?)(?:\s+(\d{1,9}))?", line)
    if found is None:
        raise broken(path, number, line, "CLASS/NAME.avi, followed in training lists by the class number")
    label, name, given = found.groups()
    if label not in classes:
        raise broken(path, number, label, f"one of the {len(classes)} classes of classInd.txt")
    if given is not None and int(given) != classes.index(label) + 1:
        raise broken(path, number, line, f"{classes.index(label) + 1}, the number of {label} in classInd.txt")
    return label, name


def read_hmdb51(root: Path, split: int) -> Catalog:
    """Read HMDB51 (Kuehne et al., ICCV 2011): a file CLASS_test_splitN.txt for each class.

    Classes are in alphabetical order. In the lists, 1 means training, 2 test and 0 unused. Videos are in
    ROOT/hmdb51_org/CLASS, ROOT/videos/CLASS or ROOT/CLASS.

    Raises:
        UsageError: `root` is not a folder.
        DataError: a list is missing or broken.
    """
    require_folder(root, "HMDB51")
    folder = _hmdb_lists(root)
    named = (re.fullmatch(r"(.+)_test_split[1-3]\.txt", entry.name) for entry in folder.iterdir())
    classes = tuple(sorted({match[1] for match in named if match}))
    finder = VideoFinder([root / name for name in ("hmdb51_org", "videos", "frames", "rawframes", "")])
    samples: list[Sample] = []
    unused: list[Sample] = []
    for label in classes:
        path = folder / f"{label}_test_split{split}.txt"
        if not path.is_file():
            raise DataError(
                f"class {label!r} has no {path.name} but other lists in {str(folder)!r}; "
                f"expected one for split {split}: get {_HMDB_SOURCE} again"
            )
        for number, line in read_lines(path):
            name, _, code = line.rpartition(" ")
            if code not in _HMDB_PARTS or not name.strip():
                raise broken(path, number, line, "NAME.avi and 0 (unused), 1 (training) or 2 (test)")
            part = _HMDB_PARTS[code]
            sample = Sample(finder.find((name.strip(),), (label,)), label, part)
            (samples if part else unused).append(sample)
    bases = tuple(str(base) for base in finder.bases)
    return Catalog(classes, unique(samples, folder), (str(folder),), bases, unique(unused, folder))


def _hmdb_lists(root: Path) -> Path:
    for name in _HMDB_FOLDERS:
        if any("_test_split" in entry.name for entry in _entries(root / name)):
            return root / name
    return find_list(root, _HMDB_FOLDERS, "brush_hair_test_split1.txt", _HMDB_SOURCE).parent


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
