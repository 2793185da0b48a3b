"""Builds the documentation site into build/site, and fails on a warning or a broken link: `make docs`.

    .venv/bin/python docs/scripts/build_site.py

It needs the extra `docs`. The site works from any static host, from a sub-folder, and opened from disk.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from reference_pages import generated
from site_check import problems
from site_pages import ROOT, PageError, Pages

PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"


def main() -> int:
    """Build and check the site; return the exit code."""
    if importlib.util.find_spec("zensical") is None:
        print("build_site: Zensical is missing; run make docs, or pip install -e '.[docs]'", file=sys.stderr)
        return 1
    try:
        Pages(PAGES).write(generated())
    except PageError as error:
        print(f"build_site: {error}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", "mkdocs.yml"]
    done = subprocess.run(
        command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if (
        done.returncode or "griffe: " in done.stdout
    ):  # griffe's warnings about docstrings don't count as strict
        print(done.stdout, file=sys.stderr)
        print("build_site: the pages have the problems above; mend them in docs/", file=sys.stderr)
        return 1
    found = problems(SITE)
    for line in found:
        print(f"build_site: {line}", file=sys.stderr)
    if not found:
        pages = len(list(SITE.rglob("*.html")))
        print(f"{SITE.relative_to(ROOT)}/index.html: {pages} pages, every link checked")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
