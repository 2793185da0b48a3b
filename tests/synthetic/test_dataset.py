"""Data sets of generated clips: the files, worker processes, interrupts and errors."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.errors import DataError, OutputError, UsageError
from hidden_two_stream.synthetic.clips import CLASSES
from hidden_two_stream.synthetic.dataset import dataset_jobs, load_ground_truth, write_dataset


def test_dataset_folder(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    index = write_dataset(
        tmp_path,
        train_per_class=2,
        test_per_class=1,
        num_frames=4,
        size=32,
        progress=lambda *n: seen.append(n),
    )
    assert index == tmp_path / "labels.csv"
    assert seen == [(n, 24) for n in range(1, 25)]
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "split"]
    assert {(r["path"], r["label"], r["split"]) for r in rows} == {
        (f"videos/{label}/{split}_{n:04d}.mp4", label, split)
        for label in CLASSES
        for split, count in (("train", 2), ("test", 1))
        for n in range(count)
    }
    contents = set()
    for row in rows:
        path = tmp_path / row["path"]
        with av.open(str(path)) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        truth = load_ground_truth(path)
        assert truth is not None
        flow, moving = truth
        assert (frames.shape, flow.shape, moving.shape) == ((4, 32, 32, 3), (3, 2, 32, 32), (3, 32, 32))
        assert (flow.dtype.name, moving.dtype.name) == ("float32", "bool")
        contents.add(frames[1].tobytes())
    assert len(contents) == 24
    assert not [p for p in tmp_path.rglob("*") if "part" in p.name]


def test_no_two_clips_of_any_set_share_a_seed() -> None:
    jobs = [job for seed in range(3) for job in dataset_jobs(Path("x"), 5, 5, seed)]
    assert len({job.seed for job in jobs}) == len(jobs) == 3 * 8 * 10


def test_worker_processes_write_the_same_files(tmp_path: Path) -> None:
    for name, workers in (("one", 0), ("two", 2)):
        write_dataset(
            tmp_path / name, train_per_class=1, test_per_class=0, num_frames=3, size=16, workers=workers
        )
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert len(files) == 17
    for file in files:
        if file.suffix == ".npz":
            truth, same = (
                load_ground_truth(tmp_path / n / str(file)[: -len(".flow.npz")]) for n in ("one", "two")
            )
            assert truth is not None
            assert same is not None
            np.testing.assert_array_equal(truth[0], same[0])
        else:
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_interrupted_data_set_has_no_dataset_index(tmp_path: Path) -> None:
    write_dataset(tmp_path, train_per_class=1, test_per_class=0, num_frames=2, size=16)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, train_per_class=1, test_per_class=0, num_frames=2, size=16, progress=stop)
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize(
    ("train", "test", "named"),
    [(-1, 1, "train_per_class=-1"), (1, -2, "test_per_class=-2"), (0, 0, "no clips")],
)
def test_data_set_counts_are_checked(tmp_path: Path, train: int, test: int, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        write_dataset(tmp_path / "none", train_per_class=train, test_per_class=test)
    assert not (tmp_path / "none").exists()


def test_ground_truth_missing_or_damaged(tmp_path: Path) -> None:
    assert load_ground_truth(tmp_path / "clip.mp4") is None
    npy = io.BytesIO()
    np.save(npy, np.zeros(3))
    for content in (b"", b"not a zip", b"PK\x03\x04 cut", npy.getvalue()):
        (tmp_path / "clip.flow.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"clip\.flow\.npz"):
            load_ground_truth(tmp_path / "clip.mp4")


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "labels.csv").mkdir()
    for root in (tmp_path, tmp_path / "file" / "data"):
        with pytest.raises(OutputError, match=r"cannot replace .*labels\.csv'.*; expected"):
            write_dataset(root, train_per_class=1, test_per_class=0, num_frames=2, size=16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "labels.csv"]
