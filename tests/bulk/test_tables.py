"""Tables of results as JSON lines and Parquet hold the same rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from hidden_two_stream.bulk.tables import check_table_path, failures_path, write_failures, write_results
from hidden_two_stream.errors import MissingDependencyError, OutputError, UsageError
from hidden_two_stream.types import Prediction

CLASSES = ("wave", "jump\n", "é")


def rows(number: int) -> list[dict[str, object]]:
    found = []
    for index in range(number):
        scores = np.random.default_rng(index).dirichlet(np.ones(3)).astype(np.float32)
        prediction = Prediction(
            f"{index}.mp4", CLASSES, scores, {"temporal": scores}, 10 + index, "10x1",
            ("cut",) if index % 2 else (), threshold=0.7 if index % 3 else None,
        )  # fmt: skip
        found.append(prediction.to_dict(2))
    return found


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    expected = rows(5)
    assert {row["label"] for row in expected} > {None}
    for suffix in (".jsonl", ".parquet"):
        write_results(tmp_path / f"r{suffix}", iter(expected), ["temporal"])
    lines = (tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet").to_pylist() == expected


def test_more_rows_than_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hidden_two_stream.bulk.tables._GROUP_ROWS", 3)
    write_results(tmp_path / "r.parquet", rows(7), ["temporal"])
    table = pyarrow.parquet.ParquetFile(tmp_path / "r.parquet")
    assert table.num_row_groups == 3
    assert table.read().to_pylist() == rows(7)


def test_tables_without_rows_have_columns(tmp_path: Path) -> None:
    write_results(tmp_path / "r.parquet", [], ["spatial"])
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet").column_names[:2] == ["source", "label"]
    write_results(tmp_path / "r.jsonl", [], ["spatial"])
    assert (tmp_path / "r.jsonl").read_text() == ""


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_names_that_are_no_text(tmp_path: Path, suffix: str) -> None:
    write_failures(tmp_path / f"f{suffix}", [{"source": "a\udcff.mp4", "reason": "broken"}])
    if suffix == ".jsonl":
        assert json.loads((tmp_path / "f.jsonl").read_text()) == {"source": "a\udcff.mp4", "reason": "broken"}
    else:
        table = pyarrow.parquet.read_table(tmp_path / "f.parquet")
        assert table.to_pylist() == [{"source": "a\\udcff.mp4", "reason": "broken"}]


def test_the_path_is_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_table_path(tmp_path / "new" / "r.JSONL") == tmp_path / "new" / "r.JSONL"
    assert failures_path(tmp_path / "r.parquet") == tmp_path / "r.failures.parquet"
    for name in ("r.csv", "r", "s3://bucket/r.jsonl"):
        with pytest.raises(UsageError, match="cannot write results to"):
            check_table_path(name)
    (tmp_path / "f.failures.jsonl").mkdir()
    with pytest.raises(OutputError, match="no regular file"):
        check_table_path(tmp_path / "f.jsonl")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"hidden-two-stream\[parquet\]"):
        check_table_path(tmp_path / "r.parquet")
