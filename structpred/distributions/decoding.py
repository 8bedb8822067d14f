"""The output that a distribution predicts: by search, or by the greatest expected reward."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.config import registered_name
from structpred.distributions.protocols import Argmax, Decoding, Marginals, WithinLengths
from structpred.errors import ConfigError
from structpred.rewards.base import Reward, scores_of
from structpred.rewards.hamming import Hamming
from structpred.sequences import Sequences

BOUNDS = ("least_length_ratio", "most_length_ratio")
"""The fields of a `Decoding` that say which outputs there are to choose among."""

TIE = 1e-9
"""Expected rewards whose difference is at most this part of their size are a tie, as rounding may order them."""

ROUNDING = 1e-9
"""In labels: 0.1 · 30 is 3, although a product of binary numbers may lie just above."""


@torch.no_grad()
def decode(
    p: Any,
    decoding: Decoding,
    lengths: Int[Tensor, " batch"] | None = None,
    generator: torch.Generator | None = None,
) -> Sequences:
    """``[batch, time]``: one output per example, without gradient.

    Args:
        p: a distribution with the verb `Decode`, and those that the settings ask for.
        decoding: how to choose; a reward that reads more than ids must be bound (`structpred.rewards.bind`). A sample
            that was cut stands for the longest output that the model's limit allows it to be.
        lengths: the lengths of the inputs, which length ratios refer to.
        generator: source of randomness for samples.

    Raises:
        ConfigError: p lacks a verb, or lengths are bounded and the inputs' lengths are not given.
    """
    p, reward = bounded(p, decoding, lengths), decoding.reward
    exact = isinstance(reward, Hamming) and isinstance(p, Marginals)
    if reward is None or exact:
        outputs: Sequences = p.decode(Decoding(rule="hamming") if exact else decoding)
        return outputs
    if decoding.candidates == "samples":
        candidates = within_limits(p.sample(decoding.num_candidates, generator))
        log_probs = p.log_prob(candidates)
        weights = torch.ones_like(log_probs)
    else:
        ranked = p.n_best(decoding.num_candidates)
        candidates, log_probs = ranked.outputs, ranked.log_probs
        weights = log_probs.double().softmax(-1)
        weights[log_probs.isneginf().all(-1), 0] = 1.0  # nothing can end here: the first stands
        weights = weights.nan_to_num(0.0)
    return most_rewarded(Sequences(candidates.labels, candidates.lengths), weights, log_probs, reward)


def in_words(decoding: Decoding, *, exact: bool) -> str:
    """How outputs are chosen, for reports and messages.

    Args:
        decoding: the settings.
        exact: the model finds the most probable output exactly, without a search.

    Examples:
        >>> in_words(Decoding(length_penalty=1.0, most_length_ratio=2.0), exact=False)
        'a beam of 5, length penalty 1, at most 2 times as long as the input'
    """
    if decoding.reward is not None:
        name = registered_name(decoding.reward)
        if exact and isinstance(decoding.reward, Hamming):
            return "the most probable label at each position"
        kind = "most probable outputs" if decoding.candidates == "n-best" else "samples"
        said = [f"the greatest expected {name} among {decoding.num_candidates} {kind}"]
    elif decoding.rule == "hamming":
        return "the most probable label at each position"
    elif exact:
        return "the most probable output, found exactly"
    else:
        said = [f"a beam of {decoding.beam}" if decoding.beam > 1 else "greedy search"]
        penalties = {"length": decoding.length_penalty, "coverage": decoding.coverage_penalty}
        said += [f"{name} penalty {value:g}" for name, value in penalties.items() if value and decoding.beam > 1]
    return ", ".join(said) + bounds_in_words(decoding)


def bounds_in_words(decoding: Decoding) -> str:
    """Which lengths are allowed, to go on with after a search; empty if all are.

    Examples:
        >>> bounds_in_words(Decoding(least_length_ratio=0.5))
        ', at least 0.5 times as long as the input'
    """
    least, most = decoding.least_length_ratio, decoding.most_length_ratio
    bounds = [f"at least {least:g}"] if least else []
    bounds += [] if most is None else [f"at most {most:g}"]
    return f", {' and '.join(bounds)} times as long as the input" if bounds else ""


def idle(decoding: Decoding, distribution: type) -> dict[str, str]:
    """Which settings have no effect on the outputs of a class of distributions: by field, why.

    Examples:
        >>> from structpred.distributions import Factorised
        >>> idle(Decoding(), Factorised)["beam"]
        'the most probable output is found exactly, without a beam'
    """
    ranking = ("length_penalty", "coverage_penalty")
    if decoding.rule == "hamming" or (isinstance(decoding.reward, Hamming) and issubclass(distribution, Marginals)):
        fields = ("beam", *ranking, "candidates", "num_candidates")
        return dict.fromkeys(fields, "the most probable label at each position is found exactly")
    if decoding.reward is not None:
        return dict.fromkeys(("beam", *ranking), "the output is chosen among num_candidates candidates instead")
    if issubclass(distribution, Argmax):
        return dict.fromkeys(("beam", *ranking), "the most probable output is found exactly, without a beam")
    return dict.fromkeys(ranking, "greedy search ranks no outputs") if decoding.beam == 1 else {}


def bounded(p: Any, decoding: Decoding, lengths: Int[Tensor, " batch"] | None) -> Any:
    """The distribution, searched only for outputs of the lengths that the settings allow.

    Raises:
        ConfigError: the distribution cannot bound lengths, or the inputs' lengths are not given.
    """
    if not decoding.bounds_length:
        return p
    if not isinstance(p, WithinLengths):
        raise ConfigError(f"length ratios need `within`, which {type(p).__name__} does not offer; leave them out")
    if lengths is None:
        raise ConfigError("length ratios refer to the lengths of the inputs, which are not given; pass lengths=")
    least, most = decoding.least_length_ratio, decoding.most_length_ratio
    shortest = (lengths.double() * least - ROUNDING).ceil().clamp(min=0).long()
    longest = None if most is None else (lengths.double() * most + ROUNDING).floor().long()
    return p.within(shortest, longest)


def within_limits(drawn: Sequences) -> Sequences:
    """Draws as outputs: one that was cut, one label beyond the model's limit, loses that label, as in greedy search."""
    if drawn.ended is None:
        return drawn
    lengths = drawn.lengths - (~drawn.ended).long()
    inside = torch.arange(drawn.labels.shape[-1], device=lengths.device) < lengths.unsqueeze(-1)
    return Sequences(torch.where(inside, drawn.labels, 0), lengths)


def most_rewarded(
    candidates: Sequences,
    weights: Float[Tensor, "batch candidates"],
    log_probs: Float[Tensor, "batch candidates"],
    reward: Reward,
) -> Sequences:
    """``[batch, time]``: of each example's candidates the one of the greatest expected reward.

    The expectation of r(c, ·) is over all candidates as references, by their weights; of candidates that tie, the one
    of higher log-probability is chosen, and of those the first. Equal candidates are scored once.

    Args:
        candidates: ``[batch, candidates, time]``.
        weights: of each as a reference; they need not sum to one, and candidates of weight 0 do not exist.
        log_probs: log p of each.
        reward: bound to the data if it reads more than ids.
    """
    chosen = [
        _best(*distinct(candidates.select(slice(row, row + 1)), weights[row].double()), log_probs[row], reward)
        for row in range(len(candidates))
    ]
    rows = torch.arange(len(candidates), device=candidates.device)
    picked = torch.tensor(chosen, dtype=torch.long, device=candidates.device)
    return Sequences(candidates.labels[rows, picked], candidates.lengths[rows, picked])


def distinct(
    candidates: Sequences, weights: Float[Tensor, " candidates"]
) -> tuple[Sequences, Int[Tensor, " distinct"], Float[Tensor, " distinct"]]:
    """The distinct candidates of one example, ``[distinct, time]``, where each first occurs, and its share.

    Args:
        candidates: ``[1, candidates, time]``.
        weights: of each; candidates of weight 0 are left out.
    """
    first: dict[tuple[int, ...], int] = {}
    total: dict[int, float] = {}
    rows, given = candidates.flatten().tolist(), weights.tolist()
    for place, (row, weight) in enumerate(zip(rows, given, strict=True)):
        if weight > 0:
            there = first.setdefault(tuple(row), place)
            total[there] = total.get(there, 0.0) + weight
    places = torch.tensor(list(total), dtype=torch.long, device=candidates.device)
    shares = torch.tensor(list(total.values()), dtype=torch.float64, device=candidates.device)
    return candidates.flatten().select(places), places, shares / shares.sum()


def _best(
    candidates: Sequences,
    places: Int[Tensor, " distinct"],
    shares: Float[Tensor, " distinct"],
    log_probs: Float[Tensor, " candidates"],
    reward: Reward,
) -> int:
    """The place of the best of one example's distinct candidates ``[distinct, time]``."""
    count = len(candidates)
    if count == 1:
        return int(places[0])
    every = Sequences(candidates.labels.expand(count, -1, -1), candidates.lengths.expand(count, -1))
    rewards = scores_of(reward, every, candidates).double()  # [reference, candidate]
    expected = shares @ rewards
    largest = expected.max()
    tied = (expected >= largest - TIE * largest.abs().clamp(min=1.0)).nonzero().squeeze(1)
    return int(places[tied[log_probs[places[tied]].argmax()]])
