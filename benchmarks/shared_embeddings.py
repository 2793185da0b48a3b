"""Prints what recipe `quick` takes with and without embeddings that its fits share, as a ratio in one run.

    python benchmarks/shared_embeddings.py [--data DATA] [--hold-out COLUMN=VALUE] [--repeats 3]

Both ways train the same run, in turns, and must give the same weights and the same calibration bit for bit.
Without --data, clips are generated. Times are CPU time of this process; the load average stands beside them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import hidden_two_stream as hts
from hidden_two_stream.environment import machine
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.embeddings import EmbeddingStore
from hidden_two_stream.training.resources import Resources

WAYS = {"shared": EmbeddingStore.of, "each fit its own": lambda _store, _fingerprint: {}}
"""What the store returns: what it has, or nothing."""


def main() -> None:
    """Train both ways and print their times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", help="videos, as for hts train (default: generated ones)")
    parser.add_argument("--hold-out", help="who or what is tested, as for hts train")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or write_dataset(
            Path(folder) / "data", train_per_class=8, test_per_class=2, num_frames=40, size=128
        )
        best = dict.fromkeys(WAYS, float("inf"))
        for number in range(arguments.repeats):
            results = {}
            for way in WAYS:
                out = Path(folder) / f"{number}-{way}"
                seconds, results[way] = trained(way, data, out, arguments.hold_out)
                best[way] = min(best[way], seconds)
                print(f"  {way}: {seconds:.1f} s (load average {os.getloadavg()[0]:.1f})", flush=True)
            require_equal(*results.values())
    shared, own = (best[way] for way in WAYS)
    print(f"best: {own:.1f} → {shared:.1f} s of CPU, {shared / own:.2f} ×; same weights and calibration")


def trained(way: str, data: object, out: Path, hold_out: str | None) -> tuple[float, hts.TrainingResult]:
    """Train one way; return its seconds of CPU, and the result."""
    EmbeddingStore.of = WAYS[way]  # type: ignore[method-assign, assignment]
    begin = time.process_time()
    result = hts.train(
        str(data), out=out, recipe="quick", held_out=hold_out, resources=Resources(workers=0, quiet=True)
    )
    return time.process_time() - begin, result


def require_equal(one: Any, other: Any) -> None:
    """Check that two runs have the same weights and the same calibration."""
    weights, same = (found.recognizer.model.state_dict() for found in (one, other))
    assert weights.keys() == same.keys()
    assert all(torch.equal(values, same[name]) for name, values in weights.items())
    assert one.recognizer.calibration == other.recognizer.calibration


if __name__ == "__main__":
    main()
