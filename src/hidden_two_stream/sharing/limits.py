"""What a model cannot do, as far as its run says so."""

from __future__ import annotations

from collections.abc import Iterator

from hidden_two_stream.progress import number_of
from hidden_two_stream.reports.run_card import RunCard
from hidden_two_stream.sharing.card_text import percent

__all__ = ["limits"]

_FEW = 100
"""Test videos below which the card warns of the width of the interval."""


def limits(card: RunCard) -> Iterator[str]:
    """Yield one line for each limit."""
    if card.kind == "clips":
        yield from _of_classes(card)
    elif card.kind == "frame labels":
        yield "It knows these behaviors only. It looks at whole frames: it does not say who acts."
    yield from _of_input(card)
    yield from _of_test(card)
    if card.kind != "motion network":
        yield "Other cameras, viewpoints, places and people than those of the training data were not tested."
        yield "Do not let its labels alone decide about people."


def _of_classes(card: RunCard) -> Iterator[str]:
    calibration = card.metadata.calibration
    if calibration is None or (calibration.prototypes is None and calibration.threshold is None):
        yield (
            "It gives every video one of its classes, also a video that shows none of them "
            "(`--threshold` sets a least score)."
        )
    else:
        yield "It can answer that no class fits, but misses some of the videos that show none of its classes."
    yield "It expects one action per clip. `hts segment` looks for actions in longer videos."
    if card.streams == ("spatial",):
        yield "It sees no motion: actions that differ only in motion look the same to it."
    if card.recipe.input.flip:
        yield "Training mirrored half of the clips: it does not tell left from right."


def _of_input(card: RunCard) -> Iterator[str]:
    recipe, metadata = card.recipe, card.metadata
    size = recipe.input.size
    if size:
        yield (
            f"Frames are reduced to {size} px: what is small or far away in the frame, or moves by much less "
            "than a pixel of that size, is lost."
        )
    rates = dict.fromkeys(f"{rate:.4g}" for rate in (metadata.min_fps, metadata.max_fps) if rate)
    if recipe.input.fps:
        yield f"Videos are sampled at {recipe.input.fps:g} frames per second; faster motion is not seen."
    elif rates:
        yield (
            f"It was trained at {' to '.join(rates)} frames per second. At other rates the same motion looks "
            "faster or slower to it."
        )


def _of_test(card: RunCard) -> Iterator[str]:
    count = card.results.get("num_test_videos")
    if isinstance(count, int) and 0 < count < _FEW:
        low, high = card.results.get("accuracy_interval_95", {}).get("fused", (None, None))
        text = f"The test has {number_of(count, 'video')} only"
        if low is not None:
            text += f": the true accuracy can be anywhere from {percent(low)} to {percent(high)}"
        yield f"{text}."
