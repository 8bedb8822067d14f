"""One step: the only module that the engine wraps."""

from typing import Any

import torch
from torch import Tensor, nn

from structpred.models.base import Model
from structpred.objective import Objective
from structpred.returned import refuse
from structpred.sequences import Inputs, Sequences
from structpred.training.batching import Batch

Plain = tuple[Any, ...]
"""Tensors, and behind those of outputs how many labels they have in all, and behind that the weights of draws."""


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
        specification: what the network was built from, which says what distribution it returns; None to trust it.
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
        specification: Model | None = None,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.state, self.generator = model, objective, state, generator
        self.kind, self.symbols, self.specification = kind, symbols, specification

    def forward(
        self, inputs: Plain, targets: Plain, draws: Plain, step: int = 0, share: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses ``[batch]`` and diagnostics by name, for the fields of a `Batch`.

        The first three are what `plain` makes of a batch, ``step`` and ``share`` are those of a `StepContext`.

        Raises:
            ConfigError: the network returns no distribution of its model's class, or the objective no losses that
                could be minimised.
        """
        given = self.kind.from_tensors(*inputs)  # type: ignore[attr-defined]  # a class of Inputs
        given = self.objective.corrupt(given, self.symbols, self.generator)
        losses = self.objective(
            self._distribution(given),
            Sequences.from_tensors(*targets),
            step=step,
            share=share,
            draws=Sequences.from_tensors(*draws) if draws else None,
            state=self.state,
            generator=self.generator,
            inputs=given,
        )
        if torch.is_grad_enabled() and not losses.values.requires_grad:
            what = f"{type(self.objective).__name__}.losses"
            advice = "compute them from p without .detach(), .item() or torch.no_grad()"
            refuse(what, "losses with a gradient to the model's weights", "values without one", advice)
        return losses.values, losses.diagnostics

    def _distribution(self, given: Inputs) -> object:
        """p, of the class that the model's specification names."""
        p: object = self.model(given)
        if self.specification is not None and not isinstance(p, self.specification.distribution):
            what = f"the network of {type(self.specification).__name__}"
            expected = f"its distribution, {self.specification.distribution.__name__}"
            refuse(what, expected, f"a {type(p).__name__}", "mend its forward, or the model's `distribution`")
        return p


def plain(batch: Batch) -> tuple[Plain, Plain, Plain]:
    """A batch as the first arguments of `TrainingStep.forward`."""
    targets, draws = batch.targets, batch.draws
    drawn = () if draws is None else (*draws.tensors(), draws.total, draws.weights)
    return batch.inputs.tensors(), (*targets.tensors(), targets.total, None, targets.examples), drawn
