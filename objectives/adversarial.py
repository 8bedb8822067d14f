"""Adversarial training: the loss again where a small shift of the inputs' vectors raises it most."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.config import registered_name
from structpred.errors import ConfigError
from structpred.models import Model
from structpred.objective import Losses, Objective, StepContext, updates_of
from structpred.objectives.combined import Combined
from structpred.objectives.maximum_likelihood import MaximumLikelihood
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.values import Positive

INSTEAD = "SwitchOut, which swaps input symbols"


def worst_shift(
    gradient: Float[Tensor, "batch time size"], lengths: Int[Tensor, " batch"], epsilon: float
) -> Float[Tensor, "batch time size"]:
    """ε g/‖g‖, with the norm over all positions of an input; zero where the gradient is, and at padding.

    Args:
        gradient: g of each input's loss with respect to the vectors at its positions.
        lengths: how many positions are real.
        epsilon: ε, the length of the shift.

    Examples:
        >>> worst_shift(torch.tensor([[[3.0], [4.0], [9.0]]]), torch.tensor([2]), 0.5).flatten().tolist()
        [0.30000001192092896, 0.4000000059604645, 0.0]
    """
    inside = torch.arange(gradient.shape[1], device=gradient.device) < lengths.unsqueeze(1)
    real = torch.where(inside.unsqueeze(-1), gradient, 0.0)
    largest = real.abs().amax((1, 2), keepdim=True) if real.shape[1] else real.new_ones(len(real), 1, 1)
    scaled = real / largest.clamp(min=torch.finfo(real.dtype).tiny)  # whose squares neither vanish nor overflow
    length = torch.linalg.vector_norm(scaled, dim=(1, 2), keepdim=True)
    shift: Tensor = epsilon * scaled / length.clamp(min=1.0)  # the length is at least 1 where there is a gradient
    return shift


@objectives.register("adversarial")
@dataclass(frozen=True, kw_only=True)
class Adversarial(Combined):
    """L(v) + w L(v + r) with r = ε g/‖g‖ and g = ∇_v L(v): any objective L on shifted vectors v of the input, too.

    Miyato, Dai and Goodfellow 2017, arXiv 1605.07725, equations 5 and 6; known as the fast gradient method. v are the
    vectors at all positions of an input, as its embeddings, and r is the shift of length ε along which the loss rises
    most to first order. r is held constant: its own derivative is no part of the gradient. As ε → 0 this becomes
    (1 + w) L. Both passes have the same dropout masks and the same samples of q; samples of p are drawn anew.

    Departure: the paper normalises the embeddings of all symbols to mean 0 and variance 1, so that the network cannot
    escape the shift by growing them. Here they stay as the model has them, and ε is in their unit: a vector of a
    `SymbolEmbedding` has a length of about 1 when training begins.

    Diagnostics are those of L(v), under the objective's name, and ``adversarial/loss``, which is L(v + r).

    Attributes:
        objective: L.
        epsilon: ε.
        weight: w.
    """

    objective: Objective
    epsilon: Positive = 0.5
    weight: Positive = 1.0

    perturbs = True

    def check(self) -> None:
        """Refuse an objective that shifts vectors itself, and one that makes several updates on a batch."""
        if self.objective.perturbs:
            raise ConfigError(
                f"Adversarial.objective must not shift inputs itself, but {type(self.objective).__name__} does; leave "
                "one of the two out"
            )
        if updates_of(self.objective) > 1:
            raise ConfigError(
                f"Adversarial.objective must make one update on a batch, but {type(self.objective).__name__} makes "
                f"{self.objective.updates}; use updates=1"
            )

    @classmethod
    def examples(cls) -> tuple["Adversarial", ...]:
        """Of likelihood."""
        return (cls(objective=MaximumLikelihood()),)

    def members(self) -> dict[str, Objective]:
        """The objective by its name."""
        return {registered_name(self.objective): self.objective}

    def weights(self, context: StepContext) -> tuple[float, ...]:
        """Of the pass over the vectors as they are."""
        del context
        return (1.0,)

    def check_model(self, model: Model) -> None:
        """Refuse a model that does not say what its inputs' vectors are."""
        super().check_model(model)
        if not model.embedder:
            raise ConfigError(
                f"Adversarial shifts the vectors that inputs are read as, but {type(model).__name__} does not name the "
                f"module that makes them; set its class attribute `embedder`, or use {INSTEAD}"
            )

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """Both losses of each example, added.

        Raises:
            ConfigError: the context does not have the vectors.
        """
        if context.embedded is None:
            raise ConfigError(
                "Adversarial needs the vectors of p's inputs, which training provides; pass p and embedded from "
                "structpred.models.embedded.embedded(network, embedder, inputs)"
            )
        vectors = context.embedded.vectors
        with torch.enable_grad():
            clean = super().losses(p, targets, context)
            gradient = torch.zeros_like(vectors)
            if clean.values.requires_grad:
                (gradient,) = torch.autograd.grad(
                    clean.values.sum(), vectors, retain_graph=True, allow_unused=True, materialize_grads=True
                )
        shift = worst_shift(gradient, context.embedded.lengths, self.epsilon)
        shifted = super().losses(context.embedded.shifted(shift), targets, context).values
        diagnostics = {**clean.diagnostics, "adversarial/loss": shifted.detach()}
        return Losses(clean.values + self.weight * shifted, diagnostics)
