"""Motion weights by name and by file: saved weights load again, and errors say what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hidden_two_stream.errors import CheckpointError, OutputError, UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.metrics import endpoint_error_map
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.transforms import normalize, to_tensor
from hidden_two_stream.weights import motion
from hidden_two_stream.weights.motion import (
    find_motion_weights,
    load_motion_weights,
    motion_weights_info,
    save_motion_weights,
    share_layers,
    shipped_motion_weights,
)

PROVENANCE = {"data": "generated", "größe": 3, "steps": [1, 2]}


def network(name: str = "nano", num_frames: int = 11, seed: int = 0) -> nn.Module:
    """Return a network without zero weights, whose flow is not zero."""
    torch.manual_seed(seed)
    built = build_motion(name, num_frames)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return built.eval()


def state(of: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in of.state_dict().items()}


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with nano, tiny (11 frames), tiny-2, and a file without weights."""
    made = tmp_path_factory.mktemp("shipped")
    save_motion_weights(made / "nano.safetensors", network(), "nano", 0, PROVENANCE)
    save_motion_weights(made / "tiny.safetensors", network("tiny"), "tiny", 11, {})
    save_motion_weights(made / "tiny-2.safetensors", network("tiny", 2), "tiny", 2, {})
    (made / "README.md").write_text("no weights")
    return made


@pytest.fixture
def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use this folder as that of the package; tests must not write to it."""
    monkeypatch.setattr(motion, "SHIPPED", folder)
    return folder


# -- saved weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "member", "frames"), [("nano", "nano", 0), ("tiny-2", "tiny", 2)])
def test_round_trip(shipped: Path, name: str, member: str, frames: int) -> None:
    """The file, read with the safetensors library, holds the weights rounded to half precision."""
    saved = network(member, frames or 11)
    fresh = network(member, frames or 11, seed=5)
    info = load_motion_weights(fresh, name)
    assert (info.network, info.num_frames) == (member, frames)
    assert equal(state(fresh), {key: value.half().float() for key, value in state(saved).items()})
    raw = load_file(shipped / f"{name}.safetensors")
    assert {tensor.dtype for tensor in raw.values()} == {torch.float16}
    assert all(parameter.dtype == torch.float32 for parameter in fresh.parameters())
    assert equal(state(load_and_build(shipped / f"{name}.safetensors")), state(fresh))


def load_and_build(path: Path) -> nn.Module:
    built = motion_weights_info(str(path)).build()
    assert not built.training
    return built


def test_header_describes_the_weights(shipped: Path) -> None:
    with safe_open(shipped / "nano.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["hidden_two_stream_motion"])
    assert header == {"format_version": 1, "network": "nano", "num_frames": 0, "provenance": PROVENANCE}
    assert motion_weights_info("nano").provenance == PROVENANCE


def test_names(shipped: Path) -> None:
    assert shipped_motion_weights() == ("nano", "tiny", "tiny-2")


@pytest.mark.parametrize("frames", [2, 3, 11])
def test_nano_has_one_file_for_any_number_of_frames(shipped: Path, frames: int) -> None:
    assert find_motion_weights("nano", frames).file == shipped / "nano.safetensors"
    load_motion_weights(build_motion("nano", frames), "nano")


@pytest.mark.parametrize(("frames", "name"), [(2, "tiny-2"), (11, "tiny")])
def test_tiny_has_a_file_for_each_number_of_frames(shipped: Path, frames: int, name: str) -> None:
    assert find_motion_weights("tiny", frames).file == shipped / f"{name}.safetensors"


def test_half_precision_hardly_changes_the_flow(shipped: Path) -> None:
    """The change is at most 0.02 px of the 96-pixel frames, where the flow itself is over 0.5 px."""
    full, half = network(), motion_weights_info("nano").build()
    clip = generate_clip("right", 3, num_frames=4, size=96).frames
    frames = normalize(to_tensor(clip))[None]
    with torch.inference_mode():
        flows = [resize_flow(one(frames)[0], 96, 96) for one in (full, half)]
    difference = endpoint_error_map(*flows)
    assert 0 < difference.max() <= 0.02
    assert torch.linalg.vector_norm(flows[0], dim=-3).max() > 0.5


# -- errors ----------------------------------------------------------------------------------------


def with_description(path: Path, out: Path, **changes: Any) -> Path:
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    described = json.loads(metadata["hidden_two_stream_motion"]) | changes
    save_file(load_file(path), out, {"hidden_two_stream_motion": json.dumps(described)})
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "has format version 2, this package reads 1; use the version"),
        ({"format_version": None}, "has format version None"),
        ({"network": "giant"}, "for the unknown network 'giant'; this version has full, tiny, nano"),
        ({"network": ["nano"]}, r"the unknown network \['nano'\]"),
        ({"num_frames": 1}, "is damaged: num_frames 1"),
        ({"num_frames": True}, "is damaged: num_frames True"),
        ({"num_frames": "2"}, "is damaged: num_frames '2'"),
        ({"provenance": None}, "is damaged: .*provenance None"),
    ],
)
def test_invalid_descriptions_are_rejected(
    shipped: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = with_description(shipped / "nano.safetensors", tmp_path / "x.safetensors", **changes)
    fresh = network(seed=5)
    before = state(fresh)
    for read in (motion_weights_info, lambda source: load_motion_weights(fresh, source)):
        with pytest.raises(CheckpointError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert equal(state(fresh), before)


def test_other_files_are_rejected(shipped: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, other)
    with pytest.raises(CheckpointError, match=r"holds no motion weights.*--motion-from RUN"):
        motion_weights_info(other)
    whole = (shipped / "nano.safetensors").read_bytes()
    other.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        motion_weights_info(other)


def test_unknown_names(shipped: Path, tmp_path: Path) -> None:
    listed = "a name that the package has: nano, tiny, tiny-2"
    for source in ("micro", "x" * 5000, tmp_path / "gone.safetensors", tmp_path):
        with pytest.raises(UsageError, match=listed):
            load_motion_weights(network(), source)
    with pytest.raises(UsageError, match="no weights of the network 'full', only: nano, tiny"):
        motion_weights_info("full")


def test_a_package_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "SHIPPED", tmp_path)
    assert shipped_motion_weights() == ()
    with pytest.raises(UsageError, match="none in this version"):
        motion_weights_info("nano")
    with pytest.raises(UsageError, match=r"only for: none in this version; start with .*: --from-scratch"):
        find_motion_weights("nano", 11)


@pytest.mark.parametrize(("member", "frames"), [("tiny", 3), ("full", 11)])
def test_no_shipped_weights_for_a_network(shipped: Path, member: str, frames: int) -> None:
    message = (
        f"the package has no weights for {member} on {frames} frames, only for: "
        "nano on any number of frames, tiny on 11 frames, tiny on 2 frames"
    )
    with pytest.raises(UsageError, match=message):
        find_motion_weights(member, frames)


@pytest.mark.parametrize(
    ("member", "frames", "source"), [("tiny", 11, "tiny-2"), ("nano", 11, "tiny"), ("tiny", 2, "nano")]
)
def test_weights_of_another_network(shipped: Path, member: str, frames: int, source: str) -> None:
    with pytest.raises(UsageError, match=f"expected weights for {member} on {frames} frames"):
        find_motion_weights(member, frames, source)
    fresh = network(member, frames, seed=5)
    before = state(fresh)
    with pytest.raises(UsageError, match=r"does not fit this network: .*; give weights of the same network"):
        load_motion_weights(fresh, source)
    assert equal(state(fresh), before)


def test_damaged_weights(shipped: Path, tmp_path: Path) -> None:
    """Weights with a wrong shape or a value that is not finite are rejected."""
    tensors, path = load_file(shipped / "nano.safetensors"), tmp_path / "x.safetensors"
    with safe_open(shipped / "nano.safetensors", framework="pt") as file:
        metadata = dict(file.metadata())
    first = next(iter(tensors))
    save_file(tensors | {first: torch.zeros(3)}, path, metadata)
    with pytest.raises(UsageError, match=rf"{first} has shape \(3,\), not"):
        find_motion_weights("nano", 2, path)
    save_file(tensors | {first: tensors[first] * torch.nan}, path, metadata)
    with pytest.raises(CheckpointError, match=f"{first} is not finite"):
        find_motion_weights("nano", 2, path)


def too_large() -> nn.Module:
    some = network()
    with torch.no_grad():
        next(some.parameters()).fill_(70_000)
    return some


@pytest.mark.parametrize(
    ("make", "name", "frames", "message"),
    [
        (network, "tiny", 11, "this network is not tiny on 11 frames: .*; give its own name"),
        (lambda: network("tiny"), "tiny", 2, "this network is not tiny on 2 frames"),
        (lambda: network("tiny", 2), "tiny", 0, "this network is not tiny on any number of frames"),
        (network, "giant", 0, "unknown motion network 'giant'"),
        (network, "nano", 1, "num_frames is 1; expected 0"),
        (too_large, "nano", 0, "is not finite in half precision"),
    ],
)
def test_invalid_weights_are_not_written(
    tmp_path: Path, make: Callable[[], nn.Module], name: str, frames: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        save_motion_weights(tmp_path / "x.safetensors", make(), name, frames, {})
    assert list(tmp_path.iterdir()) == []


def test_unwritable_paths_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        save_motion_weights(tmp_path / "x.pth", network(), "nano", 0, {})
    with pytest.raises(OutputError, match="cannot write"):
        save_motion_weights(tmp_path / "gone" / "x.safetensors", network(), "nano", 0, {})


# -- shared layers ---------------------------------------------------------------------------------


@pytest.fixture
def pairs_of_tiny(shipped: Path, tmp_path: Path) -> tuple[nn.Module, Path]:
    """Return a two-frame network with inner layers of the shipped one for eleven frames, and its file."""
    built = network("tiny", 2, seed=7)
    assert share_layers(built, "tiny") == ["conv2.0", "conv3.0", "conv4.0", "deconv3.0", "deconv2.0"]
    save_motion_weights(tmp_path / "pairs.safetensors", built, "tiny", 2, {}, shares="tiny")
    return built, tmp_path / "pairs.safetensors"


def test_shared_layers_do_not_learn(pairs_of_tiny: tuple[nn.Module, Path]) -> None:
    built, _ = pairs_of_tiny
    before = state(built)
    optimizer = torch.optim.SGD(built.train().requires_grad_(True).parameters(), lr=0.1)
    sum(level.square().mean() for level in built(torch.rand(1, 2, 3, 32, 32))).backward()  # type: ignore[union-attr]
    optimizer.step()
    moved = {name for name, tensor in state(built).items() if not torch.equal(tensor, before[name])}
    assert "conv1.0.weight" in moved
    assert "smooth_conv3.weight" in moved
    assert not {
        name for name in moved if name.split(".")[0] in ("conv2", "conv3", "conv4", "deconv3", "deconv2")
    }


def test_shared_layers_are_kept_once(pairs_of_tiny: tuple[nn.Module, Path], shipped: Path) -> None:
    built, path = pairs_of_tiny
    inner = load_file(shipped / "tiny.safetensors")["conv3.0.weight"]
    assert "conv3.0.weight" not in load_file(path)
    assert path.stat().st_size < 0.4 * (shipped / "tiny-2.safetensors").stat().st_size
    loaded = load_and_build(path)
    assert torch.equal(state(loaded)["conv3.0.weight"], inner.float())
    assert equal(state(loaded), {key: value.half().float() for key, value in state(built).items()})
    assert motion_weights_info(path).to_dict()["shares"][0] == "tiny"


def test_shared_layers_of_another_version(
    pairs_of_tiny: tuple[nn.Module, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the shipped weights with the shared layers changed or are gone, loading is an error."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(motion, "SHIPPED", other)
    with pytest.raises(CheckpointError, match="of another version"):
        motion_weights_info(pairs_of_tiny[1])
    save_motion_weights(other / "tiny.safetensors", network("tiny", seed=9), "tiny", 11, {})
    with pytest.raises(CheckpointError, match="of another version"):
        motion_weights_info(pairs_of_tiny[1])
    with pytest.raises(CheckpointError, match="shares 3"):
        motion_weights_info(with_description(pairs_of_tiny[1], tmp_path / "odd.safetensors", shares=3))
    with pytest.raises(UsageError, match="the package has no motion weights 'small', only: tiny"):
        save_motion_weights(tmp_path / "x.safetensors", network(), "nano", 0, {}, shares="small")


# -- the shipped weights --------------------------------------------------------------------------


def test_shipped_weights_load_and_have_a_provenance() -> None:
    for name in shipped_motion_weights():
        info = motion_weights_info(name)
        assert info.provenance
        assert name == (info.network if info.num_frames in (0, 11) else f"{info.network}-{info.num_frames}")
        info.build()


def test_nano_fine_has_the_weights_of_nano() -> None:
    """The networks differ in their passes over the finest level; the file of nano-fine holds no weights."""
    fine, nano = motion_weights_info("nano-fine"), motion_weights_info("nano")
    assert load_file(fine.file) == {}
    networks = fine.build(), nano.build()
    assert [network.finest_passes for network in networks] == [3, 1]
    assert equal(state(networks[0]), state(networks[1]))
    assert find_motion_weights("nano-fine", 11).file == fine.file
