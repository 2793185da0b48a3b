"""A comparison of methods: intervals against published quantiles and closed forms; JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.accuracy import wilson_interval
from hidden_two_stream.evaluation.comparison import (
    Comparison,
    MethodResult,
    accuracy_interval,
    class_accuracy,
    paired_difference,
    t_quantile,
)
from hidden_two_stream.reports.comparison import comparison_paragraph, comparison_table

from .comparisons import comparison, first, full, method

# -- statistics ------------------------------------------------------------------------------------


@pytest.mark.parametrize(  # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2
    ("freedom", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (29, 2.045),
     (30, 2.042), (100, 1.984)],
)  # fmt: skip
def test_t_quantiles_are_the_published_ones(freedom: int, expected: float) -> None:
    assert t_quantile(freedom) == pytest.approx(expected, abs=5.1e-4)


@pytest.mark.parametrize(("freedom", "expected"), [(1, 63.657), (4, 4.604), (7, 3.499), (20, 2.845)])
def test_t_quantiles_of_another_level(freedom: int, expected: float) -> None:
    assert t_quantile(freedom, 0.99) == pytest.approx(expected, abs=5.1e-4)


def test_interval_over_seeds_by_hand() -> None:
    right = np.stack([first(count, seeds=1)[0] for count in (70, 80, 90)])
    # mean 0.8, standard deviation 0.1, t = 4.303, √3: half 0.2484
    mean, low, high = accuracy_interval(right)
    assert (mean, low) == pytest.approx((0.8, 0.8 - 4.30265 * 0.1 / math.sqrt(3)))
    assert high == 1.0  # not 1.05
    assert accuracy_interval(np.stack([first(5, seeds=1)[0], first(0, seeds=1)[0]]))[1] == 0.0


def test_interval_of_one_seed_is_wilsons() -> None:
    assert accuracy_interval(first(80, seeds=1)) == (0.8, *wilson_interval(0.8, 100))


def test_bootstrap_draws_a_binomial() -> None:
    """All right against k of N wrong: the number of drawn videos that differ is binomial (N, k / N)."""
    count, wrong = 60, 15
    share, below, quantiles = wrong / count, 0.0, []
    for k in range(count + 1):
        before = below
        below += math.comb(count, k) * share**k * (1 - share) ** (count - k)
        quantiles += [k / count for level in (0.025, 0.975) if before < level <= below]
    found = paired_difference(first(count, count), first(count - wrong, count))
    assert found.mean == pytest.approx(share)
    assert [found.low, found.high] == pytest.approx(quantiles, abs=1.001 / count)
    assert quantiles == pytest.approx([9 / 60, 22 / 60])


def test_bootstrap_of_many_videos_is_normal_and_keeps_the_pairs() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.random((3, 4000)) < 0.8, rng.random((3, 4000)) < 0.75
    other[:, ::2] = one[:, ::2]  # half of the videos are surely equal
    paired = (one.mean(axis=0) - other.mean(axis=0)).std() / math.sqrt(4000)
    found = paired_difference(one, other)
    assert found.high - found.low == pytest.approx(2 * 1.95996 * paired, rel=0.06)
    assert (found.high + found.low) / 2 == pytest.approx(found.mean, abs=0.1 * paired)
    assert found.mean == pytest.approx(one.mean() - other.mean())


def test_bootstrap_is_that_of_drawing_videos() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random((2, 50)) < 0.7, rng.random((2, 50)) < 0.5
    each = one.mean(axis=0) - other.mean(axis=0)
    drawn = each[rng.integers(0, 50, (20000, 50))].mean(axis=1)
    found = paired_difference(one, other)
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.015)
    assert paired_difference(one, other) == found
    turned = paired_difference(other, one)
    assert (turned.mean, turned.low, turned.high) == (-found.mean, -found.high, -found.low)
    assert turned.num_decisive == found.num_decisive


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [(90, 80, "better"), (80, 90, "worse"), (80, 80, "not distinguishable"), (81, 80, "not distinguishable"),
     (85, 80, "not distinguishable"), (86, 80, "better")],
)  # fmt: skip
def test_verdicts(one: int, other: int, verdict: str) -> None:
    found = paired_difference(first(one), first(other))
    assert found.verdict == verdict
    assert found.num_decisive == abs(one - other)


def test_few_videos_are_never_a_verdict() -> None:
    """Five of five all for one side: the bootstrap is sure, a sign test (p = 0.06) isn't."""
    found = paired_difference(first(5, 5), first(0, 5))
    assert (found.low, found.high, found.verdict) == (1.0, 1.0, "not distinguishable")


def test_classes_without_videos_are_left_out() -> None:
    found = comparison(method("tvl1", first(3, 4)), classes=("walk", "run", "never"))
    assert class_accuracy(found, found.methods[0].final) == {"walk": (1.0, 2), "run": (0.5, 2)}


# -- JSON ------------------------------------------------------------------------------------------


def test_json_there_and_back() -> None:
    rng = np.random.default_rng(2)
    parts = [method(name, rng.random((3, 40)) < 0.7, ms=2.7) for name in ("spatial", "tvl1", "branched")]
    before = comparison(
        dataclasses.replace(parts[1], alone=rng.random((3, 40)) < 0.5, bytes_stored=7), *parts[::2]
    )
    text = json.dumps(before.to_dict(), allow_nan=False)
    after = Comparison.from_dict(json.loads(text))
    for field in dataclasses.fields(Comparison):
        if field.name != "methods":
            assert getattr(after, field.name) == getattr(before, field.name)
    for one, other in zip(before.methods, after.methods, strict=True):
        for field in dataclasses.fields(MethodResult):
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            if isinstance(mine, np.ndarray):
                np.testing.assert_array_equal(mine, theirs)
                assert theirs.dtype == np.bool_
            else:
                assert theirs == (pytest.approx(mine) if isinstance(mine, float) else mine)
    assert comparison_table(after) == comparison_table(before)
    assert comparison_paragraph(after) == comparison_paragraph(before)


def test_json_of_few_clips_and_neighbors() -> None:
    """Results of earlier versions do not name the number of clips: they are of all clips."""
    few = comparison(method("spatial", first(40)), method("nearest-motion", first(70)), clips=3)
    after = Comparison.from_dict(json.loads(json.dumps(few.to_dict())))
    assert after.clips == 3
    assert [(m.kind, m.fused) for m in after.methods] == [("spatial", None), ("nearest", None)]
    assert after.best.name == "nearest-motion"
    earlier = full().to_dict()
    assert earlier.pop("clips_per_class") is None
    assert Comparison.from_dict(earlier).clips is None


def test_json_holds_what_follows() -> None:
    found = full().to_dict()
    tvl1, hidden = found["methods"][2], found["methods"][4]
    assert found["best"] == "tvl1"
    assert tvl1["accuracy_fused"] == 0.9
    assert tvl1["seconds_per_clip"] == pytest.approx(
        {"decoding": 0.0005, "motion": 0.3, "recognition": 0.002, "total": 0.3025}
    )
    assert hidden["against_best"]["difference"] == pytest.approx(-0.02)
    assert hidden["against_best"]["verdict"] == "not distinguishable"
    assert hidden["per_class"] == {"walk": 0.88, "run": 0.88}
    assert hidden["right_fused"] == ["1" * 88 + "0" * 12] * 2
    assert found["methods"][0]["right_fused"] is found["methods"][0]["accuracy_fused_interval_95"] is None


def _changed(path: str, value: Any) -> dict[str, Any]:
    found: Any = full().to_dict()
    *way, last = path.split(".")
    place = found
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    results: dict[str, Any] = found
    return results


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format_version", 1, "format version 1; expected 2"),
        ("format_version", KeyError, "format version None"),
        ("truth", KeyError, "'truth' is missing"),
        ("truth", ["walk"], "expected bool of shape (2, 1)"),
        ("truth", ["swim"] * 100, "unknown classes ['swim']"),
        ("truth", "walk", "truth is 'walk'"),
        ("seeds", "01", "seeds is '01'"),
        ("seeds", [], "0 seeds"),
        ("num_unreadable", "one", "num_unreadable is 'one'"),
        ("clips_per_class", "two", "clips_per_class is 'two'"),
        ("clips_per_class", 0, "0 training clips of each class"),
        ("recipe", None, "recipe is 'None'"),
        ("methods", [], "0 methods"),
        ("methods", [3], "no results of `hts compare`"),
        ("methods.1.name", "tvl1", "expected each name once"),
        ("methods.1.kind", "magic", "kind 'magic'; expected one of spatial, nearest, pixels, "),
        ("methods.1.kind", "given", "kind 'given'; expected one of spatial, nearest, pixels, "),
        (
            "methods.1.kind",
            "spatial",
            "has fused results; expected fused results for every kind except spatial and nearest",
        ),
        (
            "methods.0.right_fused",
            ["1" * 100] * 2,
            "expected fused results for every kind except spatial and nearest",
        ),
        ("methods.1.right_fused", None, "pixels has no fused results; expected fused results"),
        ("methods.1.right_alone", ["1" * 100], "shape (1, 100); expected bool of shape (2, 100)"),
        ("methods.1.right_alone", ["1" * 100, "1"], "of the same length"),
        ("methods.1.right_alone", ["2" * 100] * 2, "0 and 1"),
        ("methods.1.right_alone", [1, 2], "no results of"),
        ("methods.1.bytes_stored", -1, "has -1 as a time or size"),
        ("methods.1.seconds_per_clip.motion", math.nan, "has nan as a time"),
        ("methods.1.seconds_per_clip", 3, "no results of"),
    ],
)
def test_wrong_json_is_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Comparison.from_dict(_changed(path, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("found", [[], "text", None, {}])
def test_other_json_is_one_line(found: Any) -> None:
    with pytest.raises(DataError, match=r"format version None; expected 2; pass the results\.json"):
        Comparison.from_dict(found)
