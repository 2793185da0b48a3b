"""A short, seeded slice of `make fuzz-kills`; and that these tools notice what they are for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fuzz.ledger import add_sitting, require_new_seed, totals
from fuzz.sameness import differences, unreadable
from hidden_two_stream.files import write_json
from hidden_two_stream.tensors import write_tensors

ROOT = Path(__file__).resolve().parents[2]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")


def kills(tmp_path: Path, *arguments: object) -> dict[str, object]:
    """Run `python -m fuzz.kills` without findings, and return its numbers."""
    command = [sys.executable, "-m", "fuzz.kills", "--json", tmp_path / "kills.json", *arguments]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads((tmp_path / "kills.json").read_text(encoding="utf-8"))
    return found


@POSIX
def test_a_killed_training_and_a_full_disk(tmp_path: Path) -> None:
    found = kills(tmp_path, "--only", "few-clips", "features-npz", "--kills", 1, "--output-kills", 1,
                  "--every", 17, "--full", 1)  # fmt: skip
    commands = found["commands"]
    assert isinstance(commands, dict)
    tried = commands["few-clips"]
    assert (tried["random"], tried["full"]) == (1, 1)
    assert tried["at_writes"] >= 4
    assert commands["features-npz"]["writes"] == 1


@POSIX
@pytest.mark.slow
def test_all_trainings_and_commands_that_write(tmp_path: Path) -> None:
    kills(tmp_path, "--kills", 2, "--output-kills", 1, "--every", 40, "--full", 2, "--seed", 1)


FAULTY = """
import fuzz.dying
import os, sys
from contextlib import contextmanager
from pathlib import Path
from fuzz import dying
from hidden_two_stream import files
@contextmanager
def in_place(path, *, make_parents=False):
    if make_parents:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    number, dying._count = dying._count, dying._count + 1
    dying._log(path, number, "begun", dying.digest(Path(path)), 0)
    if number == dying._fault.write:
        Path(path).write_bytes(b"half")
        dying._die()
    yield Path(path)
    dying._log(path, number, "whole", dying.digest(Path(path)), Path(path).stat().st_size)
files.atomic_write = in_place
from fuzz.kills import main
sys.exit(main(sys.argv[1:]))
"""


@POSIX
def test_a_write_in_place_is_noticed(tmp_path: Path) -> None:
    command = ["--only", "label-file", "--output-kills", "0", "--every", "1", "--full", "0"]
    done = subprocess.run(
        [sys.executable, "-c", FAULTY, *command], cwd=ROOT, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is neither the earlier file nor the new one" in done.stdout


def test_folders_are_compared_but_for_their_times(tmp_path: Path) -> None:
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        folder = tmp_path / name
        folder.mkdir()
        write_tensors(folder / "m.safetensors", {"w": torch.ones(2)}, {"x": json.dumps({"seconds": seconds})})
        write_json(folder / "r.json", {"accuracy": 0.5, "seconds": {"motion": seconds}})
        (folder / "metrics.jsonl").write_text(json.dumps({"loss": 1, "seconds": seconds}) + "\n")
        np.savez(folder / "s.npz", a=np.zeros(2))
        (folder / "report.html").write_text(f"<html>{seconds}</html>\n")
    one, two = tmp_path / "a", tmp_path / "b"
    assert differences(one, two) == []
    assert unreadable(one) == []
    write_tensors(two / "m.safetensors", {"w": torch.tensor([1, 1 + 1e-7])}, {"x": "{}"})
    write_json(two / "r.json", {"accuracy": 0.25, "seconds": {}})
    (two / "report.html").write_text("<html>")
    (two / ".more.part").touch()
    (one / "s.npz").write_bytes((one / "s.npz").read_bytes()[:40])
    found = differences(one, two)
    assert [line.partition(" ")[0] for line in found] == [".more.part", "m.safetensors", "r.json",
                                                         "report.html", "s.npz"]  # fmt: skip
    assert [line.partition(" ")[0] for line in unreadable(one)] == ["s.npz"]


def test_sittings_add_up_and_a_seed_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "ledger.json"
    part = {
        "variants": 10, "kinds": 2, "outcomes": {"read": 4, "refused": 5, "hang": 1},
        "longest_cpu_seconds": 0.5, "largest_peak_mb": 3, "largest_resident_mb": 9,
    }  # fmt: skip
    for seed in (1, 2):
        require_new_seed(file, seed)
        add_sitting(file, {"seed": seed, "seconds": 5, "files": part | {"largest_peak_mb": seed}})
    with pytest.raises(SystemExit, match="seed 2 is in"):
        require_new_seed(file, 2)
    assert "| the package's own files | 20 | 2 | 8 | 10 | 2 | 0.50 s | 2 MB |" in totals(file)
    assert totals(file).endswith("seeds 1, 2; 10 s; a worker process held at most 9 MB")
