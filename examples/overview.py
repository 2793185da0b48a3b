"""Draw docs/overview.svg from a finished demo: frames in, learned motion, and what each stream says.

make demo && .venv/bin/python examples/overview.py runs/demo docs/overview.svg
"""

from __future__ import annotations

import base64
import sys
from html import escape
from pathlib import Path

import numpy as np
import torch

import hidden_two_stream as hts
from hidden_two_stream.files import write_text
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.reports.images import png_bytes
from hidden_two_stream.synthetic.dataset import load_ground_truth
from hidden_two_stream.video.reader import read_video

CLASSES = ("right", "up", "grow", "turn_clockwise")
CLIP, PAIR, CELL, GAP, LEFT, TOP = 11, 5, 104, 8, 8, 34


def main(run: Path, out: Path) -> None:
    """Write the picture of `run`, a folder made by `hts demo`, to `out`."""
    recognizer = hts.load(run)
    parts = [_titles()]
    for row, label in enumerate(CLASSES):
        video = run / "data" / "videos" / label / "test_0001.mp4"
        clip, _ = read_video(video, CLIP)
        flow = recognizer.flow(clip)[PAIR]
        flow = resize_flow(torch.from_numpy(flow), *clip.shape[1:3]).numpy()
        known = load_ground_truth(video)
        assert known is not None, "the demo writes ground truth beside each video"
        truth = known[0][PAIR]
        limit = float(np.linalg.norm(truth, axis=0).max())
        pictures = [clip[0], clip[PAIR], clip[-1], flow_to_color(flow, limit), flow_to_color(truth, limit)]
        y = TOP + row * (CELL + GAP)
        for column, picture in enumerate(pictures):
            parts.append(_image(picture, LEFT + column * (CELL + GAP) + (column > 2) * 12, y))
        prediction = recognizer.predict(video)
        for line, (name, scores) in enumerate(prediction.streams.items()):
            best = int(scores.argmax())
            parts.append(
                _verdict(name, prediction.classes[best], float(scores[best]), label, y + 38 + 36 * line)
            )
    height = TOP + len(CLASSES) * (CELL + GAP)
    style = "font-family='system-ui,sans-serif' font-size='13' fill='#24292f'"
    size = f"width='880' height='{height}' viewBox='0 0 880 {height}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} {style}>"
    write_text(
        out,
        "\n".join([head, f"<rect width='880' height='{height}' rx='8' fill='#ffffff'/>", *parts, "</svg>\n"]),
    )


def _titles() -> str:
    texts = ((LEFT, "raw frames"), (LEFT + 3 * (CELL + GAP) + 12, "learned motion"))
    texts += (
        (LEFT + 4 * (CELL + GAP) + 12, "true motion"),
        (LEFT + 5 * (CELL + GAP) + 24, "what each stream says"),
    )
    return "".join(
        f"<text x='{x}' y='22' font-weight='600' font-size='12'>{text}</text>" for x, text in texts
    )


def _image(pixels: np.ndarray, x: int, y: int) -> str:  # type: ignore[type-arg]
    data = base64.b64encode(png_bytes(pixels)).decode()
    where = f"x='{x}' y='{y}' width='{CELL}' height='{CELL}' style='image-rendering:pixelated'"
    return f"<image {where} href='data:image/png;base64,{data}'/>"


def _verdict(stream: str, label: str, score: float, truth: str, y: int) -> str:
    x, colour = LEFT + 5 * (CELL + GAP) + 24, "#1a7f37" if label == truth else "#cf222e"
    mark = "✓" if label == truth else "✗"
    return (
        f"<text x='{x}' y='{y}'>{escape(stream)}</text>"
        f"<text x='{x + 66}' y='{y}' fill='{colour}'>{mark} {escape(label)} {score:.2f}</text>"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: overview.py RUN OUT.svg, with RUN made by `hts demo`")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
