"""Loss scaling of half-precision training: skipped steps, their limit, and the scaler's state.

In float16, small gradients underflow, so the loss is multiplied by a scale before the backward pass
(Micikevicius et al., arXiv 1710.03740, section 3.2). The scale starts large on purpose. Each time the
gradient overflows, the scaler skips the optimizer step and halves the scale. Therefore a stage often skips
its first steps, and occasionally a later one after the scale has grown again.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor

from hidden_two_stream.errors import CheckpointError, TrainingError

__all__ = ["INITIAL_LOSS_SCALE", "MAX_SKIPPED_IN_A_ROW", "LossScale"]

INITIAL_LOSS_SCALE = 2.0**16  # also torch.amp.GradScaler's own
MAX_SKIPPED_IN_A_ROW = 20  # from the initial scale down to 1/16


class LossScale:
    """The loss scale of one stage. Does nothing if the precision does not scale the loss.

    Each stage begins at the initial scale, so that it does not depend on earlier stages.

    Args:
        fabric: its precision determines whether the loss is scaled.
        initial: scale of the first step.

    Attributes:
        skipped_steps: steps of the stage whose gradient overflowed.
    """

    def __init__(self, fabric: Fabric, initial: float = INITIAL_LOSS_SCALE) -> None:
        self._scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
        self.skipped_steps = 0
        self._skipped_in_a_row = 0
        if self._scaler is not None:
            state = {"scale": initial, "_growth_tracker": 0}
            self._scaler.load_state_dict(self._scaler.state_dict() | state)

    @property
    def in_use(self) -> bool:
        """Whether the precision scales the loss ("16-mixed" does)."""
        return self._scaler is not None

    def numbers(self) -> dict[str, float]:
        """Return `loss_scale` and `skipped_steps` for the log; nothing if the loss is not scaled."""
        if self._scaler is None:
            return {}
        return {"loss_scale": self._scaler.get_scale(), "skipped_steps": float(self.skipped_steps)}

    def step(self, optimizer: torch.optim.Optimizer, gradient_is_finite: bool) -> None:
        """Step the optimizer. If the gradient overflows, count the step that the scaler skips.

        Args:
            optimizer: wrapped by Fabric, its gradients unscaled (and clipped).
            gradient_is_finite: whether the norm of the unscaled gradient is finite.

        Raises:
            TrainingError: the gradient overflowed in too many steps in a row, or the scaler did not lower the
                scale.
        """
        if self._scaler is None or gradient_is_finite:
            optimizer.step()
            self._skipped_in_a_row = 0
            return
        before = self._scaler.get_scale()
        optimizer.step()
        after = self._scaler.get_scale()
        self.skipped_steps += 1
        self._skipped_in_a_row += 1
        if after >= before:
            raise TrainingError(f"the gradient is not finite at a loss scale of {before:g}")
        if self._skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"the gradient overflowed in {self._skipped_in_a_row} steps in a row, "
                f"and the loss scale fell to {after:g}"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named scalars; nothing if the loss is not scaled."""
        if self._scaler is None:
            return {}
        counts = {"skipped_steps": self.skipped_steps, "skipped_in_a_row": self._skipped_in_a_row}
        state = {
            "scale": self._scaler.get_scale(),
            "growth_tracker": self._scaler.state_dict()["_growth_tracker"],
        }
        return {
            name: torch.tensor(float(value), dtype=torch.float64) for name, value in (state | counts).items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned. No tensors, as from another precision, keep the initial scale.

        Raises:
            CheckpointError: a number is missing or has no possible value.
        """
        if self._scaler is None or not tensors:
            return
        single = {name: tensor for name, tensor in tensors.items() if tensor.numel() == 1}
        saved = {name: tensor.item() for name, tensor in single.items() if not tensor.is_complex()}
        if saved.keys() != self.tensors().keys() or not saved["scale"] > 0 or min(saved.values()) < 0:
            raise CheckpointError(
                f"the training state has a damaged loss scale: {saved}; train again into another folder"
            )
        state = {"scale": saved["scale"], "_growth_tracker": int(saved["growth_tracker"])}
        self._scaler.load_state_dict(self._scaler.state_dict() | state)
        self.skipped_steps = int(saved["skipped_steps"])
        self._skipped_in_a_row = int(saved["skipped_in_a_row"])
