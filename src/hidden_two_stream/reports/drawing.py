"""Text and shapes on images, drawn by OpenCV (extra `classical`)."""

from __future__ import annotations

import importlib
import unicodedata
from typing import Any

from hidden_two_stream.errors import MissingDependencyError
from hidden_two_stream.types import Image

__all__ = ["Color", "class_color", "drawable", "opencv", "put_text", "text_size"]

Color = tuple[int, int, int]

_COLORS: tuple[Color, ...] = (
    *((15, 118, 110), (208, 122, 31), (74, 111, 181), (180, 67, 47), (122, 106, 155), (120, 140, 40)),
    *((190, 80, 140), (60, 140, 70), (140, 95, 60), (70, 130, 160), (160, 140, 20), (95, 95, 95)),
)


def class_color(number: int) -> Color:
    """Return the RGB color of a class; colors repeat after twelve classes."""
    return _COLORS[number % len(_COLORS)]


def opencv() -> Any:
    """Return the module cv2.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingDependencyError(
            f"drawing text into images needs OpenCV, which cannot be imported ({error}); run "
            "pip install hidden-two-stream[classical]"
        ) from error


def drawable(text: str) -> str:
    """Return the text in ASCII, which is what OpenCV's font has: é as e, other characters as "?"."""
    plain = unicodedata.normalize("NFKD", text)
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return "".join(character if " " <= character <= "~" else "?" for character in bare)


def text_size(text: str, height: float) -> tuple[int, int]:
    """Return width and height of a line of text, px, whose capital letters are `height` px high."""
    cv2 = opencv()
    (width, tall), _ = cv2.getTextSize(drawable(text), cv2.FONT_HERSHEY_DUPLEX, height / 21, 1)
    return width, tall


def put_text(image: Image, text: str, x: float, baseline: float, height: float, color: Color) -> None:
    """Draw a line of text, in place.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: see `drawable`.
        x, baseline: left end of the line on which the letters stand, px.
        height: of capital letters, px.
        color: RGB.
    """
    cv2 = opencv()
    place = (round(x), round(baseline))
    thickness = max(1, round(height / 12))
    font = cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(image, drawable(text), place, font, height / 21, color, thickness, cv2.LINE_AA)
