"""How an expectation under q is computed: exactly, or from draws."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.config import Count
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


@dataclass(frozen=True, kw_only=True)
class Estimator(ObjectivePart):
    """A way to compute E_q[−log p(y|x)].

    Attributes:
        exact: True where nothing is drawn or searched for.
        requires_of_payoff: the verb that q must offer.
    """

    family = estimators
    exact: ClassVar[bool]
    requires_of_payoff: ClassVar[type]

    @property
    def drawn(self) -> int:
        """How many candidates of each example `draw` returns; 0 for None."""
        return 0

    @abstractmethod
    def draw(self, q: Any, generator: torch.Generator | None) -> Sequences | None:
        """Draws from q, ``[batch, candidates, time]``; None where the estimator draws nothing."""

    @abstractmethod
    def cross_entropy(self, q: Any, p: Any, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """The expectation, in nats, one per example."""

    def diagnostics(self, draws: Sequences, targets: Sequences) -> dict[str, Float[Tensor, " batch"]]:
        """Diagnostics of draws of q around the targets, by name.

        ``unchanged``, the share of draws that equal their target.
        """
        return {"unchanged": equal_to(draws, targets).double().mean(1)}


@estimators.register("exact")
@dataclass(frozen=True, kw_only=True)
class Exact(Estimator):
    """In closed form: no draws, no variance. Both distributions must allow it."""

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
    """The mean over ``k`` independent draws: unbiased, with variance falling as 1/k.

    On a CPU, equal draws are scored once, and near a reference there are many; a GPU would have to synchronise.

    Attributes:
        k: draws per example; the paper takes one.
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
        """``k`` draws."""
        return q.sample(self.k, generator)

    def cross_entropy(self, q: Sample, p: LogProb, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """−(1/k) Σ log p(y_k|x)."""
        assert draws is not None
        if self.k == 1 or not _worth_merging(p, draws):
            return -p.log_prob(draws).mean(1)
        outputs, copies = distinct(draws, torch.ones_like(draws.lengths))
        return _expected(p, outputs, copies) / self.k


def _worth_merging(p: object, draws: Sequences) -> bool:
    """Whether equal draws should be scored once: a GPU would have to synchronise, and a tagger gains nothing."""
    return draws.device.type == "cpu" and isinstance(p, Distribution) and not p.fixed_length


def _expected(p: LogProb, outputs: Sequences, weights: Tensor) -> Float[Tensor, " batch"]:
    """−Σ w log p(y|x); an output of no weight counts for nothing, impossible as it may be."""
    log_probs = torch.where(weights > 0, p.log_prob(outputs), 0.0)
    return -(weights * log_probs).sum(1)


def distinct(draws: Sequences, weights: Tensor) -> tuple[Sequences, Tensor]:
    """Draws with those that came before made empty and cut, so that nothing of them is scored.

    Args:
        draws: ``[batch, candidates, time]``.
        weights: of each draw, ``[batch, candidates]``.

    Returns:
        The draws, and at the first of equal ones the sum of their weights; 0 at the others.

    >>> draws = Sequences(torch.tensor([[[4, 2], [4, 0], [4, 2]]]), torch.tensor([[2, 1, 2]]))
    >>> outputs, copies = distinct(draws, torch.tensor([[1, 1, 1]]))
    >>> outputs.lengths.tolist(), copies.tolist()
    ([[2, 1, 0]], [[2, 1, 0]])
    """
    equal = equal_pairs(draws)
    first = ~equal.tril(-1).any(-1)
    summed = torch.where(first, (equal * weights.unsqueeze(1)).sum(-1), 0)
    return Sequences(draws.labels, torch.where(first, draws.lengths, 0), ended=first), summed


@estimators.register("self-normalised")
@dataclass(frozen=True, kw_only=True)
class SelfNormalised(Estimator):
    """Σ_i w_i·(−log p(y_i|x)) over ``k`` draws y_i with self-normalised importance weights w_i, for `ReweightedPayoff`.

    The weights of an example sum to one, so that no normaliser of q is needed. The price is a bias of O(1/k) towards
    the law of the draws; its variance falls as 1/k too (Owen 2013, "Monte Carlo theory, methods and examples", section
    9.2). A single draw would always weigh 1, whatever its reward, so k is at least 2.

    Attributes:
        k: draws per example.
    """

    requires = (LogProb,)
    requires_of_payoff = WeightedSample
    exact: ClassVar[bool] = False

    k: Count = 5

    def check(self) -> None:
        """Refuse a single draw."""
        if self.k < 2:
            raise ConfigError(
                f"SelfNormalised.k must be at least 2, but got {self.k}: the weight of a single draw is always 1, so "
                "the reward would be ignored"
            )

    @property
    def drawn(self) -> int:
        """``k``."""
        return self.k

    def draw(self, q: WeightedSample, generator: torch.Generator | None) -> Sequences:
        """``k`` draws with their weights."""
        return q.weighted_sample(self.k, generator)

    def cross_entropy(self, q: WeightedSample, p: LogProb, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """−Σ w_k log p(y_k|x)."""
        assert draws is not None
        weights = weights_of(draws)
        outputs, summed = distinct(draws, weights) if _worth_merging(p, draws) else (draws, weights)
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
    """The weights of draws that must have them.

    Raises:
        ConfigError: they have none.
    """
    if draws.weights is None:
        raise ConfigError(
            "SelfNormalised needs draws with weights, but these have none; take them from the objective's own `draw`"
        )
    return draws.weights


@estimators.register("best")
@dataclass(frozen=True, kw_only=True)
class Best(Estimator):
    """Over the ``k`` best outputs that a search of q finds, in proportion to their probability: cheap, but biased.

    With k = 1 all of q stands at its best output, as in sequence-level distillation (Kim and Rush 2016, section 3.2).

    Attributes:
        k: outputs per example.
        search: outputs searched for, which is the width of the beam where q is searched by one; at least ``k``.
    """

    requires = (LogProb,)
    requires_of_payoff = NBest
    exact: ClassVar[bool] = False

    k: Count = 1
    search: Count = 5

    def check(self) -> None:
        """Refuse to take more outputs than are searched for."""
        if self.search < self.k:
            raise ConfigError(f"Best.search must be at least k, {self.k}, but got {self.search}; raise it")

    def draw(self, q: NBest, generator: torch.Generator | None) -> None:
        """Nothing: the outputs are searched for in the step."""

    def cross_entropy(self, q: NBest, p: LogProb, draws: Sequences | None) -> Float[Tensor, " batch"]:
        """−Σ w_i log p(y_i|x), with w_i ∝ q(y_i) over the best outputs."""
        del draws
        ranked = q.n_best(self.search)
        weights = ranked.log_probs[:, : self.k].detach().softmax(1)  # 0 where there are fewer outputs than k
        outputs = Sequences(ranked.outputs.labels[:, : self.k], ranked.outputs.lengths[:, : self.k])
        return _expected(p, outputs, weights)
