"""The table of label formats, and how a file's format is found."""

from __future__ import annotations

from pathlib import Path

from hidden_two_stream.data.annotations import (
    bento,
    boris,
    boris_binary,
    boris_tables,
    cvat,
    datasets_json,
    datasets_tables,
    datasets_text,
    deepethogram,
    elan,
    elan_tab,
    label_studio,
    own,
    simba,
    text,
    thumos14,
    via,
)
from hidden_two_stream.data.annotations.format import Format, Holds
from hidden_two_stream.data.annotations.label_file import LabelFile
from hidden_two_stream.errors import DataError, UsageError

__all__ = ["FORMATS", "detect_format", "format_for_writing", "format_named"]

_MICRO = 1e-6
_TABLES = (".csv", ".tsv", ".txt")
_BASE, _WORDS = frozenset({"base"}), frozenset({"background"})

FORMATS: dict[str, Format] = {
    item.name: item
    for item in (
        Format("csv", "this project", (".csv", ".tsv", ".txt"), own.is_csv, own.read_csv, own.write_csv,
               Holds(points=True, subjects=True, scores="yes", videos=True, step=0)),
        Format("json", "this project", (".json",), own.is_json, own.read_json, own.write_json_file,
               Holds(points=True, subjects=True, scores="yes", unlabeled=True, videos=True, labels=True,
                     step=0)),
        Format("boris", "BORIS, project", (".boris", ".json"), boris.is_project, boris.read_project,
               boris.write_project, Holds(points=True, subjects=True, videos=True, labels=True)),
        Format("boris-tabular", "BORIS, events", _TABLES, boris_tables.is_tabular, boris_tables.read_tabular,
               boris_tables.write_tabular, Holds(points=True, subjects=True, videos=True)),
        Format("boris-aggregated", "BORIS, aggregated events", _TABLES, boris_tables.is_aggregated,
               boris_tables.read_aggregated, boris_tables.write_aggregated,
               Holds(points=True, subjects=True, videos=True)),
        Format("boris-binary", "BORIS, binary table", _TABLES, boris_binary.is_binary,
               boris_binary.read_binary, boris_binary.write_binary,
               Holds(rows=True, labels=True, step="frame")),
        Format("elan", "ELAN", (".eaf", ".xml"), elan.is_eaf, elan.read_eaf, elan.write_eaf,
               Holds(subjects=True)),
        Format("elan-tab", "ELAN, tab-delimited text", (".txt", ".tsv"), elan_tab.is_elan_tab,
               elan_tab.read_elan_tab, elan_tab.write_elan_tab, Holds(subjects=True)),
        Format("deepethogram", "DeepEthogram", (".csv",), deepethogram.is_deepethogram,
               deepethogram.read_deepethogram, deepethogram.write_deepethogram,
               Holds(unlabeled=True, rows=True, labels=True, step="frame")),
        Format("simba", "SimBA, targets_inserted", (".csv",), simba.is_simba, simba.read_simba,
               simba.write_simba, Holds(rows=True, labels=True, step="frame")),
        Format("via", "VIA 3, project", (".json",), via.is_via, via.read_via, via.write_via,
               Holds(points=True, videos=True, labels=True, step=0)),
        Format("via-csv", "VIA 3, CSV", (".csv",), via.is_via_csv, via.read_via_csv, via.write_via_csv,
               Holds(points=True, videos=True, step=0)),
        Format("label-studio", "Label Studio", (".json",), label_studio.is_label_studio,
               label_studio.read_label_studio, label_studio.write_label_studio,
               Holds(scores="yes", videos=True, step="frame"), uses=_BASE),
        Format("cvat", "CVAT for video 1.1", (".xml",), cvat.is_cvat, cvat.read_cvat, cvat.write_cvat,
               Holds(subjects=True, rows=True, step="frame")),
        Format("webvtt", "WebVTT", (".vtt",), text.is_webvtt, text.read_webvtt, text.write_webvtt,
               Holds(subjects=True)),
        Format("srt", "SubRip", (".srt",), text.is_subrip, text.read_subrip, text.write_subrip, Holds()),
        Format("audacity", "Audacity", (".txt",), text.is_audacity, text.read_audacity, text.write_audacity,
               Holds(points=True, step=_MICRO)),
        Format("calms21", "CalMS21", (".json",), datasets_json.is_calms21, datasets_json.read_calms21,
               datasets_json.write_calms21,
               Holds(overlap=False, videos=True, rows=True, labels=True, step="frame"), fps=30.0,
               uses=_WORDS),
        Format("activitynet", "ActivityNet", (".json",), datasets_json.is_activitynet,
               datasets_json.read_activitynet, datasets_json.write_activitynet,
               Holds(videos=True, ids=True, step=0)),
        Format("activitynet-results", "ActivityNet, results", (".json",),
               datasets_json.is_activitynet_results, datasets_json.read_activitynet_results,
               datasets_json.write_activitynet_results, Holds(scores="only", videos=True, ids=True, step=0)),
        Format("thumos14", "THUMOS14", (".txt",), thumos14.is_thumos14, thumos14.read_thumos14,
               thumos14.write_thumos14,
               Holds(unlabeled=True, videos=True, labels=True, ids=True, step=0), folder=True),
        Format("thumos14-results", "THUMOS14, results", (".txt",), thumos14.is_thumos14_results,
               thumos14.read_thumos14_results, thumos14.write_thumos14_results,
               Holds(scores="only", videos=True, labels=True, ids=True, step=0)),
        Format("epic-kitchens", "EPIC-KITCHENS-100", (".csv",), datasets_tables.is_epic,
               datasets_tables.read_epic, datasets_tables.write_epic,
               Holds(subjects=True, videos=True, ids=True, step=0.01)),
        Format("ava", "AVA", (".csv",), datasets_tables.is_ava, datasets_tables.read_ava,
               datasets_tables.write_ava,
               Holds(subjects=True, videos=True, rows=True, ids=True, step="second")),
        Format("mstcn", "MS-TCN: 50Salads, GTEA, Breakfast", (".txt",), datasets_text.is_mstcn,
               datasets_text.read_mstcn, datasets_text.write_mstcn,
               Holds(overlap=False, rows=True, step="frame"), uses=_WORDS),
        Format("feral", "FERAL", (".json",), datasets_json.is_feral, datasets_json.read_feral,
               datasets_json.write_feral, Holds(videos=True, rows=True, labels=True, step="frame"),
               uses=_WORDS),
        Format("bento", "Bento, MARS", (".annot", ".txt"), bento.is_bento, bento.read_bento,
               bento.write_bento, Holds(subjects=True, labels=True, step="frame")),
        Format("kth", "KTH", (".txt",), datasets_text.is_kth, datasets_text.read_kth,
               datasets_text.write_kth, Holds(subjects=True, videos=True, ids=True, step="frame"), fps=25.0),
    )
}  # fmt: skip
"""All label formats by name."""


def format_named(name: str) -> Format:
    """Return the format of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"unknown label format {name!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def detect_format(path: str | Path) -> Format:
    """Return the format of a file, by its suffix and its content.

    Raises:
        UsageError: there is no such file.
        DataError: no format fits, or several do.
    """
    file = LabelFile(Path(path))
    if not file.path.exists():
        raise UsageError(f"no label file at {str(path)!r}")
    suffix = file.path.suffix.lower()
    fitting = [
        item
        for item in FORMATS.values()
        if (item.folder if file.path.is_dir() else suffix in item.suffixes) and item.recognize(file)
    ]
    if len(fitting) == 1:
        return fitting[0]
    problem = (
        f"fits the formats {', '.join(item.name for item in fitting)}"
        if fitting
        else "fits no known label format"
    )
    choices = [item.name for item in fitting] or list(FORMATS)
    raise DataError(f"{path} {problem}; name its format (--from, format=…): {', '.join(choices)}")


def format_for_writing(path: str | Path) -> Format:
    """Return the only format with the suffix of a file; `.csv` and `.json` are this project's own.

    Raises:
        UsageError: several formats have the suffix, or none has.
    """
    suffix = Path(path).suffix.lower()
    own_format = FORMATS.get(suffix.removeprefix("."))
    if own_format is not None and own_format.title == FORMATS["csv"].title:
        return own_format
    fitting = [item for item in FORMATS.values() if suffix == item.suffixes[0]]
    if len(fitting) == 1:
        return fitting[0]
    choices = [item.name for item in fitting] or list(FORMATS)
    raise UsageError(
        f"the suffix of {str(path)!r} fits {'several formats' if fitting else 'no format'}; name one (--to, "
        f"format=…): {', '.join(choices)}"
    )
