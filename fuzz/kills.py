"""Kills trainings and commands that write files, and fills their disk: `python -m fuzz.kills`.

Every training of `fuzz.trainings` is killed (SIGKILL) at seeded random moments and around atomic writes:
before a write, in the middle of its bytes, before the rename, and after it. After each kill, the file under
its final name must be the earlier one or, after the rename, the new one. Then the same training goes on to
its end, and every weight, score and figure must equal that of one that was never interrupted, bit for bit.

The commands of `fuzz.outputs` are given again after a kill. A kill may leave a hidden temporary file beside
their results; in run folders, the next training deletes it.

The same with a full disk: a small tmpfs where mounting is allowed, else a limit on the size of files. The
command must end with exit code 1 and one line; after space was made, it goes on to the same result.

Exit code 1: there are findings.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fuzz.disks import Disk, LimitedFiles, SmallDisk
from fuzz.dying import MOMENTS, Fault, digest
from fuzz.forked import Ended, call, hts, load_libraries
from fuzz.outputs import OUTPUTS, write_inputs
from fuzz.sameness import differences, unreadable
from fuzz.trainings import TRAININGS, Training, write_data
from hidden_two_stream.training.lock import LOCK_FILE

__all__ = ["main"]

Command = Callable[[Path], list[str]]
"""The arguments of `hts` that begin or continue what a folder holds."""


@dataclass
class Tally:
    """What was tried with one command, and what was found.

    Attributes:
        seconds: how long it takes without interruption.
        writes: number of its atomic writes.
        random, at_writes, full: kills at random moments, kills around writes, and times the disk was full.
        findings: a line each.
    """

    seconds: float = 0.0
    writes: int = 0
    random: int = 0
    at_writes: int = 0
    full: int = 0
    findings: list[str] = field(default_factory=list)


class Trial:
    """One command that is interrupted again and again, each time from nothing.

    Args:
        name: of the command.
        command: its arguments.
        root: a folder for everything.
        random: chooses moments and bytes.
        may_leave_parts: whether a kill may leave temporary files for good.
    """

    def __init__(
        self, name: str, command: Command, root: Path, random: Random, *, may_leave_parts: bool = False
    ) -> None:
        self.command, self.random, self.tally = command, random, Tally()
        self.folder, self.place = root / name, root / name / "place"
        self.whole, self.out = self.folder / "whole", self.place / "out"
        self.scratch, self.log_file = self.folder / "scratch", self.folder / "writes.jsonl"
        self.place.mkdir(parents=True)
        self._name, self.may_leave_parts = name, may_leave_parts
        ended, log = self._logged(Fault(log=self.log_file))
        self.log = [line for line in log if line["moment"] == "whole"]
        if ended.code != 0:
            raise RuntimeError(f"{name} fails without an interruption: {ended.said}")
        self.out.rename(self.whole)
        self.tally.seconds, self.tally.writes = ended.seconds, len(self.log)

    def _logged(self, fault: Fault) -> tuple[Ended, list[dict[str, Any]]]:
        """Run the command, and return how it ended and what it wrote, two lines for each whole file."""
        self.log_file.unlink(missing_ok=True)
        ended = hts(self.command(self.out), self.scratch, fault=fault)
        text = self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""
        return ended, [json.loads(line) for line in text.splitlines()]

    def kill_at_random(self, times: int) -> None:
        """Kill the command at random moments of its time."""
        for _ in range(times):
            after = self.random.uniform(0.0, self.tally.seconds)
            ended = hts(self.command(self.out), self.scratch, kill_after=after)
            self.tally.random += 1
            self._check(f"killed after {after:.3f} s", ended, killed=False)

    def kill_at_writes(self, every: int) -> None:
        """Kill the command around every `every`-th of its writes."""
        for number in range(self.random.randrange(every), len(self.log), every):
            for moment in MOMENTS:
                self._kill_at(number, moment)

    def _kill_at(self, number: int, moment: str) -> None:
        byte = self.random.randrange(max(1, self.log[number]["size"]))
        ended, lines = self._logged(Fault(number, moment, byte, self.log_file))
        self.tally.at_writes += 1
        place = f"killed at write {number} ({Path(self.log[number]['path']).name}, {moment})"
        ours = [line for line in lines if line["write"] == number]
        if ours:
            expected = ours[-1 if moment == "renamed" else 0]["content"]
            if digest(Path(ours[0]["path"])) != expected:
                self._find(f"{place}: {ours[0]['path']} is neither the earlier file nor the new one")
        self._check(place, ended, killed=True)

    def fill_disk(self, disk: Disk, times: int) -> None:
        """Run the command on a disk that is too small, make space, and go on."""
        most = disk.most_bytes(self.whole)
        for _ in range(times):
            size = self.random.randrange(most)
            with disk.small(size, self.place) as space:
                ended = hts(self.command(self.out), self.scratch, largest_file=space.largest_file)
                self.tally.full += 1
                place = f"with {size:,} bytes of space ({disk.name})"
                if ended.code not in (0, 1):
                    self._find(f"{place}: exit code {ended.code}: {ended.said[-300:]}")
                elif ended.code == 1:
                    self._require_one_line(place, ended.said)
                space.grow()
                self._check(place, ended, killed=False)

    def _require_one_line(self, place: str, said: str) -> None:
        errors = [line for line in said.splitlines() if line.startswith("hts: ")]
        if len(errors) != 1 or "Traceback" in said or "unexpected" in said or "disk space" not in errors[-1]:
            self._find(f"{place}: not one clear line: {said[-500:]!r}")

    def _check(self, place: str, ended: Ended, *, killed: bool) -> None:
        """Note what is wrong with what an interrupted command left, and with what it becomes."""
        if killed and not ended.was_killed:
            self._find(f"{place}: it ended with code {ended.code} before: {ended.said[-300:]}")
        for line in unreadable(self.out) if self.out.exists() else []:
            self._find(f"{place}: {line}")
        # What was killed after its last write is whole, and may say so instead of being done again. The file
        # of its lock stays, which blocks nobody.
        left = differences(self.whole, self.out) if self.out.exists() else ["nothing"]
        is_whole = all(line.endswith(f"{LOCK_FILE} is only in the second") for line in left)
        again = hts(self.command(self.out), self.scratch) if ended.code else ended
        if again.code != 0 and is_whole and re.search("already holds|is not empty", again.said):
            self._clear()
            return
        if again.code != 0:
            self._find(f"{place}: it does not go on: {again.said[-300:]}")
        for line in differences(self.whole, self.out) if again.code == 0 else []:
            if not (self.may_leave_parts and ".part" in line and line.endswith("in the second")):
                self._find(f"{place}: {line}")
        self._clear()

    def _clear(self) -> None:
        for path in self.place.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _find(self, line: str) -> None:
        self.tally.findings.append(line)
        print(f"{self._name}: {line}", flush=True)


def _training(training: Training, data: Path) -> Command:
    return lambda out: training.command(data, out)


def trials(names: Sequence[str], root: Path, seed: int) -> Iterator[tuple[str, Trial]]:
    """Yield the commands of these names, each run once without an interruption."""
    data, inputs = root / "data", root / "inputs"
    prepared = call(lambda: write_data(data) or 0, root / "scratch")
    if prepared.code == 0 and any(name in OUTPUTS for name in names):
        prepared = call(lambda: write_inputs(data, inputs), root / "scratch")
    if prepared.code != 0:
        raise RuntimeError(f"cannot prepare: {prepared.said}")
    for name in names:
        is_training = name in TRAININGS
        command = _training(TRAININGS[name], data) if is_training else OUTPUTS[name].command(data, inputs)
        yield name, Trial(name, command, root, Random(f"{seed} {name}"), may_leave_parts=not is_training)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    names = options.only or [*TRAININGS, *OUTPUTS]
    begun, tallies = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        disk = SmallDisk.if_allowed(root) or LimitedFiles()
        load_libraries()
        print(_HEADER)
        for name, trial in trials(names, root, options.seed):
            trial.kill_at_random(options.kills if name in TRAININGS else options.output_kills)
            if options.every:
                trial.kill_at_writes(options.every)
            trial.fill_disk(disk, options.full)
            tallies[name] = trial.tally
            print(_row(name, trial.tally), flush=True)
            shutil.rmtree(root / name)
    summary = {
        "seed": options.seed, "full_disk": disk.name, "python": platform.python_version(),
        "system": platform.platform(), "seconds": round(time.monotonic() - begun),
        "findings": sum(len(tally.findings) for tally in tallies.values()),
        "commands": {name: vars(tally) for name, tally in tallies.items()},
    }  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(
        f"seed {options.seed}, {summary['seconds']} s, {summary['findings']} findings; full disk: {disk.name}"
    )
    return 1 if summary["findings"] else 0


_HEADER = (
    "| command | seconds | atomic writes | kills at random | kills around writes | full disks | findings |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)


def _row(name: str, tally: Tally) -> str:
    return (
        f"| {name} | {tally.seconds:.1f} | {tally.writes} | {tally.random} | {tally.at_writes} "
        f"| {tally.full} | {len(tally.findings)} |"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz.kills", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=25, help="kills of each training at random moments")
    parser.add_argument(
        "--output-kills", type=int, default=5, help="the same for commands that write results"
    )
    parser.add_argument("--every", type=int, default=1, help="kill around every N-th write; 0: around none")
    parser.add_argument("--full", type=int, default=10, help="full disks of each command")
    parser.add_argument("--seed", type=int, default=0)
    names = [*TRAININGS, *OUTPUTS]
    parser.add_argument("--only", nargs="*", default=[], choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
