"""Prints how well content tells videos apart: encodings of one video against different videos.

For every folder: the largest difference of outlines between a video and its other encodings (H.264 at CRF 18
and 28, JPEG images at quality 50), and the smallest difference between two different videos with as many
frames. See "A video is known by its frames" in docs/decisions.md.

    python benchmarks/duplicates.py FOLDER...
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from hidden_two_stream.data.clip_cache import decode_video
from hidden_two_stream.data.content import Content
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import HiddenTwoStreamError
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.finding import scan_videos
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

CRFS = (18, 28)
JPEG_QUALITY = 50


def content_of(source: object) -> Content:
    """Return the content of a file or an array."""
    found = decode_video(source, 64, 0, identify=True).content  # type: ignore[arg-type]
    assert found is not None
    return found


def difference(one: Content, other: Content) -> tuple[float, float]:
    """Return the largest and the mean difference of two outlines, in gray levels."""
    levels = np.abs(one.outline.astype(np.int16) - other.outline.astype(np.int16))
    return float(levels.max()), float(levels.mean())


def encodings(clip: RawClip, folder: Path) -> Iterator[tuple[str, RawClip]]:
    """Yield the clip as other encodings show it."""
    for crf in CRFS:
        write_video(folder / f"{crf}.mp4", clip, crf=crf)
        yield f"H.264, CRF {crf}", read_video(folder / f"{crf}.mp4")[0]
    packed = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1] for image in clip]
    yield f"JPEG, quality {JPEG_QUALITY}", np.stack([cv2.imdecode(data, cv2.IMREAD_COLOR) for data in packed])


def main() -> None:
    """Print the differences for each folder of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=40, help="videos of each folder (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=100, help="frames of each video (default: %(default)s)")
    arguments = parser.parse_args()
    print(machine())
    for folder in arguments.folders:
        videos = scan_videos(folder).videos
        chosen = videos[:: max(1, -(-len(videos) // arguments.most))]
        contents: list[Content] = []
        worst: dict[str, list[tuple[float, float]]] = {}
        for path in chosen:
            try:
                clip = read_video(path, arguments.frames)[0]
            except HiddenTwoStreamError:
                continue
            contents.append(content_of(clip))
            with tempfile.TemporaryDirectory() as scratch:
                for name, other in encodings(clip, Path(scratch)):
                    worst.setdefault(name, []).append(difference(contents[-1], content_of(other)))
        print(f"{folder}: {len(contents)} videos")
        for name, pairs in worst.items():
            print(f"  {name}: at most {max(p[0] for p in pairs):.0f}, mean {max(p[1] for p in pairs):.1f}")
        pairs = [
            difference(a, b)
            for a, b in itertools.combinations(contents, 2)
            if a.num_frames == b.num_frames and a.digest != b.digest
        ]
        if pairs:
            print(
                f"  {len(pairs)} pairs of different videos: at least {min(p[0] for p in pairs):.0f}, "
                f"mean {min(p[1] for p in pairs):.1f}"
            )


if __name__ == "__main__":
    main()
