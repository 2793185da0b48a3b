"""Array types of generated video."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BoolArray", "Complex", "IndexArray", "Reals"]

BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.floating[Any]]
Complex = npt.NDArray[np.complex128]
"""Positions x + iy in pixels: x points right, y points down."""
