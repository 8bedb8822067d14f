"""Estimators of an expectation under q: exact, or from samples."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.distributions.protocols import (
    CrossEntropy,
    Distribution,
    ExpectedScore,
    LogProb,
    NBest,
    Sample,
    WeightedSample,
    cross_entropy,
)
from structpred.errors import ConfigError
from structpred.objective import ObjectivePart
from structpred.objectives.candidates import equal_pairs, equal_to
from structpred.registry import estimators
from structpred.sequences import Sequences
from structpred.values import Count


@dataclass(frozen=True, kw_only=True)
class Estimator(ObjectivePart):
    """A way to compute E_q[−log p(y|x)].

    Attributes:
        exact: True if nothing is sampled or searched.
        requires_of_payoff: the verb that q must offer.
    """

    family = estimators
    exact: ClassVar[bool]
    requires_of_payoff: ClassVar[type]

    @property
    def drawn(self) -> int:
        """The number of candidates per example that `draw` returns; 0 if it returns None."""
        return 0

    @abstractmethod
    def draw(self, q: Any, generator: torch.Generator | None) -> Sequences | None:
        """Draws from q, ``[batch, candidates, time]``; None where the estimator draws nothing."""

    @abstractmethod
    def cross_entropy(self, q: Any, p: Any, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """The expectation, in nats, one per example."""

    def diagnostics(self, draws: Sequences, targets: Sequences) -> dict[str, Float[Tensor, " batch"]]:
        """Diagnostics of draws of q around the targets, by name.

        ``unchanged``: the fraction of samples that equal their target.
        """
        return {"unchanged": equal_to(draws, targets).double().mean(1)}


@estimators.register("exact")
@dataclass(frozen=True, kw_only=True)
class Exact(Estimator):
    """In closed form: no samples, no variance. Both distributions must allow it."""

    requires = (CrossEntropy,)
    instead = "estimator=Sampled(k=1)"
    requires_of_payoff = ExpectedScore
    exact: ClassVar[bool] = True

    def draw(self, q: ExpectedScore, generator: torch.Generator | None) -> None:
        """Nothing."""

    def cross_entropy(self, q: ExpectedScore, p: CrossEntropy, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """H(q, p)."""
        del draws
        return cross_entropy(q, p)


@estimators.register("sampled")
@dataclass(frozen=True, kw_only=True)
class Sampled(Estimator):
    """The mean over ``k`` independent samples: unbiased, with variance proportional to 1/k.

    On a CPU, equal draws are scored once, and near a reference there are many; a GPU would have to synchronise.

    Attributes:
        k: samples per example; the paper uses one.
    """

    requires = (LogProb,)
    requires_of_payoff = Sample
    exact: ClassVar[bool] = False

    k: Count = 1

    @property
    def drawn(self) -> int:
        """``k``."""
        return self.k

    def draw(self, q: Sample, generator: torch.Generator | None) -> Sequences:
        """``k`` samples."""
        return q.sample(self.k, generator)

    def cross_entropy(self, q: Sample, p: LogProb, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """−(1/k) Σ log p(y_k|x)."""
        assert draws is not None
        if self.k == 1 or not worth_merging(p, draws):
            return -p.log_prob(draws).mean(1)
        outputs, copies = distinct(draws, torch.ones_like(draws.lengths))
        return _expected(p, outputs, copies) / self.k


def worth_merging(p: object, draws: Sequences) -> bool:
    """Whether equal draws should be scored once: a GPU would have to synchronise, and a tagger gains nothing."""
    return draws.device.type == "cpu" and isinstance(p, Distribution) and not p.fixed_length


def _expected(p: LogProb, outputs: Sequences, weights: Tensor) -> Float[Tensor, " batch"]:
    """−Σ w log p(y|x); an output with weight 0 contributes 0, even if it is impossible under p."""
    log_probs = torch.where(weights > 0, p.log_prob(outputs), 0.0)
    return -(weights * log_probs).sum(1)


def distinct(draws: Sequences, weights: Tensor) -> tuple[Sequences, Tensor]:
    """The samples, with repeated ones emptied and cut so that they are not scored.

    Args:
        draws: ``[batch, candidates, time]``.
        weights: the weight of each sample, ``[batch, candidates]``.

    Returns:
        The samples, and the sum of the weights of equal samples at the first of them; 0 at the others.

    Examples:
        >>> draws = Sequences(torch.tensor([[[4, 2], [4, 0], [4, 2]]]), torch.tensor([[2, 1, 2]]))
        >>> outputs, copies = distinct(draws, torch.tensor([[1, 1, 1]]))
        >>> outputs.lengths.tolist(), copies.tolist()
        ([[2, 1, 0]], [[2, 1, 0]])
    """
    equal = equal_pairs(draws)
    first = ~equal.tril(-1).any(-1)
    summed = torch.where(first, (equal * weights.unsqueeze(1)).sum(-1), 0)
    ended = first if draws.ended is None else first & draws.ended
    return Sequences(draws.labels, torch.where(first, draws.lengths, 0), ended), summed


@estimators.register("self-normalised")
@dataclass(frozen=True, kw_only=True)
class SelfNormalised(Estimator):
    """Σ_i w_i·(−log p(y_i|x)) over ``k`` samples with self-normalised importance weights w_i, for `ReweightedPayoff`.

    The weights of an example sum to one, so no normaliser of q is needed. The price is a bias of O(1/k) towards the
    proposal; the variance also falls as 1/k (Owen 2013, "Monte Carlo theory, methods and examples", section 9.2). A
    single sample would always have weight 1, whatever its reward, so k is at least 2.

    Attributes:
        k: samples per example.
    """

    requires = (LogProb,)
    requires_of_payoff = WeightedSample
    exact: ClassVar[bool] = False

    k: Count = 5

    def check(self) -> None:
        """Refuse a single sample."""
        if self.k < 2:
            raise ConfigError(
                f"SelfNormalised.k must be at least 2, but got {self.k}: the weight of a single sample is always 1, so "
                "the reward would be ignored"
            )

    @property
    def drawn(self) -> int:
        """``k``."""
        return self.k

    def draw(self, q: WeightedSample, generator: torch.Generator | None) -> Sequences:
        """``k`` samples with their weights."""
        return q.weighted_sample(self.k, generator)

    def cross_entropy(self, q: WeightedSample, p: LogProb, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """−Σ w_k log p(y_k|x)."""
        assert draws is not None
        weights = weights_of(draws)
        outputs, summed = distinct(draws, weights) if worth_merging(p, draws) else (draws, weights)
        return _expected(p, outputs, summed)

    def diagnostics(self, draws: Sequences, targets: Sequences) -> dict[str, Float[Tensor, " batch"]]:
        """Also what the weights say of the draws; w belong to distinct outputs, k counts all draws.

        ``effective_samples``, 1/Σw², from 1 to k; ``effective_share``, (1/Σw² − 1)/(k − 1), from 0 to 1;
        ``reference_share``, the weight of the reference; ``weight_entropy``, −Σ w ln w, in nats.
        """
        given = weights_of(draws).double()
        w = distinct(draws, given)[1]
        effective = 1 / w.square().sum(1)
        return {
            **super().diagnostics(draws, targets),
            "effective_samples": effective,
            "effective_share": (effective - 1) / (draws.lengths.shape[1] - 1),
            "reference_share": torch.where(equal_to(draws, targets), given, 0.0).sum(1),
            "weight_entropy": -torch.xlogy(w, w).sum(1),
        }


def weights_of(draws: Sequences) -> Float[Tensor, "batch candidates"]:
    """The weights of samples that must have them.

    Raises:
        ConfigError: they have none.
    """
    if draws.weights is None:
        raise ConfigError(
            "SelfNormalised needs samples with weights, but these have none; draw them with the objective's own `draw`"
        )
    return draws.weights


@estimators.register("best")
@dataclass(frozen=True, kw_only=True)
class Best(Estimator):
    """Over the ``k`` best outputs found by searching q, in proportion to their probability: cheap, but biased.

    With k = 1, q is replaced by its best output, as in sequence-level distillation (Kim and Rush 2016, section 3.2).

    Attributes:
        k: outputs per example.
        search: outputs to search for, which is the width if the search is a beam search; at least ``k``.
    """

    requires = (LogProb,)
    requires_of_payoff = NBest
    exact: ClassVar[bool] = False

    k: Count = 1
    search: Count = 5

    def check(self) -> None:
        """Refuse ``k`` above ``search``."""
        if self.search < self.k:
            raise ConfigError(f"Best.search must be at least k, {self.k}, but got {self.search}; raise it")

    def draw(self, q: NBest, generator: torch.Generator | None) -> None:
        """None: the search happens in the step."""

    def cross_entropy(self, q: NBest, p: LogProb, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """−Σ w_i log p(y_i|x), with w_i ∝ q(y_i) over the best outputs."""
        del draws
        ranked = q.n_best(self.search)
        weights = ranked.log_probs[:, : self.k].detach().softmax(1)  # 0 if there are fewer outputs than k
        outputs = Sequences(ranked.outputs.labels[:, : self.k], ranked.outputs.lengths[:, : self.k])
        return _expected(p, outputs, weights)
