"""The gradient of a batch: accumulated over pieces and processes, and over more pieces where memory runs out."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from structpred.blame import out_of_memory, users_line
from structpred.errors import CodeError
from structpred.running import Running, begin
from structpred.training.batching import Batch, EpochPlan
from structpred.training.distributed import DistributedContext
from structpred.training.rollouts import Rollout

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class MemoryWarning(RuntimeWarning):
    """A batch did not fit into memory and is processed in pieces."""


@dataclass(frozen=True)
class BatchLoss:
    """The loss of this process's share of a batch.

    Attributes:
        losses: the losses of its examples, detached, ``[batch]``.
        diagnostics: the objective's diagnostics, summed over its examples, 0-dim.
        tokens: target tokens of its examples.
        all_tokens: target tokens of the whole batch.
        kept: the objective's `Losses.kept` of each piece.
    """

    losses: Tensor
    diagnostics: dict[str, Tensor]
    tokens: int
    all_tokens: int
    kept: Sequence[dict[str, Tensor]]


class Gradient:
    """Accumulates the gradient of (sum of losses) / (target tokens) of a whole batch in the parameters.

    The divisor is that of the whole batch in every piece and process, so that the gradients of all parts add up to that
    of the batch.

    Args:
        fabric: Lightning Fabric.
        step: the `TrainingStep` as wrapped by Fabric.
        ranks: the processes that train.
        pieces: the initial number of pieces.
        of_users: whether there are components from outside the package, which may be why a gradient fails.
        running: statistics of earlier steps; what this one adds is left for `structpred.running.settle`.
    """

    def __init__(
        self,
        fabric: "Fabric",
        step: Any,
        ranks: DistributedContext,
        pieces: int,
        *,
        of_users: bool = False,
        running: Sequence[Running] = (),
    ) -> None:
        self.fabric, self.step, self.ranks, self.pieces = fabric, step, ranks, pieces
        self.of_users, self.running = of_users, running
        self.warned = False

    @property
    def alone(self) -> AbstractContextManager[object]:
        """Keeps gradients local until `DistributedContext.add_gradients` sums them, once a step."""
        return nullcontext() if self.ranks.world == 1 else self.fabric.no_backward_sync(self.step)

    def of(self, plan: EpochPlan, position: int, steps: int, share: float, rollout: Rollout | None = None) -> BatchLoss:
        """Compute the gradient of the batch at ``position``; the parameters must not have a gradient yet.

        An update after the first on a batch has the ``rollout`` of that one, and begins with as many pieces.

        If memory runs out, the batch is processed again in twice as many pieces, as long as it has enough examples.
        """
        pieces = self.pieces if rollout is None else rollout.pieces
        while True:
            parts = plan.parts(position, pieces, self.ranks.rank, self.ranks.world)
            kept = [None] * len(parts) if rollout is None else rollout.split(len(parts))
            try:
                return self._sum(parts, kept, self._tokens(plan, position, parts), steps, share)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or len(parts) < pieces:
                    raise
                self._warn(error)
            pieces *= 2
            self.step.zero_grad()  # here, where the error no longer holds tensors of the failed attempt
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()

    def _sum(
        self,
        parts: Sequence[Batch],
        kept: Sequence[dict[str, Tensor] | None],
        tokens: tuple[int, int],
        steps: int,
        share: float,
    ) -> BatchLoss:
        begin(self.running)  # here, so that a failed attempt leaves nothing
        own, of_batch = tokens
        losses: list[Tensor] = []
        diagnostics: list[dict[str, Tensor]] = []
        keeps: list[dict[str, Tensor]] = []
        for part, before in zip(parts, kept, strict=True):
            with self.alone:
                values, more, keep = self.step(*part.tensors(), steps, share, before)
                self._backward(values.sum() / of_batch)
            losses.append(values.detach())
            diagnostics.append(more)
            keeps.append(keep)
        names = dict.fromkeys(name for each in diagnostics for name in each)
        # now: a diagnostic may be a view of a weight, which the step is about to change
        sums = {name: _joined([each[name] for each in diagnostics if name in each]).sum() for name in names}
        every = _joined(losses) if losses else torch.zeros(0, device=self.fabric.device)
        return BatchLoss(every, sums, own, of_batch, keeps)

    def _backward(self, loss: Tensor) -> None:
        """The gradient of the loss.

        Raises:
            CodeError: PyTorch cannot compute it, there is no line of a user's to blame, but a component of a user's.
        """
        try:
            self.fabric.backward(loss)
        except RuntimeError as error:
            if out_of_memory(error) or not self.of_users or users_line(error) is not None:
                raise
            said = " ".join(str(error).split()).partition(". ")[0]
            raise CodeError(
                f"the gradient of the losses cannot be computed ({said}); a component of your own may have changed a "
                "tensor in place, called backward, or turned gradients off: let it do none of these"
            ) from error

    def _tokens(self, plan: EpochPlan, position: int, parts: Sequence[Batch]) -> tuple[int, int]:
        """Target tokens of this process's share of a batch, and of the whole batch."""
        own = sum(part.tokens for part in parts)
        return own, own if self.ranks.world == 1 else plan.tokens(position)

    def _warn(self, error: BaseException) -> None:
        if not self.warned:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"a batch that does not fit into memory is processed in pieces ({why})", MemoryWarning, 2)
        self.warned = True


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    """The values of all pieces, of which there is nearly always one."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))
