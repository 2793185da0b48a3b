"""Official numbers of classes and videos, to compare the lists of a copy with."""

from __future__ import annotations

__all__ = ["OFFICIAL_CLASSES", "OFFICIAL_COUNTS"]

OFFICIAL_CLASSES = {"ucf101": 101, "hmdb51": 51, "thumos14": 20, "activitynet": 100}
"""Number of classes; of THUMOS14 those with temporal annotations, of ActivityNet those of release 1.2."""

OFFICIAL_COUNTS: dict[str, dict[int, tuple[int, int, int]]] = {
    "ucf101": {1: (9537, 3783, 0), 2: (9586, 3734, 0), 3: (9624, 3696, 0)},
    "hmdb51": dict.fromkeys((1, 2, 3), (3570, 1530, 1666)),
}
"""Number of training, test, and unused videos in each split of the official lists."""
