"""Finds videos that are in a dataset twice: by their frames, not by their names.

Three things count. Equal frames: a copy, a link, or a folder of the frames without loss. Nearly equal frames:
another encoding, such as a folder of JPEG images; a coarse outline of the video and a closer look at three
frames decide. Overlapping parts of one file.

Nearly equal frames prove little if both are files of one kind, because cuts of one quiet recording look alike
too. Such pairs are named, and training goes on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.data.content import MEAN_LEVELS, Content, are_alike, file_format
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.splits import Split
from hidden_two_stream.errors import DataError, HiddenTwoStreamError
from hidden_two_stream.progress import note, number_of
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.transforms import to_tensor

__all__ = ["Duplicates", "across", "find_duplicates", "require_separate"]

_EQUAL = "the same frames"
_ALIKE = "nearly the same frames"
_OVERLAP = "overlapping parts"

_LOOK_CELLS = 32  # most rows and columns of a closer look at frames
_LOOK_CELL_PX = 8  # least side of a cell, since encodings share colors among neighboring pixels
_MOST_COLOR_LEVELS = 24.0
"""Largest difference of a cell between encodings of one video; a small thing at another place is above it."""

_NUM_NAMED = 10  # groups that training names on stderr


@dataclass(frozen=True)
class Duplicates:
    """Samples that show the same frames.

    Attributes:
        samples: two or more samples, in the order of the dataset.
        kind: "the same frames", "nearly the same frames" or "overlapping parts".
        certain: whether the samples are one video; nearly the same frames in files of one kind may not be.
    """

    samples: tuple[Sample, ...]
    kind: str
    certain: bool = True

    @property
    def labels_differ(self) -> bool:
        """Whether the samples have different labels."""
        return len({sample.label for sample in self.samples}) > 1

    @property
    def splits(self) -> tuple[str, ...]:
        """The parts of the dataset's own split that the samples are in; empty: it has none."""
        return tuple(sorted({sample.split for sample in self.samples if sample.split is not None}))

    def __str__(self) -> str:
        names = " and ".join(repr(sample.name) for sample in self.samples)
        facts = [" and ".join(self.splits)] if len(self.splits) > 1 else []
        if self.labels_differ:
            facts.append("labels " + ", ".join(dict.fromkeys(sample.label for sample in self.samples)))
        return f"{self.kind}: {names}" + (f" ({'; '.join(facts)})" if facts else "")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "kind": self.kind,
            "certain": self.certain,
            "names": [sample.name for sample in self.samples],
            "labels_differ": self.labels_differ,
            "splits": list(self.splits),
        }


def find_duplicates(samples: Sequence[Sample], videos: Sequence[DecodedVideo]) -> tuple[Duplicates, ...]:
    """Return the groups of samples that show the same frames.

    Args:
        samples: N readable samples.
        videos: their decoded videos, with `content`; a video without it is compared with none.
    """
    known = [index for index, video in enumerate(videos) if video.content is not None]
    by_digest: dict[str, list[int]] = {}
    for index in known:
        by_digest.setdefault(_content(videos[index]).digest, []).append(index)
    equal = [
        Duplicates(tuple(samples[index] for index in group), _EQUAL)
        for group in by_digest.values()
        if len(group) > 1
    ]
    firsts = [group[0] for group in by_digest.values()]
    pairs = _confirmed(_alike_pairs(firsts, videos), videos)
    alike = _alike_groups(pairs, samples)
    overlaps = [
        Duplicates((samples[a], samples[b]), _OVERLAP) for a, b in _overlapping_pairs(known, samples, videos)
    ]
    return (*equal, *alike, *overlaps)


def _alike_groups(pairs: Sequence[tuple[int, int]], samples: Sequence[Sample]) -> list[Duplicates]:
    """Groups of samples in different formats, which are certain, and of the other pairs."""
    certain = [(a, b) for a, b in pairs if file_format(samples[a].path) != file_format(samples[b].path)]
    groups = _connected(certain)
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    left = _connected((a, b) for a, b in pairs if group_of.get(a, -1) != group_of.get(b, -2))
    return [
        Duplicates(tuple(samples[index] for index in group), _ALIKE, is_certain)
        for is_certain, found in ((True, groups), (False, left))
        for group in found
    ]


def _connected(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The groups that pairs connect, each sorted, in the order of their first members."""
    group_of: dict[int, list[int]] = {}
    for a, b in pairs:
        first, second = group_of.setdefault(a, [a]), group_of.setdefault(b, [b])
        if first is not second:
            first += second
            group_of.update(dict.fromkeys(second, first))
    return sorted({id(group): sorted(group) for group in group_of.values()}.values())


def _alike_pairs(indices: Sequence[int], videos: Sequence[DecodedVideo]) -> list[tuple[int, int]]:
    """Pairs of videos with as many frames and nearly the same outline."""
    by_length: dict[int, list[int]] = {}
    for index in indices:
        by_length.setdefault(_content(videos[index]).num_frames, []).append(index)
    pairs = []
    for group in by_length.values():
        outlines = np.stack([_outline(videos[index]) for index in group])
        beginnings = outlines[:, 0]
        means = outlines.reshape(len(group), -1).mean(axis=1)
        order = np.argsort(means, kind="stable")
        for place, first in enumerate(order):
            stop = np.searchsorted(means, means[first] + MEAN_LEVELS, side="right", sorter=order)
            others = order[place + 1 : stop]
            if len(others):  # the first moment rules most videos out at a sixteenth of the cost
                others = others[are_alike(beginnings[others], beginnings[first], mean_levels=np.inf)]
            if len(others):
                near = others[are_alike(outlines[others], outlines[first])]
                pairs += [_ordered(group[first], group[other]) for other in near]
    return sorted(pairs)


def _confirmed(pairs: Sequence[tuple[int, int]], videos: Sequence[DecodedVideo]) -> list[tuple[int, int]]:
    """Return the pairs whose frames are alike in color and in detail, too.

    Before a fixed camera, videos of a small thing that moves have nearly the same outline, and so have scenes
    that differ in hue.
    """
    looks = {index: _look(videos[index]) for index in sorted({index for pair in pairs for index in pair})}
    return [(a, b) for a, b in pairs if _are_alike_in_color(looks[a], looks[b])]


def _are_alike_in_color(frames: Tensor | None, others: Tensor | None) -> bool:
    if frames is None or others is None:
        return False
    side = min(*frames.shape[-2:], *others.shape[-2:])
    cells = max(1, min(_LOOK_CELLS, side // _LOOK_CELL_PX))
    one, other = (functional.interpolate(x, (cells, cells), mode="area") for x in (frames, others))
    return float((one - other).abs().max()) <= _MOST_COLOR_LEVELS


def _look(video: DecodedVideo) -> Tensor | None:
    """(3, 3, h, w) float32: three frames, with sides of at most 256 px; None: they cannot be read again."""
    length = video.num_frames
    indices = [(2 * moment + 1) * length // 6 for moment in range(3)]
    try:
        with VideoReader(video.source) as reader:
            frames = to_tensor(reader.read(video.file_numbers(indices)))
    except HiddenTwoStreamError:
        return None
    height, width = (min(side, _LOOK_CELLS * _LOOK_CELL_PX) for side in frames.shape[-2:])
    return functional.interpolate(frames.float(), (height, width), mode="area")


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _outline(video: DecodedVideo) -> np.ndarray[Any, np.dtype[np.int16]]:
    return _content(video).outline.astype(np.int16)


def _content(video: DecodedVideo) -> Content:
    assert video.content is not None
    return video.content


def _overlapping_pairs(
    indices: Iterable[int], samples: Sequence[Sample], videos: Sequence[DecodedVideo]
) -> list[tuple[int, int]]:
    """Pairs of different parts of one file that share frames."""
    by_file: dict[object, list[int]] = {}
    for index in indices:
        by_file.setdefault(_file_identity(samples[index].path), []).append(index)
    pairs = []
    for group in by_file.values():
        spans = sorted((*_span(videos[index]), index) for index in group)
        for place, (first, stop, a) in enumerate(spans):
            for other_first, other_stop, b in spans[place + 1 :]:
                if other_first >= stop:
                    break
                if (other_first, other_stop) != (first, stop):
                    pairs.append(_ordered(a, b))
    return sorted(pairs)


def _span(video: DecodedVideo) -> tuple[int, int]:
    """The first frame of a part in its file, and the one after its last."""
    return video.first_frame, video.first_frame + _content(video).num_frames


def _file_identity(path: str) -> object:
    """Equal for all names of one file."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def across(
    duplicates: Iterable[Duplicates], train: Iterable[Sample], test: Iterable[Sample]
) -> list[tuple[Duplicates, tuple[Sample, ...]]]:
    """Return the groups with a sample in training and one in the test, each with its test samples."""
    trained, tested = ({sample.name for sample in part} for part in (train, test))
    found = []
    for group in duplicates:
        in_test = tuple(sample for sample in group.samples if sample.name in tested)
        if in_test and any(sample.name in trained for sample in group.samples):
            found.append((group, in_test))
    return found


def require_separate(
    duplicates: Collection[Duplicates], splits: Iterable[Split], *, allow: bool, report: bool = True
) -> frozenset[str]:
    """Check that no test video is in training too, and name other duplicates on stderr.

    Args:
        duplicates: those of all samples.
        splits: the division of each fold.
        allow: only name such videos.
        report: name them on stderr.

    Returns:
        Names of the test videos that are in training too, of all folds.

    Raises:
        DataError: a test video is in training too, and `allow` is False.
    """
    named: dict[str, None] = {}
    shared: dict[Duplicates, tuple[Sample, ...]] = {}
    for split in splits:
        for group, in_test in across(duplicates, split.train, split.test):
            if group.certain:
                shared[group] = (*shared.get(group, ()), *in_test)
            else:
                named.setdefault(f"perhaps in training and in the test: {group}")
    names = frozenset(sample.name for samples in shared.values() for sample in samples)
    if names and not allow:
        first, samples = next(iter(shared.items()))
        other = next(s for s in first.samples if s.name != samples[0].name)
        raise DataError(
            f"{number_of(len(names), 'test video')} {'is' if len(names) == 1 else 'are'} in training too: "
            f"{samples[0].name!r} and {other.name!r} show {first.kind}, so the accuracy would not be that of "
            "unseen videos; remove one of each (hts check names all), or add --allow-duplicates"
        )
    named |= dict.fromkeys(f"in training and in the test: {group}" for group in shared)
    named |= dict.fromkeys(
        f"labels differ for {group}"
        for group in duplicates
        if group not in shared and group.kind == _EQUAL and group.labels_differ
    )
    if report:
        _note_some(list(named))
    return names


def _note_some(lines: Sequence[str]) -> None:
    for line in lines[:_NUM_NAMED]:
        note(line)
    if len(lines) > _NUM_NAMED:
        note(f"{len(lines) - _NUM_NAMED} more duplicates; hts check names all")
