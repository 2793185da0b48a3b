"""Initializes streams with published image weights instead of random ones.

The weights are torchvision's state dicts for ImageNet, which load by key because the backbones have the same
parameter names. torchvision's networks expect (pixel / 255 − m) / s. The first layer absorbs the differences:

- Frames are (pixel − mean) / 255. The filters absorb 1/s. The means differ by at most 0.013 s; the bias
  (VGG16) or the running mean behind the convolution (ResNet) absorbs that. The outputs equal those of the
  published network, except near the border, where zero padding means another gray.
- Flow has levels of −128…127. The filters are averaged over RGB, repeated for each channel (Wang et al., TSN,
  arXiv 1608.00859), and absorb 1/(255 s). Real flow is much weaker than frames. Summed over 20 channels, it
  then gives activations of a similar size as frames do; without the factor they would be many times larger
  (a test checks the range on recorded clips).
- Convolutions over time repeat the filter and divide it by their length (Carreira and Zisserman, arXiv
  1705.07750). Away from the ends of a clip, constant flow then gives the features of the 2-D network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.tensors import not_finite
from hidden_two_stream.video.transforms import MEAN_RGB
from hidden_two_stream.weights.fetch import fetch_weights, read_state_dict

__all__ = [
    "FLOW_GAIN",
    "PUBLISHED",
    "Initialization",
    "PublishedWeights",
    "check_image_weights",
    "find_image_weights",
    "inflate_filters",
    "initialize_streams",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FLOW_GAIN = 20 / 3
"""Sum of the flow filters relative to the sum over R, G and B: averaged over 3, repeated for 20 channels.

The sum is the same for any number of channels. So activations depend neither on the length of a clip nor on
whether a convolution sums over the flow fields or runs along them.
"""


@dataclass(frozen=True)
class PublishedWeights:
    """Source of a backbone's image weights, and the names of the tensors that are adapted.

    Attributes:
        url: torchvision's state dict; its name ends with the start of its SHA-256.
        first: filters of the first convolution.
        offset: tensor that absorbs a constant offset of the first convolution.
        offset_sign: +1 if `offset` is a bias, −1 if it is a running mean, which is subtracted.
        head: prefix of the last layer's parameter names; their shapes depend on the number of classes.
    """

    url: str
    first: str
    offset: str
    offset_sign: int
    head: str


_HOST = "https://download.pytorch.org/models"
PUBLISHED = {
    "resnet18": PublishedWeights(
        f"{_HOST}/resnet18-f37072fd.pth", "conv1.weight", "bn1.running_mean", -1, "fc."
    ),
    # torchvision's first version (V1), as in published two-stream results; users can give the URL of V2.
    "resnet50": PublishedWeights(
        f"{_HOST}/resnet50-0676ba61.pth", "conv1.weight", "bn1.running_mean", -1, "fc."
    ),
    "vgg16": PublishedWeights(
        f"{_HOST}/vgg16-397923af.pth", "features.0.weight", "features.0.bias", 1, "classifier.6."
    ),
}


@dataclass(frozen=True)
class Initialization:
    """Result of `initialize_streams`.

    Attributes:
        file: name of the weights file.
        sha256: SHA-256 of the weights file.
        fresh: initialized stream → its tensors that stay random.
        skipped: streams without a backbone of their own (branched), which do not change.
    """

    file: str
    sha256: str
    fresh: Mapping[str, Sequence[str]]
    skipped: Sequence[str]


def find_image_weights(backbone: str, source: str, quiet: bool = False) -> tuple[Path, str]:
    """Return the path of a backbone's image weights and their SHA-256, after a download if needed.

    Args:
        backbone: a name in `PUBLISHED`.
        source: as in `initialize_streams`, except "none".
        quiet: do not show download progress on stderr.

    Raises:
        UsageError, CheckpointError, OutputError: as `initialize_streams`.
    """
    if backbone not in PUBLISHED:
        raise UsageError(
            f"backbone {backbone!r} has no published image weights; choose one of {', '.join(PUBLISHED)}, "
            "or random weights (none)"
        )
    return fetch_weights(PUBLISHED[backbone].url if source == "imagenet" else source, quiet)


def initialize_streams(
    model: nn.Module, backbone: str, source: str, *, quiet: bool = False
) -> Initialization | None:
    """Load image weights into the streams of `model`, in place; their last layers stay random.

    The model does not change if an error occurs.

    Args:
        model: a `HiddenTwoStream` with a spatial stream, a temporal stream or both; or a baseline.
        backbone: backbone of these streams, a name in `PUBLISHED`.
        source: one of "none"; "imagenet", for torchvision's weights of this backbone; an http, https or file
            URL with the file's SHA-256 in its name (name-1a2b3c4d.pth) or behind it (#sha256=...); a file
            with a torchvision state dict (.pth or .safetensors). Downloads stay in the folder of PyTorch Hub.
        quiet: do not show download progress on stderr.

    Returns:
        The file and the tensors that stay random; None if `source` is "none".

    Raises:
        UsageError: the backbone has no image weights, `source` does not exist, or a URL has no hash.
        CheckpointError: the download fails or has another hash, or the file is damaged or of another
            backbone.
        OutputError: the folder of PyTorch Hub is not writable.
    """
    if source == "none":
        return None
    networks, skipped = _backbones(model)
    loaded, path, digest = _read_adapted(networks, backbone, source, quiet)
    for name, network in networks.items():
        network.load_state_dict(loaded[name], strict=False)
    fresh = {name: _head_names(network, PUBLISHED[backbone]) for name, network in networks.items()}
    return Initialization(path.name, digest, fresh, skipped)


def check_image_weights(model: nn.Module, backbone: str, source: str) -> None:
    """Check that image weights fit the streams of `model`, which does not change.

    Args:
        model: as for `initialize_streams`; it can be on the meta device.
        backbone: backbone of its streams.
        source: as for `initialize_streams`.

    Raises:
        UsageError, CheckpointError, OutputError: as `initialize_streams`.
    """
    if source != "none":
        _read_adapted(_backbones(model)[0], backbone, source, quiet=False)


def _read_adapted(
    networks: Mapping[str, nn.Module], backbone: str, source: str, quiet: bool
) -> tuple[dict[str, dict[str, Tensor]], Path, str]:
    """Return the tensors for the backbone of each stream, and the path and SHA-256 of their file."""
    if not networks:
        raise UsageError("this model has no stream that image weights fit; choose random weights (none)")
    path, digest = find_image_weights(backbone, source, quiet)
    published = PUBLISHED[backbone]
    tensors = read_state_dict(path)
    adapted: dict[str, dict[str, Tensor]] = {}
    for name, network in networks.items():
        wanted = {key: value.shape for key, value in network.state_dict().items()}
        wrong = _mismatches(tensors, wanted, published)
        if not wrong:
            adapted[name] = _adapted(tensors, wanted, published, is_flow=name == "temporal")
            wrong = [f"{key} is too large" for key in not_finite(adapted[name])]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            found = "; ".join(wrong[:3]) + more
            raise CheckpointError(f"{str(path)!r} holds no weights of {backbone}: {found}; give another file")
    return adapted, path, digest


def _backbones(model: nn.Module) -> tuple[dict[str, nn.Module], tuple[str, ...]]:
    """Return the backbone of each stream, and the names of the streams without one of their own."""
    networks: dict[str, nn.Module] = {}
    skipped = []
    for name in ("spatial", "temporal"):
        stream = getattr(model, f"{name}_stream", None)
        if stream is None:
            continue
        if hasattr(stream, "backbone"):
            networks[name] = stream.backbone
        else:
            skipped.append(name)
    return networks, tuple(skipped)


def inflate_filters(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat filters (out, in, h, w) over time and divide them by its length t, to (out, in, t, h, w).

    Args:
        tensor: a parameter of a 2-D network.
        shape: shape of the same parameter here; unless it has a time axis, `tensor` is returned unchanged.
    """
    if len(shape) == 5 and tensor.ndim == 4:
        return tensor[:, :, None].expand(*shape) / shape[2]
    return tensor


def _adapted(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, torch.Size],
    published: PublishedWeights,
    is_flow: bool,
) -> dict[str, Tensor]:
    """Adapt published tensors to the input of a stream whose backbone has the shapes `wanted`."""
    adapted = {name: tensors[name] for name in wanted if name in tensors and not _is_head(name, published)}
    deviation = torch.tensor(IMAGENET_STD)[:, None, None]
    filters = adapted[published.first] / deviation
    if is_flow:
        channels = wanted[published.first][1]
        summed = filters.sum(dim=1, keepdim=True) * (FLOW_GAIN / (255 * channels))
        adapted[published.first] = summed.repeat(1, channels, 1, 1)
    else:
        adapted[published.first] = filters
        shift = torch.tensor(MEAN_RGB) / 255 - torch.tensor(IMAGENET_MEAN)
        constant = (filters * shift[:, None, None]).sum(dim=(1, 2, 3))
        adapted[published.offset] = adapted[published.offset] + published.offset_sign * constant
    return {name: inflate_filters(tensor, wanted[name]) for name, tensor in adapted.items()}


def _mismatches(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], published: PublishedWeights
) -> list[str]:
    """Describe each tensor that keeps a file from fitting a backbone of the shapes `wanted`."""
    wrong = []
    for name, shape in wanted.items():
        if _is_head(name, published):
            continue
        flat = (shape[0], shape[1], *shape[3:]) if len(shape) == 5 else tuple(shape)
        expected = (flat[0], 3, *flat[2:]) if name == published.first else flat
        if name not in tensors:
            # Files from before PyTorch 0.4.1 lack this counter, which has no effect here.
            if not name.endswith("num_batches_tracked"):
                wrong.append(f"{name} is missing")
        elif tuple(tensors[name].shape) != expected:
            wrong.append(f"{name} has shape {tuple(tensors[name].shape)}, not {expected}")
        elif tensors[name].is_complex() or (
            not tensors[name].is_floating_point() and not name.endswith("num_batches_tracked")
        ):
            wrong.append(f"{name} has the type {str(tensors[name].dtype).removeprefix('torch.')}")
        elif not_finite({name: tensors[name]}):
            wrong.append(f"{name} is not finite")
    unknown = [name for name in tensors if name not in wanted]
    return wrong + [f"{name} is unknown" for name in unknown]


def _is_head(name: str, published: PublishedWeights) -> bool:
    return name.startswith(published.head)


def _head_names(network: nn.Module, published: PublishedWeights) -> tuple[str, ...]:
    return tuple(name for name in network.state_dict() if _is_head(name, published))
