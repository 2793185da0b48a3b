"""The description of the service as a page that loads nothing, from this server or any other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

__all__ = ["PAGE_HEADERS", "docs_page"]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid #8886; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
td { border-top: 1px solid #8884; }
"""

PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
}
"""Headers of the page: a browser applies its one style and loads or runs nothing else."""


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    title = escape(document["info"]["title"])
    has_keys = "securitySchemes" in document["components"]
    key = ' -H "Authorization: Bearer $HTS_API_KEY"' if has_keys else ""
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
        f"<h1>{title}</h1><p>{escape(document['info']['description'])}</p>",
        f"<p>Version {escape(document['info']['version'])}. For programs: "
        '<a href="openapi.json">openapi.json</a>.</p>',
        f"<pre>curl{escape(key)} -F file=@video.mp4 ADDRESS/v1/predict</pre>",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.extend(_operation(f"{method.upper()} {path}", operation))
    return "\n".join([*parts, "</body></html>"])


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{escape(name)}</code></h2><p>{escape(operation['summary'])}.</p>"
    if "description" in operation:
        yield f"<p>{escape(operation['description'])}</p>"
    if "security" in operation:
        yield "<p>Needs an API key.</p>"
    if operation.get("parameters"):
        rows = ((f"?{one['name']}=", one["description"]) for one in operation["parameters"])
        yield _table("parameter", "meaning", rows)
    if "requestBody" in operation:
        kinds = operation["requestBody"]["content"]
        yield f"<p>Body: {', '.join(f'<code>{escape(kind)}</code>' for kind in kinds)}.</p>"
    yield _table(
        "status", "meaning", ((status, one["description"]) for status, one in operation["responses"].items())
    )


def _table(first: str, second: str, rows: Iterator[tuple[str, str]]) -> str:
    lines = [f"<tr><td><code>{escape(a)}</code></td><td>{escape(b)}</td></tr>" for a, b in rows]
    return f"<table><tr><th>{first}</th><th>{second}</th></tr>{''.join(lines)}</table>"
