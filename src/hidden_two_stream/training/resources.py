"""The hardware that a run may use, and whether it shows progress."""

from __future__ import annotations

import atexit
from dataclasses import dataclass, field

import torch.distributed
from lightning_fabric import Fabric

from hidden_two_stream.data.clip_cache import default_workers
from hidden_two_stream.errors import UsageError
from hidden_two_stream.training.launcher import find_launch, open_fabric, quiet_start, refused

__all__ = ["Resources"]


@dataclass(frozen=True)
class Resources:
    """The hardware that a run may use, and whether it shows progress.

    Attributes:
        workers: decoding processes.
        cache_mb: memory for decoded frames, MiB; 0 decodes again for every clip.
        accelerator, devices, precision: arguments of Lightning Fabric; `devices` counts those of one node.
        num_nodes: machines that train together.
        save_seconds: longest time between saved training states, s.
        quiet: show no progress on stderr.
    """

    workers: int = field(default_factory=default_workers)
    cache_mb: int = 2048
    accelerator: str = "auto"
    devices: str | int = "1"
    precision: str = "32-true"
    save_seconds: float = 30.0
    quiet: bool = False
    num_nodes: int = 1

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("cache_mb", 0), ("num_nodes", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name} is {value!r}; expected a whole number of {least} or more")
        if str(self.precision) in ("64", "64-true"):
            raise UsageError(f"precision is {self.precision}; frames are float32: use 32-true or a mixed one")
        if isinstance(self.devices, bool) or not isinstance(self.devices, int | str):
            raise UsageError(f"devices is {self.devices!r}; expected a number of devices, or auto")

    def fabric(self) -> Fabric:
        """Return a launched Fabric. For each further device, launching starts the command once more.

        Raises:
            UsageError: this machine has no such device or precision, or torchrun or Slurm started another
                number of processes.
        """
        try:
            fabric = open_fabric(self.accelerator, self.devices, self.num_nodes, self.precision)
            with quiet_start():
                fabric.launch()
            if fabric.world_size > 1:
                atexit.register(_leave_process_group)
        except (ValueError, TypeError, RuntimeError, ImportError) as error:
            raise UsageError(f"cannot use this device or precision: {str(error).splitlines()[0]}") from error
        return fabric

    def single_device(self, task: str) -> Fabric:
        """Return a launched Fabric for a task that runs on one device.

        Raises:
            UsageError: several devices were asked for, torchrun or Slurm started several processes; or as
                `fabric`.
        """
        for option, value in (("--devices", self.devices), ("--num-nodes", self.num_nodes)):
            if str(value) != "1":
                raise UsageError(f"{task} runs on one device; leave out {option}")
        launch = find_launch()
        if launch is not None and launch.world > 1:
            raise refused(f"{task} runs in one process, but {launch.who} counts {launch.world}; start one")
        return self.fabric()


def _leave_process_group() -> None:
    """End the threads that connect this process with its peers; the interpreter may abort while they run."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
