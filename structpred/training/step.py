"""One step: the only module that the engine wraps."""

from typing import Any

import torch
from torch import Tensor, nn

from structpred.objective import Moment, Objective
from structpred.sequences import Sequences
from structpred.training.batching import Batch

Plain = tuple[Any, ...]
"""Tensors, and behind those of outputs how many labels they have in all."""


class TrainingStep(nn.Module):
    """Model, objective and the objective's state. Everything p and q do in training happens in `forward`.

    It takes and returns tensors and numbers, so that autocast, distribution over processes and compilation have one
    place to act.

    Args:
        model: the network; called on inputs, it returns p.
        objective: what is minimised.
        state: the objective's own module, or None.
        generator: source of the draws that the objective makes during a step.
        kind: the class of a batch of inputs, which ``from_tensors`` puts together again.
        symbols: number of input symbols known from training.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        state: nn.Module | None,
        generator: torch.Generator | None,
        *,
        kind: type = Sequences,
        symbols: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.state, self.generator = model, objective, state, generator
        self.kind, self.symbols = kind, symbols

    def forward(
        self, inputs: Plain, targets: Plain, draws: Plain, step: int = 0, share: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses ``[batch]`` and diagnostics by name, for the fields of a `Batch`.

        The first three are what `plain` makes of a batch, ``step`` and ``share`` are those of a `Moment`.
        """
        given = self.kind.from_tensors(*inputs)  # type: ignore[attr-defined]  # a class of Inputs
        given = self.objective.corrupt(given, self.symbols, self.generator)
        losses = self.objective(
            self.model(given),
            Sequences.from_tensors(*targets),
            draws=Sequences.from_tensors(*draws) if draws else None,
            state=self.state,
            generator=self.generator,
            moment=Moment(step, share),
            inputs=given,
        )
        return losses.values, losses.diagnostics


def plain(batch: Batch) -> tuple[Plain, Plain, Plain]:
    """A batch as the first arguments of `TrainingStep.forward`."""
    targets, draws = batch.targets, batch.draws
    drawn = () if draws is None else (*draws.tensors(), draws.total)
    return batch.inputs.tensors(), (*targets.tensors(), targets.total), drawn
