"""Streams with image weights give the logits of the published network, on this package's inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.recognition.backbones import VGG16, build_backbone
from hidden_two_stream.recognition.hand_over import hand_over
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.video.transforms import normalize
from hidden_two_stream.weights.imagenet import inflate_filters, initialize_streams

# What torchvision subtracts and divides by, for pixels in 0…1.
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
SIDE = 64


def made_up(network: nn.Module) -> nn.Module:
    """Randomize statistics and offsets too; initial ones are all 0 and 1, which hides missing tensors."""
    generator = torch.Generator().manual_seed(7)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features, generator=generator) * 0.1
            layer.running_var = torch.rand(layer.num_features, generator=generator) + 0.5
            layer.num_batches_tracked = torch.tensor(1234)
            layer.weight.data = torch.rand(layer.num_features, generator=generator) + 0.5
        if isinstance(layer, nn.Linear):  # initial ones are so small that biases would dominate
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * layer.in_features**-0.5
        bias = getattr(layer, "bias", None)
        if isinstance(bias, Tensor):
            bias.data = torch.randn(bias.shape, generator=generator) * 0.1
    return network.eval()


def small_vgg(in_channels: int, num_classes: int) -> nn.Module:
    return VGG16(in_channels, num_classes, (0.0, 0.0), widths=(8, 8, 12, 12, 16), hidden=24)


def published_network(backbone: str) -> nn.Module:
    torch.manual_seed(1)
    if backbone == "vgg16":
        return made_up(small_vgg(3, 1000))
    return made_up(build_backbone(backbone, 3, 1000, 0.0))


def model_on(backbone: str, **options: Any) -> HiddenTwoStream:
    torch.manual_seed(2)
    if backbone != "vgg16":
        return HiddenTwoStream("nano", backbone, 5, **options).eval()
    model = HiddenTwoStream("nano", "small", 5, **options).eval()
    model.spatial_stream.backbone = small_vgg(3, 5).eval()
    model.temporal_stream.backbone = small_vgg(2 * (options.get("num_frames", 11) - 1), 5).eval()
    return model


def with_head_of(network: nn.Module, other: nn.Module) -> nn.Module:
    """Give `network` the other's last layer, so that the logits of both can be compared."""
    if isinstance(network, VGG16):
        network.classifier[6] = other.get_submodule("classifier.6")
    else:
        network.fc = other.get_submodule("fc")
    return network


def save(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("published")
    return {
        name: save(published_network(name), folder / f"{name}.pth")
        for name in ("vgg16", "resnet18", "resnet50")
    }


def first_convolution(network: nn.Module) -> nn.Module:
    return network.get_submodule("features.0" if isinstance(network, VGG16) else "conv1")


def spread(answers: Tensor) -> float:
    """Return how much the outputs of two inputs differ, as the scale for errors."""
    return float((answers[0] - answers[1]).std())


def assert_same(answers: Tensor, expected: Tensor) -> None:
    assert (answers - expected).abs().max() < 1e-3 * spread(expected)


def clips(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(3))


# -- the spatial stream ----------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["vgg16", "resnet18", "resnet50"])
def test_frames_give_the_logits_of_the_published_network(backbone: str, files: dict[str, Path]) -> None:
    """They agree closely if the published network is padded with the gray that is zero here."""
    model = model_on(backbone, streams=("spatial",)) if backbone != "vgg16" else model_on(backbone)
    initialize_streams(model, backbone, str(files[backbone]))
    original = published_network(backbone)
    ours = with_head_of(model.spatial_stream.backbone, original)
    pixels = clips(2)
    seen = (pixels / 255 - MEAN) / STD
    with torch.no_grad():
        answer = ours(normalize(pixels))
        published = original(seen)
        convolution = first_convolution(original)
        assert isinstance(convolution, nn.Conv2d)
        width = int(convolution.padding[0])
        gray = (torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1) / 255 - MEAN) / STD
        around = functional.pad(seen - gray, (width,) * 4) + gray
        convolution.padding = (0, 0)
        expected = original(around)
    assert_same(answer, expected)
    border = (answer - published).abs().max() / spread(published)
    assert 1e-3 < border < 0.1  # the other gray around the frame has a small effect


def test_the_spatial_stream_takes_the_middle_frame(files: dict[str, Path]) -> None:
    model = model_on("resnet18")
    initialize_streams(model, "resnet18", str(files["resnet18"]))
    original = published_network("resnet18")
    with_head_of(model.spatial_stream.backbone, original)
    pixels = clips(11)
    with torch.no_grad():
        answer = model.spatial(normalize(pixels)[None])[0]
        expected = original((pixels / 255 - MEAN) / STD)
    distances = (expected - answer).norm(dim=1)
    assert distances.argmin() == 5
    assert distances[5] < 0.2 * distances[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]].min()


# -- the temporal stream ---------------------------------------------------------------------------


def test_flow_filters_are_the_mean_over_colors(files: dict[str, Path]) -> None:
    """The rule of TSN in NumPy, for levels instead of standardized pixels."""
    model = model_on("resnet18")
    initialize_streams(model, "resnet18", str(files["resnet18"]))
    published = torch.load(files["resnet18"], weights_only=True)["conv1.weight"].numpy()
    filters = model.temporal_stream.backbone.conv1.weight.detach().numpy()
    mean = np.mean([published[:, c] / (255 * s) for c, s in enumerate((0.229, 0.224, 0.225))], axis=0)
    assert filters.shape == (64, 20, 7, 7)
    for channel in range(20):
        np.testing.assert_allclose(filters[:, channel], mean, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("backbone", "num_frames"), [("vgg16", 11), ("resnet18", 11), ("resnet18", 4)])
def test_equal_flow_in_all_channels_acts_as_a_gray_frame(
    backbone: str, num_frames: int, files: dict[str, Path]
) -> None:
    """The frame has 20/3 times the contrast, for any number of frames."""
    model = model_on(backbone, num_frames=num_frames)
    initialize_streams(model, backbone, str(files[backbone]))
    original = published_network(backbone)
    ours = with_head_of(model.temporal_stream.backbone, original)
    levels = torch.randn(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4)) * 8
    with torch.no_grad():
        answer = ours(levels.expand(-1, 2 * (num_frames - 1), -1, -1))
        expected = original(levels * (20 / 3) / 255 / STD)
    assert_same(answer, expected)


def test_constant_flow_gives_equal_features_in_2d_and_3d(files: dict[str, Path]) -> None:
    """Holds in the middle of a clip that is too long for 17 layers, 3 fields each, to reach its ends."""
    model = model_on("resnet18", temporal="inflated", streams=("temporal",))
    solid = model.temporal_stream.backbone
    initialize_streams(model, "resnet18", str(files["resnet18"]))
    stacked = model_on("resnet18", streams=("temporal",))
    initialize_streams(stacked, "resnet18", str(files["resnet18"]))
    flat = stacked.temporal_stream.backbone
    seen: dict[str, Tensor] = {}
    for name, network in (("flat", flat), ("solid", solid)):
        network.layer4.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    flow = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(5)) * 8
    with torch.no_grad():
        flat(flow.repeat(1, 10, 1, 1))
        solid(flow[:, :, None].expand(-1, -1, 35, -1, -1))
    expected, video = seen["flat"], seen["solid"]
    assert expected.std() > 0.01
    torch.testing.assert_close(video[:, :, 17], expected, rtol=1e-4, atol=1e-4 * expected.std().item())
    assert (video[:, :, 0] - expected).abs().max() > 0.01 * expected.std()  # the ends do differ


def test_inflated_filters_are_divided_by_their_length() -> None:
    filters = torch.randn(4, 2, 3, 3)
    solid = inflate_filters(filters, (4, 2, 5, 3, 3))
    assert solid.shape == (4, 2, 5, 3, 3)
    torch.testing.assert_close(solid.sum(dim=2), filters)
    assert torch.equal(solid[:, :, 0], solid[:, :, 4])
    assert inflate_filters(filters, filters.shape) is filters


def test_recorded_flow_gives_activations_of_similar_size_as_frames(
    data_root: Path, files: dict[str, Path]
) -> None:
    pytest.importorskip("cv2")
    from hidden_two_stream.motion.estimators.classical import estimator
    from hidden_two_stream.video.reader import VideoReader

    torch.manual_seed(0)
    filters = torch.randn(64, 3, 3, 3) * (2 / 27) ** 0.5
    network = small_vgg(3, 1000)
    network.features[0].weight.data[:] = filters[:8]
    model = model_on("vgg16")
    for stream, channels in ((model.spatial_stream, 3), (model.temporal_stream, 20)):
        stream.backbone = small_vgg(channels, 5)
    path = save(network, files["vgg16"].with_name("filters.pth"))
    initialize_streams(model, "vgg16", str(path))
    images, flows = [], []
    for name in ("person01_walking_d1_uncomp.avi", "v_BaseballPitch_g01_c01.avi"):
        with VideoReader(data_root / "clips" / name) as reader:
            frames = reader.read(range(20, 31))
        flow = torch.from_numpy(estimator("dis-medium")(frames))[None]
        flows.append(hand_over(flow, *frames.shape[1:3]))
        images.append(normalize(torch.from_numpy(frames[5]).permute(2, 0, 1))[None])
    with torch.no_grad():
        still = torch.cat([model.spatial_stream.backbone.features[0](x).flatten() for x in images])
        motion = torch.cat([model.temporal_stream.backbone.features[0](x).flatten() for x in flows])
    assert 0.1 < motion.std() / still.std() < 2


# -- the result, and unchanged tensors -------------------------------------------------------------


def test_none_changes_nothing() -> None:
    model = model_on("small")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert initialize_streams(model, "small", "none") is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_only_the_last_layers_stay_random_and_are_named(files: dict[str, Path]) -> None:
    model = model_on("resnet18")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    done = initialize_streams(model, "resnet18", str(files["resnet18"]))
    assert done is not None
    assert done.file == "resnet18.pth"
    assert len(done.sha256) == 64
    assert done.fresh == {"spatial": ("fc.weight", "fc.bias"), "temporal": ("fc.weight", "fc.bias")}
    assert done.skipped == ()
    kept = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    fresh = {f"{stream}_stream.backbone.fc.{kind}" for stream in done.fresh for kind in ("weight", "bias")}
    motion = {name for name in before if name.startswith("motion_net.")}
    assert kept == fresh | motion


def test_a_last_layer_of_the_same_size_stays_random_too(files: dict[str, Path]) -> None:
    model = HiddenTwoStream("nano", "resnet18", 1000, streams=("spatial",))
    before = model.spatial_stream.backbone.fc.weight.clone()
    initialize_streams(model, "resnet18", str(files["resnet18"]))
    assert torch.equal(model.spatial_stream.backbone.fc.weight, before)


def test_the_branched_temporal_stream_does_not_change(files: dict[str, Path]) -> None:
    model = HiddenTwoStream("full", "resnet18", 5, temporal="branched")
    before = {name: value.clone() for name, value in model.temporal_stream.state_dict().items()}
    done = initialize_streams(model, "resnet18", str(files["resnet18"]))
    assert done is not None
    assert list(done.fresh) == ["spatial"]
    assert done.skipped == ("temporal",)
    assert all(torch.equal(value, before[name]) for name, value in model.temporal_stream.state_dict().items())


def test_a_model_without_a_backbone_is_rejected(files: dict[str, Path]) -> None:
    model = model_on("small", streams=("spatial",))
    del model.spatial_stream
    with pytest.raises(UsageError, match="no stream that image weights fit"):
        initialize_streams(model, "resnet18", str(files["resnet18"]))


def old_format(tensors: dict[str, Tensor], path: Path) -> Path:
    kept = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    torch.save(kept, path, _use_new_zipfile_serialization=False)
    return path


def as_safetensors(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def without_head(tensors: dict[str, Tensor], path: Path) -> Path:
    torch.save({name: value for name, value in tensors.items() if not name.startswith("fc.")}, path)
    return path


@pytest.mark.parametrize("write", [old_format, as_safetensors, without_head])
def test_other_forms_of_the_file_give_the_same(
    write: Callable[[dict[str, Tensor], Path], Path], files: dict[str, Path], tmp_path: Path
) -> None:
    expected, other = (model_on("resnet18", streams=("spatial",)) for _ in range(2))
    initialize_streams(expected, "resnet18", str(files["resnet18"]))
    path = write(published_network("resnet18").state_dict(), tmp_path / "other.pth")
    initialize_streams(other, "resnet18", str(path))
    wanted = dict(expected.named_parameters())
    assert all(torch.equal(value, wanted[name]) for name, value in other.named_parameters())


def test_half_precision_files_load(tmp_path: Path) -> None:
    network = published_network("vgg16")
    path = save(network.half(), tmp_path / "half.pth")
    model = model_on("vgg16")
    initialize_streams(model, "vgg16", str(path))
    weight = model.spatial_stream.backbone.features[2].weight
    assert torch.equal(weight, network.get_parameter("features.2.weight").float())


# -- invalid files --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["imagenet", "weights.pth"])
def test_a_backbone_without_published_weights_is_rejected(source: str) -> None:
    with pytest.raises(
        UsageError, match="'small' has no published image weights; choose one of resnet18, res"
    ):
        initialize_streams(model_on("small"), "small", source)


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    tensors = published_network("vgg16").state_dict()
    for name, value in changes.items():
        key = name.replace("__", ".")
        tensors.pop(key, None)
        if value is not None:
            tensors[key] = value
    return tensors


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (changed(features__5__bias=None), "features.5.bias is missing"),
        (changed(features__99__bias=torch.zeros(3)), "features.99.bias is unknown"),
        (changed(features__5__bias=torch.zeros(3)), r"features.5.bias has shape \(3,\), not \(8,\)"),
        (
            changed(features__0__weight=torch.zeros(8, 20, 3, 3)),
            r"features.0.weight has shape \(8, 20, 3, 3\), not \(8, 3, 3, 3\)",
        ),
        (changed(features__5__bias=torch.full((8,), torch.nan)), "features.5.bias is not finite"),
    ],
)
def test_a_wrong_tensor_is_named_and_nothing_changes(
    tensors: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    model = model_on("vgg16")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(tensors, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=message):
        initialize_streams(model, "vgg16", str(tmp_path / "odd.pth"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_of_another_backbone_are_rejected_in_one_line(files: dict[str, Path]) -> None:
    model = model_on("resnet50", streams=("spatial",))
    with pytest.raises(CheckpointError, match=r"holds no weights of resnet50: .* and \d+ more") as caught:
        initialize_streams(model, "resnet50", str(files["resnet18"]))
    assert "\n" not in str(caught.value)
