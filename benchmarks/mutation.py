"""Mutation testing of motion/ and of sampling, times and transforms in video/: do the tests notice errors?

mutmut changes one expression of one function at a time, and runs the tests that call the function. A mutant
that no test notices survived: a test is missing, or the change has no effect. This script draws mutants of
each file, has mutmut run them, and prints a table and the changes that survived. mutmut's settings are in
pyproject.toml, its results in the folder mutants/ (`mutmut browse` shows them).

    python benchmarks/mutation.py --each 40          # 40 mutants of each file
    python benchmarks/mutation.py --each 0 motion/warp.py video/sampling.py    # all mutants of two files
    python benchmarks/mutation.py --report           # only print what earlier runs found
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("src/hidden_two_stream")
FIRST = "hidden_two_stream.video.sampling.x_clip_span__mutmut_1"
"""A mutant that every run includes: mutmut writes the list of all mutants in a run only."""

KILLED, SURVIVED, LATE = "noticed", "survived", "over the time limit"
# Exit codes of pytest in mutmut's files; 33 to 36 and 255 are mutmut's own.
MEANINGS = {
    0: SURVIVED,
    1: KILLED,
    3: KILLED,
    33: "no test",
    24: LATE,
    36: LATE,
    152: LATE,
    255: LATE,
    -24: LATE,
}


def main() -> None:
    """Run mutants, unless asked only for a report, and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", nargs="*", help="files under src/hidden_two_stream; default: all that are mutated"
    )
    parser.add_argument("--each", type=int, default=40, help="mutants of each file; 0: all (default: 40)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="mutants that run at a time (default: 2)")
    parser.add_argument("--report", action="store_true", help="run nothing; print the results in mutants/")
    given = parser.parse_args()
    if not given.report:
        if not (ROOT / "mutants").is_dir():
            mutmut("run", "--max-children", str(given.workers), FIRST)
        names = [name for file, found in results().items() if wanted(file, given.files)
                 for name in drawn(file, found, given.each, given.seed)]  # fmt: skip
        mutmut("run", "--max-children", str(given.workers), *names)
    report(given.files)


def mutmut(*arguments: str) -> str:
    """Run mutmut in the repository and return what it prints."""
    if arguments[0] == "run":
        print(f"mutmut runs {len(arguments) - 3} mutants", file=sys.stderr, flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.setdefault("HTS_TEST_DATA", str(ROOT.parent / "shared" / "data"))
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
    )
    if done.returncode:
        sys.exit(f"mutmut stopped with code {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def results() -> dict[str, dict[str, int | None]]:
    """File → mutant → exit code of its tests; None: not run."""
    folder = ROOT / "mutants" / PACKAGE
    found = {}
    for path in sorted(folder.rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            found[path.relative_to(folder).as_posix().removesuffix(".meta")] = codes
    return found


def wanted(file: str, files: list[str]) -> bool:
    """Return whether a file is one of the named ones, or in a named folder."""
    return not files or any(file == name or file.startswith(f"{name.rstrip('/')}/") for name in files)


def drawn(file: str, codes: dict[str, int | None], each: int, seed: int) -> list[str]:
    """Return the mutants of a file that this run tries."""
    names = sorted(codes)
    if not each or len(names) <= each:
        return names
    return random.Random(f"{seed} {file}").sample(names, each)


def report(files: list[str]) -> None:
    """Print a table, a row per file, and the change of each mutant that was not noticed."""
    print("| file | mutants | run | noticed | over the time limit | survived | no test |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    total: Counter[str] = Counter()
    left = []
    for file, codes in results().items():
        if not wanted(file, files):
            continue
        kinds = Counter(MEANINGS.get(code, f"code {code}") for code in codes.values() if code is not None)
        total.update(kinds)
        total["all"] += len(codes)
        row(f"`{file}`", len(codes), kinds)
        left += [
            name
            for name, code in codes.items()
            if code is not None and MEANINGS.get(code) not in (KILLED, LATE)
        ]
    row("together", total.pop("all"), total)
    for name in left:
        change = mutmut("show", name)
        print("\n" + "\n".join(line for line in change.splitlines() if re.match(r"#|@@|[-+](?![-+])", line)))


def row(name: str, number: int, kinds: Counter[str]) -> None:
    """Print a row of the table."""
    known = [kinds.pop(kind, 0) for kind in (KILLED, LATE, SURVIVED, "no test")]
    run = sum(known) + kinds.total()
    rest = "".join(f" {count} {kind}" for kind, count in kinds.items())
    print(f"| {name}{rest} | {number} | {run} | " + " | ".join(map(str, known)) + " |")


if __name__ == "__main__":
    main()
