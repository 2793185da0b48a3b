"""Prints the time of DeepEthogram's flow network, the TinyMotionNet of its preset deg_f, beside our tiny.

    pip download --no-deps deepethogram==0.5.0 -d wheel && python -m zipfile -e wheel/*.whl unpacked
    python benchmarks/deg_f.py unpacked [--rounds 15] [--size 224]

Only that network is imported, so nothing else of DeepEthogram needs to be installed. Both see the same eleven
frames, with one thread, and take turns.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
import types
from pathlib import Path

import torch

from hidden_two_stream.environment import machine
from hidden_two_stream.experiments.speed_inputs import scene
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.video.transforms import normalize, to_tensor

FRAMES = 11
PACKAGES = ("deepethogram", "deepethogram.flow_generator", "deepethogram.flow_generator.models")


def main() -> None:
    """Time both networks and print the medians of the CPU time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("unpacked", type=Path, help="folder with DeepEthogram's unpacked wheel")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames = normalize(to_tensor(scene(FRAMES, arguments.size))[None].contiguous()).contiguous()
    works = {
        "deg_f": (flow_network(arguments.unpacked), frames.flatten(1, 2)),
        "tiny": (build_motion("tiny", FRAMES).eval(), frames),
    }
    spent: dict[str, list[float]] = {name: [] for name in works}
    with torch.inference_mode():
        for _ in range(arguments.rounds):
            for name, (network, images) in works.items():
                begin = time.process_time()
                network(images)
                spent[name].append(time.process_time() - begin)
    medians = {name: statistics.median(times) * 1e3 for name, times in spent.items()}
    print(f"{machine()}, one thread, {FRAMES} frames of {arguments.size}×{arguments.size}")
    for name, (network, _) in works.items():
        parameters = sum(weights.numel() for weights in network.parameters())
        print(f"{name}: {medians[name]:.1f} ms, {parameters:,} parameters")
    print(f"tiny ÷ deg_f: {medians['tiny'] / medians['deg_f']:.2f}")


def flow_network(unpacked: Path) -> torch.nn.Module:
    """Return DeepEthogram's TinyMotionNet with random weights, without the rest of its package."""
    for name in PACKAGES:  # packages without their own __init__, which imports the whole program
        package = types.ModuleType(name)
        package.__path__ = [str(unpacked / name.replace(".", "/"))]
        sys.modules[name] = package
    module = importlib.import_module(f"{PACKAGES[-1]}.TinyMotionNet")
    network: torch.nn.Module = module.TinyMotionNet(num_images=FRAMES)
    return network.eval()


if __name__ == "__main__":
    main()
