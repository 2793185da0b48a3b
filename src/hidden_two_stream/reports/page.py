"""One self-contained page, `report.html`, that shows what a run learned. Presentation only.

No network, no scripts or fonts from elsewhere: pictures are data URIs, charts are inline SVG.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from hidden_two_stream.files import write_text
from hidden_two_stream.reports.data import (
    Curve,
    FlowPicture,
    ReportData,
    SamplePrediction,
    Timing,
)
from hidden_two_stream.reports.sections import opening, sections

__all__ = [
    "Curve",
    "FlowPicture",
    "ReportData",
    "SamplePrediction",
    "Timing",
    "render_report",
    "write_report",
]


def render_report(data: ReportData) -> str:
    """The whole page as HTML text.

    Raises:
        UsageError: a picture is not a (H, W, 3) uint8 array.
    """
    template = (
        resources.files("hidden_two_stream.reports").joinpath("report.html").read_text(encoding="utf-8")
    )
    listed = sections(data)
    body = "\n".join(html for _, _, html in listed)
    return Template(template).substitute(title=escape(data.title), opening=opening(data, listed), body=body)


def write_report(path: Path, data: ReportData) -> Path:
    """Write the report to `path`, complete or not at all, and return `path`. Missing folders are made.

    Raises:
        UsageError: a picture is not a (H, W, 3) uint8 array.
        OutputError: the file cannot be written; an older report at `path` is then left as it was.
    """
    write_text(path, render_report(data), make_parents=True)
    return path
