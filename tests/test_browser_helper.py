"""The helper that opens pages in tests sees what it should report."""

from __future__ import annotations

from pathlib import Path

from .browser import open_page


def test_errors_and_requests_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<title>page</title><p id=theme></p><script>"
        "theme.textContent = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';"
        "console.error('said'); fetch('http://192.0.2.1/x').catch(() => {}); throw Error('thrown')</script>"
    )
    with open_page(path, dark=True, width=390, before=_refuse) as opened:
        assert opened.page.inner_text("#theme") == "dark"
        assert opened.page.evaluate("innerWidth") == 390
        opened.page.wait_for_timeout(200)
        assert "said" in opened.errors
        assert "thrown" in opened.errors
        assert opened.other_hosts() == ["http://192.0.2.1/x"]


def _refuse(opened: object) -> None:
    opened.page.route("http://**", lambda route: route.abort("connectionrefused"))  # type: ignore[attr-defined]
