"""Independent labels at every position: a softmax tagger, or a Hamming payoff as a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.distributions.decoders import log_mean
from structpred.distributions.layout import (
    at_least_float,
    chosen_scores,
    impossible_elsewhere,
    inside,
    pad_or_trim,
    padded_labels,
    surely_finite,
    without_autocast,
)
from structpred.distributions.protocols import Decoding, ExpectedScore, LocalScores, Ranked, Steps, refuse_others
from structpred.errors import ConfigError
from structpred.sequences import Sequences


@dataclass(frozen=True)
class Factorised:
    """p(y|x) = Π_t p_t(y_t) with p_t = softmax(s_t), over outputs of exactly the length that the input determines.

    Scores beyond a length are ignored and may be anything, including NaN. A score of −inf forbids a label, but every
    position needs at least one allowed label.

    Attributes:
        scores: s, ``[batch, time, labels]``, normalised or not; half precision is computed in float32.
        lengths: number of labels in each output, ``[batch]``.
    """

    fixed_length: ClassVar[bool] = True

    scores: Float[Tensor, "batch time labels"]
    lengths: Int[Tensor, " batch"]

    @property
    def num_labels(self) -> int:
        """V."""
        return self.scores.shape[-1]

    @classmethod
    def averages(cls) -> str:
        """What `mean` averages."""
        return "the probabilities of each label"

    @classmethod
    def mean(cls, members: "tuple[Factorised, ...]") -> "Factorised":
        """p_t(v) = Σ_m p_m,t(v) / M at every position."""
        return cls(log_mean([member._inside() for member in members]), members[0].lengths)

    def mask(self) -> Bool[Tensor, "batch time"]:
        """True at positions that count."""
        return inside(self.lengths, self.scores.shape[1])

    @property  # not cached: a verb without gradient may be called first
    def log_probs(self) -> Float[Tensor, "batch time labels"]:
        """ln p_t(v); 0 beyond each length, so that nothing there affects a result or a gradient."""
        return torch.where(self.mask().unsqueeze(-1), self._inside().log_softmax(-1), 0.0)

    def score(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """Σ_t s_t(y_t); −inf for an output of another length."""
        labels = padded_labels(outputs, self.lengths, self.scores.shape[1])
        total = chosen_scores(self._inside(), labels).sum(-1)
        return impossible_elsewhere(total, outputs, self.lengths)

    def log_partition(self) -> Float[Tensor, " batch"]:
        """log Z = Σ_t ln Σ_v exp s_t(v), in nats."""
        return torch.where(self.mask(), self._inside().logsumexp(-1), 0.0).sum(1)

    def log_prob(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """Σ_t ln p_t(y_t), in nats; −inf for an output of another length."""
        labels = padded_labels(outputs, self.lengths, self.scores.shape[1])
        return impossible_elsewhere(chosen_scores(self.log_probs, labels).sum(-1), outputs, self.lengths)

    def token_log_probs(self, outputs: Sequences) -> Float[Tensor, "batch candidates time"]:
        """ln p_t(y_t); 0 beyond each length, −inf throughout for an output of another length."""
        labels = padded_labels(outputs, self.lengths, self.scores.shape[1])
        same = (outputs.lengths == self.lengths.unsqueeze(1)).unsqueeze(-1)
        return torch.where(same, chosen_scores(self.log_probs, labels), -torch.inf)

    def steps(self, outputs: Sequences) -> Steps:
        """The same distributions for every candidate: a label's probability does not depend on a history."""
        batch, time, symbols = self.scores.shape
        labels = padded_labels(outputs, self.lengths, time)
        shape = (batch, labels.shape[1], time, symbols)
        log_probs, mask = self.log_probs.unsqueeze(1).expand(shape), self.mask().unsqueeze(1).expand(shape[:-1])
        return Steps(log_probs, labels, mask)

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` exact samples, by inverting each position's cumulative distribution."""
        cumulative = self.log_probs.double().exp().cumsum(-1)
        batch, time, labels = cumulative.shape
        uniform = torch.rand(batch, time, k, generator=generator, device=cumulative.device, dtype=torch.float64)
        # `right` skips labels of probability 0; rounding may push the product up to the total itself
        drawn = torch.searchsorted(cumulative, uniform * cumulative[..., -1:], right=True).clamp(max=labels - 1)
        drawn = torch.where(self.mask().unsqueeze(-1), drawn, 0).transpose(1, 2).contiguous()
        return Sequences(drawn, self.lengths.unsqueeze(1).repeat(1, k))

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """p_t(v); 0 beyond each length."""
        return torch.where(self.mask().unsqueeze(-1), self.log_probs.exp(), 0.0)

    def entropy(self) -> Float[Tensor, " batch"]:
        """H(p) = −Σ_t Σ_v p_t(v) ln p_t(v), in nats."""
        return -self.expected_score(LocalScores(self.log_probs, self.lengths))

    def argmax(self) -> Sequences:
        """``[batch, time]``: the most probable label at every position."""
        best = self.log_probs.argmax(-1)
        return Sequences(torch.where(self.mask(), best, 0), self.lengths)

    @torch.no_grad()
    def n_best(self, k: int) -> Ranked:
        """The ``k`` most probable outputs, exactly: at each position, the best extensions of the best prefixes."""
        batch, time, labels = self.scores.shape
        best = torch.full((batch, k), -torch.inf, dtype=torch.float64, device=self.scores.device)
        best[:, :1] = 0.0
        outputs = torch.zeros(batch, k, time, dtype=torch.long, device=best.device)
        for t in range(time):
            extended = best.unsqueeze(2) + self.log_probs[:, t].double().unsqueeze(1)  # [batch, prefixes, labels]
            values, places = extended.flatten(1).topk(k, dim=1)
            grown = outputs.gather(1, (places // labels).unsqueeze(2).expand(-1, -1, time))
            grown[:, :, t] = places % labels
            going = (t < self.lengths).unsqueeze(1)
            best, outputs = torch.where(going, values, best), torch.where(going.unsqueeze(2), grown, outputs)
        outputs.masked_fill_(best.isneginf().unsqueeze(2), 0)
        ranked = Sequences(outputs, self.lengths.unsqueeze(1).repeat(1, k))
        return Ranked(ranked, best.to(self.log_probs.dtype))

    def loss_augmented(self, costs: Float[Tensor, "batch given labels"]) -> "Factorised":
        """The distribution whose score is score(y) + Σ_t cost_t(y_t)."""
        scores = at_least_float(self.scores)
        return Factorised(scores + pad_or_trim(costs, scores.shape[1]).to(scores.dtype), self.lengths)

    def decode(self, decoding: Decoding) -> Sequences:
        """``[batch, time]``: the most probable output, which is also the most probable label at each position."""
        del decoding
        return self.argmax()

    def cross_entropy_from(self, q: ExpectedScore) -> Float[Tensor, " batch"]:
        """H(q, p) = −E_q[Σ_t ln p_t(y_t)], in nats: exact for any q of the same lengths.

        Raises:
            ConfigError: q's lengths or labels differ from those of this distribution.
        """
        return -q.expected_score(LocalScores(self.log_probs, self.lengths))

    def expected_score(self, scores: LocalScores) -> Float[Tensor, " batch"]:
        """Σ_t ⟨p_t, u_t⟩ + Σ_t p_tᵀ T p_t+1: positions are independent.

        Raises:
            ConfigError: lengths or labels differ from those of this distribution.
        """
        refuse_others(scores, self.lengths, self.num_labels)
        return expected_under(
            self.marginals(), lambda: ~self.scores.detach().isneginf() & self.mask().unsqueeze(-1), scores
        )

    def log_overlap(self, scores: LocalScores, alpha: float) -> Float[Tensor, " batch"]:
        """Σ_t ln Σ_v p_t(v)^α exp((1 − α) u_t(v)), in nats.

        Raises:
            ConfigError: lengths or labels are not those of this distribution, or the scores have transitions.
        """
        refuse_others(scores, self.lengths, self.num_labels)
        if scores.transitions is not None:
            raise ConfigError(
                "Factorised.log_overlap needs scores of single positions, but these have transitions; ask a "
                "LinearChain with transitions of 0 instead"
            )
        near = alpha > 0.99  # 1 − α is divided by; elsewhere runs keep the rounding that they have always had
        mine = (Factorised(self.scores.double(), self.lengths) if near else self).log_probs
        mixed = alpha * mine.double() + (1 - alpha) * pad_or_trim(scores.unary, mine.shape[1]).double()
        return Factorised(mixed, self.lengths).log_partition().to(at_least_float(self.scores).dtype)

    def _inside(self) -> Float[Tensor, "batch time labels"]:
        return at_least_float(torch.where(self.mask().unsqueeze(-1), self.scores, 0.0))


def expected_under(
    marginals: Float[Tensor, "batch time labels"],
    possible: Callable[[], Bool[Tensor, "batch time labels"]],
    scores: LocalScores,
) -> Float[Tensor, " batch"]:
    """Σ_t ⟨q_t, u_t⟩ + Σ_t q_tᵀ T q_t+1 for independent positions, with 0 · (−inf) = 0.

    It is −inf if q gives positive probability to something the scores forbid; its gradient is then that of the finite
    terms.

    Args:
        marginals: q_t(v), 0 beyond each length; may be padded to another length than the scores.
        possible: tells where q_t(v) > 0, even if it underflows to 0; False beyond each length. It is asked only if the
            scores may forbid something.
        scores: u and T.
    """
    time = min(marginals.shape[1], scores.unary.shape[1])
    q, unary = marginals[:, :time], scores.unary[:, :time]
    if q.device.type == "cpu":
        total = _plain_expectation(q, unary, scores.transitions)
        if surely_finite(total):  # a forbidden score would make it infinite or, as 0 · (−inf), not a number
            return total
    can, forbidden = possible()[:, :time], unary.isneginf()
    refused, pairs = (can & forbidden).any(2).any(1), scores.transitions
    if scores.transitions is not None:
        forbidden_pairs = scores.transitions.isneginf()
        pairs = torch.where(forbidden_pairs, 0.0, scores.transitions)
        if q.device.type != "cpu" or bool(forbidden_pairs.any()):  # checking on a device would synchronise
            led_to = (can[:, :-1].float() @ forbidden_pairs.float()) > 0
            refused = refused | (led_to & can[:, 1:]).any(2).any(1)
    total = _plain_expectation(q, torch.where(can & ~forbidden, unary, 0.0), pairs)
    return total + torch.where(refused, -torch.inf, 0.0)


def _plain_expectation(
    q: Float[Tensor, "batch time labels"],
    unary: Float[Tensor, "batch time labels"],
    pairs: Float[Tensor, "labels labels"] | None,
) -> Float[Tensor, " batch"]:
    """Of finite scores."""
    total = (q * unary).sum((1, 2))
    if pairs is None:
        return total
    with without_autocast(q.device):
        return total + ((q[:, :-1] @ pairs.to(q.dtype)) * q[:, 1:]).sum((1, 2))
