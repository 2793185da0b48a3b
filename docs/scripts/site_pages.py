"""Puts the pages of the site together: docs/, the root's Markdown, notebooks, and files that pages link to.

Links between the pages work on a code host as they are. In the site, a link to a file outside docs/ becomes a
link to a page that shows this file, and README.md is the home page.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
RENAMED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the site that lie outside docs/ in the repository; the home page is docs/index.md."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".md": "markdown", ".sh": "bash", ".toml": "toml"}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FILE_NAME = re.compile(r"\[([\w-]+\.md)\]\(\1(#[^)\s]*)?\)")
FENCE = re.compile(r"^ *(`{3,}|~{3,})")


class PageError(Exception):
    """A page of the site cannot be made; the message names the page and the reason."""


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Return `text` with `change` applied to each part that is not a code block."""
    written, part, fence = [], [], ""
    for line in text.splitlines(keepends=True):
        found = FENCE.match(line)
        if found and not fence:
            fence = found[1]
            written.append(change("".join(part)))
            part = []
        elif fence and line.strip() == fence:
            fence = ""
            written.append(line)
            continue
        (written if fence else part).append(line)
    return "".join([*written, change("".join(part))])


def is_local(target: str) -> bool:
    """Return whether a link leads to another file of the repository."""
    return not (target.startswith("#") or re.match(r"[a-z][a-z0-9+.-]*:", target))


class Pages:
    """The pages that a build of the site reads, written into a folder.

    Args:
        target: folder to fill; what is in it is removed.
        root: the repository.
    """

    def __init__(self, target: Path, root: Path = ROOT) -> None:
        self._target, self._root = target, root
        self._shown: set[str] = set()

    def write(self, generated: dict[str, str]) -> None:
        """Write all pages; `generated` replaces the line `<!-- generated: NAME -->` by the text of that name.

        Raises:
            PageError: a link leads nowhere, or a generated text has no name here.
        """
        if self._target.exists():
            shutil.rmtree(self._target)
        self._target.mkdir(parents=True)
        for path in sorted((self._root / DOCS).iterdir()):
            if path.suffix == ".md":
                text = self._filled(path.read_text(encoding="utf-8"), generated, path.name)
                self._page(f"{DOCS}/{path.name}", path.name, text)
            elif path.is_file():
                shutil.copy(path, self._target / path.name)
        for source, name in RENAMED.items():
            if name != "index.md":
                self._page(source, name, (self._root / source).read_text(encoding="utf-8"))
        for path in sorted((self._root / "notebooks").glob("*.ipynb")):
            shutil.copy(path, self._target / path.name)
            self._page(f"notebooks/{path.name}", f"notebook-{path.stem}.md", notebook_text(path))

    def _filled(self, text: str, generated: dict[str, str], name: str) -> str:
        def fill(found: re.Match[str]) -> str:
            if found[1] not in generated:
                raise PageError(f"docs/{name}: nothing generates {found[1]!r}; expected {sorted(generated)}")
            return generated[found[1]]

        return re.sub(r"<!-- generated: ([a-z-]+) -->", fill, text)

    def _page(self, source: str, name: str, text: str) -> None:
        """Write the page `name`, whose links are relative to the folder of `source`."""
        folder = posixpath.dirname(source)

        def place(found: re.Match[str]) -> str:
            return found[1] + self._place(found[2], folder, source) + found[3]

        written = outside_fences(text, lambda part: FILE_NAME.sub(self._titled, LINK.sub(place, part)))
        (self._target / name).write_text(written, encoding="utf-8")

    def _titled(self, found: re.Match[str]) -> str:
        """Return a link that is named after its file with the title of the page instead."""
        text = (self._root / DOCS / found[1]).read_text(encoding="utf-8")
        return f"[{text.splitlines()[0].removeprefix('# ')}]({found[1]}{found[2] or ''})"

    def _place(self, target: str, folder: str, source: str) -> str:
        """Return where in the site the file is that a link leads to."""
        if not is_local(target):
            return target
        name, mark, anchor = target.partition("#")
        found = posixpath.normpath(posixpath.join(folder, name))
        if found.startswith("..") or not (self._root / found).exists():
            raise PageError(f"{source}: links to {target!r}, which is not in the repository; mend the link")
        if posixpath.dirname(found) == DOCS:
            return posixpath.basename(found) + mark + anchor
        if found in RENAMED:
            return RENAMED[found] + mark + anchor
        if found.startswith("notebooks/"):
            return f"notebook-{posixpath.basename(found).removesuffix('.ipynb')}.md{mark}{anchor}"
        return self._shown_file(found)

    def _shown_file(self, path: str) -> str:
        """Write a page that shows a file or a folder of the repository, once, and return its name."""
        name = "source-" + re.sub(r"[^a-z0-9]+", "-", path.lower()) + ".md"
        if path not in self._shown:
            self._shown.add(path)
            found = self._root / path
            files = [found] if found.is_file() else sorted(item for item in found.iterdir() if item.is_file())
            parts = [f"# `{path}`\n"]
            for item in files:
                title = f"## {item.stem}\n\n" if len(files) > 1 else ""
                code = item.read_text(encoding="utf-8").rstrip("\n")
                parts.append(f"{title}~~~~{LANGUAGES.get(item.suffix, 'text')}\n{code}\n~~~~\n")
            (self._target / name).write_text("\n".join(parts), encoding="utf-8")
        return name


def notebook_text(path: Path) -> str:
    """Return the Markdown of a notebook: its text, and its code in blocks."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"]).strip("\n")
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    parts.insert(1, f'<a href="{path.name}" download>Download the notebook</a>, and run it with Jupyter.')
    return "\n\n".join(parts) + "\n"
