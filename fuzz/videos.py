"""Writes a short clip in the containers and codecs that people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["RECIPES", "write_clip"]

RECIPES: dict[str, tuple[str, str]] = {
    "mp4-h264": ("libx264", "yuv420p"),
    "mp4-hevc": ("libx265", "yuv420p"),
    "mp4-mpeg4": ("mpeg4", "yuv420p"),
    "mov-h264": ("libx264", "yuv420p"),
    "mov-png": ("png", "rgb24"),
    "ts-h264": ("libx264", "yuv420p"),
    "mkv-h264": ("libx264", "yuv420p"),
    "mkv-ffv1": ("ffv1", "yuv420p"),
    "mkv-vp8": ("libvpx", "yuv420p"),
    "webm-vp9": ("libvpx-vp9", "yuv420p"),
    "avi-mjpeg": ("mjpeg", "yuvj420p"),
    "avi-mpeg4": ("mpeg4", "yuv420p"),
    "avi-raw": ("rawvideo", "yuv420p"),
    "mpg-mpeg2": ("mpeg2video", "yuv420p"),
    "flv-h263": ("flv", "yuv420p"),
    "wmv-wmv2": ("wmv2", "yuv420p"),
    "gif-gif": ("gif", "rgb8"),
    "png-apng": ("apng", "rgb24"),
    "folder-png": ("png", "rgb24"),
    "folder-jpg": ("mjpeg", "yuvj420p"),
    "folder-bmp": ("bmp", "bgr24"),
    "folder-tif": ("tiff", "rgb24"),
    "folder-webp": ("libwebp", "yuv420p"),
    "folder-ppm": ("ppm", "rgb24"),
}
"""The encoder and its pixel format, by the name of a kind without "video-"."""


def write_clip(name: str, folder: Path) -> None:
    """Write `folder`/clip.SUFFIX, or the images of `folder`/clip."""
    container, _, kind = name.partition("-")
    codec, pixels = RECIPES[name]
    texture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    images = [np.ascontiguousarray(texture[n : n + 48, 2 * n : 2 * n + 64]) for n in range(12)]
    if container != "folder":
        _encode(folder / f"clip.{container}", images, codec, pixels, "apng" if kind == "apng" else None)
        return
    (folder / "clip").mkdir()
    for number, image in enumerate(images[:4]):
        _encode(folder / "clip" / f"{number:03d}.{kind}", [image], codec, pixels, "image2")


_QUIET = {"libx265": {"x265-params": "log-level=none"}}


def _encode(path: Path, images: list[np.ndarray], codec: str, pixels: str, form: str | None) -> None:
    import av

    options = {"update": "1"} if form == "image2" else {}
    with av.open(str(path), "w", format=form, options=options) as output:
        track = output.add_stream(codec, rate=25, options={"g": "5", **_QUIET.get(codec, {})})
        assert isinstance(track, av.VideoStream)
        track.height, track.width, track.pix_fmt = *images[0].shape[:2], pixels
        for image in images:
            output.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(track.encode())
