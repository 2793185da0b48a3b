"""The motion embedding that ships: its size, its header, and what it can tell apart."""

from __future__ import annotations

import numpy as np
import torch

from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.motion_library import LIBRARY_CLASSES, generate_library_clip
from hidden_two_stream.video.transforms import normalize, resize, to_tensor
from hidden_two_stream.weights.motion import load_motion_weights, motion_weights_info
from hidden_two_stream.weights.temporal import (
    find_temporal_weights,
    load_temporal_weights,
    shipped_temporal_weights,
)


def test_size_and_header() -> None:
    assert shipped_temporal_weights() == ("nano",)
    info = find_temporal_weights("nano", "sequence")
    assert info.file.stat().st_size < 3_000_000
    assert info.classes == LIBRARY_CLASSES
    assert len(info.classes) >= 60
    assert {"script", "data", "steps", "seed", "license"} <= info.provenance.keys()
    # The stream has learned behind the MotionNet that ships.
    assert info.provenance["motion_weights"] == motion_weights_info("nano").to_dict()["sha256"]


def test_recipe_nano_begins_with_it_unless_it_is_told_otherwise() -> None:
    assert load_recipe("nano").temporal_init == "shipped"
    assert load_recipe("quick").temporal_init == "shipped"


@torch.inference_mode()
def test_it_tells_new_clips_of_every_motion_apart() -> None:
    """One clip of each class, of a seed that the training has not drawn; chance is 1 %."""
    model = HiddenTwoStream(
        "nano", "small", len(LIBRARY_CLASSES), 16, temporal="sequence", streams=("temporal",)
    ).eval()
    load_motion_weights(model.motion_net, "nano")
    load_temporal_weights(model.temporal_stream, find_temporal_weights("nano", "sequence"), last_layer=True)
    found = []
    for label in range(len(LIBRARY_CLASSES)):
        clip = resize(to_tensor(generate_library_clip(label, 7_000_000)), 128, 128)
        found.append(int(model.temporal(normalize(clip)[None]).argmax()))
    right = np.mean(np.array(found) == np.arange(len(LIBRARY_CLASSES)))
    assert right > 0.7  # 84 % of 606 clips in docs/few-clips.md
