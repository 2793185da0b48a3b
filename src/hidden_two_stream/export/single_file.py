"""A web page in one HTML file: its modules as one script, its files compressed inside."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Mapping

__all__ = ["joined_modules", "single_file"]

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)
_NAME = re.compile(r"^(?:async )?(?:function\*?|class|const|let) (\w+)", re.MULTILINE)


def single_file(page: str, style: str, modules: Mapping[str, str], assets: Mapping[str, bytes]) -> str:
    """Return the HTML of a page that needs no other file.

    Args:
        page: index.html; it links style.css and app.js.
        style: style.css.
        modules: the page's ES modules by file name, among them app.js.
        assets: other files by name; they are compressed.
    """
    packed = "\n".join(
        f'<script type="application/octet-stream" data-asset="{name}">'
        f"{base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()}</script>"
        for name, content in assets.items()
    )
    script = joined_modules(modules, "app.js").replace("</script", "<\\/script")
    link = '<link rel="stylesheet" href="style.css">'
    start = '<script type="module" src="app.js"></script>'
    if page.count(link) != 1 or page.count(start) != 1:
        raise ValueError("index.html does not link style.css and app.js once each")
    before, after = page.replace(link, f"<style>\n{style}</style>").split(start)
    return f'{before}{packed}\n<script type="module">\n{script}</script>{after}'


def joined_modules(modules: Mapping[str, str], entry: str) -> str:
    """Return modules as one, each after those that it imports.

    Args:
        modules: source by file name. Imports have the form `import { a, b } from "./name.js";`.
        entry: file name of the module that imports the others.

    Raises:
        ValueError: two modules have a top-level name in common, an import has another form, a name is
            renamed by an import, or modules import each other in a circle.
    """
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"modules import each other: {' → '.join((*above, name))}")
        if name in order:
            return
        for inner in _IMPORT.findall(modules[name]):
            visit(inner, (*above, name))
        order.append(name)

    visit(entry, ())
    owners: dict[str, str] = {}
    parts = []
    for name in order:
        if any(" as " in found.group() for found in _IMPORT.finditer(modules[name])):
            raise ValueError(f"{name} renames what it imports")
        source = _EXPORT.sub("", _IMPORT.sub("", modules[name]))
        if re.search(r"^(?:import|export)\b(?!\()", source, re.MULTILINE):
            raise ValueError(f"{name} has an import or export of another form")
        for found in _NAME.findall(source):
            if found in owners:
                raise ValueError(f"{name} and {owners[found]} both define {found}")
            owners[found] = name
        parts.append(source)
    return "\n".join(parts)
