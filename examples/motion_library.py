"""Draw a contact sheet of the motion library: each row shows frames of one clip.

    .venv/bin/python examples/motion_library.py --out sheet.png [--classes walk run ...] [--seed 0]

Without --classes it draws all of them. The name of each row is printed, from the top; with several columns,
column by column.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.synthetic.motion_library import LIBRARY_CLASSES, generate_library_clip
from hidden_two_stream.types import Image

GAP = 4
"""White pixels between rows and between columns."""


def sheet(labels: Sequence[int], seed: int, columns: int, frames: int, size: int) -> Image:
    """The sheet, (height, width, 3) uint8: a row of `frames` frames per clip, in `columns` columns."""
    rows = [strip(label, seed, frames, size) for label in labels]
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % columns)
    length = len(rows) // columns
    parts = [np.concatenate(rows[start : start + length]) for start in range(0, len(rows), length)]
    return np.concatenate(parts, axis=1)


def strip(label: int, seed: int, frames: int, size: int) -> Image:
    """Evenly spaced frames of one clip, side by side, with a white border below and on the right."""
    clip = generate_library_clip(label, seed, size=size)
    chosen = np.linspace(0, len(clip) - 1, frames).round().astype(int)
    image = np.concatenate(list(clip[chosen]), axis=1)
    return np.pad(image, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def save(image: Image, path: Path) -> None:
    """Write a PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as part, av.open(str(part), "w", format="image2") as file:
        stream = file.add_stream("png")
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "rgb24"
        stream.time_base = Fraction(1, 1)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def chosen_labels(names: Sequence[str]) -> list[int]:
    """The labels of these classes.

    Raises:
        UsageError: a name is unknown.
    """
    for name in names:
        if name not in LIBRARY_CLASSES:
            raise UsageError(f"got the class {name!r}; expected one of {', '.join(LIBRARY_CLASSES)}")
    return [LIBRARY_CLASSES.index(name) for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, draw the sheet, and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("motion-library.png"), help="(default: %(default)s)")
    parser.add_argument(
        "--classes", nargs="+", default=list(LIBRARY_CLASSES), metavar="NAME", help="(default: all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="each seed gives other clips (default: 0)")
    parser.add_argument("--columns", type=int, choices=range(1, 9), default=2, help="of clips (default: 2)")
    parser.add_argument("--frames", type=int, choices=range(1, 17), default=8, help="per clip (default: 8)")
    parser.add_argument("--size", type=int, default=112, help="side of a frame, pixels (default: 112)")
    given = parser.parse_args(arguments)
    try:
        labels = chosen_labels(given.classes)
        save(sheet(labels, given.seed, given.columns, given.frames, given.size), given.out)
    except HiddenTwoStreamError as error:
        print(f"motion_library: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(LIBRARY_CLASSES[label] for label in labels))
    return 0


if __name__ == "__main__":
    sys.exit(main())
