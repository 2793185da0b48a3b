"""Reads a dataset by name."""

from __future__ import annotations

from pathlib import Path

from hidden_two_stream.data.benchmarks.catalog import Catalog
from hidden_two_stream.data.benchmarks.clips import read_hmdb51, read_ucf101
from hidden_two_stream.data.benchmarks.kinetics import read_kinetics
from hidden_two_stream.data.benchmarks.reference import Reference
from hidden_two_stream.data.benchmarks.tsn import read_tsn
from hidden_two_stream.data.benchmarks.untrimmed import read_activitynet, read_thumos14
from hidden_two_stream.data.samples import DatasetIndex
from hidden_two_stream.errors import DataError, UsageError

__all__ = ["read_benchmark", "read_catalog"]


def read_benchmark(reference: Reference) -> DatasetIndex:
    """Read the index of a dataset by name.

    The index includes missing videos. Decoding reports and counts them as unreadable.

    Raises:
        UsageError: there is nothing at the path, or the reference names several splits.
        DataError: a list is missing or broken, or names an unknown class.
    """
    catalog = read_catalog(reference)
    return DatasetIndex(str(reference), catalog.samples, class_order=catalog.classes)


def read_catalog(reference: Reference) -> Catalog:
    """Read the lists of a dataset by name, for a single split.

    Raises:
        UsageError, DataError: as `read_benchmark`.
    """
    name, root = reference.name, reference.root
    try:
        if name in ("ucf101", "hmdb51"):
            read = read_ucf101 if name == "ucf101" else read_hmdb51
            return read(root, _only_split(reference))
        if name == "tsn":
            return read_tsn([Path(path) for path in reference.paths])
        if name == "thumos14":
            return read_thumos14(root)
        return read_activitynet(root) if name == "activitynet" else read_kinetics(root)
    except OSError as error:
        raise DataError(f"cannot read {str(error.filename or root)!r}: {error.strerror}") from error


def _only_split(reference: Reference) -> int:
    if len(reference.splits) != 1:
        one = reference.of_split(reference.splits[0])
        raise UsageError(
            f"'{reference}' names several splits; expected one, such as '{one}': "
            "hts cross-validate trains and tests on each of them"
        )
    return reference.splits[0]
