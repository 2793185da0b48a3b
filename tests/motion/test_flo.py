"""Flow files: bytes by hand, real ground truth, and damaged files."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.errors import DataError, HiddenTwoStreamError, OutputError, UsageError
from hidden_two_stream.motion.flo import MAX_SIDE_PX, read_flo, write_flo


def flo_bytes(width: int, height: int, *values: float) -> bytes:
    return struct.pack(f"<fii{len(values)}f", 202021.25, width, height, *values)


def message_of(error: pytest.ExceptionInfo[HiddenTwoStreamError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert "expected" in message
    return message


def test_reads_bytes_laid_out_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.flo"
    path.write_bytes(flo_bytes(3, 2, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6))
    flow = read_flo(path)
    assert flow.dtype == np.float32
    assert flow.flags.c_contiguous
    assert flow.flags.writeable
    np.testing.assert_array_equal(flow, [[[1, 2, 3], [4, 5, 6]], [[-1, -2, -3], [-4, -5, -6]]])


def test_writes_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "hand.flo"
    write_flo(path, np.array([[[1, 2, 3], [4, 5, 6]], [[-1, -2, -3], [-4, -5, -6]]], dtype=np.float64))
    assert path.read_bytes() == flo_bytes(3, 2, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6)
    assert path.read_bytes()[:4] == b"PIEH"


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 5, 3), (2, 17, 40)])
def test_round_trip_keeps_every_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    flow = np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)
    flow[0, 0, 0] = np.nan
    flow[1, -1, -1] = 1e10
    write_flo(tmp_path / "a.flo", flow)
    np.testing.assert_array_equal(read_flo(str(tmp_path / "a.flo")), flow)


@pytest.mark.parametrize("axis", [1, 2])
def test_the_longest_side_is_written_and_read_and_one_more_pixel_is_refused(
    tmp_path: Path, axis: int
) -> None:
    longest = np.ones((2, 1, 1), np.float32).repeat(MAX_SIDE_PX, axis)
    write_flo(tmp_path / "long.flo", longest)
    np.testing.assert_array_equal(read_flo(tmp_path / "long.flo"), longest)
    with pytest.raises(UsageError, match=str(MAX_SIDE_PX + 1)):
        write_flo(tmp_path / "longer.flo", np.ones((2, 1, 1), np.float32).repeat(MAX_SIDE_PX + 1, axis))
    sides = (MAX_SIDE_PX + 1, 1) if axis == 2 else (1, MAX_SIDE_PX + 1)
    (tmp_path / "longer.flo").write_bytes(flo_bytes(*sides))
    with pytest.raises(DataError, match="header is damaged"):
        read_flo(tmp_path / "longer.flo")


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [("sintel_alley_1/frame_0001.flo", 1024, 436)]
    + [(f"flyingchairs/{i:07d}-gt.flo", 512, 384) for i in range(4)],
)
def test_real_ground_truth(data_root: Path, tmp_path: Path, name: str, width: int, height: int) -> None:
    source = data_root / "flow" / name
    flow = read_flo(source)
    assert flow.shape == (2, height, width)
    pixel = 12 + 8 * (100 * width + 37)
    assert tuple(flow[:, 100, 37]) == struct.unpack("<2f", source.read_bytes()[pixel : pixel + 8])
    write_flo(tmp_path / "copy.flo", flow)
    assert (tmp_path / "copy.flo").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "starts with b''"),
        (b"RIFF" + bytes(40), "RIFF"),
        (flo_bytes(3, 2)[:7], "truncated: 7 bytes"),
        (flo_bytes(3, 2, 1, 2, 3), "truncated: 12 bytes of flow, expected 48"),
        (flo_bytes(1, 1, 1, 2, 3), "too long"),
        (flo_bytes(0, 2), "0 x 2 px"),
        (flo_bytes(4, -1), "4 x -1 px"),
        (flo_bytes(2_000_000_000, 2_000_000_000), "2000000000 x 2000000000"),
        (flo_bytes(90_000, 90_000), "truncated"),
    ],
)
def test_damaged_files_name_what_is_wrong(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "broken.flo"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_flo(path)
    assert word in message_of(caught)
    assert "broken.flo" in str(caught.value)


def test_missing_file_and_folder_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_flo(tmp_path / "none.flo")
    assert "none.flo" in message_of(caught)
    with pytest.raises(UsageError) as caught:
        read_flo(tmp_path)
    assert re.search("Is a directory|Permission denied", message_of(caught))  # Linux and macOS | Windows


def test_unwritable_places_are_output_errors(tmp_path: Path) -> None:
    flow = np.zeros((2, 3, 4), np.float32)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "taken.flo").mkdir()
    for target in ("no/such/folder/a.flo", "file/a.flo", "taken.flo"):
        with pytest.raises(OutputError) as caught:
            write_flo(tmp_path / target, flow)
        assert target.rsplit("/", 1)[-1] in message_of(caught)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.flo"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flo"
    write_flo(path, np.ones((2, 2, 2), np.float32))
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_flo(path, np.zeros((2, 8, 8), np.float32))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "flow",
    [
        np.zeros((3, 4, 4)),
        np.zeros((4, 4)),
        np.zeros((1, 2, 4, 4)),
        np.zeros((2, 0, 4)),
        np.zeros((2, 4, 4), int),
    ],
)
def test_what_is_no_flow_is_not_written(tmp_path: Path, flow: np.ndarray) -> None:
    with pytest.raises(UsageError) as caught:
        write_flo(tmp_path / "a.flo", flow)
    message_of(caught)
    assert not list(tmp_path.iterdir())
