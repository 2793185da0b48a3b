"""Parts of the training videos: nothing twice, recordings and groups whole, classes in balance."""

from __future__ import annotations

from collections import Counter

import pytest

from hidden_two_stream.data.held_back import held_back_parts
from hidden_two_stream.data.samples import Sample


def clips(per_class: int, classes: str = "abc") -> list[Sample]:
    return [Sample(f"/v/{label}{i}.mp4", label) for label in classes for i in range(per_class)]


@pytest.mark.parametrize("per_class", [2, 3, 7, 20])
@pytest.mark.parametrize("num_parts", [2, 3, 10])
def test_each_clip_is_held_back_once_and_classes_are_in_balance(per_class: int, num_parts: int) -> None:
    samples = clips(per_class)
    parts = held_back_parts(samples, num_parts, seed=0)
    assert sorted(s.name for part in parts for s in part) == sorted(s.name for s in samples)
    counts = [Counter(s.label for s in part) for part in parts]
    for label in "abc":
        numbers = [count[label] for count in counts] + [0] * (num_parts - len(parts))
        assert max(numbers) - min(numbers) <= 1
    assert max(map(len, parts)) - min(map(len, parts)) <= 3


def test_the_seed_decides() -> None:
    assert held_back_parts(clips(9), 3, 0) == held_back_parts(clips(9), 3, 0)
    assert held_back_parts(clips(9), 3, 0) != held_back_parts(clips(9), 3, 1)


def test_clips_of_one_recording_stay_together() -> None:
    samples = [
        Sample(f"/v/{i // 4}.mp4", "ab"[i % 2], start_seconds=float(i), end_seconds=i + 1.0)
        for i in range(24)
    ]
    for part in held_back_parts(samples, 3, 0):
        names = {sample.path for sample in part}
        assert len(part) == 4 * len(names)


def test_groups_of_a_column_stay_whole() -> None:
    samples = [
        Sample(f"/v/{person}{label}{i}.mp4", label, columns={"subject": person})
        for person in "12345" for label in "ab" for i in range(2)
    ]  # fmt: skip
    parts = held_back_parts(samples, 3, 0, "subject")
    people = [{sample.columns["subject"] for sample in part} for part in parts]
    assert sum(map(len, people)) == 5
    assert set().union(*people) == set("12345")
    by_clip = held_back_parts(samples, 3, 0)
    assert sum(len({s.columns["subject"] for s in part}) for part in by_clip) > 5


def test_a_recording_joins_its_groups() -> None:
    """Two people in one file are one group: the file cannot be on both sides."""
    samples = [Sample(f"/v/{p}{i}.mp4", "ab"[i % 2], columns={"who": p}) for p in "1234" for i in range(4)]
    shared = [Sample("/v/both.mp4", "a", columns={"who": person}) for person in "12"]
    for part in held_back_parts([*samples, *shared], 3, 0, "who"):
        assert len({"1", "2"} & {sample.columns["who"] for sample in part}) != 1


def test_a_single_group_is_divided_by_clips() -> None:
    samples = [Sample(s.path, s.label, columns={"who": "1"}) for s in clips(4)]
    assert len(held_back_parts(samples, 3, 0, "who")) == 3


def test_every_class_stays_in_training() -> None:
    """A class of one clip, or of one person, is never held back."""
    samples = [*clips(6, "ab"), Sample("/v/rare.mp4", "rare")]
    parts = held_back_parts(samples, 3, 0)
    assert sum(map(len, parts)) == 12
    assert "rare" not in {s.label for part in parts for s in part}
    people = [Sample(f"/v/{p}{i}.mp4", "ab"[i % 2], columns={"who": p}) for p in "123" for i in range(4)]
    only = Sample("/v/x.mp4", "x", columns={"who": "1"})
    held = {s.columns["who"] for part in held_back_parts([*people, only], 3, 0, "who") for s in part}
    assert held == {"2", "3"}
