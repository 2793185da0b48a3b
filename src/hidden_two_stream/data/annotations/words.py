"""One word per frame: which words mean that nothing of interest happens, and rows of labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from hidden_two_stream.data.annotations.format import ReadOptions
from hidden_two_stream.data.annotations.frame_labels import FrameLabels

__all__ = ["BACKGROUND_WORDS", "background_words", "word_rows"]

BACKGROUND_WORDS = ("background", "other", "SIL", "none")
"""Words for "nothing of interest": of most datasets, CalMS21 and FERAL, Breakfast, and others."""


def background_words(options: ReadOptions) -> tuple[str, ...]:
    """Return the words for "nothing of interest"."""
    return BACKGROUND_WORDS if options.background is None else options.background


def word_rows(words: Sequence[str], vocabulary: Sequence[str], background: Collection[str]) -> FrameLabels:
    """Return rows of labels of a video with one word per frame.

    Args:
        words: (T,) the word of each frame.
        vocabulary: known words in order; others are appended as they occur.
        background: words that are no behavior; a frame with one of them is labeled, with 0 everywhere.
    """
    every = dict.fromkeys([*vocabulary, *words])
    names = tuple(word for word in every if word not in background)
    columns = {word: column for column, word in enumerate(names)}
    values = np.zeros((len(words), len(names)), np.int8)
    for frame, word in enumerate(words):
        if word in columns:
            values[frame, columns[word]] = 1
    return FrameLabels(values, names)
