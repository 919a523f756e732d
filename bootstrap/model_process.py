"""What every process with a model has, whatever its role: a device, the recipe's settings, bounds of memory."""

import platform
from collections import Counter

import torch

from bootstrap import machine, processor
from bootstrap.config.training import Training
from bootstrap.memory import FULLEST, Device, MemoryLimits, Shortage
from bootstrap.room import WorkerBounds


class ModelProcess:
    """The model of one process. Every method may be called from another process; arguments and results pickle."""

    def __init__(self, *, batch_rows: int, device: str | None = None) -> None:
        """`batch_rows`: most sequences of a forward pass; `device`: None takes a GPU where there is one."""
        torch.set_num_threads(1)
        # Ray hides every GPU from a worker that was given none.
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.batch_rows = batch_rows
        self.bounds = WorkerBounds()
        self.training = Training()
        self.received = Counter[str]()
        """Bytes that came from other processes of the run and are not told yet: `updates`, `weights`."""

    def has_bf16(self) -> bool:
        """Return whether this worker's device has instructions for products in bf16."""
        if self.device.type == "cuda":
            return torch.cuda.is_bf16_supported(including_emulation=False)
        return processor.has_bf16()

    def configure(self, training: Training) -> None:
        """Take the recipe's settings, before any weights."""
        assert training.precision != "auto", "the pool resolves it, for all workers alike"
        self.training = training

    def device_memory(self) -> Device:
        """Return the kind and all memory of the device that holds this worker's model."""
        if self.device.type == "cuda":
            found = torch.cuda.get_device_properties(self.device)
            return Device(kind=found.name, memory=found.total_memory)
        return Device(kind="cpu", memory=machine.total_memory())

    def free_memory(self) -> tuple[str, int]:
        """Return the name of the device that holds this worker's model, and bytes that may be taken of it.

        Other workers on that device share them. On a machine of its own they depend on the machine alone.
        """
        if self.device.type == "cuda":
            unused, _ = torch.cuda.mem_get_info(self.device)
            name = f"{platform.node()} {torch.cuda.get_device_properties(self.device).uuid}"
            return name, int(FULLEST["cuda"] * (unused + torch.cuda.memory_reserved(self.device)))
        return platform.node(), machine.usable_memory(FULLEST["cpu"])

    def limit(self, limits: MemoryLimits) -> None:
        """Take the limits of all workers."""
        self.bounds.limits = limits

    def lower(self, limits: MemoryLimits) -> None:
        """Take what a shortage in some worker has lowered; what ran out here and is not told yet stays halved."""
        self.bounds.limits = self.bounds.limits.lowest(limits)

    def take_received(self) -> dict[str, int]:
        """Return the bytes that came from other processes since the last call, by what they were."""
        found = dict(self.received)
        self.received.clear()
        return found

    def take_shortages(self) -> list[Shortage]:
        """Return the shortages of memory since the last call."""
        found, self.bounds.shortages = self.bounds.shortages, []
        return found
