"""How samples are named in messages and records."""

from __future__ import annotations

import pytest

from hidden_two_stream.data.samples import Sample, below_common_folder, unreadable_lines
from hidden_two_stream.errors import UsageError, VideoError


def test_unreadable_lines_name_the_sample_and_the_reason() -> None:
    failed = [
        (Sample("a.mp4", "x", start_seconds=2.0), VideoError("a.mp4", "too short")),
        (Sample("b.mp4", "x"), UsageError("nothing found at 'b.mp4'")),
    ]
    assert unreadable_lines(failed) == ["a.mp4[2-end s]: too short", "b.mp4: nothing found at 'b.mp4'"]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["data/up/1.mp4", "data/down/2.mp4"], ["up/1.mp4", "down/2.mp4"]),
        (["/x/data/up/1.mp4", "/x/data/down/2.mp4"], ["up/1.mp4", "down/2.mp4"]),
        (["data/up/1.mp4", "data/up/12.mp4[0-3 s]"], ["1.mp4", "12.mp4[0-3 s]"]),
        (["up/1.mp4", "/x/2.mp4"], ["up/1.mp4", "/x/2.mp4"]),
        (["data/1.mp4", "data/up/1.mp4"], ["1.mp4", "up/1.mp4"]),
        (["data/1.mp4"], ["1.mp4"]),
        ([], []),
    ],
)
def test_names_below_the_common_folder(names: list[str], short: list[str]) -> None:
    assert below_common_folder(names) == short
