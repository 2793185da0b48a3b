"""Opens files and streams with FFmpeg."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import BinaryIO

import av
from av.container import InputContainer

from hidden_two_stream.errors import VideoError
from hidden_two_stream.video.sources.addresses import open_address
from hidden_two_stream.video.sources.ffmpeg import SIZE_LIMIT, URL_TIMEOUT_SECONDS, failure_reason
from hidden_two_stream.video.sources.refused import OPENED_FORMATS, PACKED_FORMATS, PLAYLIST

__all__ = ["open_container"]


def open_container(
    name: str,
    address: str | BinaryIO,
    *,
    is_url: bool,
    options: Mapping[str, str] | None = None,
    timeout_seconds: float = URL_TIMEOUT_SECONDS,
) -> InputContainer:
    """Open what FFmpeg knows by `address`. Only a URL may lead to other files, as a live stream's does.

    A file that is open already leads to no other file at all: its name and its content are a stranger's.

    Args:
        name: how the error calls it.
        address: what FFmpeg opens: a URL, or an open file, which stays the caller's to close.
        is_url: whether it is a URL.
        options: further options of FFmpeg.
        timeout_seconds: how long to wait for data of a URL.

    Raises:
        VideoError: it cannot be opened; the error calls it `name`.
    """
    chosen = SIZE_LIMIT | dict(options or {})
    if not isinstance(address, str):
        chosen |= {"format_whitelist": PACKED_FORMATS, "protocol_whitelist": "data"}
    elif not is_url:
        chosen["format_whitelist"] = OPENED_FORMATS
    timeout = timeout_seconds if is_url else None
    try:
        with open_address(address) if isinstance(address, str) else nullcontext(address) as opened:
            return av.open(opened, "r", options=chosen, metadata_errors="replace", timeout=timeout)
    except UnicodeError as error:
        raise VideoError(name, "its name is not valid text; rename the file") from error
    except av.ArgumentError as error:  # FFmpeg's answer to a format that is not among the allowed ones
        raise VideoError(name, failure_reason(error) if is_url else PLAYLIST) from error
    except av.InvalidDataError as error:
        raise VideoError(name, "it is not a video, or its beginning is damaged") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(name, failure_reason(error)) from error
