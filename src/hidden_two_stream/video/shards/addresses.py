"""Names of packed videos: the path or URL of the index, followed by the video's own name.

`packed/shards.json/walk/001.mp4` is the video `walk/001.mp4` of the index `packed/shards.json`. A path leads
through a file here, so it can never be that of a file. The deepest common folder of all videos of a dataset
is the index, so names below it are those of the folder that was packed.
"""

from __future__ import annotations

import os

from hidden_two_stream.errors import DataError
from hidden_two_stream.video.finding import is_url

__all__ = ["INDEX_NAME", "PLAN_NAME", "find_index", "is_packed", "member_address", "split_address"]

INDEX_NAME = "shards.json"
"""The index of a packed folder; it is written last, so a folder with an index is complete."""

PLAN_NAME = "packing.json"
"""What a folder holds in place of the index while it is packed."""

_THROUGH = f"{INDEX_NAME}/"


def member_address(index: str, name: str) -> str:
    """Return the address of the video `name` of an index."""
    return f"{index}/{name}"


def split_address(source: str) -> tuple[str, str] | None:
    """Return the index and the name of the video that an address names; None: it is no such address."""
    head, through, name = source.partition(_THROUGH)
    if not through or not name or (head and not head.endswith(("/", os.sep))):
        return None
    index = head + INDEX_NAME
    return (index, name) if is_url(index) or os.path.isfile(index) else None


def is_packed(source: object) -> bool:
    """Whether `source` is the address of a packed video."""
    return isinstance(source, str) and split_address(source) is not None


def find_index(data: str) -> str | None:
    """Return the index that a dataset or video source names; None: it is something else.

    Args:
        data: a packed folder, or its index: a path, or a URL that ends in `shards.json`.

    Raises:
        DataError: it is a folder that was not packed to its end.
    """
    if is_url(data):
        return data if data.endswith(f"/{INDEX_NAME}") else None
    if os.path.basename(data) == INDEX_NAME and os.path.isfile(data):
        return data
    index = os.path.join(data, INDEX_NAME)
    if os.path.isfile(index):
        return index
    if os.path.isfile(os.path.join(data, PLAN_NAME)):
        raise DataError(
            f"{data!r} was not packed to its end; run the same hts pack command again, which goes on where "
            "it stopped"
        )
    return None
