"""Devices and processes of a run: one process by default, else several that run the same command."""

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from structpred.blame import out_of_memory
from structpred.errors import RunError
from structpred.values import Count, coerce

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Item = TypeVar("Item")
Result = TypeVar("Result")
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]

TURN = 10
"""Steps between agreements of several processes on saving and stopping, each of which synchronises the device."""


_NEWER = "forward_sync_buffers"
_NAMED = inspect.signature(DistributedDataParallel).parameters
_UNSENT: dict[str, Any] = {_NEWER if _NEWER in _NAMED else "broadcast_buffers": False}
"""Buffers are equal as they are built, and a process without examples would not take part in sending them."""


class DistributedContext:
    """The processes of a run: each trains on its share of every batch, and only the first one writes.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        devices: the number of devices on each machine, with a process each. The processes are started here, unless
            ``torchrun``, SLURM or another launcher known to Lightning Fabric has started them.
        nodes: the number of machines.

    Raises:
        ConfigError: fewer than one device or machine, or a device of another name.
        RunError: the device is not available.
    """

    def __init__(self, device: str = "auto", devices: int = 1, nodes: int = 1) -> None:
        coerce(device, Device, "device")
        coerce(devices, Count, "devices")
        coerce(nodes, Count, "nodes")
        self.device, self.devices, self.nodes = device, devices, nodes
        self.rank, self.world = 0, 1
        if devices * nodes > 1:
            self.fabric("fp32")
            self.rank, self.world = distributed.get_rank(), distributed.get_world_size()

    @property
    def first(self) -> bool:
        """True in the process that writes and reports."""
        return self.rank == 0

    def fabric(self, precision: Precision) -> "Fabric":
        """Lightning Fabric for this device.

        Raises:
            RunError: the device is not available, or does not support bf16.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise RunError("expected a CUDA device, but PyTorch finds none; use the device 'cpu' or 'auto'")
        from lightning_fabric import Fabric  # takes as long to import as PyTorch, and only training needs it
        from lightning_fabric.strategies.ddp import DDPStrategy

        several = self.devices * self.nodes > 1
        with without_hints():
            fabric = Fabric(
                accelerator=self.device,
                strategy=DDPStrategy(**_UNSENT) if several else "auto",
                devices=self.devices,
                num_nodes=self.nodes,
                precision="bf16-mixed" if precision == "bf16" else "32-true",
            )
        if several:
            fabric.launch()
        if precision == "bf16":
            refuse_without_bf16(fabric.device)
        return fabric

    def turn(self, step: int) -> bool:
        """True at steps at which processes agree on flags; always for a single process."""
        return self.world == 1 or step % TURN == 0

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, True if any process raises it."""
        return tuple(map(any, zip(*self.gather(flags), strict=True)))

    def gather(self, value: Item) -> list[Item]:
        """The values of all processes, in order."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        with _together():
            distributed.all_gather_object(values, value)
        return values

    def from_first(self, value: Item) -> Item:
        """The value of the first process; all processes wait for each other here."""
        return self.gather(value)[0]

    def spread(self, function: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result]:
        """Apply ``function`` to all items, a share in each process; every process gets all results, in order."""
        own = items[self.rank :: self.world]
        shares = [iter(share) for share in self.gather(list(function(own)) if own else [])]
        return [next(shares[i % self.world]) for i in range(len(items))]

    def summed(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.world > 1:
            values = values.clone()
            with _together():
                distributed.all_reduce(values)
        return values

    def add_gradients(self, parameters: Sequence[nn.Parameter], doubtful: Tensor) -> Tensor:
        """Replace gradients by their sum over all processes; returns whether ``doubtful`` is True in any, 0-dim.

        A parameter without a gradient in every process keeps none.
        """
        if self.world == 1:
            return doubtful
        mine = [parameter.grad is not None for parameter in parameters]
        there = torch.tensor([*mine, False], dtype=parameters[0].dtype, device=doubtful.device)
        there[-1] = doubtful
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), there])
        with _together():
            distributed.all_reduce(flat)
        *sums, there = torch.split(flat, [*(each.numel() for each in parameters), len(there)])
        if not all(mine):
            mine = (there[:-1] > 0).tolist()
        for parameter, total, used in zip(parameters, sums, mine, strict=True):
            parameter.grad = total.view_as(parameter) if used else None
        return there[-1].bool()


@contextmanager
def _together() -> Iterator[None]:
    """Say that another process has ended, which PyTorch tells as a broken connection.

    Raises:
        RunError: it has; `torch.distributed` raises a plain RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise RunError(
            "another process of this run has ended or cannot be reached; see what it said. The same command resumes "
            "from the last checkpoint"
        ) from error


def in_first() -> bool:
    """False in all but the first process of a launcher, even before the processes have connected."""
    return all(int(os.environ.get(name) or 0) == 0 for name in ("RANK", "LOCAL_RANK"))


@contextmanager
def without_hints() -> Iterator[None]:
    """Silence Lightning's hints on tensor cores and precision, which every worker would repeat."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def refuse_without_bf16(device: torch.device) -> None:
    """Refuse a device that would only emulate bf16.

    Raises:
        RunError: the CPU or the GPU has no instructions for it.
    """
    if device.type == "cpu" and not cpu_has_bf16():
        raise RunError(
            "expected a CPU with bf16 instructions for precision 'bf16', but PyTorch finds none here; use 'fp32'"
        )
    if device.type == "cuda" and not gpu_has_bf16(device):
        raise RunError(
            "expected a GPU with bf16 instructions for precision 'bf16' (NVIDIA Ampere or later), but this one has "
            "none; use 'fp32'"
        )


def gpu_has_bf16(device: torch.device) -> bool:
    """True if this GPU has instructions for bf16."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def cpu_has_bf16() -> bool:
    """True if PyTorch can run recurrent networks in bf16 on this CPU."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
