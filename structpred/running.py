"""Statistics of earlier steps that fade, counted once a step into however many pieces its batch is split."""

from abc import abstractmethod
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Running(nn.Module):
    """A module whose buffers hold statistics of earlier steps, such as a mean that fades.

    What a step adds is a sum over its cases. By itself, every call of `add` is a step. Where batches are split into
    pieces, or over processes, training calls `begin` before a step and `settle` after it, and all pieces of the step
    count as one: it makes no difference then how a batch was split, and every process holds the same statistics.

    Args:
        size: how many numbers a step adds.
    """

    collected: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.collecting = False
        self.register_buffer("collected", torch.zeros(size, dtype=torch.float64), persistent=False)

    @abstractmethod
    def fade_in(self, sums: Float[Tensor, " numbers"]) -> None:
        """Let earlier steps fade, and take in the sums of a whole step."""

    @torch.no_grad()
    def add(self, sums: Float[Tensor, " numbers"]) -> None:
        """Add the sums of a step, or of a piece of one; does nothing in evaluation mode."""
        if not self.training:
            return
        if self.collecting:
            self.collected.add_(sums)
        else:
            self.fade_in(sums)


def running_in(module: nn.Module | None) -> list[Running]:
    """All `Running` parts of a module."""
    return [] if module is None else [part for part in module.modules() if isinstance(part, Running)]


@torch.no_grad()
def begin(parts: Iterable[Running]) -> None:
    """From now on collect what is added; what was collected before is forgotten."""
    for part in parts:
        part.collecting = True
        part.collected.zero_()


@torch.no_grad()
def settle(parts: Iterable[Running], summed: Callable[[Tensor], Tensor]) -> None:
    """Take in what was collected as one step.

    Args:
        parts: on which `begin` was called.
        summed: the sum of a tensor over all processes.
    """
    for part in parts:
        part.collecting = False
        part.fade_in(summed(part.collected))
