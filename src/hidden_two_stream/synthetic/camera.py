"""From a scene's light to the frames of a video: exposure, sensor noise, quantization, compression.

Light is (T, 3, H, W) float32 in 0..1. Frames are (T, H, W, 3) uint8.
"""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.synthetic.draws import chance, log_uniform
from hidden_two_stream.synthetic.scene_style import SceneStyle
from hidden_two_stream.types import FloatArray, RawClip

__all__ = ["compress", "film", "film_like_video"]


def film(rng: np.random.Generator, light: FloatArray, brightness: float, noise_sigma: float) -> RawClip:
    """Return frames of a camera with a slowly changing gain and uniform sensor noise.

    Args:
        rng: source of the gain's phase and of the noise.
        light: (T, 3, H, W).
        brightness: largest change of the gain, as a fraction.
        noise_sigma: standard deviation of the noise, as a fraction of full scale.
    """
    num_frames, channels, height, width = light.shape
    phase, cycles = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.0)
    gain = 1 + brightness * np.sin(phase + 2 * math.pi * cycles * np.arange(num_frames) / num_frames)
    light = light * gain.astype(np.float32)[:, None, None, None]
    if noise_sigma > 0:
        # The fixed benchmarks draw their noise pixel by pixel, not channel by channel.
        noise = rng.standard_normal((num_frames, height, width, channels), dtype=np.float32)
        light += noise.transpose(0, 3, 1, 2) * np.float32(noise_sigma)
    return _quantized(light)


def film_like_video(rng: np.random.Generator, light: FloatArray, style: SceneStyle) -> RawClip:
    """Return frames of a camera with the flaws of real video, drawn from `style`.

    A shadow, changes of exposure, a smaller sensor, noise and compression, each in some of the scenes.
    """
    num_frames, _, height, width = light.shape
    image = torch.from_numpy(light)
    if chance(rng, style.shadows):
        image = image * _shadow(rng, num_frames, height, width)
    image = _exposed(rng, image, style)
    sigma = log_uniform(rng, style.noise_sigma)
    if chance(rng, style.coarse):
        factor = log_uniform(rng, style.coarseness)
        small = (max(8, round(height / factor)), max(8, round(width / factor)))
        image = functional.interpolate(image, small, mode="bilinear", antialias=True, align_corners=False)
        if chance(rng, 0.5):  # noise of the small sensor, which the enlargement makes smooth
            image, sigma = _noisy(rng, image, sigma), sigma * 0.2
        mode = "bicubic" if chance(rng, 0.5) else "bilinear"
        image = functional.interpolate(image, (height, width), mode=mode, align_corners=False)
    frames = _quantized(_noisy(rng, image, sigma).numpy())
    if not chance(rng, style.compressed):
        return frames
    lead = int(rng.integers(0, 4))
    if chance(rng, style.mpeg4):
        quantizer = str(round(rng.uniform(*style.quantizer)))
        return compress(frames, "mpeg4", {"qmin": quantizer, "qmax": quantizer}, lead)
    options = {"preset": str(rng.choice(["ultrafast", "veryfast", "fast"], p=[0.2, 0.5, 0.3]))}
    return compress(frames, "libx264", options | {"crf": f"{rng.uniform(*style.crf):.1f}"}, lead)


def _quantized(light: FloatArray) -> RawClip:
    """Return (T, H, W, 3) frames of 256 levels from (T, 3, H, W) light."""
    frames = np.clip(np.rint(light * 255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(frames.transpose(0, 2, 3, 1))


def _shadow(rng: np.random.Generator, num_frames: int, height: int, width: int) -> Tensor:
    """Return (T, 1, H, W) factors: a soft dark or bright spot that crosses the frame."""
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


def _exposed(rng: np.random.Generator, light: Tensor, style: SceneStyle) -> Tensor:
    """Return the light after a gain, gamma and white balance that may drift or flicker."""
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
    """Return the light with sensor noise: a constant part, and one that grows with the root of the light."""
    if sigma <= 0:
        return light
    grain = torch.from_numpy(rng.standard_normal(tuple(light.shape), dtype=np.float32))
    constant = rng.random()  # share of the noise's power at full light
    return light + sigma * grain * (constant + (1 - constant) * light.clamp(0, 1)).sqrt()


def compress(frames: RawClip, codec: str, options: dict[str, str], lead: int = 0) -> RawClip:
    """Return the frames after encoding and decoding them in memory.

    Args:
        frames: (T, H, W, 3).
        codec: "libx264" or "mpeg4"; MPEG-4 replaces H.264 where PyAV lacks libx264.
        options: of the encoder.
        lead: encode frames 1..lead in reverse before the clip, and drop them: the clip then doesn't begin
            with a key frame.
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
    images = np.concatenate([frames[lead:0:-1], frames])
    packets = []
    for time, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = time
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264" if codec == "libx264" else "mpeg4", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    if len(decoded) != len(images):
        raise RuntimeError(f"{codec} gave {len(decoded)} frames for {len(images)}")
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decoded[lead:]])
