"""The ledger: every complete line counts, whatever happens to the process that wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hidden_two_stream.bulk.ledger import Ledger, ledger_path
from hidden_two_stream.errors import DataError, OutputError, UsageError

SETTINGS = {"run": "0123", "protocol": "10x1"}


def filled(out: Path) -> Path:
    with Ledger(out, SETTINGS) as ledger:
        ledger.add("a.mp4", {"label": "é"})
        ledger.add_failure("b.mp4", "broken")
        ledger.add("c\udcff.mp4", {"label": "wave"})
    return ledger_path(out)


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    filled(out)
    with Ledger(out, SETTINGS) as ledger:
        assert (ledger.done, ledger.failed) == (["a.mp4", "c\udcff.mp4"], ["b.mp4"])
        assert ledger.row("a.mp4") == {"label": "é"}
        assert ledger.row("b.mp4") == {"source": "b.mp4", "reason": "broken"}
        assert "c\udcff.mp4" in ledger
        assert "d.mp4" not in ledger
        ledger.add("b.mp4", {"label": "mended"})
        assert (ledger.done, ledger.failed) == (["a.mp4", "c\udcff.mp4", "b.mp4"], [])
    with Ledger(out, SETTINGS) as ledger:
        assert ledger.row("b.mp4") == {"label": "mended"}
        assert ledger.failed == []


def test_it_can_be_cut_anywhere(tmp_path: Path) -> None:
    """As by SIGKILL or a power cut: complete lines stay, an incomplete one goes, and work goes on."""
    whole = filled(tmp_path / "whole.jsonl").read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        out = tmp_path / f"{cut}.jsonl"
        ledger_path(out).write_bytes(whole[:cut])
        complete = sum(end <= cut for end in ends)
        with Ledger(out, SETTINGS) as ledger:
            assert len(ledger.done) + len(ledger.failed) == max(0, complete - 1)
            ledger.add("new.mp4", {"label": "new"})
        with Ledger(out, SETTINGS) as ledger:
            assert ledger.row("new.mp4") == {"label": "new"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "25x10"}, "protocol '10x1', not '25x10'"),
        ({"run": "4567"}, "run '0123', not '4567'"),
        ({"shard": "1/2"}, "shard None, not '1/2'"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, change: dict[str, str], message: str) -> None:
    file = filled(tmp_path / "r.jsonl")
    before = file.read_bytes()
    with pytest.raises(UsageError, match=message):
        Ledger(tmp_path / "r.jsonl", SETTINGS | change)
    assert file.read_bytes() == before


def test_a_table_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="name another file"):
        Ledger(tmp_path / "r.jsonl", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b'{"row": {}}\n', b'{"source": "x"}\n', b"\xff\n"])
@pytest.mark.parametrize("at_start", [True, False])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, at_start: bool) -> None:
    file = filled(tmp_path / "r.jsonl")
    file.write_bytes(line + file.read_bytes() if at_start else file.read_bytes() + line)
    with pytest.raises(DataError, match=f"damaged in line {1 if at_start else 5}; delete it"):
        Ledger(tmp_path / "r.jsonl", SETTINGS)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hidden_two_stream.bulk.ledger import Ledger\n"
        f"Ledger(Path(sys.argv[1]), {SETTINGS!r})"
    )
    out = tmp_path / "r.jsonl"
    with Ledger(out, SETTINGS) as ledger:
        ledger.add("a.mp4", {})
        ledger.row("a.mp4")
        done = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True)
    assert "another process writes to" in done.stderr
    done = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    ledger_path(tmp_path / "r.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"r\.jsonl\.ledger"):
        Ledger(tmp_path / "r.jsonl", SETTINGS)


def test_a_long_ledger_is_read_quickly(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    row = {"source": "x" * 60, "label": "wave", "top": [{"label": "wave", "score": 0.123456789}] * 3}
    lines = (json.dumps({"source": f"videos/{number:06}.mp4", "row": row}) for number in range(100_000))
    filled(out)
    with open(ledger_path(out), "a") as file:
        file.writelines(f"{line}\n" for line in lines)
    begin = time.process_time()
    with Ledger(out, SETTINGS) as ledger:
        assert len(ledger.done) == 100_002
    assert time.process_time() - begin < 5  # 0.6 s on an idle core
