"""The ranges from which scenes to learn motion from are drawn.

Lengths are pixels of a frame whose shorter side is `REFERENCE_SIZE`, and scale with the frame. Speeds are per
frame.
"""

from __future__ import annotations

from dataclasses import dataclass

from hidden_two_stream.synthetic.draws import Range

__all__ = ["REFERENCE_SIZE", "SceneStyle"]

REFERENCE_SIZE = 160


@dataclass(frozen=True)
class SceneStyle:
    """Ranges from which generated scenes are drawn.

    A `Range` (low, high) is log-uniform; if `low` is 0, the value is always `high`. A float is a share, 0..1.

    Attributes:
        sprites: fewest and most sprites; a figure of several limbs counts as one.
        radius_px: radius of a sprite.
        figures: share of the sprites that are a body with limbs that swing at their joints.
        carried: share of the sprites that move with the camera alone.
        speed_px: speed of a sprite.
        rush: share of the sprites that have a speed in `rush_px` instead.
        rush_px: speed of fast sprites.
        turn: radians per frame.
        growth: logarithm of the growth per frame, of either sign.
        swing: share of the movements that also accelerate or swing.
        calm: share of the scenes whose movements are 10 to 50 times slower.
        bent: share of the sprites that bend over time; backgrounds bend half as often.
        steepness: slope of the bending.
        bend_speed_px: largest speed that the bending adds.
        pan: share of the scenes whose camera pans.
        pan_px: speed of the pan.
        zoom: share of the scenes whose camera zooms.
        roll: share of the scenes whose camera turns about its axis.
        shake: share of the scenes with a hand-held camera.
        shake_px: standard deviation of the hand-held camera's position.
        materials: (kind, weight) of each of `textures.MATERIALS` to draw from.
        mixed: share of the backgrounds that combine two materials.
        contrast: standard deviation of a surface's texture, relative to full scale.
        gray: share of the scenes that are nearly gray.
        blurred: share of the surfaces that are blurred, by 1 to 8 px.
        soft: share of the sprites with a soft edge, 2 to 8 px wide; the edge of others is 1 px wide.
        shadows: share of the scenes with a moving soft shadow or spot of light.
        lights: share of the scenes whose brightness drifts.
        flicker: share of the scenes whose brightness flickers.
        exposure: largest change of brightness, as a fraction.
        motion_blur: share of the scenes with motion blur.
        shutter: with motion blur, share of the frame time for which the shutter is open; uniform.
        coarse: share of the scenes that are shot at a smaller size and enlarged.
        coarseness: factor between the two sizes.
        noise_sigma: standard deviation of the sensor noise, relative to full scale.
        compressed: share of the scenes that are encoded and decoded.
        mpeg4: share of the compressed scenes that use MPEG-4; the others use H.264.
        crf: H.264 quality, uniform.
        quantizer: MPEG-4 quantizer, uniform.
    """

    sprites: tuple[int, int] = (1, 6)
    radius_px: Range = (8, 75)
    figures: float = 0.2
    carried: float = 0.15
    speed_px: Range = (0.05, 12)
    rush: float = 0.03
    rush_px: Range = (12, 20)
    turn: Range = (0.001, 0.15)
    growth: Range = (0.0005, 0.03)
    swing: float = 0.5
    calm: float = 0.12
    bent: float = 0.5
    steepness: Range = (0.03, 0.3)
    bend_speed_px: Range = (0.05, 2.5)
    pan: float = 0.5
    pan_px: Range = (0.1, 8)
    zoom: float = 0.2
    roll: float = 0.12
    shake: float = 0.5
    shake_px: Range = (0.05, 2)
    materials: tuple[tuple[str, float], ...] = (
        ("fractal", 0.28),
        ("leaves", 0.3),
        ("waves", 0.14),
        ("plain", 0.25),
        ("writing", 0.08),
    )
    mixed: float = 0.35
    contrast: Range = (0.015, 0.28)
    gray: float = 0.15
    blurred: float = 0.25
    soft: float = 0.2
    shadows: float = 0.3
    lights: float = 0.4
    flicker: float = 0.08
    exposure: float = 0.2
    motion_blur: float = 0.2
    shutter: tuple[float, float] = (0.3, 1.0)
    coarse: float = 0.3
    coarseness: Range = (1.2, 4)
    noise_sigma: Range = (0.002, 0.06)
    compressed: float = 0.85
    mpeg4: float = 0.35
    crf: tuple[float, float] = (18, 36)
    quantizer: tuple[float, float] = (2, 12)
