"""`hts check`: decode everything, before a night of training does."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import unreadable_lines
from hidden_two_stream.progress import number_of, with_progress

__all__ = ["check_command", "check_text"]


def check_command(data: str, workers: int, num_frames: int = 11, quiet: bool = False) -> dict[str, Any]:
    """Decode all videos of a data set and say what is in it.

    Args:
        data: folder or CSV.
        workers: decoding processes.
        num_frames: videos with fewer frames are counted as short (their last frame is repeated).
        quiet: no progress.
    """
    listing = read_dataset_index(data, min_classes=1)
    store = with_progress(
        "decode",
        len(listing.samples),
        quiet,
        lambda progress: open_clip_cache(
            listing.samples, 64, budget_bytes=0, workers=workers, progress=progress
        ),
    )
    lengths = [video.num_frames for video in store.videos]
    readable = Counter(sample.label for sample in store.samples)
    warned = [f"{s.name}: {v.warning}" for s, v in zip(store.samples, store.videos, strict=True) if v.warning]
    if len(listing.classes) == 1:
        warned.append(f"{listing.classes[0]} is the only class; a recogniser needs at least two")
    return {
        "data": data,
        "num_videos": len(listing.samples),
        "num_readable": len(store.samples),
        "classes": {
            label: {"videos": count, "readable": readable[label]} for label, count in listing.counts().items()
        },
        "empty_folders": list(listing.empty),
        "splits": dict(Counter(sample.split or "none" for sample in listing.samples)),
        "num_frames": _spread(lengths),
        "seconds": _spread([round(v.num_frames / v.fps, 2) for v in store.videos if v.fps]),
        "num_shorter_than_a_clip": sum(length < num_frames for length in lengths),
        "sizes": {
            f"{w}x{h}": n for (h, w), n in Counter(video.size for video in store.videos).most_common(10)
        },
        "fps": _spread([round(video.fps, 2) for video in store.videos if video.fps]),
        "unreadable": unreadable_lines(store.unreadable),
        "warnings": warned,
    }


def check_text(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        f"{number_of(result['num_videos'], 'video')}, {result['num_readable']} readable, "
        f"{number_of(len(result['classes']), 'class', 'classes')}"
    ]
    lines += [
        f"  {name}: {counts['readable']} of {counts['videos']}" for name, counts in result["classes"].items()
    ]
    frames = result["num_frames"]
    if frames:
        lines.append(f"frames per video: {frames['min']} to {frames['max']}, median {frames['median']:g}")
    if result["seconds"]:
        length = result["seconds"]
        lines.append(
            f"seconds per video: {length['min']:g} to {length['max']:g}, median {length['median']:g}"
        )
    if result["num_shorter_than_a_clip"]:
        lines.append(
            f"shorter than a clip: {result['num_shorter_than_a_clip']} (their last frame is repeated)"
        )
    lines.append("sizes: " + ", ".join(f"{size} ({n})" for size, n in result["sizes"].items()))
    lines += [f"no videos in {folder}: it is no class" for folder in result["empty_folders"]]
    lines += [f"unreadable: {line}" for line in result["unreadable"]]
    lines += [f"warning: {line}" for line in result["warnings"]]
    return "\n".join(lines)


def _spread(values: list[int] | list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}
