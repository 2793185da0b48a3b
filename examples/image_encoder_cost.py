"""What an image encoder costs as the backbone of the spatial stream (docs/usage.md has the table).

    python examples/image_encoder_cost.py            # 1 thread; needs the extra hf, and no network

The encoders have the architecture of published ones and random weights, which cost the same. A training step
is one of stage spatial: 8 clips of one frame of 64×64 px, forward, backward and AdamW. A prediction is one
clip. Each number is the median of three runs after a warm-up run, in processor time of one thread, so other
work of the machine counts little.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.config.stages import STAGES
from hidden_two_stream.environment import machine
from hidden_two_stream.recognition.image_encoder import EncoderConfig, plain_config
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.optimizer import build_optimizer
from hidden_two_stream.training.stages import select_trained

SMALL = {"hidden_size": 384, "num_attention_heads": 6}
RESNET18 = {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}
ENCODERS = {
    "microsoft/resnet-18": ("resnet", RESNET18),
    "microsoft/resnet-50": ("resnet", {}),
    "facebook/convnext-tiny-224": ("convnext", {}),
    "WinKawaks/vit-small-patch16-224": ("vit", SMALL | {"intermediate_size": 1536}),
    "facebook/dinov2-small": ("dinov2", SMALL | {"image_size": 518}),
}
BATCH, CLASSES, REPEATS = 8, 8, 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def seconds(run: Callable[[], object]) -> float:
    """Return the median processor time of a call, s."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)


def step_seconds(model: HiddenTwoStream, rate: float) -> float:
    """Return the processor time of a training step of stage spatial, s."""
    select_trained(model, STAGES["spatial"], train_encoder=rate > 0)
    optimizer = build_optimizer(model, StageConfig(encoder_learning_rate=rate))
    frames, labels = torch.randn(BATCH, 1, 3, 64, 64), torch.arange(BATCH) % CLASSES

    def step() -> None:
        cross_entropy(model.spatial(frames), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return seconds(step)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(machine())
    print("encoder | M parameters | MB in a checkpoint | step frozen, s | step fine-tuned, s | predict, ms")
    for name, (family, fields) in {"small": ("", {}), **ENCODERS}.items():
        encoder = None
        if family:
            config = plain_config(family, fields)
            encoder = EncoderConfig(family, config, 224, 224, 1 / 255, MEAN, STD, "bicubic")
        model = HiddenTwoStream("nano", "small", CLASSES, 2, streams=("spatial",), encoder=encoder)
        number = sum(parameter.numel() for parameter in model.parameters())
        frozen = f"{step_seconds(model, 0.0):.2f}" if family else "–"
        tuned = f"{step_seconds(model, 1e-5):.2f}"
        model.eval()
        with torch.no_grad():
            predict = seconds(lambda: model.spatial(torch.randn(1, 1, 3, 64, 64)))  # noqa: B023
        sizes = f"{number / 1e6:.1f} | {4 * number / 1e6:.0f}"
        print(f"{name} | {sizes} | {frozen} | {tuned} | {predict * 1e3:.0f}", flush=True)


if __name__ == "__main__":
    main()
