"""Steps that would spoil the weights are skipped and counted; all on the device, so that nothing waits for it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from structpred.errors import RunError
from structpred.recordings import spelt
from structpred.training.batching import EpochPlan
from structpred.training.checkpoint import State
from structpred.training.data import Prepared


class NotFinite(RunError):
    """Too many steps in a row whose loss or gradient was not finite.

    Args:
        what: what was not finite, such as ``"the loss of RML"``.
        steps: how many there were.
        epoch: when, from 1.
        batch: the examples of the last one, as plain values.
    """

    def __init__(self, what: str, steps: int, epoch: int, batch: State) -> None:
        super().__init__(
            f"{what} was not finite in {steps} steps in a row in epoch {epoch}; lower the learning rate or the clip "
            "norm, or look at the batch"
        )
        self.batch = batch


class Care:
    """Counts of skipped steps.

    Attributes:
        skipped: all of them.
        in_a_row: those since the last step that was taken.
        longest: the most there ever were in a row.
        position: place in the epoch of the last one; -1 for none.
        by_loss: True where the loss of the last one itself was not finite, False where its gradient alone was not.
    """

    NAMES = ("skipped", "in_a_row", "longest", "position", "by_loss")

    def __init__(self, device: torch.device) -> None:
        self.skipped, self.in_a_row, self.longest = (torch.zeros((), dtype=torch.long, device=device) for _ in range(3))
        self.position = torch.tensor(-1, device=device)
        self.by_loss = torch.zeros((), dtype=torch.bool, device=device)

    def count(self, skip: Tensor, position: int, by_loss: Tensor) -> None:
        """Count a step that is skipped, or is not; ``by_loss`` where its loss is not finite."""
        self.skipped = self.skipped + skip
        self.in_a_row = (self.in_a_row + 1) * skip
        self.longest = torch.maximum(self.longest, self.in_a_row)
        self.position = torch.where(skip, position, self.position)
        self.by_loss = torch.where(skip, by_loss, self.by_loss)

    def state(self) -> State:
        """All counts."""
        return {name: getattr(self, name) for name in self.NAMES}

    def restore(self, state: State) -> None:
        """Go on counting from what `state` returned."""
        for name in self.NAMES:
            setattr(self, name, state[name].to(self.skipped.device))


def step_unless(skip: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step of the optimiser, unless ``skip``, a 0-dim tensor, says not to.

    A fused optimiser looks at it on the device; for any other the device has to be waited for.
    """
    if all(group.get("fused") for group in optimizer.param_groups):
        inner = getattr(optimizer, "optimizer", optimizer)  # below the engine's wrapper
        setattr(inner, "found_inf", skip.float())  # noqa: B010 - as torch.amp.GradScaler does; it is not declared
        optimizer.step()
    elif not skip:
        optimizer.step()


def give_back(buffers: Sequence[Tensor], before: Sequence[Tensor], skip: Tensor) -> None:
    """Undo what a skipped step has counted."""
    for buffer, old in zip(buffers, before, strict=True):
        buffer.copy_(torch.where(skip, old, buffer))


def described(plan: EpochPlan, position: int, prepared: Prepared) -> State:
    """A batch in symbols, for people."""
    targets = plan[position].targets.tolist()
    rows = [
        (prepared.splits.train[row], target) for row, target in zip(plan.rows[position].tolist(), targets, strict=True)
    ]
    examples = [
        {"where": each.where, "source": list(spelt(each.source)), "target": list(prepared.codec.write(target))}
        for each, target in rows
    ]
    return {"position": position, "examples": examples}
