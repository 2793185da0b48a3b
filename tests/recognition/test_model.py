"""Both streams together: shapes, what each sees, and where gradients go."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.streams import hand_over

PAIRINGS = [("nano", "small", 4), ("tiny", "resnet18", 2)]
"""Motion network, backbone, and how much finer the input is than the finest flow."""


def lively(motion: str, backbone: str, num_frames: int = 3) -> HiddenTwoStream:
    """With sizeable flow and scores, in evaluation mode."""
    torch.manual_seed(0)
    model = HiddenTwoStream(motion, backbone, num_classes=5, num_frames=num_frames)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "predict.weight" in name or name.endswith("fc.weight"):
                parameter.normal_(std=0.2)
    return model.eval()


@pytest.mark.parametrize(("motion", "backbone", "factor"), PAIRINGS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 48), (19, 33)])
def test_shapes(motion: str, backbone: str, factor: int, height: int, width: int) -> None:
    model = lively(motion, backbone)
    frames = torch.randn(2, 3, 3, height, width)
    with torch.no_grad():
        pyramid = model.motion(frames)
        logits = model(frames)
    assert len(pyramid) == 3
    for level, flow in enumerate(pyramid):
        stride = factor * 2**level
        assert flow.shape == (2, 2, 2, -(-height // stride), -(-width // stride))
    assert set(logits) == {"spatial", "temporal"}
    for values in logits.values():
        assert values.shape == (2, 5)
        assert values.isfinite().all()


@pytest.mark.parametrize(("motion", "backbone", "factor"), PAIRINGS)
def test_forward_is_its_parts(motion: str, backbone: str, factor: int) -> None:
    model = lively(motion, backbone)
    frames = torch.randn(2, 3, 3, 32, 48)
    with torch.no_grad():
        logits = model(frames)
        torch.testing.assert_close(model.spatial(frames), logits["spatial"])
        torch.testing.assert_close(model.temporal(frames), logits["temporal"])
        flow = model.motion_net(frames)[0]
        assert flow.shape[-2:] == (32 // factor, 48 // factor)
        expected = model.temporal_stream.backbone(hand_over(flow, 32, 48))
        torch.testing.assert_close(logits["temporal"], expected)
        torch.testing.assert_close(model.spatial_stream.backbone(frames[:, 1]), logits["spatial"])


@pytest.mark.parametrize(("motion", "backbone", "factor"), PAIRINGS)
def test_action_loss_reaches_the_motion_network_and_not_the_spatial_stream(
    motion: str, backbone: str, factor: int
) -> None:
    """The joint stage lives of this: a hidden flow without a gradient would train nothing."""
    model = lively(motion, backbone)
    frames = torch.randn(2, 3, 3, 32, 32)
    functional.cross_entropy(model.temporal(frames), torch.tensor([1, 4])).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("spatial_stream"):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_spatial_loss_does_not_reach_motion() -> None:
    model = lively("nano", "small")
    functional.cross_entropy(model.spatial(torch.randn(2, 3, 3, 32, 32)), torch.tensor([1, 4])).backward()
    touched = {
        name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    assert touched == {"spatial_stream"}


class ConstantMotion(nn.Module):
    """The same flow for every clip."""

    def forward(self, frames: Tensor) -> list[Tensor]:
        batch, num_frames, _, height, width = frames.shape
        flow = torch.linspace(-3, 3, width // 2).expand(batch, num_frames - 1, 2, height // 2, width // 2)
        return [flow]


def test_temporal_stream_sees_flow_alone_and_spatial_stream_one_frame() -> None:
    model = lively("nano", "small")
    frames, others = torch.randn(2, 2, 3, 3, 32, 32).unbind(0)
    with torch.no_grad():
        assert not torch.equal(model.temporal(frames), model.temporal(others))
        model.motion_net = ConstantMotion()
        assert torch.equal(model.temporal(frames), model.temporal(others))
        others[:, 1] = frames[:, 1]
        assert torch.equal(model.spatial(frames), model.spatial(others))


def test_clips_of_a_batch_do_not_mix_when_predicting() -> None:
    model = lively("nano", "small")
    frames = torch.randn(3, 3, 3, 32, 32)
    with torch.no_grad():
        together = model(frames)
        alone = [model(frames[i : i + 1]) for i in range(3)]
    for stream, logits in together.items():
        separate = torch.cat([scores[stream] for scores in alone])
        torch.testing.assert_close(logits, separate, atol=1e-3, rtol=1e-3)


def test_the_papers_model_has_twenty_channels_between_its_parts() -> None:
    with torch.device("meta"):
        model = HiddenTwoStream("full", "vgg16", num_classes=101, temporal_dropout=0.9, spatial_dropout=0.9)
        frames = torch.empty(1, 11, 3, 224, 224)
    first = model.temporal_stream.backbone.get_submodule("features.0")
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == 20
    logits = model(frames)
    assert logits["temporal"].shape == logits["spatial"].shape == (1, 101)
    for stream in (model.temporal_stream, model.spatial_stream):
        rates = [module.p for module in stream.modules() if isinstance(module, nn.Dropout)]
        assert rates == pytest.approx([0.9, 0.8])


def test_each_stream_has_its_own_dropout() -> None:
    model = HiddenTwoStream("nano", "small", 3, 4, temporal_dropout=0.1, spatial_dropout=0.7)
    for stream, rate in ((model.temporal_stream, 0.1), (model.spatial_stream, 0.7)):
        assert [module.p for module in stream.modules() if isinstance(module, nn.Dropout)] == [rate]


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(UsageError, match="motion network 'giant'"):
        HiddenTwoStream("giant", "small", 3)
    with pytest.raises(UsageError, match="backbone 'vgg19'"):
        HiddenTwoStream("nano", "vgg19", 3)
    with pytest.raises(UsageError, match="at least 2 frames"):
        HiddenTwoStream("nano", "small", 3, num_frames=1)
