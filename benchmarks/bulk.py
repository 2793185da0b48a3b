"""Prints what prediction of many files costs on this machine, from the ledgers of real commands.

    python benchmarks/bulk.py [--files 200] [--repeats 3] [rates list ray]

- rates: files per second of `hts predict --out` with one and two workers in steady state, that is, from the
  second file of each worker to the last file. The ways take turns;
- list: seconds until the first file of a list of 100,000 is labeled, and the memory of the parent (Linux);
- ray: the same files with Ray Data on a cluster of its own, start and end included.

The clips are generated, 60 frames of 320×240; the run is that of the recipe quick at 128 px, untrained. All
times are wall-clock, so the load average stands beside them: they count on an idle machine only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from predict import COMMAND, prepared  # type: ignore[import-not-found]

from hidden_two_stream.bulk.ledger import ledger_path
from hidden_two_stream.environment import machine

WORKERS = (1, 2)


def main() -> None:
    """Measure what the arguments name and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        place = prepared(Path(folder), arguments.files)
        for part in arguments.parts or PARTS:
            print(f"\n{part} (load average {os.getloadavg()[0]:.1f})", flush=True)
            PARTS[part](place, arguments.repeats)


def labeled(place: Path, *options: str) -> tuple[float, list[float]]:
    """Run a command over all files; return its seconds, and when each line came into the ledger, s."""
    out = place / "results.jsonl"
    for path in (out, ledger_path(out)):
        path.unlink(missing_ok=True)
    command = [*COMMAND, "predict", str(place / "run"), "--out", str(out), "--quiet", *options]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    times, size = [], 0
    while process.poll() is None:
        found = ledger_path(out).stat().st_size if ledger_path(out).exists() else 0
        if found > size:
            number = ledger_path(out).read_bytes().count(b"\n") - 1
            times += [time.monotonic() - begin] * (number - len(times))
            size = found
        time.sleep(0.02)
    assert process.returncode == 0
    return time.monotonic() - begin, times


def steady(times: list[float], workers: int) -> float:
    """Return files per second, without the start: from the second file of each worker to the last file."""
    first = 2 * workers - 1
    return (len(times) - 1 - first) / (times[-1] - times[first])


def rates(place: Path, repeats: int) -> None:
    """Time one and two workers, in turns; the best of each."""
    best = dict.fromkeys(WORKERS, 0.0)
    whole = dict.fromkeys(WORKERS, float("inf"))
    for _ in range(repeats):
        for workers in WORKERS:
            seconds, times = labeled(place, str(place / "many"), "--workers", str(workers))
            best[workers] = max(best[workers], steady(times, workers))
            whole[workers] = min(whole[workers], seconds)
            print(
                f"  {workers} workers: {steady(times, workers):.1f} files/s, first after {times[0]:.1f} s, "
                f"whole command {seconds:.1f} s (load average {os.getloadavg()[0]:.1f})",
                flush=True,
            )
    one, two = WORKERS
    print(
        f"  best: {best[one]:.1f} → {best[two]:.1f} files/s, {best[two] / best[one]:.2f} ×; whole command "
        f"{whole[one]:.1f} → {whole[two]:.1f} s"
    )


def long_list(place: Path, repeats: int) -> None:
    """Time the start with a list of 100,000 files, nearly all of which are missing."""
    first = sorted((place / "many").iterdir())[0]
    (place / "list.txt").write_text(f"{first}\n" + "".join(f"{n:06}.mp4\n" for n in range(99_999)))
    code = (
        "import sys, time\nbegin = time.monotonic()\n"
        "import hidden_two_stream as hts\nfrom hidden_two_stream.bulk.sources import read_list\n"
        "from pathlib import Path\n"
        "class First(Exception): pass\n"
        "def stop(*_): raise First\n"
        "try: hts.predict_table(sys.argv[1], read_list(Path(sys.argv[2])), sys.argv[3], on_outcome=stop)\n"
        "except First: pass\n"
        "seconds = time.monotonic() - begin\n"
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(seconds, int(peak) >> 10)\n"
    )
    found = []
    for number in range(repeats):
        out = str(place / f"long{number}.jsonl")
        command = [sys.executable, "-c", code, str(place / "run"), str(place / "list.txt"), out]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(tuple(map(float, done.stdout.split())))
    seconds, memory = min(found)
    few, _ = labeled(place, str(first))
    print(
        f"  first of 100,000 files labeled after {seconds:.1f} s, parent {memory:.0f} MiB; "
        f"a command with this file alone takes {few:.1f} s"
    )


def ray(place: Path, repeats: int) -> None:
    """Time Ray Data against the pool, with two workers each."""
    for _ in range(repeats):
        for options in ((), ("--engine", "ray")):
            seconds, times = labeled(place, str(place / "many"), "--workers", "2", *options)
            print(
                f"  {options[-1] if options else 'pool'}: {seconds:.1f} s for {len(times)} files, first "
                f"after {times[0]:.1f} s (load average {os.getloadavg()[0]:.1f})",
                flush=True,
            )


PARTS: dict[str, Callable[[Path, int], None]] = {"rates": rates, "list": long_list, "ray": ray}

if __name__ == "__main__":
    main()
