"""Score files: written scores are read back, other formats are read, and errors give their reason."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.errors import (
    DataError,
    HiddenTwoStreamError,
    MissingDependencyError,
    OutputError,
    UsageError,
)
from hidden_two_stream.evaluation.accuracy import Evaluation, load_scores
from hidden_two_stream.evaluation.score_files import Scores, check_scores_path, read_scores, write_scores

CLASSES = ("walk", 'a "quoted", class', "stream", "möve")
NAMES = ("a/1.avi", "b, c/2.avi", 'quote".mp4', "two\rlines.mp4", "caf\udce9.avi")


def made(seed: int = 0) -> Evaluation:
    rng = np.random.default_rng(seed)
    # From denormal to large, so that a rounded number would show.
    powers = 10.0 ** rng.integers(-38, 38, size=(5, 4))
    logits = {name: (rng.normal(size=(5, 4)) * powers).astype(np.float32) for name in ("spatial", "temporal")}
    fused = rng.dirichlet(np.ones(4), 5).astype(np.float32)
    return Evaluation(CLASSES, NAMES, np.array([3, 0, 0, 2, 1]), logits, fused, "25x10", ("gone.avi",))


TRUTH = ("möve", "walk", "walk", "stream", 'a "quoted", class')


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".NPZ", ".CSV"])
def test_written_scores_are_read_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    result, path = made(), tmp_path / f"scores{suffix}"
    result.save_scores(path)
    streams = read_scores(str(path))
    assert [scores.stream for scores in streams] == ["spatial", "temporal"]
    for name in ("spatial", "temporal", "fused"):
        (scores,) = read_scores(f"{path}:{name}")
        assert (scores.names, scores.truth, scores.classes) == (NAMES, TRUTH, CLASSES)
        assert (scores.protocol, scores.source, scores.stream) == ("25x10", f"{path}:{name}", name)
        np.testing.assert_array_equal(scores.values, result.scores()[name])


def test_the_archive_holds_protocol_and_unreadable_videos(tmp_path: Path) -> None:
    made().save_scores(tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz") as saved:
        assert str(saved["protocol"]) == "25x10"
        assert saved["truth"].tolist() == [3, 0, 0, 2, 1]
        assert saved["spatial"].dtype == np.float32
    for loaded in (load_scores(tmp_path / "scores.npz"), load_scores(tmp_path / "scores.npz", "25x10")):
        assert (loaded.protocol, loaded.unreadable) == ("25x10", ("gone.avi",))
        assert list(loaded.logits) == ["spatial", "temporal"]
    with pytest.raises(DataError, match=r"has protocol '25x10'; expected 'center'"):
        load_scores(tmp_path / "scores.npz", "center")


def test_archives_without_a_protocol_are_read(tmp_path: Path) -> None:
    result = made()
    np.savez(tmp_path / "old.npz", names=NAMES, truth=result.truth, classes=CLASSES, **result.scores())  # type: ignore[arg-type]
    loaded = load_scores(tmp_path / "old.npz", "10x1")
    assert (loaded.protocol, loaded.unreadable, list(loaded.logits)) == ("10x1", (), ["spatial", "temporal"])
    assert read_scores(str(tmp_path / "old.npz:fused"))[0].protocol is None


def test_a_table_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\ufeffpath,walk,run\nx.avi,0.1,-3\n\ny.avi,1e2,0\n", encoding="utf-8")
    (scores,) = read_scores(str(path))
    assert (scores.names, scores.classes, scores.truth, scores.protocol) == (
        ("x.avi", "y.avi"),
        ("walk", "run"),
        None,
        None,
    )
    assert scores.source == str(path)
    assert scores.values.tolist() == [[0.1, -3], [100, 0]]
    path.write_text("path,label,walk,run\nx.avi,run,1,2\n")
    assert read_scores(str(path))[0].truth == ("run",)
    path.write_text("path,stream,walk,run\nx.avi,b,1,2\ny.avi,a,3,4\ny.avi,b,5,6\n")
    assert [(s.stream, s.names) for s in read_scores(str(path))] == [
        ("b", ("x.avi", "y.avi")),
        ("a", ("y.avi",)),
    ]
    assert read_scores(f"{path}:b")[0].values.tolist() == [[1, 2], [5, 6]]


def test_plain_arrays(tmp_path: Path) -> None:
    path = tmp_path / "plain.npz"
    np.savez(path, logits=np.array([[1, 2], [4, 3]]), seconds=np.zeros(2))
    (scores,) = read_scores(str(path))
    assert (scores.names, scores.classes, scores.truth, scores.protocol) == (None, None, None, None)
    assert scores.values.dtype == np.float64
    assert scores.values.tolist() == [[1, 2], [4, 3]]
    np.savez(path, fused=np.eye(2))
    assert read_scores(str(path))[0].stream == "fused"


# -- MATLAB ----------------------------------------------------------------------------------------


def save_mat(path: Path, **arrays: Any) -> str:
    pytest.importorskip("scipy.io", reason="the extra 'matlab' is not installed").savemat(path, arrays)
    return str(path)


def test_the_only_table_of_a_matlab_file_is_read(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(6, 3))
    source = save_mat(tmp_path / "a.mat", prediction=table, labels=np.arange(6)[:, None], note="text", n=3.0)
    (scores,) = read_scores(source)
    np.testing.assert_array_equal(scores.values, table)
    assert (scores.stream, scores.names, scores.classes) == ("prediction", None, None)
    whole = read_scores(save_mat(tmp_path / "b.mat", prediction=np.array([[1, 2]], np.int16)))[0]
    assert whole.values.dtype == np.float64
    assert whole.values.tolist() == [[1, 2]]


def test_one_of_several_tables_has_to_be_named(tmp_path: Path) -> None:
    source = save_mat(tmp_path / "a.mat", first=np.eye(2), second=2 * np.eye(2))
    with pytest.raises(UsageError, match=r"several arrays, first, second; name one, such as .*a\.mat:first"):
        read_scores(source)
    assert read_scores(f"{source}:second")[0].values.tolist() == [[2, 0], [0, 2]]
    with pytest.raises(UsageError, match=r"no stream 'third'; it has first, second"):
        read_scores(f"{source}:third")


def test_without_scipy_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    real = importlib.import_module

    def absent(name: str) -> Any:
        if name.startswith("scipy"):
            raise ImportError("No module named 'scipy'")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=r"pip install 'hidden-two-stream\[matlab\]'"):
        read_scores(str(tmp_path / "a.mat"))


V73 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM" + bytes(400)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"accuracy: 80.97 %\n", "not a MATLAB 5 file"),
        (b"", "not a MATLAB 5 file"),
        (b"MATLAB 5.0 MAT-file", "not a MATLAB 5 file"),
        (V73, r"MATLAB 7\.3 \(HDF5\) file; save it again with save\(\.\.\., '-v7'\)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), r"HDF5"),
    ],
)
def test_other_files_are_not_matlab_5(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=expected):
        read_scores(str(tmp_path / "a.mat"))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_or_damaged_matlab_file(tmp_path: Path, compressed: bool) -> None:
    """scipy's reader crashes the process on some of these files, so the check has to find them first."""
    path, scipy_io = tmp_path / "a.mat", pytest.importorskip("scipy.io", reason="no extra 'matlab'")
    numbers = np.random.default_rng(0).normal(size=(3, 2))
    arrays = {"note": "text", "cell": {"a": numbers}, "p": numbers, "labels": np.arange(3)[:, None]}
    scipy_io.savemat(path, arrays, do_compression=compressed)
    whole = path.read_bytes()
    np.testing.assert_array_equal(read_scores(str(path))[0].values, numbers)
    for length in (4, 127, 128, 132, 150, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"MATLAB|holds no scores"):
            read_scores(str(path))
    failed = 0
    for place in range(124, len(whole), 3 if compressed else 1):
        for change in (0xFF, 0x08):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            try:
                read_scores(str(path))
            except HiddenTwoStreamError:
                failed += 1
    assert failed > 20


# -- unreadable files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["scores", "scores.txt", "scores.npz:", ":temporal", "scores.npy:temporal", ""]
)
def test_other_kinds_of_file_are_rejected(source: str) -> None:
    with pytest.raises(UsageError, match=r"is not a score file; expected .*\.npz, \.csv, \.mat"):
        read_scores(source)


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.mat", "a.npz:temporal"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"no score file at '.*{name.split(':')[0]}'"):
        read_scores(str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"has the first column \[\]; expected path"),
        ("video,walk,run\na,1,2\n", r"has the first column \['video'\]"),
        ("path,walk,run\na,1\n", "line 2: 2 values but 3 columns"),
        ("path,walk,run\na,1,2\nb,1,high\n", "line 3: could not convert string to float: 'high'"),
        ("path,walk,run\n", "holds no scores"),
        ("path,walk\na,1\n", r"1 videos × 1 classes; expected 1 × 2"),
        ("path,walk,walk\na,1,2\n", "two classes of the same name"),
        (
            "path,walk,run\na,1,2\nb,1,nan\n",
            "NaN or infinite scores for 1 of 2 videos, first 'b'; expected",
        ),
        (
            "path,walk,run\na,1,-inf\nb,1,nan\n",
            "NaN or infinite scores for 2 of 2 videos, first 'a'; expected",
        ),
        (
            "path,protocol,walk,run\na,center,1,2\nb,10x1,1,2\n",
            "several protocols in one stream, 10x1, cen",
        ),
        ('path,walk,run\n"a,1,2\n', "is not a CSV file"),
    ],
)
def test_errors_in_tables_say_where(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=expected) as caught:
        read_scores(str(tmp_path / "a.csv"))
    assert "a.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"logits": np.zeros(3)}, "holds no scores"),
        ({"logits": np.array([[1, "x"]], dtype=object)}, r"cannot read scores .*; expected an \.npz file"),
        ({"logits": np.zeros((0, 3))}, "0 videos × 3 classes"),
        ({"logits": np.zeros((3, 2)), "names": np.array(["a"])}, "1 names but 3 × 2 scores"),
        ({"logits": np.zeros((3, 2)), "classes": np.array(["a"])}, "1 class names but 3 × 2 scores"),
        (
            {"logits": np.zeros((1, 2)), "classes": np.array(["a", "b"]), "truth": np.array([-1])},
            r"cannot read scores .*; expected an \.npz file",
        ),
        (
            {"logits": np.array([[0, np.inf], [1, 0]])},
            "NaN or infinite scores for 1 of 2 videos, first row 1; expected finite",
        ),
    ],
)
def test_errors_in_archives_say_why(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=expected):
        read_scores(str(tmp_path / "a.npz"))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 half of an archive"])
def test_other_files_are_not_archives(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read scores from .*a\.npz'.*expected an \.npz file"):
        read_scores(str(tmp_path / "a.npz"))


# -- invalid output --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scores", "scores.mat", "scores.txt", "scores.npz.gz"])
def test_other_suffixes_are_not_written(tmp_path: Path, name: str) -> None:
    for write in (check_scores_path, made().save_scores):
        with pytest.raises(UsageError, match=rf"cannot write scores as '{name}'; .*\.npz or \.csv"):
            write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_missing_folder_is_named(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(OutputError, match=r"no folder .*missing'; create it first"):
        made().save_scores(tmp_path / "missing" / f"scores{suffix}")


def test_scores_without_names_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without names, truth, classes and protocol; fill them in"):
        write_scores(tmp_path / "a.npz", [Scores("temporal", np.eye(2))])
