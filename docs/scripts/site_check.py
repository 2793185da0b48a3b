"""Checks a built site: every link, anchor and image exists, and no page loads anything from another host.

.venv/bin/python docs/scripts/site_check.py build/site
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "source": "src", "video": "src", "iframe": "src", "link": "href"}
"""Elements whose address the browser loads without a click."""
NOT_LOADED = {"canonical", "next", "prev", "alternate", "edit"}
CSS_ADDRESS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:home|root|tmp|work|Users|opt)/[\w.-]+")


class _Page(HTMLParser):
    """Anchors, links and loaded addresses of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        address = given.get(LOADED.get(tag, ""), "")
        if address and not NOT_LOADED & set(given.get("rel", "").split()):
            self.loaded.append(address)
        self.loaded += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]


def problems(site: Path) -> list[str]:
    """Return one line for each broken link, anchor or image, foreign resource and machine path."""
    site = site.resolve()
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site}: holds no pages; build the site first"]
    found = []
    for path, page in pages.items():
        where = path.relative_to(site).as_posix()
        if path.name == "404.html":  # its addresses begin at the root of the host
            continue
        found += [f"{where}: {text}" for address in page.links for text in _broken(address, path, pages)]
        for address in page.loaded:
            foreign = _is_foreign(address)
            found += [f"{where}: loads {address!r} from another host"] if foreign else []
            found += [] if foreign else [f"{where}: {text}" for text in _broken(address, path, pages)]
        for text in MACHINE_PATH.findall(path.read_text(encoding="utf-8")):
            found.append(f"{where}: holds the machine path {text!r}")
    for path in sorted(site.rglob("*.css")):
        for first, second in CSS_ADDRESS.findall(path.read_text(encoding="utf-8")):
            if _is_foreign(first or second):
                found.append(f"{path.relative_to(site).as_posix()}: loads {first or second!r}")
    return found


def _is_foreign(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme not in ("", "data") or bool(parts.netloc)


def _broken(address: str, page: Path, pages: dict[Path, _Page]) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return
    target = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        yield f"links to {address!r}, which does not exist"
    elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        yield f"links to {address!r}, but that page has no such anchor"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the problems of a built site; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site", type=Path, help="folder of the built site")
    site = parser.parse_args(arguments).site
    found = problems(site)
    for line in found:
        print(line, file=sys.stderr)
    print(f"{site}: {len(list(site.rglob('*.html')))} pages, {len(found)} problems")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
