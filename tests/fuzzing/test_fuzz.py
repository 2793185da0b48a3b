"""A short, seeded slice of `make fuzz`; and that the tools notice what they are for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fuzz import faults
from fuzz.__main__ import main, tasks_of, write_originals
from fuzz.kinds import KINDS, of_group
from fuzz.mutations import mutated
from fuzz.sandbox import Limits, Task, run_tasks
from fuzz.worker import make_variant
from hidden_two_stream.errors import HiddenTwoStreamError


def test_every_fault_of_a_reader_is_noticed(tmp_path: Path) -> None:
    for name, kind in faults.KINDS.items():
        (tmp_path / "originals" / name).mkdir(parents=True)
        kind.write(tmp_path / "originals" / name)
    (tmp_path / "scratch").mkdir()
    tasks = [Task(name, 0, number) for name in faults.KINDS for number in range(1 + (name == "read"))]
    limits = Limits(seconds=0.3, wall_seconds=6.0, num_bytes=200 << 20)
    found = run_tasks(tasks, tmp_path / "originals", tmp_path / "scratch", 1, limits, "fuzz.faults")
    assert [result.outcome for result in found] == [task.kind for task in tasks]


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_are_read(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    for module in kind.needs:
        pytest.importorskip(module, reason="an extra is not installed")
    kind.write(tmp_path)
    if name in ("caffemodel", "pt2"):  # a network of another size; a format that is only written
        with pytest.raises(HiddenTwoStreamError):
            kind.read(tmp_path / kind.entry)
        return
    kind.read(tmp_path / kind.entry)


def test_a_variant_can_be_made_again(tmp_path: Path) -> None:
    kinds = [KINDS["scores-npz"], KINDS["labels-elan"]]
    write_originals(kinds, tmp_path / "originals")
    for kind in kinds:
        seen = set()
        for number in range(8):
            pair = [
                make_variant(kind, tmp_path / "originals", tmp_path / str(n), 3, number) for n in range(2)
            ]
            first, again = (path.read_bytes() for path in pair)
            assert first == again
            seen.add(first)
        assert len(seen) > 6


@pytest.mark.parametrize("suffix", [".csv", ".json", ".npz", ".safetensors", ".pth", ".yaml", ".mp4", ""])
@pytest.mark.parametrize("data", [b"", b"a", b"\xff" * 300])
def test_damage_to_anything_gives_bytes(data: bytes, suffix: str) -> None:
    for seed in range(60):
        assert isinstance(mutated(data, suffix, Random(seed), data), bytes)


def findings(tmp_path: Path, group: str, count: int) -> list[str]:
    tasks = list(tasks_of(of_group(group), count, seed=20))
    write_originals(of_group(group), tmp_path / "originals")
    (tmp_path / "scratch").mkdir()
    results = list(run_tasks(tasks, tmp_path / "originals", tmp_path / "scratch", workers=1))
    outcomes = Counter(result.outcome for result in results)
    assert sum(outcomes.values()) == count
    assert min(outcomes["read"], outcomes["refused"]) > count // 20, (
        outcomes
    )  # the damage is neither nothing nor all
    return [
        f"{result.outcome} {result.task}: {result.error} {result.where}"
        for result in results
        if result.is_finding
    ]


def test_damaged_files_of_ours_are_refused(tmp_path: Path) -> None:
    assert findings(tmp_path, "files", 4 * len(of_group("files"))) == []


def test_damaged_videos_are_refused(tmp_path: Path) -> None:
    assert findings(tmp_path, "videos", 72) == []


def test_the_command_counts_and_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--files", "3", "--videos", "2", "--only", "flow", "video-gif-gif", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 0, ")
    assert lines[0].endswith(" 0 findings")
    assert [line.partition(" kinds")[0] for line in lines[1:]] == [
        "files: 3 variants of 1", "videos: 2 variants of 1"
    ]  # fmt: skip
