"""Label smoothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.distributions.protocols import Steps, StepScores
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Fraction

Weight = float | Float[Tensor, "batch candidates steps"]


def smoothed_cross_entropy(
    steps: Steps,
    epsilon: float,
    prior: Float[Tensor, " symbols"],
    mass: Literal["all", "others"],
    *,
    positive: bool = False,
) -> Float[Tensor, "batch candidates"]:
    """−Σ_t [(1 − ε) log p_t(y*_t) + ε Σ_v u(v) log p_t(v)], in nats.

    A symbol without mass contributes 0, even if p forbids it: 0 · log 0 is 0.

    Args:
        steps: log p_t(v) along the targets.
        epsilon: ε.
        prior: u over all next symbols, summing to one.
        mass: ``"all"`` uses u as it is, including the target; ``"others"`` renormalises u without the target.
        positive: True if u is known to be positive everywhere, which saves a pass over all symbols.

    Examples:
        >>> steps = Steps(torch.tensor([[[[0.8, 0.2]]]]).log(), torch.tensor([[[0]]]), torch.tensor([[[True]]]))
        >>> even = torch.tensor([0.5, 0.5])
        >>> [round(smoothed_cross_entropy(steps, 0.5, even, mass).item(), 4) for mass in ("all", "others")]
        [0.5697, 0.9163]
    """
    to_target: Weight = 1 - epsilon
    spread: Weight = epsilon
    if mass == "others":
        share = prior[steps.targets]
        alone = share == 1  # the target is the only symbol
        others = torch.where(alone, 1, 1 - share)
        spread = torch.where(alone, 0, epsilon / others)
        to_target = torch.where(alone, 1, 1 - epsilon - share * spread)
    mean: Callable[..., Tensor] = _Expected.apply
    expected = mean(steps.log_probs, steps.targets, prior, to_target, spread, positive)
    return torch.where(steps.mask, -expected, 0).sum(-1)


class _Expected(torch.autograd.Function):
    """a log p(y*) + b Σ_v u(v) log p(v). A custom gradient, because tables of all symbols dominate the cost."""

    @staticmethod
    def forward(
        ctx: Any, log_probs: Tensor, targets: Tensor, prior: Tensor, a: Weight, b: Weight, positive: bool
    ) -> Tensor:
        ctx.save_for_backward(targets, prior)
        ctx.weights = a, b
        to_target = a * log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        if isinstance(b, float) and b == 0:
            return to_target
        mean = (log_probs if positive else torch.where(prior > 0, log_probs, 0)) @ prior
        return to_target + (b * mean if isinstance(b, float) else torch.where(b == 0, 0, b * mean))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (targets, prior), (a, b), (gradient,) = ctx.saved_tensors, ctx.weights, gradients
        table = (gradient * b).unsqueeze(-1) * prior
        table.scatter_add_(-1, targets.unsqueeze(-1), (gradient * a).unsqueeze(-1))
        return table, None, None, None, None, None


class Frequencies(nn.Module):
    """The frequency of each next symbol in training, as a buffer that moves with the model.

    Attributes:
        positive: True if every symbol occurs; stored, so that no step has to wait for the device to find out.
    """

    counts: Tensor

    def __init__(self, counts: Float[Tensor, " symbols"]) -> None:
        super().__init__()
        self.positive = bool((counts > 0).all())
        self.register_buffer("counts", counts)


@objectives.register("label-smoothing")
@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Objective):
    """Cross-entropy from smoothed targets at every step of the reference (Szegedy et al. 2016, section 7).

    Unlike in RML, the history is always that of the reference; on a factorised model with a uniform prior the two are
    equal. If the model decides where outputs end, the end is one of the V + 1 next symbols: it is smoothed and receives
    its share of the mass, as in fairseq.

    Attributes:
        epsilon: ε, the mass moved away from the target.
        prior: the distribution of that mass: ``"uniform"`` over the next symbols, or ``"unigram"``, their frequency in
            training.
        mass: ``"all"`` spreads ε over all symbols, including the target (Szegedy et al., PyTorch, fairseq before 2021);
            ``"others"`` over the symbols other than the target (fairseq since 2021).
    """

    requires = (StepScores,)
    instead = "RML with HammingPayoff and estimator=Exact() (which smooths whole outputs)"

    epsilon: Fraction = 0.1
    prior: Literal["uniform", "unigram"] = "uniform"
    mass: Literal["all", "others"] = "all"

    def state(self, sizes: Sizes) -> nn.Module | None:
        """The unigram frequencies of the labels and, last, of the end."""
        if self.prior == "uniform":
            return None
        counts = torch.tensor([*sizes.label_counts, sizes.references], dtype=torch.get_default_dtype())
        return Frequencies(counts)

    def losses(self, p: StepScores, targets: Sequences, context: StepContext) -> Losses:
        """The smoothed cross-entropy of each example."""
        steps = p.steps(targets.candidates())
        positive = not isinstance(context.state, Frequencies) or context.state.positive
        prior = self._prior(steps, context.state)
        losses = smoothed_cross_entropy(steps, self.epsilon, prior, self.mass, positive=positive)
        return Losses(losses.squeeze(1))

    def _prior(self, steps: Steps, state: nn.Module | None) -> Float[Tensor, " symbols"]:
        symbols = steps.log_probs.shape[-1]
        counts = steps.log_probs.new_ones(symbols)
        if self.prior == "unigram":
            if not isinstance(state, Frequencies):
                raise ConfigError(
                    "LabelSmoothing(prior='unigram') needs frequencies: pass state=objective.state(sizes)"
                )
            counts = state.counts[:symbols].to(steps.log_probs.dtype)  # a tagger has no end, so its share is dropped
        return counts / counts.sum()
