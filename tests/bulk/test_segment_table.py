"""A table of the segments of many videos: those of `Recognizer.segment`, kept as they come."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import hidden_two_stream as hts_library
from hidden_two_stream.bulk.predict import predict_table
from hidden_two_stream.bulk.segment import segment_table
from hidden_two_stream.data.segment_files import segment_dict
from hidden_two_stream.errors import UsageError
from hidden_two_stream.export.export import export_model
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.video.writer import write_video

from .engine import Here, rows

Hts = Callable[..., tuple[int, str, str]]

SETTINGS = SegmentSettings(enter=0.4, shortest_seconds=0.1)
OPTIONS = ("--enter", "0.4", "--shortest-seconds", "0.1")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four recordings: noise, a shorter one, a still image, in which nothing is found, and a broken one."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for name, length in (("a", 40), ("b", 20)):
        write_video(folder / f"{name}.mp4", rng.integers(0, 256, (length, 32, 48, 3), np.uint8))
    write_video(folder / "c.mp4", np.zeros((3, 32, 48, 3), np.uint8))
    (folder / "d.mp4").write_bytes(b"not a video")
    return sorted(folder.iterdir())


def expected(run: Path, recordings: list[Path], settings: SegmentSettings) -> list[dict[str, object]]:
    recognizer = load(run)
    return [
        {"source": str(video), **segment_dict(segment)}
        for video in recordings[:3]
        for segment in recognizer.segment(video, settings, on_warning=lambda _: None)
    ]


def test_rows_are_those_of_the_recognizer(
    here: Here, run: Path, recordings: list[Path], tmp_path: Path
) -> None:
    result = segment_table(run, recordings, tmp_path / "r.jsonl", SETTINGS)
    wanted = expected(run, recordings, SETTINGS)
    assert {row["source"] for row in wanted} >= {str(video) for video in recordings[:2]}
    assert rows(tmp_path / "r.jsonl") == wanted
    found = rows(tmp_path / "r.videos.jsonl")
    assert [row["source"] for row in found] == [str(video) for video in recordings[:3]]
    assert [row["num_segments"] for row in found] == [
        sum(row["source"] == str(video) for row in wanted) for video in recordings[:3]
    ]
    assert rows(tmp_path / "r.failures.jsonl") == [
        {"source": str(recordings[3]), "reason": "it is not a video, or its beginning is damaged"}
    ]
    assert (result.num_videos, result.num_done, result.num_failed) == (4, 3, 1)


def test_a_video_without_segments_is_listed(
    here: Here, run: Path, recordings: list[Path], tmp_path: Path
) -> None:
    result = segment_table(run, recordings[:1], tmp_path / "r.jsonl", SegmentSettings(shortest_seconds=60))
    assert rows(tmp_path / "r.jsonl") == []
    assert rows(tmp_path / "r.videos.jsonl") == [
        {"source": str(recordings[0]), "num_segments": 0, "warnings": []}
    ]
    assert result.num_done == 1


def test_parquet_holds_the_same(here: Here, run: Path, recordings: list[Path], tmp_path: Path) -> None:
    for suffix in ("jsonl", "parquet"):
        segment_table(run, recordings, tmp_path / f"r.{suffix}", SETTINGS)
    for name in ("r", "r.videos", "r.failures"):
        table = pyarrow.parquet.read_table(tmp_path / f"{name}.parquet")
        assert table.to_pylist() == rows(tmp_path / f"{name}.jsonl")
    segment_table(run, [], tmp_path / "none.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "none.parquet").column_names == [
        "source", "start_seconds", "end_seconds", "label", "score",
    ]  # fmt: skip


@pytest.mark.parametrize("stop_after", range(4))
def test_a_stopped_call_goes_on(
    here: Here, run: Path, recordings: list[Path], tmp_path: Path, stop_after: int
) -> None:
    segment_table(run, recordings, tmp_path / "whole.jsonl", SETTINGS)
    whole, here.seen, here.stop_after = here.seen, [], stop_after
    with pytest.raises(KeyboardInterrupt):
        segment_table(run, recordings, tmp_path / "r.jsonl", SETTINGS)
    here.stop_after = 1_000_000
    result = segment_table(run, recordings, tmp_path / "r.jsonl", SETTINGS)
    assert (here.seen, result.num_skipped) == (whole, stop_after)  # each once
    for name in ("jsonl", "videos.jsonl", "failures.jsonl"):
        assert (tmp_path / f"r.{name}").read_bytes() == (tmp_path / f"whole.{name}").read_bytes()


def test_other_settings_and_other_tables_are_refused(
    here: Here, run: Path, recordings: list[Path], tmp_path: Path
) -> None:
    segment_table(run, recordings[:1], tmp_path / "r.jsonl")
    with pytest.raises(UsageError, match=r"hop_seconds 0\.2, not 0\.1"):
        segment_table(run, recordings[:1], tmp_path / "r.jsonl", SegmentSettings(hop_seconds=0.1))
    with pytest.raises(UsageError, match="holds results with"):
        predict_table(run, recordings[:1], tmp_path / "r.jsonl")
    predict_table(run, recordings[:1], tmp_path / "p.jsonl")
    with pytest.raises(UsageError, match="holds results with rows None, not 'segments'"):
        segment_table(run, recordings[:1], tmp_path / "p.jsonl")
    with pytest.raises(UsageError, match="the background class is 'none'"):
        segment_table(run, recordings, tmp_path / "n.jsonl", SegmentSettings(background="none"))
    assert not (tmp_path / "n.jsonl.ledger").exists()


def test_processes_of_this_machine(hts: Hts, run: Path, recordings: list[Path], tmp_path: Path) -> None:
    """The command from a list, with two workers: the rows of one process, and the failure named."""
    (tmp_path / "list.txt").write_text("".join(f"{video}\n" for video in recordings))
    out = tmp_path / "r.parquet"
    command = (
        "segment", run, "--list", tmp_path / "list.txt", "--workers", "2", "--out", out, *OPTIONS,
    )  # fmt: skip
    code, output, errors = hts(*command)
    assert (code, output) == (1, f"{out}: 3 of 4 videos segmented\n")
    assert errors.splitlines()[0].startswith(f"hts: cannot read video {str(recordings[3])!r}")
    assert pyarrow.parquet.read_table(out).to_pylist() == expected(run, recordings, SETTINGS)
    code, output, _ = hts(*command, "--json")
    found = json.loads(output)
    assert (code, found["num_skipped"], found["settings"]["enter"]) == (1, 4, 0.4)


def test_options_that_do_not_fit(hts: Hts, run: Path, recordings: list[Path], tmp_path: Path) -> None:
    for option in (
        ("--workers", "2"),
        ("--workers", "0"),
        ("--engine", "pool"),
        ("--retry-failed",),
        ("--address", "auto"),
    ):
        for out in ((), ("--out", tmp_path / "r.csv")):
            code, _, errors = hts("segment", run, recordings[0], *option, *out)
            assert code == 2
            assert f"{option[0]} needs a table, --out FILE.jsonl or FILE.parquet" in errors
    for option in (("--timeline", tmp_path / "t.svg"), ("--overlay", tmp_path / "o.mp4")):
        code, _, errors = hts("segment", run, recordings[0], "--out", tmp_path / "r.jsonl", *option)
        assert (code, f"{option[0]} does not go with --out" in errors) == (2, True)
        code, _, errors = hts("segment", run, recordings[0], "--shard", "2/2", *option)
        assert (code, "but there are none" in errors) == (2, True)
    code, _, errors = hts("segment", run, recordings[0], "--out", "s3://bucket/r.jsonl")
    assert (code, "a table is written to this machine" in errors) == (2, True)
    for number in (0, 257):
        code, _, errors = hts(
            "segment", run, recordings[0], "--out", tmp_path / "r.jsonl", "--workers", number
        )
        assert (code, f"the number of workers is {number}" in errors) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_list_without_a_table(
    hts: Hts, run: Path, recordings: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{video}\n" for video in recordings[:3]))
    code, output, _ = hts("segment", run, "--list", tmp_path / "list.txt", "--shard", "2/2", "--json")
    assert code == 0
    assert [video["source"] for video in json.loads(output)["videos"]] == [str(recordings[1])]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_installed")
def test_ray_gives_the_same_table(run: Path, recordings: list[Path], tmp_path: Path) -> None:
    named = [*map(str, recordings), str(tmp_path / "none.mp4")]
    segment_table(run, named, tmp_path / "pool.jsonl", SETTINGS)
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in named))
    command = [
        sys.executable, "-m", "hidden_two_stream", "segment", run, "--list", tmp_path / "list.txt", *OPTIONS,
        "--engine", "ray", "--out", tmp_path / "ray.jsonl", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert all(line.startswith("hts: ") for line in done.stderr.splitlines()), done.stderr
    for name in ("jsonl", "videos.jsonl", "failures.jsonl"):
        assert (tmp_path / f"ray.{name}").read_bytes() == (tmp_path / f"pool.{name}").read_bytes()


@pytest.mark.slow
def test_an_exported_model_finds_the_same(
    hts: Hts, run: Path, recordings: list[Path], tmp_path: Path
) -> None:
    """As a command, and as a table."""
    model = export_model(run, tmp_path / "model.onnx").path
    settings = ("--out", tmp_path / "r.csv", "--enter", "0.4", "--shortest-seconds", "0.1")
    assert hts("segment", model, *recordings[:3], *settings)[0] == 0
    hts_library.segment_table(model, recordings, tmp_path / "r.jsonl", SETTINGS)
    lines = (tmp_path / "r.csv").read_text().splitlines()[1:]
    wanted = expected(run, recordings, SETTINGS)
    assert len(lines) == len(wanted) > 0
    for row, line, known in zip(rows(tmp_path / "r.jsonl"), lines, wanted, strict=True):
        assert row["label"] == known["label"] == line.split(",")[3]
        for name in ("start_seconds", "end_seconds", "score"):
            assert row[name] == pytest.approx(known[name], abs=1e-3)
