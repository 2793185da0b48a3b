"""Small recordings that the tests of several modules write and damage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Clip = npt.NDArray[np.uint8]


def moving_scene(num_frames: int, height: int = 48, width: int = 64) -> Clip:
    """A view that moves over coarse noise: every frame differs from every other."""
    texture = np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([texture[i : i + height, 2 * i : 2 * i + width] for i in range(num_frames)])


def write_recording(
    path: Path,
    clip: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    source: str = "rgb24",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode images at 25 per second; `source` is their format, `pixels` that of the recording."""
    with av.open(str(path), "w", options=container or {}) as output:
        track = output.add_stream(codec, rate=25, options=options or {})
        assert isinstance(track, av.VideoStream)
        track.height, track.width = clip.shape[1:3]
        track.pix_fmt = pixels
        for image in clip:
            output.mux(track.encode(av.VideoFrame.from_ndarray(image, format=source)))
        output.mux(track.encode())
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """Position in the file and size of each packet of the first video track."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [(packet.pos or 0, packet.size) for packet in packets]


def zero_packets(path: Path, packets: Sequence[int], header: int = 0) -> Path:
    """Overwrite some packets, and `header` bytes before each."""
    data = bytearray(path.read_bytes())
    places = packet_places(path)
    for number in packets:
        start, size = places[number]
        data[start - header : start + size] = bytes(header + size)
    path.write_bytes(data)
    return path


def png(image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of a gray (H, W) or RGB (H, W, 3) image, with extra chunks before its data."""
    height, width = image.shape[:2]
    color = 2 if image.ndim == 3 else 0
    header = struct.pack(">2I5B", width, height, 8 * image.itemsize, color, 0, 0, 0)
    rows = image.astype(image.dtype.newbyteorder(">")).reshape(height, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    coded = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def tiff(image: npt.NDArray[np.uint8], *pages: npt.NDArray[np.uint8], **tags: int) -> bytes:
    """An uncompressed TIFF of RGB (H, W, 3) images; `orientation` and `subfile` are set in the last page."""
    data, last = b"II*\0" + struct.pack("<I", 8), [image, *pages][-1]
    for page in (image, *pages):
        height, width = page.shape[:2]
        is_last = page is last
        extra = [(274, 3, tags["orientation"])] if is_last and "orientation" in tags else []
        kind = [(254, 4, tags["subfile"])] if is_last and "subfile" in tags else []
        count = 9 + len(extra) + len(kind)
        start = len(data) + 2 + 12 * count + 4
        entries = [
            *kind,
            *((256, 3, width), (257, 3, height), (258, 3, 8), (259, 3, 1), (262, 3, 2)),
            (273, 4, start),
            *extra,
            *((277, 3, 3), (278, 3, height), (279, 4, page.size)),
        ]
        data += struct.pack("<H", count)
        data += b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in entries)
        data += struct.pack("<I", 0 if is_last else start + page.size) + page.tobytes()
    return data
