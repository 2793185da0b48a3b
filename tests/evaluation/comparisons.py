"""Comparisons for tests: methods of chosen accuracy on 100 videos of two classes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from hidden_two_stream.evaluation.comparison import ALONE, Comparison, Correct, MethodResult

KINDS = {"spatial": "spatial", "nearest-frame": "nearest", "nearest-motion": "nearest",
         "frames": "pixels", "difference": "pixels",
         "hidden-frozen": "hidden", "hidden-joint": "hidden", "branched": "hidden"}  # fmt: skip


def first(right: int, count: int = 100, seeds: int = 2) -> Correct:
    """(seeds, count): the first `right` of `count` videos are correct, with every seed."""
    return np.tile(np.arange(count) < right, (seeds, 1))


def method(name: str, fused: Correct, *, ms: float = 1.0, stored: int = 0) -> MethodResult:
    """A method with the same results alone and fused, and `ms` milliseconds of motion."""
    kind: Any = KINDS.get(name, "precomputed")
    return MethodResult(name, kind, fused, None if kind in ALONE else fused, 0.5, ms, 2.0, stored, 60.0)


def comparison(*methods: MethodResult, **changed: Any) -> Comparison:
    """The classes "walk" and "run" alternate over the videos."""
    seeds, count = methods[0].alone.shape
    found = Comparison(
        data="videos.csv",
        group="subject",
        protocol="center",
        seeds=tuple(range(seeds)),
        folds=("ann", "bob"),
        classes=("walk", "run"),
        truth=tuple(("walk", "run")[i % 2] for i in range(count)),
        methods=methods,
        machine="a machine",
        recipe={"model": {"motion": "nano"}},
        num_unreadable=1,
    )
    return dataclasses.replace(found, **changed)


def full() -> Comparison:
    """One method or more of each kind."""
    return comparison(
        method("spatial", first(40), ms=0),
        method("frames", first(60), ms=0),
        method("tvl1", first(90), ms=300.0, stored=41_200_000),
        method("dis-fast", first(80), ms=1.5, stored=44_000_000),
        method("hidden-joint", first(88), ms=3.0),
    )
