"""The static page: the one of `hts export --format web`, with the panels of the server added."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from starlette.responses import FileResponse, HTMLResponse, Response

from hidden_two_stream.apps.jobs import UnknownError

__all__ = [
    "MEDIA_TYPES",
    "OWN_FILES",
    "PAGE_FILES",
    "export_page",
    "file_response",
    "page_response",
    "video_response",
]

PAGE_FILES = Path(__file__).resolve().parents[1] / "export" / "page"
"""The files of the page without a recognizer."""
OWN_FILES = Path(__file__).resolve().parent / "page"
"""What the server adds, below /server/."""

MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".data": "application/octet-stream",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".gz": "application/gzip",
    ".map": "application/json",
}
"""Suffix → media type. The system's own table can differ, and a page with wrong types does not start."""

_ADDED = (
    '<link rel="stylesheet" href="server/server.css"><script type="module" src="server/server.js"></script>'
)
_OFFLINE = "offline.js"  # would keep the page after the server has ended, at an address that others use, too
_RECOGNIZER = '<script type="module" src="app.js"></script>'


def export_page(run: str | None, folder: str, title: str | None, gently: bool) -> dict[str, str]:
    """Write the page of a run into a folder; None: a page that can only be taught. A task of the worker.

    Args:
        run: the run folder.
        folder: the folder of the page.
        title: heading of the page; None: the package's name.
        gently: let other processes go first, from now on.

    Raises:
        HiddenTwoStreamError: as `export.web.export_web`.
    """
    from hidden_two_stream.export.web import export_web  # needs PyTorch, which the server does not

    if gently and hasattr(os, "nice"):
        os.nice(10)
    export_web(run, folder, title=title)
    return {"folder": folder}


def page_response(root: Path, name: str, *, has_recognizer: bool = True, has_panels: bool = True) -> Response:
    """Return a file of a page; its index.html with the server's panels.

    Args:
        root: folder of the page.
        name: path below it, "" for index.html.
        has_recognizer: whether the folder has a recognizer; without one, only the server's panels start.
        has_panels: whether to add the server's panels.

    Raises:
        UnknownError: there is no such file.
    """
    parts = PurePosixPath(name or "index.html").parts
    path = root.joinpath(*parts)
    if name == _OFFLINE or any(part.startswith(".") or "\\" in part for part in parts) or not path.is_file():
        raise UnknownError(f"there is no file {name[:100]!r} of the page")
    if not path.resolve().is_relative_to(root.resolve()):
        raise UnknownError(f"there is no file {name[:100]!r} of the page")
    if path.name != "index.html":
        return file_response(path)
    text = path.read_text(encoding="utf-8")
    if not has_recognizer:
        text = text.replace(_RECOGNIZER, "")
    return HTMLResponse(text.replace("</body>", f"{_ADDED}\n</body>") if has_panels else text)


_VIDEO_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}


def video_response(path: Path) -> Response:
    """Return an uploaded file, always as a video or as bytes: named .html, it must not run as a page."""
    return FileResponse(path, media_type=_VIDEO_TYPES.get(path.suffix.lower(), "application/octet-stream"))


def file_response(path: Path) -> Response:
    """Return a file with its media type; parts of it on request, so that videos can be sought."""
    return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream"))
