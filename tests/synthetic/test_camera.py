"""The camera: real compression in memory."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.synthetic.camera import compress


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("lead", [0, 3])
@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_compressed_frames_keep_their_order_and_color(codec: str, lead: int, size: tuple[int, int]) -> None:
    colors = np.random.default_rng(0).integers(40, 200, (7, 1, 1, 3))
    frames = np.broadcast_to(colors, (7, *size, 3)).astype(np.uint8)
    back = compress(frames, codec, {"crf": "18"} if codec == "libx264" else {"qmin": "2", "qmax": "2"}, lead)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).max() < 8
