"""What a new frame costs a temporal stream of the form "sequence", relative to a whole window.

A live recognizer keeps the vectors of the last pairs. A new frame then needs MotionNet and the encoder for
one pair, and the convolutions over time for the window. Both ways are timed in turn, and their scores
compared.

    python examples/sequence_cost.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from hidden_two_stream.environment import machine
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.weights.motion import load_motion_weights


def milliseconds(run: Callable[[], Tensor]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


@torch.inference_mode()
def main() -> None:
    """Print one row per number of frames and size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| frames | px | whole window, ms | new frame, ms | ratio | largest difference of the logits |")
    print("|---:|---:|---:|---:|---:|---:|")
    for num_frames in (11, 16):
        for size in (64, 112, 128):
            torch.manual_seed(0)
            model = HiddenTwoStream(
                "nano", "small", 10, num_frames, temporal="sequence", streams=("temporal",)
            )
            load_motion_weights(model.motion_net, "nano")
            torch.nn.init.normal_(model.eval().temporal_stream.fc.weight)
            frames = torch.rand(1, num_frames, 3, size, size) - 0.5
            kept = model.pair_vectors(frames[:, :-1])

            def whole(model: HiddenTwoStream = model, frames: Tensor = frames) -> Tensor:
                return model.temporal(frames)

            def new(model: HiddenTwoStream = model, frames: Tensor = frames, kept: Tensor = kept) -> Tensor:
                vectors = torch.cat((kept, model.pair_vectors(frames[:, -2:])), dim=1)
                return model.step_logits(vectors).mean(dim=1)

            difference = float((whole() - new()).abs().max())
            times = [(milliseconds(whole), milliseconds(new)) for _ in range(arguments.repeats)]
            window, frame = (statistics.median(values) for values in zip(*times, strict=True))
            print(
                f"| {num_frames} | {size} | {window:.2f} | {frame:.2f} | {frame / window:.2f} "
                f"| {difference:.1e} |"
            )
    print(f"\nMedians of {arguments.repeats}; decoding not included. Machine: {machine()}.")


if __name__ == "__main__":
    main()
