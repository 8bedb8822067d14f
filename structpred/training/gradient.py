"""The gradient of a step, summed over pieces of its batch where the whole does not fit into memory."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from structpred.blame import out_of_memory
from structpred.training.batching import Batch, EpochPlan
from structpred.training.ranks import Ranks
from structpred.training.step import plain


class MemoryWarning(RuntimeWarning):
    """A batch did not fit into memory and is worked off in pieces."""


@dataclass(frozen=True)
class Scored:
    """What this process has seen of a step.

    Attributes:
        losses: of its examples, detached, ``[batch]``.
        diagnostics: of the objective, ``[batch]`` each.
        tokens: target tokens of its examples.
    """

    losses: Tensor
    diagnostics: dict[str, Tensor]
    tokens: int


class Gradient:
    """Leaves the gradient of (sum of losses) / (target tokens) of a whole batch in the parameters.

    The divisor is that of the batch, whatever part of it a piece or a process has, so the sums of all parts are those
    of the whole.

    Args:
        fabric: the engine.
        step: the `TrainingStep` as the engine has wrapped it.
        ranks: the processes at work.
        pieces: how many to begin with.
    """

    def __init__(self, fabric: Fabric, step: Any, ranks: Ranks, pieces: int) -> None:
        self.fabric, self.step, self.ranks, self.pieces = fabric, step, ranks, pieces
        self.warned = False

    @property
    def alone(self) -> AbstractContextManager[object]:
        """Keeps gradients in this process until `Ranks.add_gradients` adds them up, once a step."""
        return nullcontext() if self.ranks.world == 1 else self.fabric.no_backward_sync(self.step)

    def of(self, plan: EpochPlan, position: int, steps: int, share: float) -> Scored:
        """That of the batch at ``position``; the parameters must have no gradient yet.

        Where memory runs out it is worked off once more, in twice as many pieces, as long as there are examples to
        part.
        """
        pieces = self.pieces
        while True:
            parts = plan.parts(position, pieces, self.ranks.rank, self.ranks.world)
            try:
                return self._sum(parts, plan.tokens(position), steps, share)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or len(parts) < pieces:
                    raise
                self._warn(error)
            pieces *= 2
            self.step.zero_grad()  # here, where the error holds no tensors of the failed attempt any more
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()

    def _sum(self, parts: Sequence[Batch], tokens: int, steps: int, share: float) -> Scored:
        losses: list[Tensor] = []
        diagnostics: list[dict[str, Tensor]] = []
        for part in parts:
            with self.alone:
                values, more = self.step(*plain(part), steps, share)
                self.fabric.backward(values.sum() / tokens)
            losses.append(values.detach())
            diagnostics.append(more)
        names = dict.fromkeys(name for each in diagnostics for name in each)
        joined = {name: torch.cat([each[name] for each in diagnostics if name in each]) for name in names}
        none = torch.zeros(0, device=self.fabric.device)
        return Scored(torch.cat(losses) if losses else none, joined, sum(part.tokens for part in parts))

    def _warn(self, error: BaseException) -> None:
        if not self.warned:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"a batch that does not fit into memory is worked off in pieces ({why})", MemoryWarning, 2)
        self.warned = True
