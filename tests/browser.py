"""A headless Chromium for tests of pages: finds it, opens a page, and records what goes wrong there.

    from ..browser import open_page          # in a test in a sub-folder of tests/

    with open_page("http://127.0.0.1:8000/", dark=True, width=390) as opened:
        opened.page.click("text=Start")      # `opened.page` is a Page of Playwright
        assert opened.errors == []           # console errors, uncaught exceptions, failed requests
        assert opened.other_hosts() == []    # URLs that this machine does not serve

Playwright drives the browser of the system; nothing is downloaded. Tests that need a browser are
skipped where there is none, and fail under CI, where a skip would hide that nothing was tested.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

__all__ = ["OpenPage", "chromium_path", "open_page"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--no-sandbox", "--disable-quic", "--disable-gpu")
_OWN_HOSTS = (None, "127.0.0.1", "localhost", "::1")  # None: files, data: and blob: URLs


@dataclass
class OpenPage:
    """A page in a browser, and what was seen of it.

    Attributes:
        page: the `playwright.sync_api.Page`.
        errors: console errors, uncaught exceptions and failed requests, in order.
        requests: the URLs that the page asked for, in order, those of its workers included.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def other_hosts(self) -> list[str]:
        """Return the requests that leave this machine."""
        return [url for url in self.requests if urlsplit(url).hostname not in _OWN_HOSTS]


def chromium_path() -> str:
    """Return the path of the system's Chromium; skip the test if there is none, or fail under CI."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        _missing(f"no browser on the path; install one of {', '.join(_NAMES)}")
    return found


@contextmanager
def open_page(
    url_or_file: str | Path,
    *,
    args: Sequence[str] = (),
    dark: bool = False,
    width: int = 1280,
    height: int = 900,
    before: Any = None,
    permissions: Sequence[str] = (),
) -> Iterator[OpenPage]:
    """Open a page in a browser of its own, and close both at the end.

    Args:
        url_or_file: the address; a path is opened as file://.
        args: further arguments of Chromium, such as those of a camera that plays a file.
        dark: prefer dark colors.
        width, height: the viewport, px.
        before: called with the `OpenPage` before the page is loaded, for example to route requests.
        permissions: what the page may use without asking, such as "camera".
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("the package playwright is not installed; it is part of the extra dev")
    path = Path(url_or_file)
    url = path.resolve().as_uri() if "://" not in str(url_or_file) else str(url_or_file)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=[*_ARGUMENTS, *args], headless=True
        )
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                permissions=list(permissions),
                accept_downloads=True,
            )
            opened = OpenPage(context.new_page())
            _record(opened, context)
            if before is not None:
                before(opened)
            opened.page.goto(url)
            yield opened
        finally:
            browser.close()


def _record(opened: OpenPage, context: Any) -> None:
    def on_console(message: Any) -> None:
        if message.type == "error":
            opened.errors.append(message.text)

    def on_failed(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page itself gave the request up
            opened.errors.append(f"{request.url}: {request.failure}")

    opened.page.on("console", on_console)
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    context.on("request", lambda request: opened.requests.append(request.url))
    context.on("requestfailed", on_failed)


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
