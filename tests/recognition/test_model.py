"""Both streams together: shapes, what each sees, and where gradients go."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.hand_over import hand_over
from hidden_two_stream.recognition.model import HiddenTwoStream

PAIRINGS = [("nano", "small", 1), ("tiny", "resnet18", 2)]
"""Motion network, backbone, and how much finer frames of 32 px are than the finest flow."""


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


# --- branched


def lively_branched(motion: str = "tiny", num_frames: int = 3) -> HiddenTwoStream:
    torch.manual_seed(0)
    model = HiddenTwoStream(motion, "small", 5, num_frames, temporal="branched", spatial_dropout=0.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "predict.weight" in name or name.endswith(("fc.weight", "layers.9.weight")):
                parameter.normal_(std=0.2)
    return model.eval()


@pytest.mark.parametrize("motion", ["tiny", "nano"])
def test_branched_motion_is_motion_net_alone(motion: str) -> None:
    model = lively_branched(motion)
    frames = torch.randn(2, 3, 3, 32, 48)
    with torch.no_grad():
        for flow, other in zip(model.motion(frames), model.motion_net(frames), strict=True):
            assert torch.equal(flow, other)
        assert model.temporal(frames).shape == (2, 5)
        assert set(model(frames)) == {"spatial", "temporal"}


def test_branched_scores_depend_on_the_encoder_and_not_on_the_decoder() -> None:
    model = lively_branched()
    frames = torch.randn(2, 3, 3, 32, 32)
    decoder = ("conv_pr", "deconv", "upsample_flow", "smooth_conv")
    with torch.no_grad():
        logits, flow = model.temporal(frames), model.motion(frames)[0]
        for name, tensor in model.motion_net.state_dict().items():
            if name.startswith(decoder):
                tensor.normal_()
        assert torch.equal(model.temporal(frames), logits)
        assert not torch.equal(model.motion(frames)[0], flow)
        for layer in ("conv1", "conv2", "conv3", "conv4"):
            before = model.temporal(frames)
            model.motion_net.get_parameter(f"{layer}.0.weight").mul_(1.5)
            assert (model.temporal(frames) - before).abs().max() > 1e-3 * before.abs().max(), layer


@pytest.mark.parametrize("with_motion", [False, True])
def test_branched_action_loss_reaches_encoder_and_branch_alone(with_motion: bool) -> None:
    model = lively_branched()
    frames = torch.randn(2, 3, 3, 32, 32)
    logits = model.motion_and_temporal(frames)[1] if with_motion else model.temporal(frames)
    functional.cross_entropy(logits, torch.tensor([1, 4])).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    untouched = {name for name, p in model.named_parameters() if p.grad is None}
    encoder = {f"motion_net.conv{k}.0.{kind}" for k in range(1, 5) for kind in ("weight", "bias")}
    assert reached == encoder | {name for name, _ in model.named_parameters() if name.startswith("temporal")}
    assert untouched == {name for name, _ in model.named_parameters()} - reached


@pytest.mark.parametrize("temporal", ["stacked", "inflated", "branched"])
def test_motion_and_temporal_are_the_two_calls(temporal: str) -> None:
    torch.manual_seed(0)
    model = HiddenTwoStream("tiny", "small", 5, 3, temporal=temporal).eval()  # type: ignore[arg-type]
    frames = torch.randn(2, 3, 3, 24, 32)
    with torch.no_grad():
        pyramid, logits = model.motion_and_temporal(frames)
        assert len(pyramid) == 3
        for flow, other in zip(pyramid, model.motion(frames), strict=True):
            assert torch.equal(flow, other)
        assert torch.equal(logits, model.temporal(frames))
        assert torch.equal(logits, model(frames)["temporal"])


def test_motion_and_temporal_pass_through_the_encoder_once() -> None:
    for temporal in ("stacked", "branched"):
        model = HiddenTwoStream("tiny", "small", 5, 3, temporal=temporal).eval()  # type: ignore[arg-type]
        passes: list[int] = []
        model.motion_net.get_submodule("conv1").register_forward_hook(
            lambda module, args, output, passes=passes: passes.append(1)
        )
        with torch.no_grad():
            model.motion_and_temporal(torch.randn(1, 3, 3, 16, 16))
        assert len(passes) == 1, temporal


@pytest.mark.parametrize("backbone", ["small", "vgg16"])
@pytest.mark.parametrize("motion", ["full", "tiny", "nano", "vgg16", "resnet50", "flownets"])
def test_every_motion_network_carries_a_branch(motion: str, backbone: str) -> None:
    with torch.device("meta"):
        model = HiddenTwoStream(motion, backbone, 7, 4, temporal="branched").eval()
        assert model.temporal(torch.empty(2, 4, 3, 65, 96)).shape == (2, 7)


# --- inflated


def test_inflated_model_sees_pair_t_at_time_t() -> None:
    torch.manual_seed(0)
    model = HiddenTwoStream("nano", "small", 5, 5, temporal="inflated").eval()
    flow = torch.randn(2, 4, 2, 8, 12)

    class Given(nn.Module):
        def __init__(self, order: list[int]) -> None:
            super().__init__()
            self.order = order

        def forward(self, frames: Tensor) -> list[Tensor]:
            return [flow[:, self.order]]

    seen: list[Tensor] = []
    model.temporal_stream.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        model.motion_net = Given(order)
        with torch.no_grad():
            assert model.temporal(torch.zeros(2, 5, 3, 32, 48)).shape == (2, 5)
    assert seen[0].shape == (2, 2, 4, 32, 48)
    for t in range(4):
        torch.testing.assert_close(seen[0][:, :, t], hand_over(flow[:, t : t + 1], 32, 48), atol=1e-4, rtol=0)
    assert torch.equal(seen[1], seen[0][:, :, [3, 1, 0, 2]])


# --- parts


@pytest.mark.parametrize("temporal", ["stacked", "inflated", "branched"])
@pytest.mark.parametrize(
    ("streams", "parts"),
    [
        (("spatial",), {"spatial_stream"}),
        (["spatial"], {"spatial_stream"}),
        (("temporal",), {"motion_net", "temporal_stream"}),
        (("spatial", "temporal"), {"motion_net", "temporal_stream", "spatial_stream"}),
        ((), {"motion_net"}),
    ],
)
def test_streams_that_are_asked_for_are_built_and_no_others(
    temporal: str, streams: tuple[str, ...], parts: set[str]
) -> None:
    model = HiddenTwoStream("nano", "small", 5, 3, temporal=temporal, streams=streams)  # type: ignore[arg-type]
    assert {name for name, _ in model.named_children()} == {"preprocess"} | parts
    assert {name.partition(".")[0] for name in model.state_dict()} == parts
    frames = torch.randn(1, 3, 3, 32, 32)
    with torch.no_grad():
        logits = model.eval()(frames)
    assert set(logits) == set(streams)
    calls = {
        "motion": "motion_net",
        "temporal": "temporal_stream",
        "motion_and_temporal": "temporal_stream",
        "spatial": "spatial_stream",
    }
    for call, part in calls.items():
        if part in parts:
            getattr(model, call)(frames)
        else:
            with pytest.raises(UsageError, match=f"has no {part}") as caught:
                getattr(model, call)(frames)
            message = str(caught.value)
            assert all(there in message for there in parts), message
            assert not any(lacking in message for lacking in calls.values() if lacking not in {*parts, part})


def test_two_frame_motion_net_in_a_model_of_five_frames() -> None:
    torch.manual_seed(0)
    model = HiddenTwoStream("tiny", "small", 5, 5, motion_frames=2).eval()
    assert model.motion_net.num_frames == 2
    first = model.motion_net.get_submodule("conv1.0")
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == 6
    frames = torch.randn(2, 5, 3, 16, 24)
    with torch.no_grad():
        pyramid = model.motion(frames)
        by_pair = [model.motion_net(frames[:, t : t + 2]) for t in range(4)]
        for level, flow in enumerate(pyramid):
            expected = torch.cat([levels[level] for levels in by_pair], dim=1)
            assert flow.shape[:3] == (2, 4, 2)
            torch.testing.assert_close(flow, expected, atol=1e-4, rtol=1e-4)
        logits = model.temporal(frames)
        handed = model.temporal_stream.backbone(hand_over(pyramid[0], 16, 24))
    torch.testing.assert_close(logits, handed)
    functional.cross_entropy(model.temporal(frames), torch.tensor([0, 1])).backward()
    assert all(
        p.grad is not None for name, p in model.named_parameters() if name.startswith("motion_net.conv1")
    )


def test_border_reaches_the_hand_over() -> None:
    torch.manual_seed(0)
    model = HiddenTwoStream("tiny", "small", 5, 3, border="reference").eval()
    frames = torch.randn(1, 3, 3, 16, 16)
    with torch.no_grad():
        expected = model.temporal_stream.backbone(
            hand_over(model.motion(frames)[0], 16, 16, border="reference")
        )
        torch.testing.assert_close(model.temporal(frames), expected)
        other = model.temporal_stream.backbone(hand_over(model.motion(frames)[0], 16, 16))
    assert not torch.allclose(expected, other)
