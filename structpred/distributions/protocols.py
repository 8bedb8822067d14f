"""The verbs of a distribution over label sequences, each its own small protocol.

A distribution offers exactly the verbs it can compute; an objective declares the verbs it needs. All verbs work on a
batch: ``outputs`` are ``[batch, candidates, time]``, and every log-probability is in nats.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.config import Config
from structpred.errors import ConfigError
from structpred.protocols import Checkable
from structpred.returned import may_look
from structpred.rewards.base import Reward
from structpred.sequences import Sequences
from structpred.values import Count, Interval, LengthRatio


@runtime_checkable
class Distribution(Checkable, Protocol):
    """Properties of every distribution.

    Attributes:
        fixed_length: True if the input decides the length of the output, as for a tagger.
    """

    fixed_length: ClassVar[bool]

    @property
    def num_labels(self) -> int:
        """V, the number of labels."""


@runtime_checkable
class LogProb(Checkable, Protocol):
    """``log_prob``: the normalised log-probability of whole outputs."""

    def log_prob(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """log p(y|x) of each candidate, in nats."""


@runtime_checkable
class Sample(Checkable, Protocol):
    """``sample``: independent exact samples."""

    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` samples, without gradient."""


@runtime_checkable
class WeightedSample(Checkable, Protocol):
    """``weighted_sample``: samples from another distribution, with self-normalised importance weights."""

    def weighted_sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` samples with ``weights`` ``[batch, k]`` that sum to one, without gradient."""


@runtime_checkable
class Continuations(Checkable, Protocol):
    """``continuations``: independent exact samples with a given prefix."""

    def continuations(self, prefixes: Sequences, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` samples, each starting with its prefix ``[batch, time]``, without gradient."""


@dataclass(frozen=True)
class Steps:
    """The distribution of every next symbol along given outputs.

    Attributes:
        log_probs: ``[batch, candidates, steps, symbols]``, 0 at steps that do not count; if length is free, the last of
            the V + 1 symbols is the end of the sequence.
        targets: the output's symbol at each step, ``[batch, candidates, steps]``.
        mask: True at steps that count.
    """

    log_probs: Float[Tensor, "batch candidates steps symbols"]
    targets: Int[Tensor, "batch candidates steps"]
    mask: Bool[Tensor, "batch candidates steps"]


@runtime_checkable
class StepScores(Checkable, Protocol):
    """``steps``: the probabilities of every possible next symbol, given the output's own history."""

    def steps(self, outputs: Sequences) -> Steps:
        """Next-symbol log-probabilities along each candidate."""


@runtime_checkable
class TokenLogProbs(Checkable, Protocol):
    """``token_log_probs``: the log-probability of each symbol, given those before it."""

    def token_log_probs(self, outputs: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """log p(y_t | y_<t, x), in nats; with one more step for the end if length is free. They sum to ``log_prob``."""


@runtime_checkable
class TokenLogProbsGiven(Checkable, Protocol):
    """``token_log_probs_given``: like ``token_log_probs``, with a history other than the output's own."""

    def token_log_probs_given(self, outputs: Sequences, history: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """log p(y_t | history_<t, x), in nats, with one more step for the end; histories are as long as outputs."""


@runtime_checkable
class MixedHistory(Checkable, Protocol):
    """``mixed_history``: histories with the distribution's own samples at some positions."""

    def mixed_history(
        self,
        targets: Sequences,
        own: Bool[Tensor, "batch candidates time"],
        generator: torch.Generator | None = None,
    ) -> Sequences:
        """The targets, with a sample from p given the history so far where ``own`` is True; without gradient."""


@runtime_checkable
class Score(Checkable, Protocol):
    """``score``: the unnormalised log-probability, log p(y|x) + ``log_partition``."""

    def score(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """The unnormalised log-weight of each candidate."""


@runtime_checkable
class LogPartition(Checkable, Protocol):
    """``log_partition``: the logarithm of the sum of all weights."""

    def log_partition(self) -> Float[Tensor, " batch"]:
        """log Σ_y exp(score(y))."""


@runtime_checkable
class Argmax(Checkable, Protocol):
    """``argmax``: the most probable output, found exactly."""

    def argmax(self) -> Sequences:
        """``[batch, time]``, without gradient."""


@runtime_checkable
class Entropy(Checkable, Protocol):
    """``entropy``: in closed form."""

    def entropy(self) -> Float[Tensor, " batch"]:
        """H(p) = −Σ_y p(y) log p(y), in nats."""


@runtime_checkable
class Marginals(Checkable, Protocol):
    """``marginals``: the probability of every label at every position."""

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """p(y_t = v | x); 0 beyond each length."""


Augmented = TypeVar("Augmented")


@runtime_checkable
class LossAugmented(Checkable, Protocol):
    """``loss_augmented``: the distribution of the same kind with a decomposable cost added to its scores."""

    def loss_augmented(self: Augmented, costs: Float[Tensor, "batch time labels"]) -> Augmented:
        """The distribution whose score is score(y) + Σ_t cost_t(y_t)."""


@dataclass(frozen=True)
class LocalScores:
    """A function of outputs that is a sum over positions and neighbours: Σ_t u_t(y_t) + Σ_t T(y_t, y_t+1).

    Attributes:
        unary: u, ``[batch, time, labels]``; values beyond a length are ignored.
        lengths: number of labels in each output, ``[batch]``.
        transitions: T, ``[labels, labels]``, from row to column; None for none.
    """

    unary: Float[Tensor, "batch time labels"]
    lengths: Int[Tensor, " batch"]
    transitions: Float[Tensor, "labels labels"] | None = None


@runtime_checkable
class ExpectedScore(Checkable, Protocol):
    """``expected_score``: the expectation of a sum over positions and neighbours, in closed form."""

    def expected_score(self, scores: LocalScores) -> Float[Tensor, " batch"]:
        """E_y[Σ_t u_t(y_t) + Σ_t T(y_t, y_t+1)], with gradient to both the scores and this distribution.

        Raises:
            ConfigError: lengths or labels differ from those of this distribution.
        """


def refuse_others(scores: LocalScores, lengths: Int[Tensor, " batch"], num_labels: int) -> None:
    """Refuse an expectation of scores over other outputs than the distribution's.

    Raises:
        ConfigError: lengths or labels differ; the message names the first example.
    """
    if scores.unary.shape[-1] != num_labels:
        raise ConfigError(
            f"an expectation needs distributions over the same labels, but one has {num_labels} and the other "
            f"{scores.unary.shape[-1]}; build both from the sizes of the same task"
        )
    if not may_look(lengths.device) or torch.equal(scores.lengths, lengths):
        return
    first = int((scores.lengths != lengths).nonzero()[0])
    raise ConfigError(
        f"an expectation needs distributions over the same lengths, but in example {first} one has "
        f"{int(lengths[first])} positions and the other {int(scores.lengths[first])}; use a payoff that "
        "keeps the length"
    )


@runtime_checkable
class LocalLogProb(Checkable, Protocol):
    """``local_log_prob``: log q written as a sum over positions and neighbours."""

    def local_log_prob(self) -> LocalScores:
        """u and T with log q(y) = Σ_t u_t(y_t) + Σ_t T(y_t, y_t+1), in nats."""


@runtime_checkable
class Overlap(Checkable, Protocol):
    """``log_overlap``: the sum of a geometric mixture with another distribution, in closed form."""

    def log_overlap(self, scores: LocalScores, alpha: float) -> Float[Tensor, " batch"]:
        """log Σ_y p(y)^α exp((1 − α) s(y)) for 0 < α < 1, in nats; at most 0 where s is the log of a distribution.

        It is the partition function of α times the scores of p plus 1 − α times s, computed in float64.

        Raises:
            ConfigError: lengths or labels are not those of this distribution.
        """


@runtime_checkable
class CrossEntropy(Checkable, Protocol):
    """``cross_entropy_from``: the exact expectation of −log p under another distribution."""

    def cross_entropy_from(self, q: ExpectedScore) -> Float[Tensor, " batch"]:
        """−Σ_y q(y) log p(y), in nats; use `cross_entropy`."""


def cross_entropy(q: ExpectedScore, p: CrossEntropy) -> Float[Tensor, " batch"]:
    """H(q, p) = −Σ_y q(y) log p(y) in closed form, one number per example, in nats."""
    return p.cross_entropy_from(q)


@runtime_checkable
class Expected(ExpectedScore, Entropy, Protocol):
    """The verbs that the left side of a divergence must offer."""


def kl(q: Expected, p: CrossEntropy) -> Float[Tensor, " batch"]:
    """KL(q‖p) = H(q, p) − H(q) in closed form, one number per example, in nats."""
    return cross_entropy(q, p) - q.entropy()


@dataclass(frozen=True)
class Ranked:
    """Outputs in order, the best first.

    Attributes:
        outputs: ``[batch, candidates, time]``.
        log_probs: their log-probabilities, ``[batch, candidates]``; −inf if there were fewer outputs.
    """

    outputs: Sequences
    log_probs: Float[Tensor, "batch candidates"]


@runtime_checkable
class NBest(Checkable, Protocol):
    """``n_best``: the most probable outputs that the search finds."""

    def n_best(self, k: int) -> Ranked:
        """The ``k`` best, in order."""


@dataclass(frozen=True, kw_only=True)
class Decoding(Config):
    """How one output is chosen from a distribution; `structpred.distributions.decoding.decode` does it.

    By default it is the most probable output: exactly where the distribution has an argmax, and otherwise by a search
    that grows outputs symbol by symbol. With a ``reward`` it is the candidate of the greatest expected reward, which is
    minimum Bayes risk: argmax_c Σ_i w_i r(c, c_i), where the candidates c_1, … are hypotheses and references at once.
    For an n-best list w_i is p(c_i|x) divided by the sum over the list (Kumar and Byrne 2004, N04-1022); for
    samples it is 1/n (Eikema and Aziz 2020, arXiv 2005.10283). Ties go to the higher log p(c|x). Expected
    `Hamming` rewards are not estimated where the model has marginals: ``rule="hamming"`` is their exact solution.

    Attributes:
        beam: prefixes kept per example; 1 is greedy search.
        length_penalty: outputs are ranked by log p / (length + 1)^penalty, from 0, which ranks by probability, to 10.
        rule: ``"argmax"`` predicts the most probable output; ``"hamming"`` the most probable label at each position,
            which has the least expected Hamming distance (minimum Bayes risk), and needs a model with marginals.
        least_length_ratio, most_length_ratio: search only among outputs of least · input length labels or more, rounded
            up, and of most · input length or fewer, rounded down; needs a model that decides the length itself. A
            model's own limit holds as well, whatever the least ratio says; where no length fits between the two
            ratios, as of a short input, outputs have the least length.
        coverage_penalty: β; of the outputs that the beam has found, the one of greatest log p / (length + 1)^penalty +
            β Σ_i ln min(Σ_t a_ti, 1) is predicted, with a_ti the attention to input position i at step t (Wu et al.
            2016, arXiv 1609.08144, equation 14). Above 0 it prefers outputs that attend to the whole input; it needs a
            model whose attention is known.
        reward: predict the candidate whose expected reward is greatest, instead of what ``rule`` says.
        candidates: the candidates of such a choice: the ``"n-best"`` list or independent ``"samples"``.
        num_candidates: how many; they take the place of the beam, and no length penalty applies.

    Raises:
        ConfigError: settings exclude each other.
    """

    identity_optional: ClassVar[tuple[str, ...]] = (
        "least_length_ratio",
        "most_length_ratio",
        "coverage_penalty",
        "reward",
        "candidates",
        "num_candidates",
    )

    beam: Count = 5
    length_penalty: Annotated[float, Interval(least=0, most=10)] = 0.0
    rule: Literal["argmax", "hamming"] = "argmax"
    least_length_ratio: Annotated[float, Interval(least=0, most=1e6)] = 0.0
    most_length_ratio: LengthRatio | None = None
    coverage_penalty: Annotated[float, Interval(least=0, most=1e6)] = 0.0
    reward: Reward | None = None
    candidates: Literal["n-best", "samples"] = "n-best"
    num_candidates: Count = 32

    def check(self) -> None:
        """Refuse settings that exclude each other, or that would have no effect."""
        if self.most_length_ratio is not None and self.most_length_ratio < self.least_length_ratio:
            raise ConfigError(
                f"Decoding.most_length_ratio must be at least least_length_ratio, {self.least_length_ratio:g}, but got "
                f"{self.most_length_ratio:g}; raise it or lower the other"
            )
        if self.reward is None:
            if (self.candidates, self.num_candidates) != ("n-best", 32):
                raise ConfigError(
                    "Decoding.candidates and num_candidates say from what a reward chooses, but there is no reward; "
                    "add one, such as reward=edit-distance, or leave them out"
                )
            return
        if self.coverage_penalty:
            raise ConfigError("a reward takes the place of Decoding.coverage_penalty; leave one of them out")
        if self.rule == "hamming":
            raise ConfigError("Decoding takes rule='hamming' or a reward, not both; leave one out")
        if self.candidates == "samples" and self.bounds_length:
            raise ConfigError(
                "length ratios bound a search, and samples are not searched for; use Decoding(candidates='n-best'), or "
                "leave the length ratios out"
            )

    @property
    def bounds_length(self) -> bool:
        """True if lengths are bounded by more than the model's own limit."""
        return self.least_length_ratio > 0 or self.most_length_ratio is not None


Bounded = TypeVar("Bounded", bound="WithinLengths")


@runtime_checkable
class WithinLengths(Checkable, Protocol):
    """``within``: the same distribution, whose searches return only outputs of some lengths."""

    def within(self: Bounded, shortest: Int[Tensor, " batch"] | None, longest: Int[Tensor, " batch"] | None) -> Bounded:
        """Searches return the best outputs of ``shortest`` to ``longest`` labels, per example."""


Averaged = TypeVar("Averaged", bound="Mean")


@runtime_checkable
class Mean(Checkable, Protocol):
    """``mean``: the average of several distributions of the same kind over the same inputs, for ensembles."""

    @classmethod
    def averages(cls) -> str:
        """What is averaged, for messages: ``"the probabilities of each label"``."""

    @classmethod
    def mean(cls: type[Averaged], members: "tuple[Averaged, ...]") -> Averaged:
        """The average of two distributions or more, each with the same weight, without gradient."""


@runtime_checkable
class Decode(Checkable, Protocol):
    """``decode``: the output a distribution predicts."""

    def decode(self, decoding: Decoding) -> Sequences:
        """One output per example, ``[batch, time]``, without gradient."""
