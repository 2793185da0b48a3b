"""Measures what recognition costs per frame, clip and file on this machine.

    python benchmarks/scale_costs.py --out docs/scale.json

All times are CPU time of one thread, the least of several turns. `benchmarks/scale.py` turns them into the
cost of large collections. Measured are: decoding H.264 at five sizes; converting and resizing a frame that a
clip uses; the networks of one clip; TV-L1 and DIS fast for one pair of frames; and the bytes of a pair's flow
as the two-stage method stores it, two gray JPEG images.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.environment import machine, versions
from hidden_two_stream.experiments.speed_inputs import clips_of, recognizer_of, scene, without_gradients
from hidden_two_stream.files import write_json
from hidden_two_stream.motion.estimators.classical import estimator
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.writer import write_video

SIZES = ((120, 160), (240, 320), (480, 640), (720, 1280), (1080, 1920))
SECONDS, FPS = 4, 25
RECIPES = {"nano-branched": 128, "nano": 128, "tiny": 224, "paper": 224}
FLOW_SIZE = (240, 320)
FLOW_LIMIT = 20.0  # px; flow of -20 … 20 becomes gray 0 … 255, as is usual for stored flow
TURNS = 5


def main() -> None:
    """Measure, print and write the costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        costs: dict[str, Any] = {"machine": machine(), "versions": versions()}
        costs |= decoding(Path(folder))
    costs["networks_ms"] = networks()
    costs["flow"] = flow()
    write_json(arguments.out, costs)
    print(arguments.out.read_text(encoding="utf-8"))


def decoding(folder: Path) -> dict[str, Any]:
    """Return the costs of a file, a decoded frame and a frame that is used, by the size of a frame."""
    rows = []
    for height, width in SIZES:
        path = folder / f"{height}.mp4"
        frames = film(height, width)
        write_video(path, itertools.islice(itertools.cycle(frames), SECONDS * FPS), FPS, crf=23)
        first, image = film(height, width)[:1], frames[:1]
        write_video(folder / "one.mp4", first, FPS, crf=23)
        open_ms = least(partial(decoded, folder / "one.mp4"))
        rows.append(
            {
                "pixels": height * width,
                "file_ms": open_ms,
                "frame_ms": (least(partial(decoded, path)) - open_ms) / (SECONDS * FPS - 1),
                "used_frame_ms": least(partial(resized, image, 128)) + converted(path),
            }
        )
    return {"decoding": rows}


def networks() -> dict[str, float]:
    """Return the time of both streams for one clip, ms, of each recipe."""
    found = {}
    for name, size in RECIPES.items():
        recognizer = recognizer_of(name, size)
        clips = clips_of(1, recognizer.info.recipe.model.num_frames, size)
        found[name] = least(without_gradients(partial(both_streams, recognizer.model), clips))
    return found


def both_streams(model: Any, clips: torch.Tensor) -> None:
    """Compute the logits of both streams."""
    frames = model.preprocess(clips)
    model.temporal(frames)
    model.spatial(frames)


def flow() -> dict[str, float]:
    """Return the times of one pair of frames, ms, and the bytes of its flow as two JPEG images."""
    frames = scene(3, *FLOW_SIZE)
    found = {f"{name}_ms": least(partial(estimator(name), frames)) / 2 for name in ("tvl1", "dis-fast")}
    field = np.asarray(estimator("tvl1")(frames))[0]
    return found | {"pixels": float(np.prod(FLOW_SIZE)), "pair_bytes": float(sum(map(jpeg_bytes, field)))}


def jpeg_bytes(component: np.ndarray) -> int:
    """Return the size of one component of flow as a gray JPEG image."""
    gray = ((component.clip(-FLOW_LIMIT, FLOW_LIMIT) + FLOW_LIMIT) * (255 / (2 * FLOW_LIMIT))).round()
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width, encoder.pix_fmt = *gray.shape, "yuvj420p"
    encoder.time_base = Fraction(1, FPS)
    image = av.VideoFrame.from_ndarray(gray.astype(np.uint8), "gray").reformat(format="yuvj420p")
    return sum(packet.size for packet in itertools.chain(encoder.encode(image), encoder.encode(None)))


def film(height: int, width: int) -> RawClip:
    """Return 25 frames of a generated scene."""
    return scene(FPS, height, width)


def decoded(path: Path) -> None:
    """Decode a file without converting its frames."""
    with VideoReader(path) as reader:
        for _ in reader.scan():
            pass


def converted(path: Path) -> float:
    """Return the time in which one decoded frame becomes RGB, ms."""
    with VideoReader(path) as reader:
        frames = list(itertools.islice(reader.scan(), 10))
    begin = time.process_time()
    for frame in frames:
        _ = frame.image
    return (time.process_time() - begin) * 1e3 / len(frames)


def least(call: Callable[[], object]) -> float:
    """Return the least CPU time of a call, ms."""
    times = []
    for _ in range(TURNS):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times) * 1e3


if __name__ == "__main__":
    main()
