"""Archives of unknown origin are refused by what they declare, before memory and time are spent on them."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hidden_two_stream import npz as npz_module
from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.accuracy import load_scores
from hidden_two_stream.evaluation.matlab import read_arrays
from hidden_two_stream.evaluation.score_files import read_scores
from hidden_two_stream.npz import LARGEST_BYTES, read_npz

READERS = [read_npz, load_scores, lambda path: read_scores(str(path))]


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(shape: tuple[int, ...], descr: object = "<f4") -> bytes:
    """A header that declares a shape, without the numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8", "?", "U5", "S3", ">f4"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (0, 3)])
def test_arrays_are_those_of_numpy(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", one=array, two=array.T)
        found = read_npz(tmp_path / "a.npz")
        assert list(found) == ["one", "two"]
        for name, expected in (("one", array), ("two", array.T)):
            assert found[name].dtype == expected.dtype
            assert np.array_equal(found[name], expected)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"temporal": header((4_000_000_000,))}, "has 0 bytes"),
        ({"temporal": header((2, 3)) + bytes(20)}, "has 20 bytes"),
        ({"temporal": header((2, 3)) + bytes(28)}, "has 28 bytes"),
        ({"temporal": header((2**40, 2**40))}, "has 0 bytes"),
        ({"temporal": header((-1, 3))}, "has 0 bytes"),
        ({"names": npy(np.array(["a", 1], object)), "temporal": npy(np.eye(2))}, "holds Python objects"),
        ({"temporal": b"text"}, "cannot read|holds no scores"),
        ({"temporal": npy(np.eye(2))[:-20]}, "has 12 bytes"),
        ({"temporal": b"\x93NUMPY\x09\x00" + bytes(80)}, "cannot read|holds no scores"),
        ({"temporal": b"\x93NUMPY\x01\x00" + struct.pack("<H", 20) + b"[" * 20}, "has a damaged header"),
    ],
)
def test_a_member_that_is_not_what_it_says_is_refused(
    tmp_path: Path, read: Any, members: dict[str, bytes], named: str
) -> None:
    path = archive(tmp_path / "a.npz", **members)
    with pytest.raises(DataError, match=named) as caught:
        read(path)
    assert "a.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", READERS)
def test_the_declared_size_is_limited_in_total(
    tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = np.zeros((2, 300), np.float32)
    np.savez_compressed(tmp_path / "a.npz", one=half, two=half)
    monkeypatch.setattr(npz_module, "LARGEST_BYTES", 5000)
    with pytest.raises(DataError, match=r"a\.npz' unpacks to 0 MB; expected at most 0 MB"):
        read(tmp_path / "a.npz")
    monkeypatch.setattr(npz_module, "LARGEST_BYTES", 5056)  # two headers of 128 bytes
    assert set(read_npz(tmp_path / "a.npz")) == {"one", "two"}
    assert LARGEST_BYTES == 512 << 20


def test_an_archive_of_many_arrays_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", **{f"n{number}": npy(np.eye(2)) for number in range(1001)})
    with pytest.raises(DataError, match=r"holds 1001 arrays; expected at most 1000"):
        read_npz(path)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # mapped, not used
from hidden_two_stream.__main__ import run
code = run()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024, file=sys.stderr)  # ru_maxrss would include the process that started this
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bomb2g.npz"], "unpacks to 2,147 MB; expected at most 537 MB"),
        (["enc.npz"], "'names.npy' is encrypted"),
        (["h2.npz"], "'temporal.npy' says it has the shape (1000000000, 4) of float32, but has 0 bytes"),
        (["--classes", "classes_digits.cls"], "has a class number of 5000 digits; expected at most 9"),
    ],
)
def test_hostile_files_are_refused_soon_in_one_line_and_little_memory(
    data_root: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    own = data_root / "faults" / "own_files"
    np.savez(tmp_path / "scores.npz", temporal=np.eye(2))
    (tmp_path / "list.txt").write_text("0.avi a\n1.avi b\n")
    given = [str(own / text) if (own / text).is_file() else text for text in arguments]
    scores = given if len(given) == 1 else [str(tmp_path / "scores.npz"), *given]
    command = [sys.executable, "-c", LIMITED, "fuse", *scores, "--labels", str(tmp_path / "list.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    line, megabytes = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("hts: ")
    assert named in line
    assert arguments[-1] in line
    assert int(megabytes) < 1000


def test_a_packed_matlab_file_is_refused_by_its_unpacked_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scipy_io = pytest.importorskip("scipy.io", reason="the extra 'matlab' is not installed")
    scipy_io.savemat(tmp_path / "a.mat", {"scores": np.zeros((100, 100))}, do_compression=True)
    assert set(read_arrays(tmp_path / "a.mat")) == {"scores"}
    monkeypatch.setattr("hidden_two_stream.evaluation.matlab.LARGEST_BYTES", 79_000)
    with pytest.raises(DataError, match=r"a\.mat' unpacks to more than 0 MB"):
        read_arrays(tmp_path / "a.mat")


def test_a_matlab_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("scipy.io", reason="the extra 'matlab' is not installed")
    packed = zlib.compressobj(9)
    body = b"".join(packed.compress(bytes(1 << 24)) for _ in range(40)) + packed.flush()
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(head + struct.pack("<II", 15, len(body)) + body)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="unpacks to more than 537 MB"):
        read_arrays(tmp_path / "a.mat")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
