"""The table and the paragraph of a comparison: figures in their places, sentences that hold."""

from __future__ import annotations

import pytest

from hidden_two_stream.evaluation.comparison import class_accuracy
from hidden_two_stream.reports.comparison import comparison_paragraph, comparison_table

from ..evaluation.comparisons import comparison, first, full, method

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
    assert rows[4][3].endswith("not distinguishable")
    assert "data `videos.csv`, 2 folds by subject, seeds 0, 1, 100 test videos of 2 classes, " in table
    assert " of 2 classes, protocol center, 1 unreadable" in table
    assert "1 unreadable video left out" in table
    assert "Student's t over 2 seeds" in table
    assert table.rstrip().endswith("Machine: a machine.")


def test_table_and_paragraph_with_nearest_neighbors() -> None:
    """They are ranked by their results alone, and the best of them is a rival of what is learned."""
    methods = (
        method("spatial", first(40)),
        method("nearest-frame", first(30)),
        method("nearest-motion", first(70)),
        method("hidden-joint", first(88), ms=3.0),
    )
    table = comparison_table(comparison(*methods))
    assert "| nearest motion | 70.0 [70.0, 70.0] | – | −18.0 [" in table
    assert (
        "Nearest motion and nearest frame learn nothing and are not fused; all seeds give their result, so "
        "the interval over seeds has no width."
    ) in table
    text = comparison_paragraph(comparison(*methods))
    assert "Hidden joint (88.0%) is better than nearest motion (+18.0 points, " in text
    few = comparison_table(comparison(*methods[:3:2], clips=1))
    assert (
        "protocol center, training on at most 1 clip of each class, drawn with the seed, 1 unreadable" in few
    )
    assert "Nearest motion learns nothing and is not fused.\n" in few
    paragraph = comparison_paragraph(comparison(*methods[:3:2]))
    assert (
        "nearest motion is best with 70.0% (95% interval 70.0% to 70.0%); spatial alone is worse."
        in paragraph
    )
    assert "Spatial alone (40.0%) is worse than nearest motion" in paragraph
    assert "learn" not in comparison_table(full())


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
        "On 100 test videos of 2 classes and 2 seeds, TV-L1 is best with 90.0% (95% interval "
    )
    assert (
        "; hidden joint is not distinguishable from it; DIS fast, stacked frames and spatial alone are worse."
        in text
    )
    assert (
        "Hidden joint (88.0%) is not distinguishable from TV-L1, the best of the methods with precomputed "
        "flow (−2.0 points"
    ) in text
    assert "better than stacked frames (+28.0 points, 95% interval +19.0 to +3" in text
    assert "and better than spatial alone (+48.0 points" in text
    assert "Motion takes hidden joint 3 ms per clip; TV-L1 takes 100 times as long (300 ms)" in text
    assert "and DIS fast takes 0.5 times as long (1.5 ms)." in text
    assert "Stored flow takes 41.2 MB for TV-L1 (extracted in 1 min 00 s) and 44 MB for DIS fast" in text
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
        "and loses on no class."
    )


@pytest.mark.parametrize(
    ("methods", "present", "absent"),
    [
        ([("spatial", 40)], ["the only method, spatial alone, reaches 40.0%"], ["fused", "better"]),
        ([("tvl1", 40)], ["the only method, TV-L1, reaches 40.0%", "fused with the"], ["than", "best"]),
        (
            [("spatial", 40), ("tvl1", 80), ("dis-fast", 70)],
            ["TV-L1 (80.0%), the best of the methods with precomputed flow, is better than spatial",
             "TV-L1 1 ms and DIS fast 1"],
            ["idden", "By class", "times as long"],
        ),
        (
            [("spatial", 80), ("hidden-joint", 60)],
            ["spatial alone is best with 80.0%", "Hidden joint (60.0%) is worse than spatial alone (−20.0"],
            ["fused", "precomputed", "better"],
        ),
        (
            [("spatial", 40), ("frames", 70)],
            ["Stacked frames (70.0%) is better", "From file to prediction, a clip takes"],
            [],
        ),
        ([("frames", 60), ("difference", 70)], ["RGB difference (70.0%) is better than stacked frames"], []),
        (
            [("tvl1", 80), ("hidden-joint", 80), ("my.flow", 50)],
            ["TV-L1 and hidden joint share the highest accuracy, 80.0%", "no video differing",
             "my.flow is worse"],
            ["is best", "By class", "is not distinguishable from them"],
        ),
        (
            [("hidden-joint", 80), ("branched", 80), ("tvl1", 79), ("dis-fast", 79)],
            ["hidden branched share", "Hidden joint (80.0%), among the best of the hidden methods, is not",
             "TV-L1, among the best of the methods with precomputed flow (+1.0 points, "
             "95% interval 0.0 to +3.0, only 1 video",
             "TV-L1 and DIS fast are not distinguishable from them"],
            [],
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seeds", [1, 3])
def test_paragraph_of_odd_cases(
    methods: list[tuple[str, int]], present: list[str], absent: list[str], seeds: int
) -> None:
    found = comparison(*(method(name, first(right, seeds=seeds)) for name, right in methods))
    text = comparison_paragraph(found)
    for part in present:
        assert part in text
    for part in absent:
        assert part not in text
    assert f"and {seeds} seed{'s' * (seeds > 1)}, " in text
    assert "No method stores flow on disk." in text
    assert 3 <= text.count(". ") + 1 <= 6
    comparison_table(found)


def test_motion_without_time_gives_no_ratio() -> None:
    text = comparison_paragraph(
        comparison(method("tvl1", first(80), ms=300), method("branched", first(70), ms=0))
    )
    assert "Motion takes hidden branched 0 ms and TV-L1 300 ms per clip." in text
