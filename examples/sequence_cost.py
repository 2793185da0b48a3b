"""What a new frame costs a temporal stream of the form "sequence", relative to a whole window.

A live recognizer keeps the vectors of the last pairs. A new frame then needs MotionNet and the encoder for
one pair, and the convolutions over time for the window. Both ways are timed in turn, and their scores
compared. Work is what PyTorch counts: the multiplications and additions of convolutions and matrix products.

A pair takes hundreds of small operations, and Python starts each of them. The last columns show what remains
when TorchScript starts them instead.

    python examples/sequence_cost.py
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.environment import machine
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.weights.motion import load_motion_weights


def milliseconds(run: Callable[[], Tensor]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def work(run: Callable[[], Tensor]) -> int:
    """Return the counted operations of one call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


class Pair(nn.Module):
    """The vector of one pair, as a module that can be traced.

    Args:
        model: a model with a temporal stream of the form "sequence".
    """

    def __init__(self, model: HiddenTwoStream) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        """Map `frames` (1, 2, 3, H, W) to (1, 1, D)."""
        return self.model.pair_vectors(frames)


def row(num_frames: int, size: int, repeats: int) -> str:
    """Return the row of one number of frames and size."""
    torch.manual_seed(0)
    model = HiddenTwoStream("nano", "small", 10, num_frames, temporal="sequence", streams=("temporal",))
    load_motion_weights(model.motion_net, "nano")
    torch.nn.init.normal_(model.eval().requires_grad_(False).temporal_stream.fc.weight)
    frames = torch.rand(1, num_frames, 3, size, size) - 0.5
    kept = model.pair_vectors(frames[:, :-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trace holds for this size alone
        traced = torch.jit.trace(Pair(model), (frames[:, -2:],), check_trace=False)

    def whole() -> Tensor:
        return model.temporal(frames)

    def new(pair: Callable[[Tensor], Tensor] = model.pair_vectors) -> Tensor:
        return model.step_logits(torch.cat((kept, pair(frames[:, -2:])), dim=1)).mean(dim=1)

    def new_traced() -> Tensor:
        return new(traced)

    for _ in range(3):
        difference = max(float((whole() - one()).abs().max()) for one in (new, new_traced))
    times = [(milliseconds(whole), milliseconds(new), milliseconds(new_traced)) for _ in range(repeats)]
    window, frame, lean = (statistics.median(values) for values in zip(*times, strict=True))
    return (
        f"| {num_frames} | {size} | {work(new) / work(whole):.3f} | {window:.2f} | {frame:.2f} "
        f"| {frame / window:.2f} | {lean:.2f} | {lean / window:.2f} | {difference:.1e} |"
    )


@torch.inference_mode()
def main() -> None:
    """Print one row per number of frames and size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        "| frames | px | work, ratio | whole window, ms | new frame, ms | ratio | traced, ms | ratio "
        "| largest difference of the logits |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for num_frames in (11, 16):
        for size in (64, 112, 128, 224):
            print(row(num_frames, size, arguments.repeats), flush=True)
    print(f"\nMedians of {arguments.repeats}; decoding not included. Machine: {machine()}.")


if __name__ == "__main__":
    main()
