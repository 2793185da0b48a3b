"""What a training run takes from the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.fit import resolve_input


@pytest.mark.parametrize(
    ("recipe", "settings", "size"),
    [
        ("nano", (), 64),
        ("nano", ("input.min_size=32",), 32),
        ("nano", ("input.min_size=70",), 96),
        ("nano", ("input.max_size=32",), 32),
        ("nano", ("input.size=96",), 96),
        ("tiny", (), 128),  # its flow of small pictures is worse
        ("tiny", ("input.max_size=64",), 64),
    ],
)
def test_input_size_for_videos_of_32_px(
    tmp_path: Path, recipe: str, settings: tuple[str, ...], size: int
) -> None:
    listing = write_dataset(tmp_path, train_per_class=1, test_per_class=1, num_frames=2, size=32)
    found = resolve_input(load_recipe(recipe, settings), read_dataset_index(listing).samples)
    assert (found.input.size, found.input.resize) == (size, size)
