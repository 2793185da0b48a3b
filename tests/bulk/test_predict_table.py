"""A table of many videos: the rows of `Recognizer.predict`, kept as they come, in the order of the videos."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet
import pytest

import hidden_two_stream as hts_library
from hidden_two_stream.bulk import work as works
from hidden_two_stream.bulk.ledger import ledger_path
from hidden_two_stream.bulk.predict import predict_table
from hidden_two_stream.errors import CheckpointError, UsageError, VideoError, WorkerError
from hidden_two_stream.inference.predictor import load

from .engine import Here, rows

Hts = Callable[..., tuple[int, str, str]]


def test_rows_are_those_of_the_recognizer(here: Here, run: Path, videos: list[Path], tmp_path: Path) -> None:
    result = predict_table(run, videos, tmp_path / "r.jsonl", "3x1", top=2, threshold=0.1)
    recognizer = load(run)
    good = [str(video) for video in videos if video.name != "2.mp4"]
    assert rows(tmp_path / "r.jsonl") == [
        recognizer.predict(video, "3x1", threshold=0.1).to_dict(2) for video in good
    ]
    assert rows(tmp_path / "r.failures.jsonl") == [
        {"source": str(videos[2]), "reason": "it is not a video, or its beginning is damaged"}
    ]
    assert result.to_dict() == {
        "out": str(tmp_path / "r.jsonl"), "failures": str(tmp_path / "r.failures.jsonl"), "num_videos": 6,
        "num_done": 5, "num_failed": 1, "num_skipped": 0, "num_others": 0, "note": None,
    }  # fmt: skip


def test_parquet_holds_the_same(here: Here, run: Path, videos: list[Path], tmp_path: Path) -> None:
    predict_table(run, videos, tmp_path / "r.jsonl")
    predict_table(run, videos, tmp_path / "r.parquet")
    for name in ("r", "r.failures"):
        table = pyarrow.parquet.read_table(tmp_path / f"{name}.parquet")
        assert table.to_pylist() == rows(tmp_path / f"{name}.jsonl")


@pytest.mark.parametrize("stop_after", range(6))
def test_a_stopped_call_goes_on(
    here: Here, run: Path, videos: list[Path], tmp_path: Path, stop_after: int
) -> None:
    predict_table(run, videos, tmp_path / "whole.jsonl")
    whole, here.seen, here.stop_after = here.seen, [], stop_after
    with pytest.raises(KeyboardInterrupt):
        predict_table(run, videos, tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()
    here.stop_after = 1_000_000
    result = predict_table(run, videos, tmp_path / "r.jsonl")
    assert here.seen == whole  # each once
    assert result.num_skipped == stop_after
    for name in ("jsonl", "failures.jsonl"):
        assert (tmp_path / f"r.{name}").read_bytes() == (tmp_path / f"whole.{name}").read_bytes()


def test_failed_videos_are_tried_again_only_if_asked(
    here: Here, run: Path, videos: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video")
    out = tmp_path / "r.jsonl"
    assert predict_table(run, [videos[0], bad], out).num_failed == 1
    bad.write_bytes(videos[1].read_bytes())
    here.seen.clear()
    result = predict_table(run, [videos[0], bad], out)
    assert (result.num_failed, result.num_skipped, here.seen) == (1, 2, [])
    result = predict_table(run, [videos[0], bad], out, retry_failed=True)
    assert (result.num_failed, result.num_skipped, here.seen) == (0, 1, [str(bad)])
    assert result.failures is None
    assert not (tmp_path / "r.failures.jsonl").exists()
    assert [row["source"] for row in rows(out)] == [str(videos[0]), str(bad)]


def test_further_videos_are_added(here: Here, run: Path, videos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    predict_table(run, videos[3:5], out)
    here.seen.clear()
    result = predict_table(run, [videos[5], videos[4]], out)
    assert here.seen == [str(videos[5])]
    assert result.num_others == 1
    assert [row["source"] for row in rows(out)] == [str(videos[n]) for n in (5, 4, 3)]


def test_each_video_counts_once(here: Here, run: Path, videos: list[Path], tmp_path: Path) -> None:
    assert predict_table(run, [videos[0], videos[1], str(videos[0])], tmp_path / "r.jsonl").num_videos == 2
    assert here.seen == [str(videos[1]), str(videos[0])]


def test_parts_are_the_whole(here: Here, run: Path, videos: list[Path], tmp_path: Path) -> None:
    predict_table(run, videos, tmp_path / "whole.jsonl")
    found = []
    for number in (1, 2, 3):
        predict_table(run, videos, tmp_path / f"{number}.jsonl", shard=f"{number}/3")
        found += rows(tmp_path / f"{number}.jsonl")
    assert sorted(found, key=lambda row: str(row["source"])) == rows(tmp_path / "whole.jsonl")
    with pytest.raises(UsageError, match="shard '1/3', not '2/3'"):
        predict_table(run, videos, tmp_path / "1.jsonl", shard="2/3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "center"}, "protocol '10x1', not 'center'"),
        ({"threshold": 0.5}, "threshold None, not 0.5"),
        ({"top": 1}, "top 5, not 1"),
    ],
)
def test_other_options_are_refused(
    here: Here, run: Path, videos: list[Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    predict_table(run, videos[:1], tmp_path / "r.jsonl")
    with pytest.raises(UsageError, match=message):
        predict_table(run, videos[:1], tmp_path / "r.jsonl", **change)  # type: ignore[arg-type]


def test_another_run_is_refused_but_a_moved_one_is_not(
    here: Here, run: Path, other_run: Path, videos: list[Path], tmp_path: Path
) -> None:
    predict_table(run, videos[:1], tmp_path / "r.jsonl")
    with pytest.raises(UsageError, match="holds results with run"):
        predict_table(other_run, videos[:1], tmp_path / "r.jsonl")
    (tmp_path / "moved").symlink_to(run)
    assert predict_table(tmp_path / "moved", videos[:1], tmp_path / "r.jsonl").num_skipped == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "the number of workers is 0; expected 1 to 256"),
        ({"top": 0}, "top is 0"),
        ({"shard": "3/2"}, "expected I/N"),
        ({"engine": "dask"}, "expected pool or ray"),
        ({"address": "auto"}, "needs the engine ray"),
        ({"protocol": "2x2"}, "unknown protocol"),
        ({"threshold": 2}, "the threshold is 2"),
    ],
)
def test_wrong_arguments(
    run: Path, videos: list[Path], tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        predict_table(run, videos, tmp_path / "r.jsonl", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_one_name_is_no_list(run: Path, videos: list[Path], tmp_path: Path) -> None:
    for work in (lambda: predict_table(run, str(videos[0]), tmp_path / "r.jsonl"),
                 lambda: hts_library.predict_many(run, videos[0])):  # fmt: skip
        with pytest.raises(UsageError, match="expected a list of videos"):
            work()


def test_no_run(videos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run at"):
        predict_table(tmp_path / "none", videos, tmp_path / "r.jsonl")


# -- with processes


def test_processes_of_this_machine(hts: Hts, run: Path, videos: list[Path], tmp_path: Path) -> None:
    """The command from a list, with two workers: the rows of one process, and the failure named."""
    (tmp_path / "list.txt").write_text("".join(f"{video}\n" for video in [*videos, videos[0]]))
    out = tmp_path / "r.parquet"
    command = ("predict", run, "--list", tmp_path / "list.txt", "--workers", "2", "--out", out, "--top", "2")
    code, output, errors = hts(*command)
    assert (code, output) == (1, f"{out}: 5 of 6 videos labeled\n")
    lines = errors.splitlines()
    assert lines[0] == f"hts: {tmp_path / 'list.txt'}: 1 name given before; each video is labeled once"
    assert (
        lines[1]
        == f"hts: cannot read video {str(videos[2])!r}: it is not a video, or its beginning is damaged"
    )
    assert lines[-1] == (
        f"hts: 1 video failed, see {tmp_path / 'r.failures.parquet'}; --retry-failed tries them again"
    )
    recognizer = load(run)
    good = [str(video) for video in videos if video.name != "2.mp4"]
    expected = [recognizer.predict(video).to_dict(2) for video in good]
    assert pyarrow.parquet.read_table(out).to_pylist() == expected
    code, output, _ = hts(*command, "--json")
    assert code == 1
    assert json.loads(output)["num_skipped"] == 6


def test_a_run_that_cannot_be_loaded_ends_the_work(run: Path, videos: list[Path], tmp_path: Path) -> None:
    """Its description is whole, its weights are not: no video is to blame."""
    import torch

    from hidden_two_stream.tensors import read_tensors, write_tensors

    tensors, metadata = read_tensors(run / "model.safetensors")
    first = next(iter(tensors))
    (tmp_path / "bad").mkdir()
    broken = {**tensors, first: torch.full_like(tensors[first], float("nan"))}
    write_tensors(tmp_path / "bad" / "model.safetensors", broken, metadata)
    with pytest.raises(CheckpointError, match="not finite"):
        predict_table(tmp_path / "bad", videos, tmp_path / "r.jsonl", workers=2)
    assert len(ledger_path(tmp_path / "r.jsonl").read_text().splitlines()) == 1


def test_the_parent_does_not_load_pytorch(run: Path, videos: list[Path], tmp_path: Path) -> None:
    code = (
        "import sys, hidden_two_stream as hts\n"
        "from hidden_two_stream.bulk import work as works\n"
        "from hidden_two_stream.errors import VideoError\n"
        "def engine(work, sources, workers): yield sources[0], VideoError(sources[0], 'none')\n"
        "works.ENGINES['pool'] = lambda _: engine\n"
        "hts.predict_table(sys.argv[1], [sys.argv[2]], sys.argv[3])\n"
        "print('torch' in sys.modules, 'ray' in sys.modules, 'pyarrow' in sys.modules)\n"
    )
    arguments = [str(run), str(videos[0]), str(tmp_path / "r.jsonl")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", "False"], done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT"])
def test_a_killed_command_goes_on(run: Path, videos: list[Path], tmp_path: Path, number: str) -> None:
    """It repeats at most the videos that were in work, and the table is that of one call."""
    many_videos = tmp_path / "many"
    many_videos.mkdir()
    for index in range(150):
        (many_videos / f"{index:03}.mp4").symlink_to(videos[(0, 1, 3, 4, 5)[index % 5]])
    out = tmp_path / "r.jsonl"
    command = [
        sys.executable, "-m", "hidden_two_stream", "predict", str(run), str(many_videos), "--workers", "2",
        "--out", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not ledger_path(out).exists() or len(ledger_path(out).read_bytes().splitlines()) < 6:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.killpg(process.pid, getattr(signal, number))
    errors = process.communicate(timeout=60)[1]
    kept = len(ledger_path(out).read_bytes().splitlines())
    assert not out.exists()
    if number == "SIGINT":
        assert process.returncode == 130
        assert "of 150 videos are finished; the same command goes on" in errors
        assert "Traceback" not in errors
    assert subprocess.run(command, capture_output=True).returncode == 0
    lines = ledger_path(out).read_bytes().splitlines()
    assert len(lines) == 151  # nothing that was kept was done again
    assert kept < 151
    assert [Path(str(row["source"])).name for row in rows(out)] == [f"{n:03}.mp4" for n in range(150)]


def test_options_need_out(hts: Hts, run: Path, videos: list[Path], tmp_path: Path) -> None:
    for option in (("--engine", "pool"), ("--retry-failed",), ("--address", "auto")):
        code, _, errors = hts("predict", run, videos[0], *option)
        assert code == 2
        assert f"{option[0]} needs --out FILE" in errors
    code, _, errors = hts("predict", run, videos[0], "--out", tmp_path / "r.jsonl", "--explain", tmp_path)
    assert (code, "--explain does not go with --out" in errors) == (2, True)
    code, _, errors = hts("predict", run, videos[0], "--out", tmp_path / "r.jsonl", "--threads", "2")
    assert (code, "leave out --threads" in errors) == (2, True)
    code, _, errors = hts("predict", run)
    assert (code, "--list FILE" in errors) == (2, True)


def test_a_part_without_a_table(hts: Hts, run: Path, videos: list[Path]) -> None:
    code, output, _ = hts("predict", run, *videos, "--shard", "2/3", "--json")
    assert code == 0
    found = [prediction["source"] for prediction in json.loads(output)["predictions"]]
    assert found == [str(videos[1]), str(videos[4])]


def test_the_library_gives_them_in_order(run: Path, videos: list[Path]) -> None:
    found = list(hts_library.predict_many(run, videos, workers=2))
    assert [isinstance(outcome, VideoError) for outcome in found] == [n == 2 for n in range(6)]
    expected = load(run).predict(videos[5])
    assert isinstance(found[5], hts_library.Prediction)
    assert found[5].to_dict() == expected.to_dict()


def test_100_000_videos_start_quickly(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked up, and the engine takes over with all that is left to do."""
    given: list[int] = []

    def engine(_work: works.Work, sources: Sequence[str], _workers: int) -> works.Outcomes:
        given.append(len(sources))
        yield from ()

    monkeypatch.setitem(works.ENGINES, "pool", lambda _: engine)
    sources = [f"folder/{number:06}.mp4" for number in range(100_000)]
    begin = time.process_time()
    with pytest.raises(WorkerError, match="100000 videos came back without an outcome"):
        predict_table(run, sources, tmp_path / "r.jsonl")
    assert time.process_time() - begin < 1
    assert given == [100_000]
