"""From a scene's light to frames as a camera and a codec deliver them."""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.synthetic.materials import chance, log_uniform
from hidden_two_stream.synthetic.staging import SceneStyle
from hidden_two_stream.types import RawClip

__all__ = ["encoded", "exposed", "filmed"]


def filmed(rng: np.random.Generator, style: SceneStyle, light: Tensor) -> RawClip:
    """(T, H, W, 3) frames from (T, 3, H, W) light in 0..1: shadow, exposure, size, noise, compression."""
    _, _, height, width = light.shape
    if chance(rng, style.shadows):
        light = light * _shadow(rng, len(light), height, width)
    light = exposed(rng, style, light)
    sigma = log_uniform(rng, style.noise_sigma)
    if chance(rng, style.coarse):
        factor = log_uniform(rng, style.coarseness)
        small = (max(8, round(height / factor)), max(8, round(width / factor)))
        light = functional.interpolate(light, small, mode="bilinear", antialias=True, align_corners=False)
        if chance(rng, 0.5):  # noise of the small sensor: it comes out smooth
            light, sigma = _noisy(rng, light, sigma), sigma * 0.2
        mode = "bicubic" if chance(rng, 0.5) else "bilinear"
        light = functional.interpolate(light, (height, width), mode=mode, align_corners=False)
    light = _noisy(rng, light, sigma)
    frames = light.mul(255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    if not chance(rng, style.compressed):
        return np.asarray(frames, np.uint8)
    lead = int(rng.integers(0, 4))
    if chance(rng, style.mpeg4):
        quantizer = round(rng.uniform(*style.quantizer))
        return encoded(frames, "mpeg4", {"qmin": str(quantizer), "qmax": str(quantizer)}, lead)
    options = {"preset": str(rng.choice(["ultrafast", "veryfast", "fast"], p=[0.2, 0.5, 0.3]))}
    return encoded(frames, "libx264", options | {"crf": f"{rng.uniform(*style.crf):.1f}"}, lead)


def _shadow(rng: np.random.Generator, num_frames: int, height: int, width: int) -> Tensor:
    """(T, 1, H, W) factor: a soft dark or bright spot on its way through the picture."""
    tau = np.arange(num_frames) - (num_frames - 1) / 2
    size = np.array([width, height])
    radius = rng.uniform(0.06, 0.5, 2) * size.min()
    speed = log_uniform(rng, (0.002, 0.05)) * size.min()
    angle = rng.uniform(0, 2 * math.pi)
    path = size * rng.random(2) + speed * tau[:, None] * np.array([math.cos(angle), math.sin(angle)])
    x = np.exp(-0.5 * np.square((np.arange(width) - path[:, :1]) / radius[0]))
    y = np.exp(-0.5 * np.square((np.arange(height) - path[:, 1:]) / radius[1]))
    depth = rng.uniform(0.1, 0.6) if chance(rng, 0.7) else -rng.uniform(0.1, 0.4)
    spot = np.minimum(1, 1.5 * y[:, :, None] * x[:, None, :])
    return torch.from_numpy((1 - depth * spot).astype(np.float32))[:, None]


def exposed(rng: np.random.Generator, style: SceneStyle, light: Tensor) -> Tensor:
    """The light through a camera whose gain, gamma and white balance may drift or flicker; (T, 3, H, W)."""
    num_frames = len(light)
    time = np.linspace(-1, 1, num_frames)[:, None]
    gain = np.ones((num_frames, 3))
    gamma = np.ones(num_frames)
    if chance(rng, style.lights):
        drift = rng.uniform(-1, 1) * time + 0.5 * rng.uniform(-1, 1) * np.sin(rng.uniform(1, 4) * time)
        gain += style.exposure * drift + 0.15 * style.exposure * rng.uniform(-1, 1, 3) * time
        if chance(rng, 0.3):
            gamma += style.exposure * rng.uniform(-1, 1) * time[:, 0]
    if chance(rng, style.flicker):
        gain += 0.5 * style.exposure * rng.random() * rng.normal(0, 1, (num_frames, 1))
    light = light * torch.from_numpy(gain.clip(0.2, 3).astype(np.float32))[:, :, None, None]
    if np.ptp(gamma) > 0:
        power = torch.from_numpy(gamma.astype(np.float32))[:, None, None, None]
        light = light.clamp(1e-3, 1) ** power
    return light


def _noisy(rng: np.random.Generator, light: Tensor, sigma: float) -> Tensor:
    """Sensor noise: a part that is everywhere alike and one that grows with the root of the light."""
    if sigma <= 0:
        return light
    grain = torch.from_numpy(rng.standard_normal(tuple(light.shape), dtype=np.float32))
    share = rng.random()  # of the noise's power at full light that is there in the dark
    return light + sigma * grain * (share + (1 - share) * light.clamp(0, 1)).sqrt()


def encoded(frames: RawClip, codec: str, options: dict[str, str], lead: int = 0) -> RawClip:
    """The frames after real compression in memory; (T, H, W, 3) both.

    Args:
        frames: the clip.
        codec: "libx264" (MPEG-4 takes its place where it isn't built in) or "mpeg4".
        options: the encoder's.
        lead: frames 1..lead are also encoded before the clip, backwards, and dropped, so that a clip doesn't
            always begin with a key frame.
    """
    if codec not in av.codecs_available:
        codec, options = "mpeg4", {}
    height, width = frames.shape[1:3]
    lead = min(lead, len(frames) - 1)
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuv444p" if codec == "libx264" and (height % 2 or width % 2) else "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.thread_count = 1  # the bytes don't depend on the machine's cores
    # As in `writer`: without macroblock-tree rate control x264 encodes the same clip to the same bytes.
    encoder.options = options | ({"mbtree": "0"} if codec == "libx264" else {})
    pictures = np.concatenate([frames[lead:0:-1], frames])
    packets = []
    for time, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = time
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264" if codec == "libx264" else "mpeg4", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    if len(decoded) != len(pictures):
        raise RuntimeError(f"{codec} gave {len(decoded)} frames for {len(pictures)}")
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decoded[lead:]])
