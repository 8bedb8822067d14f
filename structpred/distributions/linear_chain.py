"""A linear-chain conditional random field (Lafferty, McCallum & Pereira 2001)."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.distributions import chain_search, fused_chain
from structpred.distributions.forward_backward import ScaledMessages
from structpred.distributions.layout import (
    Packing,
    at_least_float,
    chosen_scores,
    impossible_elsewhere,
    inside,
    pad_or_trim,
    padded_labels,
    pairs_of,
    surely_finite,
)
from structpred.distributions.log_space import IMPOSSIBLE, LogMessages, log_messages
from structpred.distributions.protocols import Decoding, ExpectedScore, LocalScores, Ranked, refuse_others
from structpred.distributions.scaled_messages import widest
from structpred.sequences import Sequences


@dataclass(frozen=True)
class LinearChain:
    """p(y|x) = exp(score(y)) / Z with score(y) = Σ_t u_t(y_t) + Σ_t T(y_t, y_t+1).

    Outputs have exactly the length that the input determines, and every verb is exact. Scores beyond a length are
    ignored and may be anything, including NaN. A score of −inf forbids a label, but every position needs at least one
    allowed label. The empty output has score 0.

    Attributes:
        unary: u, ``[batch, time, labels]``; half precision is computed in float32.
        transitions: T, ``[labels, labels]``, from row to column. If max − min exceeds 27, float64 is used; above 318,
            or with −inf, a recursion in log space, many times slower.
        lengths: number of labels in each output, ``[batch]``.
    """

    fixed_length: ClassVar[bool] = True

    unary: Float[Tensor, "batch time labels"]
    transitions: Float[Tensor, "labels labels"]
    lengths: Int[Tensor, " batch"]

    @classmethod
    def with_ends(
        cls,
        unary: Float[Tensor, "batch time labels"],
        transitions: Float[Tensor, "labels labels"],
        start: Float[Tensor, " labels"],
        end: Float[Tensor, " labels"],
        lengths: Int[Tensor, " batch"],
    ) -> "LinearChain":
        """The chain with start(y_1) + end(y_n) added to the score of every output but the empty one."""
        batch, time, labels = unary.shape
        unary = at_least_float(unary)
        if not time:
            return cls(unary, transitions, lengths)
        firsts = time * torch.arange(batch, device=lengths.device)
        lasts = firsts + (lengths - 1).clamp(min=0)
        both = torch.stack([start, end]).unsqueeze(1)
        ends = torch.where((lengths > 0).unsqueeze(1), both, 0.0).flatten(0, 1).to(unary.dtype)
        # not index_put: its gradient is slow
        added = unary.reshape(batch * time, labels).index_add(0, torch.cat([firsts, lasts]), ends)
        return cls(added.view(batch, time, labels), transitions, lengths)

    @property
    def num_labels(self) -> int:
        """V."""
        return self.unary.shape[-1]

    @classmethod
    def averages(cls) -> str:
        """What `mean` averages."""
        return "the scores (the log-linear mean of the distributions)"

    @classmethod
    def mean(cls, members: "tuple[LinearChain, ...]") -> "LinearChain":
        """The log-linear mean, p(y|x) ∝ Π_m p_m(y|x)^(1/M): the chain of the averaged scores.

        An arithmetic mean of chains is no chain.
        """
        dtype = members[0].dtype
        unary = torch.stack([member.unary.to(dtype) for member in members]).mean(0)
        transitions = torch.stack([member.transitions.to(dtype) for member in members]).mean(0)
        return cls(unary, transitions, members[0].lengths)

    @cached_property
    def packing(self) -> Packing:
        """The batch in the layout of the recursions."""
        return Packing.of(self.lengths, self.unary.shape[1])

    def score(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """Σ_t u_t(y_t) + Σ_t T(y_t, y_t+1); −inf for an output of another length."""
        return impossible_elsewhere(self._exact_score(outputs), outputs, self.lengths).to(self.dtype)

    def log_partition(self) -> Float[Tensor, " batch"]:
        """log Z = log Σ_y exp(score(y)), in nats; 0 for the empty output."""
        return self._log_z().to(self.dtype)

    def log_prob(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """score(y) − log Z, in nats; −inf for an output of another length. Both are computed in float64."""
        log_probs = self._exact_score(outputs) - self._log_z().unsqueeze(1)
        return impossible_elsewhere(log_probs, outputs, self.lengths).to(self.dtype)

    def token_log_probs(self, outputs: Sequences) -> Float[Tensor, "batch candidates time"]:
        """ln p(y_t | y_t−1, x) = T(y_t−1, y_t) + u_t(y_t) + b_t(y_t) − b_t−1(y_t−1), with b the backward messages.

        They sum to `log_prob`; 0 beyond each length, −inf throughout for an output of another length, and where a label
        leaves no possible continuation.
        """
        messages, labels = self._log_messages(), self._labels(outputs)
        ahead, behind = chosen_scores(messages.unary + messages.beta, labels), chosen_scores(messages.beta, labels)
        first = messages.log_partition().view(-1, 1, 1).expand(-1, labels.shape[1], min(1, labels.shape[2]))
        before = torch.cat([first, behind[..., :-1] - self._pair_scores(labels).double()], 2)
        counted = inside(self.lengths, labels.shape[2]).unsqueeze(1)
        log_probs = torch.where(counted, ahead - before, 0.0)
        possible = (ahead.minimum(behind) > IMPOSSIBLE / 2) | ~counted
        same = (outputs.lengths == self.lengths.unsqueeze(1)).unsqueeze(2)
        return torch.where(same & possible, log_probs, -torch.inf).to(self.dtype)

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """p(y_t = v | x), with gradient; 0 beyond each length."""
        return self._messages().marginals().to(self.dtype)

    def pair_marginals(self) -> Float[Tensor, "batch later labels labels"]:
        """p(y_t = i, y_t+1 = j | x) for each t but the last, with gradient; 0 beyond each length."""
        return self._log_messages().pair_marginals().to(self.dtype)

    def entropy(self) -> Float[Tensor, " batch"]:
        """H(p) = log Z − E_p[score(y)], in nats."""
        return self.cross_entropy_from(self)

    def cross_entropy_from(self, q: ExpectedScore) -> Float[Tensor, " batch"]:
        """H(q, p) = log Z − E_q[score(y)], in nats: exact for any q of the same lengths.

        Raises:
            ConfigError: q's lengths or labels differ from those of this distribution.
        """
        scores, shift = self._centred()
        # if q is this chain, its expectation comes from the same messages, so both round alike
        log_z = self._messages().log_partition() if isinstance(q, LinearChain) else self._log_z()
        return (log_z - shift - q.expected_score(scores)).to(self.dtype)

    def expected_score(self, scores: LocalScores) -> Float[Tensor, " batch"]:
        """Σ_t ⟨p_t, u_t⟩ + Σ_t ⟨P_t, T⟩, with p and P the marginals of labels and of neighbours; 0 · (−inf) = 0.

        It is −inf if an output that is possible under p has a label or a pair that the scores forbid; its gradient is
        then that of the finite terms.

        Raises:
            ConfigError: lengths or labels differ from those of this distribution.
        """
        refuse_others(scores, self.lengths, self.num_labels)
        unary = pad_or_trim(scores.unary, self.unary.shape[1])
        pairs = torch.zeros_like(self.transitions) if scores.transitions is None else scores.transitions
        dtype = torch.promote_types(self.dtype, unary.dtype)
        if surely_finite(unary, pairs):
            return self._messages().expected_score(unary, pairs).to(dtype)
        forbidden = unary.isneginf() & inside(self.lengths, unary.shape[1]).unsqueeze(-1)
        forbidden_pairs = pairs.isneginf()
        if not bool(forbidden.any() | forbidden_pairs.any()):  # one synchronisation
            return self._messages().expected_score(unary, pairs).to(dtype)
        unary, pairs = torch.where(forbidden, 0.0, unary), torch.where(forbidden_pairs, 0.0, pairs)
        with torch.no_grad():
            refused = self._log_messages().can_give(forbidden, forbidden_pairs)
        return (self._messages().expected_score(unary, pairs) + torch.where(refused, -torch.inf, 0.0)).to(dtype)

    def log_overlap(self, scores: LocalScores, alpha: float) -> Float[Tensor, " batch"]:
        """log Σ_y p(y)^α exp((1 − α) s(y)), in nats: log Z of the mixed scores, less α times that of this chain.

        Both are taken in float64, since a small α is divided by where this is a divergence.

        Raises:
            ConfigError: lengths or labels are not those of this distribution.
        """
        refuse_others(scores, self.lengths, self.num_labels)
        mine = LinearChain(self.unary.double(), self.transitions.double(), self.lengths)
        unary = alpha * mine.unary + (1 - alpha) * pad_or_trim(scores.unary, self.unary.shape[1]).double()
        pairs = alpha * mine.transitions
        if scores.transitions is not None:
            pairs = pairs + (1 - alpha) * scores.transitions.double()
        mixed = LinearChain(unary, pairs, self.lengths)
        return (mixed.log_partition() - alpha * mine.log_partition()).to(self.dtype)

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` exact samples: forward messages in float64, then label by label from the last."""
        log_alpha = self._messages(torch.float64).log_alpha()
        drawn = chain_search.sample(log_alpha, self.transitions.double(), k, self.packing, generator)
        return self._outputs(drawn)

    @torch.no_grad()
    def argmax(self) -> Sequences:
        """``[batch, time]``: the most probable output."""
        unary, transitions = self.unary.to(self.dtype), self.transitions.to(self.dtype)
        return Sequences(chain_search.viterbi(unary, transitions, self.packing), self.lengths)

    @torch.no_grad()
    def n_best(self, k: int) -> Ranked:
        """The ``k`` most probable outputs, exactly, in float64."""
        outputs, scores = chain_search.k_best(self.unary.double(), self.transitions.double(), k, self.packing)
        return Ranked(self._outputs(outputs), (scores - self._log_z().unsqueeze(1)).to(self.dtype))

    def decode(self, decoding: Decoding) -> Sequences:
        """``[batch, time]``: the most probable output, or the most probable label at each position."""
        if decoding.rule == "argmax":
            return self.argmax()
        with torch.no_grad():
            best = self.marginals().argmax(-1)
        return Sequences(torch.where(inside(self.lengths, best.shape[1]), best, 0), self.lengths)

    def loss_augmented(self, costs: Float[Tensor, "batch given labels"]) -> "LinearChain":
        """The chain whose score is score(y) + Σ_t cost_t(y_t)."""
        unary = at_least_float(self.unary)
        return LinearChain(unary + pad_or_trim(costs, unary.shape[1]).to(unary.dtype), self.transitions, self.lengths)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of results: float64 for float64 scores, otherwise float32."""
        return torch.float64 if self.unary.dtype == torch.float64 else torch.float32

    @cached_property
    def _extremes(self) -> tuple[float, float]:
        """min T and max T."""
        low, high = torch.stack(self.transitions.detach().aminmax()).tolist()  # one synchronisation
        return low, high

    @cached_property
    def _arithmetic(self) -> torch.dtype | None:
        """The least precision in which scaled messages are exact for these transitions; None where none is."""
        low, high = self._extremes
        spread = high - low
        rough = torch.get_float32_matmul_precision() != "highest"
        allowed = [torch.float64] if rough or self.dtype == torch.float64 else [torch.float32, torch.float64]
        return next((dtype for dtype in allowed if spread <= widest(dtype)), None)

    def _log_z(self) -> Float[Tensor, " batch"]:
        """log Z in float64."""
        if fused_chain.fits(self.unary, self.transitions):
            return fused_chain.log_partition(
                self.unary, self.transitions, self.lengths, lambda u, t: LinearChain(u, t, self.lengths)._messages()
            )
        return self._messages().log_partition()

    def _messages(self, least: torch.dtype = torch.float32) -> ScaledMessages | LogMessages:
        if self._arithmetic is None:
            return self._log_messages()
        dtype = torch.promote_types(self._arithmetic, least)
        return ScaledMessages(self.unary.to(dtype), self.transitions.to(dtype), self.packing)

    def _log_messages(self) -> LogMessages:
        return log_messages(self.unary, self.transitions, self.lengths, self.packing)

    def _centred(self) -> tuple[LocalScores, Float[Tensor, " batch"]]:
        """Smaller scores of the same distribution, and the difference in log Z, which reduces cancellation.

        log Z itself is computed from the original scores. The two round differently, and if an entropy is
        differentiated, the marginals of log Z and of the expectation must cancel.
        """
        dtype = self._arithmetic or torch.float64
        unary, transitions = self.unary.to(dtype), self.transitions.to(dtype)
        peaks, top = unary.detach().amax(-1), max(self._extremes[1], torch.finfo(dtype).min)
        counted = inside(self.lengths, unary.shape[1])
        shift = torch.where(counted, peaks.double(), 0.0).sum(1) + top * pairs_of(self.lengths)
        return LocalScores(unary - peaks.unsqueeze(-1), self.lengths, transitions - top), shift

    def _labels(self, outputs: Sequences) -> Int[Tensor, "batch candidates time"]:
        return padded_labels(outputs, self.lengths, self.unary.shape[1])

    def _outputs(self, labels: Int[Tensor, "batch candidates time"]) -> Sequences:
        return Sequences(labels, self.lengths.unsqueeze(1).repeat(1, labels.shape[1]))

    def _exact_score(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """The score in float64 of outputs of the right length."""
        if fused_chain.fits(self.unary, self.transitions):
            return fused_chain.score(
                self.unary,
                self.transitions,
                self.lengths,
                outputs.labels,
                lambda u, t: LinearChain(u, t, self.lengths)._summed_score(outputs),
            )
        return self._summed_score(outputs)

    def _summed_score(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """The same, gathered and summed position by position."""
        labels = self._labels(outputs)
        counted = inside(self.lengths, labels.shape[2]).unsqueeze(1)
        unary = torch.where(counted, chosen_scores(self.unary, labels), 0.0)
        pairs = torch.where(counted[..., 1:], self._pair_scores(labels), 0.0)
        return unary.sum(-1, dtype=torch.float64) + pairs.sum(-1, dtype=torch.float64)

    def _pair_scores(self, labels: Int[Tensor, "batch candidates time"]) -> Float[Tensor, "batch candidates later"]:
        """T(y_t, y_t+1); indexed by pair number, because the gradient of indexing by two tensors is slow."""
        pairs = labels[..., :-1] * self.num_labels + labels[..., 1:]
        return self.transitions.flatten().index_select(0, pairs.flatten()).view(pairs.shape)
