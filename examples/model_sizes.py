"""Print parameters and multiply-accumulates of all networks: MotionNets for 11 frames of 224×224, backbones.

.venv/bin/python examples/model_sizes.py
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.motion.family import MOTION_NETWORKS, build_motion
from hidden_two_stream.recognition.backbones import BACKBONES, build_backbone


def main() -> None:
    """Print one line per network."""
    for name in MOTION_NETWORKS:
        with torch.device("meta"):
            network = build_motion(name)
            frames = torch.empty(1, 11, 3, 224, 224)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shapes = [tuple(flow.shape[1:]) for flow in network(frames)]
        parameters = sum(parameter.numel() for parameter in network.parameters())
        operations = counter.get_total_flops() / 2e9
        print(f"{name:<5} {parameters / 1e6:6.2f} M parameters {operations:6.2f} GMAC  flow {shapes}")

    for name in BACKBONES:
        with torch.device("meta"):
            backbone = build_backbone(name, in_channels=20, num_classes=101, dropout=0.5)
        parameters = sum(parameter.numel() for parameter in backbone.parameters())
        print(f"{name:<8} {parameters / 1e6:6.2f} M parameters for 20 channels and 101 classes")


if __name__ == "__main__":
    main()
