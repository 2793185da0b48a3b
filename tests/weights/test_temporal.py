"""Weights of pre-trained temporal streams: round trip, what is taken over, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.recognition.sequence import FLOW_CHANNELS, SequenceStream
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.weights.temporal import (
    KEY,
    find_temporal_weights,
    load_temporal_weights,
    save_temporal_weights,
)

CLASSES = ("walk", "run", "wave")


def stream(classes: int = 3, seed: int = 0) -> SequenceStream:
    torch.manual_seed(seed)
    return SequenceStream(48 + FLOW_CHANNELS, classes, 0.1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    save_temporal_weights(path, stream(), "nano", CLASSES, {"data": "generated"})
    return path


def test_round_trip_in_half_precision(file: Path) -> None:
    info = find_temporal_weights("nano", "sequence", file)
    assert (info.network, info.classes, info.provenance) == ("nano", CLASSES, {"data": "generated"})
    theirs, ours = stream(), stream(seed=1)
    load_temporal_weights(ours, info, last_layer=True)
    for name, tensor in ours.state_dict().items():
        expected = theirs.state_dict()[name]
        torch.testing.assert_close(tensor, expected.half().to(expected.dtype), atol=0, rtol=0)
        assert tensor.dtype == expected.dtype
    assert info.to_dict()["num_classes"] == 3


def test_a_new_stream_keeps_its_own_last_layer(file: Path) -> None:
    ours = stream(classes=7, seed=1)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    load_temporal_weights(ours, find_temporal_weights("nano", "sequence", file))
    same = {name for name, tensor in ours.state_dict().items() if torch.equal(tensor, before[name])}
    assert {"fc.weight", "fc.bias"} <= same
    moved = {name for name in before if name.endswith("weight") and before[name].ndim > 1} - {"fc.weight"}
    assert not moved & same


@pytest.mark.parametrize(
    ("network", "form", "source", "said"),
    [
        ("nano", "branched", "shipped", "model.temporal is 'branched'; set temporal_init=none"),
        ("tiny", "sequence", "shipped", "no temporal weights for the motion network 'tiny'"),
        ("nano", "sequence", "missing.safetensors", "no temporal weights 'missing.safetensors'"),
        ("tiny", "sequence", "", "features of the motion network 'nano', but model.motion is 'tiny'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    network: str, form: str, source: str, said: str, file: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        find_temporal_weights(network, form, source or file)


def test_weights_of_another_stream_are_refused(file: Path) -> None:
    other = SequenceStream(FLOW_CHANNELS, 3, 0.1)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(UsageError, match=r"does not fit this temporal stream: bn0\."):
        load_temporal_weights(other, find_temporal_weights("nano", "sequence", file))
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    "description",
    [
        {"format_version": 1, "network": 3, "classes": ["a"], "provenance": {}},
        {"format_version": 1, "network": "nano", "classes": "abc", "provenance": {}},
        {"format_version": 1, "network": "nano", "classes": ["a", 1], "provenance": {}},
        {"format_version": 1, "network": "nano", "classes": ["a"], "provenance": []},
        {"format_version": 2, "network": "nano", "classes": ["a"], "provenance": {}},
    ],
)
def test_damaged_descriptions_are_named(description: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    save_file(stream().state_dict(), path, {KEY: json.dumps(description)})
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        find_temporal_weights("nano", "sequence", path)


def change(file: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    with_text = read_tensors(file)
    edit(with_text[0])
    save_file(with_text[0], file, with_text[1])


def test_damaged_weights_are_named(file: Path) -> None:
    change(file, lambda tensors: tensors["project.0.weight"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=r"project\.0\.weight is not finite"):
        load_temporal_weights(stream(), find_temporal_weights("nano", "sequence", file))


def test_other_files_are_no_temporal_weights(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="holds no temporal weights"):
        find_temporal_weights("nano", "sequence", tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match=r"expected a name that ends in \.safetensors"):
        save_temporal_weights(tmp_path / "a.pt", stream(), "nano", CLASSES, {})
