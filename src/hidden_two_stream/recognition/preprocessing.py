"""From decoded clips to the input of the networks, as a module of the model."""

from __future__ import annotations

from torch import Tensor, nn

from hidden_two_stream.video.transforms import contrast_normalize, normalize

__all__ = ["Preprocessing"]


class Preprocessing(nn.Module):
    """Turns decoded, resized and cropped clips into `frames`. It has no weights.

    Training, prediction and export share this module, so that they cannot differ.

    Args:
        normalize_contrast: give each clip the same mean and contrast, see `contrast_normalize`.
    """

    def __init__(self, normalize_contrast: bool = False) -> None:
        super().__init__()
        self.normalize_contrast = normalize_contrast

    def forward(self, clips: Tensor) -> Tensor:
        """Return `frames` (..., T, 3, H, W) float32 of `clips` (..., T, 3, H, W) uint8 RGB."""
        frames = normalize(clips)
        return contrast_normalize(frames) if self.normalize_contrast else frames
