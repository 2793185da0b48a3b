"""Streams that start from published image weights instead of random ones.

The weights are torchvision's state dicts, which load by key: our backbones have its names. torchvision's
networks expect (pixel / 255 − m) / s; what differs here is folded into the first layer:

- Pictures here are (pixel − mean) / 255. 1/s goes into the filters; the means differ by 0.013 s at most,
  which goes into the bias (VGG16) or the running mean behind the convolution (ResNet). Answers are the
  published network's, except that its zero padding is another grey: they differ a little at the border.
- Flow comes in levels of −128…127. Filters are averaged over RGB and repeated for each channel (Wang et al.,
  TSN, arXiv 1608.00859), and 1/(255 s) is folded in. Real flow is far weaker than pictures are, and summed
  over 20 channels the first block then answers with a good part of what it answers to pictures; without
  the folding it would be many times that (a test holds the range, on recorded clips).
- Convolutions over time repeat the filter and divide by their length (Carreira and Zisserman, arXiv
  1705.07750), so a flow that doesn't change gives what it gives in 2-D, away from the ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.video.transforms import MEAN_RGB
from hidden_two_stream.weights.fetch import locate, read_state_dict

__all__ = [
    "FLOW_GAIN",
    "PUBLISHED",
    "Initialization",
    "Published",
    "adapt",
    "find_weights",
    "initialize_streams",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FLOW_GAIN = 20 / 3
"""Sum of the flow filters relative to the sum over R, G and B: averaged over 3, repeated for 20 channels.

The same for any number of channels, so that activations depend neither on the clip's length nor on whether a
convolution adds up the fields or runs along them.
"""


@dataclass(frozen=True)
class Published:
    """Where a backbone's weights are published, and which of its tensors need care.

    Attributes:
        url: torchvision's state dict; its name ends in the beginning of its SHA-256.
        first: filters of the first convolution.
        offset: what a constant added to the first convolution goes into.
        offset_sign: +1 for a bias, −1 for a running mean, which is subtracted.
        head: beginning of the names in the last layer, which depends on the classes.
    """

    url: str
    first: str
    offset: str
    offset_sign: int
    head: str


_HOST = "https://download.pytorch.org/models"
PUBLISHED = {
    "resnet18": Published(f"{_HOST}/resnet18-f37072fd.pth", "conv1.weight", "bn1.running_mean", -1, "fc."),
    # The plain recipe (V1), as for the others here and in published two-stream results; V2 by its URL.
    "resnet50": Published(f"{_HOST}/resnet50-0676ba61.pth", "conv1.weight", "bn1.running_mean", -1, "fc."),
    "vgg16": Published(
        f"{_HOST}/vgg16-397923af.pth", "features.0.weight", "features.0.bias", 1, "classifier.6."
    ),
}


@dataclass(frozen=True)
class Initialization:
    """What `initialize_streams` did.

    Attributes:
        file: name of the weights' file.
        sha256: its hash.
        fresh: for each stream that was started from it, the tensors that stayed random.
        skipped: streams without a backbone of their own (branched), which stayed as they were.
    """

    file: str
    sha256: str
    fresh: Mapping[str, Sequence[str]]
    skipped: Sequence[str]


def find_weights(backbone: str, source: str, quiet: bool = False) -> tuple[Path, str]:
    """The file behind `source` (not "none") and its SHA-256; downloads it if need be.

    Raises:
        UsageError, CheckpointError, OutputError: as `initialize_streams`.
    """
    if backbone not in PUBLISHED:
        raise UsageError(
            f"backbone {backbone!r} has no published image weights; choose one of {', '.join(PUBLISHED)}, "
            "or start from none"
        )
    return locate(PUBLISHED[backbone].url if source == "imagenet" else source, quiet)


def initialize_streams(
    model: HiddenTwoStream, backbone: str, source: str, *, quiet: bool = False
) -> Initialization | None:
    """Load image weights into the streams of `model`, in place; the last layers stay fresh.

    Nothing is changed after an error.

    Args:
        model: spatial, temporal or both streams.
        backbone: of these streams, a name in `PUBLISHED`.
        source: "none"; "imagenet", the published weights of this backbone; an http, https or file URL with
            the file's SHA-256 in its name (name-1a2b3c4d.pth) or behind it (#sha256=...); or a file with a
            torchvision state dict (.pth, or .safetensors). Downloads are kept in torch hub's folder.
        quiet: no progress of a download on stderr.

    Returns:
        What was done, None for "none".

    Raises:
        UsageError: the backbone has no image weights, there is nothing at `source`, or a URL has no hash.
        CheckpointError: the download fails or has another hash, the file is damaged or of another backbone.
        OutputError: torch hub's folder is not writable.
    """
    if source == "none":
        return None
    networks, skipped = _backbones(model)
    if not networks:
        raise UsageError("this model has no stream that image weights fit; start from none")
    path, digest = find_weights(backbone, source, quiet)
    published = PUBLISHED[backbone]
    tensors = read_state_dict(path)
    loaded: dict[str, dict[str, Tensor]] = {}
    for name, network in networks.items():
        wanted = {key: value.shape for key, value in network.state_dict().items()}
        wrong = _mismatches(tensors, wanted, published)
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            found = "; ".join(wrong[:3]) + more
            raise CheckpointError(f"{str(path)!r} holds no weights of {backbone}: {found}; give another file")
        loaded[name] = _prepared(tensors, wanted, published, is_flow=name == "temporal")
    for name, network in networks.items():
        network.load_state_dict(loaded[name], strict=False)
    fresh = {name: _head(network, published) for name, network in networks.items()}
    return Initialization(path.name, digest, fresh, skipped)


def _backbones(model: HiddenTwoStream) -> tuple[dict[str, nn.Module], tuple[str, ...]]:
    """The backbone of each stream that the model has, and the streams that have none of their own."""
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


def adapt(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor for a parameter of `shape`: filters (out, in, h, w) become (out, in, t, h, w) divided by t.

    All others stay as they are.
    """
    if len(shape) == 5 and tensor.ndim == 4:
        return tensor[:, :, None].expand(*shape) / shape[2]
    return tensor


def _prepared(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], published: Published, is_flow: bool
) -> dict[str, Tensor]:
    """What a stream's backbone of the shapes `wanted` loads."""
    prepared = {name: tensors[name] for name in wanted if name in tensors and not _is_head(name, published)}
    deviation = torch.tensor(IMAGENET_STD)[:, None, None]
    filters = prepared[published.first] / deviation
    if is_flow:
        channels = wanted[published.first][1]
        summed = filters.sum(dim=1, keepdim=True) * (FLOW_GAIN / (255 * channels))
        prepared[published.first] = summed.repeat(1, channels, 1, 1)
    else:
        prepared[published.first] = filters
        shift = torch.tensor(MEAN_RGB) / 255 - torch.tensor(IMAGENET_MEAN)
        constant = (filters * shift[:, None, None]).sum(dim=(1, 2, 3))
        prepared[published.offset] = prepared[published.offset] + published.offset_sign * constant
    return {name: adapt(tensor, wanted[name]) for name, tensor in prepared.items()}


def _mismatches(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], published: Published
) -> list[str]:
    """What keeps a file from being the published weights of a backbone of the shapes `wanted`."""
    wrong = []
    for name, shape in wanted.items():
        if _is_head(name, published):
            continue
        flat = (shape[0], shape[1], *shape[3:]) if len(shape) == 5 else tuple(shape)
        expected = (flat[0], 3, *flat[2:]) if name == published.first else flat
        if name not in tensors:
            # Files from before PyTorch 0.4.1 lack this counter, which nothing here reads.
            if not name.endswith("num_batches_tracked"):
                wrong.append(f"{name} is missing")
        elif tuple(tensors[name].shape) != expected:
            wrong.append(f"{name} has shape {tuple(tensors[name].shape)}, not {expected}")
        elif not tensors[name].isfinite().all():
            wrong.append(f"{name} is not finite")
    unknown = [name for name in tensors if name not in wanted]
    return wrong + [f"{name} is unknown" for name in unknown]


def _is_head(name: str, published: Published) -> bool:
    return name.startswith(published.head)


def _head(network: nn.Module, published: Published) -> tuple[str, ...]:
    return tuple(name for name in network.state_dict() if _is_head(name, published))
