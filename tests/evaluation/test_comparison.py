"""`hts compare`'s figures: intervals against published quantiles and closed forms; sentences that hold."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
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
from hidden_two_stream.reports.comparison_json import comparison_from_json, comparison_json
from hidden_two_stream.reports.comparison_text import comparison_paragraph, comparison_table

Right = npt.NDArray[np.bool_]

KINDS = {"spatial": "spatial", "frames": "pixels", "difference": "pixels",
         "hidden-frozen": "hidden", "hidden-joint": "hidden", "branched": "hidden"}  # fmt: skip


def first(right: int, count: int = 100, seeds: int = 2) -> Right:
    """The first `right` of `count` videos are right, with every seed."""
    return np.tile(np.arange(count) < right, (seeds, 1))


def method(name: str, fused: Right, *, ms: float = 1.0, stored: int = 0) -> MethodResult:
    kind: Any = KINDS.get(name, "given")
    return MethodResult(name, kind, fused, None if kind == "spatial" else fused, 0.5, ms, 2.0, stored, 60.0)


def comparison(*methods: MethodResult, **changed: Any) -> Comparison:
    """Classes "walk" and "run" take turns over the videos."""
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
    return comparison(
        method("spatial", first(40), ms=0),
        method("frames", first(60), ms=0),
        method("tvl1", first(90), ms=300.0, stored=41_200_000),
        method("dis-fast", first(80), ms=1.5, stored=44_000_000),
        method("hidden-joint", first(88), ms=3.0),
    )


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
    [(90, 80, "better"), (80, 90, "worse"), (80, 80, "not told apart"), (81, 80, "not told apart"),
     (85, 80, "not told apart"), (86, 80, "better")],
)  # fmt: skip
def test_verdicts(one: int, other: int, verdict: str) -> None:
    found = paired_difference(first(one), first(other))
    assert found.verdict == verdict
    assert found.num_decisive == abs(one - other)


def test_few_videos_are_never_a_verdict() -> None:
    """Five of five all for one side: the bootstrap is sure, a sign test (p = 0.06) isn't."""
    found = paired_difference(first(5, 5), first(0, 5))
    assert (found.low, found.high, found.verdict) == (1.0, 1.0, "not told apart")


# -- table -----------------------------------------------------------------------------------------


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split(" | ")] for line in table.splitlines() if line[:2] == "| "]


def test_table() -> None:
    found = full()
    table = comparison_table(found)
    head, *rows = cells(table)
    assert [row[0] for row in rows] == [
        "| spatial alone", "| stacked frames", "| TV-L1", "| DIS fast", "| hidden joint"
    ]  # fmt: skip
    assert {len(row) for row in rows} == {len(head)} == {10}
    assert rows[0][1:4] == ["40.0 [40.0, 40.0]", "–", rows[0][3]]
    assert rows[0][3].startswith("−50.0 [−6")
    assert rows[0][3].endswith("worse")
    assert rows[2][2:] == ["90.0 [90.0, 90.0]", "best", "0.5", "300", "2", "302", "41.2", "60 |"]
    assert "−2.0 [" in rows[4][3]
    assert rows[4][3].endswith("not told apart")
    assert "data `videos.csv`, 2 folds by subject, seeds 0, 1, 100 test videos of 2 classes, center" in table
    assert "1 unreadable video left out" in table
    assert "Student's t over 2 seeds" in table
    assert table.rstrip().endswith("Machine: a machine.")


def test_table_of_one_seed_and_one_method() -> None:
    table = comparison_table(comparison(method("a|b\nc", first(80, seeds=1)), group=None, folds=("test",)))
    assert "Wilson's over 100 test videos, one seed." in table
    assert "1 fold, seed 0, " in table
    assert "bootstrap" not in table
    assert "| a\\|b c | 80.0 [71.1, 86.7] |" in table


# -- paragraph -------------------------------------------------------------------------------------


def test_paragraph() -> None:
    text = comparison_paragraph(full())
    assert text.startswith(
        "On 100 test videos of 2 classes and 2 seeds, TV-L1 is best with 90.0% (95 % interval "
    )
    assert (
        "; hidden joint is not told apart from it; DIS fast, stacked frames and spatial alone are worse. "
        in text
    )
    assert (
        "Hidden joint (88.0%) is not told apart from TV-L1, the best of the given flows (−2.0 points" in text
    )
    assert "better than stacked frames (+28.0 points, 95 % interval +19.0 to +3" in text
    assert "and better than spatial alone (+48.0 points" in text
    assert "Motion takes hidden joint 3 ms per clip; TV-L1 takes 100 times as long (300 ms)" in text
    assert "and DIS fast takes 0.5 times as long (1.5 ms)." in text
    assert "TV-L1 keeps 41.2 MB (extracted in 1 min 00 s) and DIS fast keeps 44 MB" in text
    assert 3 <= text.count(". ") + 1 <= 6


def test_paragraph_names_the_classes() -> None:
    """Hidden gains 10 of 50 on "walk" (even places) and loses 4 of 50 on "run" (odd places)."""
    rival, ours = first(60), first(60)
    ours[:, 60:80:2] = True
    ours[:, 1:9:2] = False
    found = comparison(method("dis-fast", rival), method("hidden-joint", ours))
    assert comparison_paragraph(found).endswith(
        "By class, against DIS fast, hidden joint gains most on walk (+20.0 points, 50 videos) "
        "and loses most on run (−8.0 points, 50 videos)."
    )
    assert class_accuracy(found, ours) == {"walk": (0.8, 50), "run": (0.52, 50)}
    ours[:, 1:9:2] = True
    assert "By class" not in comparison_paragraph(found)  # one class alone differs
    ours[:, 61:81:2] = True
    assert comparison_paragraph(found).endswith(
        "hidden joint gains most on walk (+20.0 points, 50 videos) and run (+20.0 points, 50 videos) "
        "and loses on none."
    )


def test_classes_without_videos_are_left_out() -> None:
    found = comparison(method("tvl1", first(3, 4)), classes=("walk", "run", "never"))
    assert class_accuracy(found, found.methods[0].final) == {"walk": (1.0, 2), "run": (0.5, 2)}


@pytest.mark.parametrize(
    ("methods", "told", "untold"),
    [
        ([("spatial", 40)], ["the only method, spatial alone, is right on 40.0%"], ["fused", "better"]),
        ([("tvl1", 40)], ["the only method, TV-L1, is right on 40.0%", "fused with the"], ["than", "best"]),
        (
            [("spatial", 40), ("tvl1", 80), ("dis-fast", 70)],
            ["TV-L1 (80.0%), the best of the given flows, is better than spatial",
             "TV-L1 1 ms and DIS fast 1"],
            ["idden", "By class", "times as long"],
        ),
        (
            [("spatial", 80), ("hidden-joint", 60)],
            ["spatial alone is best with 80.0%", "Hidden joint (60.0%) is worse than spatial alone (−20.0"],
            ["fused", "given", "better"],
        ),
        ([("spatial", 40), ("frames", 70)], ["Stacked frames (70.0%) is better", "From file to answer"], []),
        ([("frames", 60), ("difference", 70)], ["RGB difference (70.0%) is better than stacked frames"], []),
        (
            [("tvl1", 80), ("hidden-joint", 80), ("my.flow", 50)],
            ["TV-L1 and hidden joint share the highest accuracy, 80.0%", "no video differing",
             "my.flow is worse"],
            ["is best", "By class", "is not told apart from them"],
        ),
        (
            [("hidden-joint", 80), ("branched", 80), ("tvl1", 79), ("dis-fast", 79)],
            ["hidden branched share", "Hidden joint (80.0%), among the best of the hidden methods, is not",
             "TV-L1, among the best of the given flows (+1.0 points, 95 % interval 0.0 to +3.0, only 1 video",
             "TV-L1 and DIS fast are not told apart from them"],
            [],
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seeds", [1, 3])
def test_paragraph_of_odd_cases(
    methods: list[tuple[str, int]], told: list[str], untold: list[str], seeds: int
) -> None:
    found = comparison(*(method(name, first(right, seeds=seeds)) for name, right in methods))
    text = comparison_paragraph(found)
    for part in told:
        assert part in text
    for part in untold:
        assert part not in text
    assert f"and {seeds} seed{'s' * (seeds > 1)}, " in text
    assert "No method keeps flow on disk." in text
    assert 3 <= text.count(". ") + 1 <= 6
    comparison_table(found)


def test_motion_without_time_gives_no_ratio() -> None:
    text = comparison_paragraph(
        comparison(method("tvl1", first(80), ms=300), method("branched", first(70), ms=0))
    )
    assert "Motion takes hidden branched 0 ms and TV-L1 300 ms per clip." in text


# -- JSON ------------------------------------------------------------------------------------------


def test_json_there_and_back() -> None:
    rng = np.random.default_rng(2)
    parts = [method(name, rng.random((3, 40)) < 0.7, ms=2.7) for name in ("spatial", "tvl1", "branched")]
    before = comparison(
        dataclasses.replace(parts[1], alone=rng.random((3, 40)) < 0.5, bytes_stored=7), *parts[::2]
    )
    text = json.dumps(comparison_json(before), allow_nan=False)
    after = comparison_from_json(json.loads(text))
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


def test_json_holds_what_follows() -> None:
    found = comparison_json(full())
    tvl1, hidden = found["methods"][2], found["methods"][4]
    assert found["best"] == "tvl1"
    assert tvl1["accuracy_fused"] == 0.9
    assert tvl1["seconds_per_clip"] == pytest.approx(
        {"decoding": 0.0005, "motion": 0.3, "recognition": 0.002, "whole": 0.3025}
    )
    assert hidden["against_best"]["difference"] == pytest.approx(-0.02)
    assert hidden["against_best"]["verdict"] == "not told apart"
    assert hidden["per_class"] == {"walk": 0.88, "run": 0.88}
    assert hidden["right_fused"] == ["1" * 88 + "0" * 12] * 2
    assert found["methods"][0]["right_fused"] is found["methods"][0]["accuracy_fused_interval_95"] is None


def _spoilt(path: str, value: Any) -> dict[str, Any]:
    found: Any = comparison_json(full())
    *way, last = path.split(".")
    place = found
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    whole: dict[str, Any] = found
    return whole


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format_version", 2, "format version 2; expected 1"),
        ("format_version", KeyError, "format version None"),
        ("truth", KeyError, "'truth' is missing"),
        ("truth", ["walk"], "expected bool of shape (2, 1)"),
        ("truth", ["swim"] * 100, "unknown classes ['swim']"),
        ("truth", "walk", "truth is 'walk'"),
        ("seeds", "01", "seeds is '01'"),
        ("seeds", [], "0 seeds"),
        ("num_unreadable", "one", "num_unreadable is 'one'"),
        ("recipe", None, "recipe is 'None'"),
        ("methods", [], "0 methods"),
        ("methods", [3], "no results of `hts compare`"),
        ("methods.1.name", "tvl1", "expected each once"),
        ("methods.1.kind", "magic", "kind 'magic'; expected one of spatial, pixels, given, hidden"),
        ("methods.1.kind", "spatial", "expected fused results of all kinds but spatial"),
        ("methods.0.right_fused", ["1" * 100] * 2, "expected fused results of all kinds but spatial"),
        ("methods.1.right_alone", ["1" * 100], "shape (1, 100); expected bool of shape (2, 100)"),
        ("methods.1.right_alone", ["1" * 100, "1"], "of one length"),
        ("methods.1.right_alone", ["2" * 100] * 2, "0 and 1"),
        ("methods.1.right_alone", [1, 2], "no results of"),
        ("methods.1.bytes_stored", -1, "has -1 as a time or size"),
        ("methods.1.seconds_per_clip.motion", math.nan, "has nan as a time"),
        ("methods.1.seconds_per_clip", 3, "no results of"),
    ],
)
def test_wrong_json_is_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        comparison_from_json(_spoilt(path, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("found", [[], "text", None, {}])
def test_other_json_is_one_line(found: Any) -> None:
    with pytest.raises(DataError, match="format version None; expected 1: give the results"):
        comparison_from_json(found)
