"""One step: the only module that the engine wraps."""

import torch
from torch import Tensor, nn

from structpred.objective import Objective
from structpred.sequences import Sequences
from structpred.training.batching import Batch


class TrainingStep(nn.Module):
    """Model, objective and the objective's state. Everything p and q do in training happens in `forward`.

    It takes and returns plain tensors, so that autocast, distribution over processes and compilation have one place
    to act.

    Args:
        model: the network; called on inputs, it returns p.
        objective: what is minimised.
        state: the objective's own module, or None.
        generator: source of the draws that the objective makes during a step.
    """

    def __init__(
        self, model: nn.Module, objective: Objective, state: nn.Module | None, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.model, self.objective, self.state, self.generator = model, objective, state, generator

    def forward(
        self,
        input_labels: Tensor,
        input_lengths: Tensor,
        target_labels: Tensor,
        target_lengths: Tensor,
        draw_labels: Tensor | None = None,
        draw_lengths: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses ``[batch]`` and diagnostics by name, for the fields of a `Batch`."""
        p = self.model(Sequences(input_labels, input_lengths))
        draws = None
        if draw_labels is not None and draw_lengths is not None:
            draws = Sequences(draw_labels, draw_lengths)
        targets = Sequences(target_labels, target_lengths)
        losses = self.objective(p, targets, draws=draws, state=self.state, generator=self.generator)
        return losses.values, losses.diagnostics


def plain(batch: Batch) -> tuple[Tensor, ...]:
    """A batch as the arguments of `TrainingStep.forward`."""
    parts = [batch.inputs, batch.targets] + ([batch.draws] if batch.draws is not None else [])
    return tuple(tensor for part in parts for tensor in (part.labels, part.lengths))
