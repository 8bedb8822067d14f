"""What a search does to outputs: how long they are, and whether it does worse than greedy search."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from structpred.distributions.protocols import Decoding
from structpred.metrics import Metric
from structpred.task import Example
from structpred.training.monitoring import LEAST_REFERENCES, shape_of
from structpred.vocabulary import Symbols

SHORTER = 0.9
"""Outputs of a search that are below this part of the length of greedy outputs are much shorter."""

WORSE_BY, WORSE_PART = 1.0, 0.1
"""A score that is worse than greedy search's by more than this many points and this part of it is much worse."""


class SearchWarning(UserWarning):
    """A search finds much worse or much shorter outputs than greedy search."""


@dataclass(frozen=True)
class Searched:
    """The outputs of a search for one set of examples.

    Attributes:
        scores: metrics by name, in percent.
        shape: their number and length, see `structpred.training.monitoring.shape_of`.
    """

    scores: Mapping[str, float]
    shape: Mapping[str, float]

    @classmethod
    def of(cls, scores: Mapping[str, float], outputs: Sequence[Symbols], examples: Sequence[Example]) -> "Searched":
        """From the outputs."""
        return cls(scores, shape_of(outputs, examples))


def warn_of_search(
    search: str, decoding: Decoding, metric: Metric, found: Searched, greedy: Searched, *, reranked: bool = False
) -> None:
    """Warn if a search does much worse than greedy search, which costs less; see `much_worse`.

    Args:
        search: the search as a message, such as ``"a beam of 5"``.
        decoding: its settings, which decide what to advise.
        metric: what decides which is worse.
        found: what the search found.
        greedy: what greedy search, without length ratios, found for the same examples by the same weights.
        reranked: another run puts the outputs in order.
    """
    if (what := much_worse(metric, found, greedy)) is not None:
        advice, words = _advice(decoding, found, greedy, reranked=reranked)
        warnings.warn(
            f"{search} does worse than greedy search: {what}; {advice}, which takes no training: "
            f"structpred evaluate RUN {words}",
            SearchWarning,
            stacklevel=2,
        )


def _advice(decoding: Decoding, found: Searched, greedy: Searched, *, reranked: bool) -> tuple[str, str]:
    """What may help, and how to try it on the command line."""
    bounds = {"least_length_ratio": "0", "most_length_ratio": "null"}
    if decoding.bounds_length:
        given = [name for name in bounds if getattr(decoding, name) != getattr(Decoding(), name)]
        words = " ".join(f"decoding.{name}={bounds[name]}" for name in given)
        return f"leave out {' and '.join(given)}, which greedy search did not have", words
    if reranked:
        return "put fewer outputs in order, or none", "--rerank-by OTHER --candidates 4"
    if decoding.reward is not None:  # beside a reward, the beam and the penalties have no effect
        return "choose among other candidates, or without decoding.reward", "decoding.reward=null"
    if decoding.length_penalty and found.shape["length_ratio"] > greedy.shape["length_ratio"]:
        return "lower decoding.length_penalty, or set decoding.beam=1", "decoding.length_penalty=0"
    return "set decoding.length_penalty, such as 1, or decoding.beam=1", "decoding.length_penalty=1"


def much_worse(metric: Metric, found: Searched, greedy: Searched) -> str | None:
    """What is much worse about the outputs of a search, as a message; None if nothing is.

    Outputs are much shorter if all together, ends counted, are below `SHORTER` of the length of greedy ones, and their
    ratio to the references is further from 1. They are much worse if the metric is worse by more than `WORSE_BY` points
    and by more than `WORSE_PART` of greedy search's score. Fewer than 20 distinct references show neither.
    """
    if greedy.shape.get("distinct_references", 0) < LEAST_REFERENCES:
        return None
    one, other = found.scores[metric.name], greedy.scores[metric.name]
    loss = other - one if metric.higher_is_better else one - other
    said = []
    if loss > WORSE_BY and loss > WORSE_PART * abs(other):
        said.append(f"{metric.name} is {one:.2f} and not {other:.2f}")
    lengths = found.shape["length_ratio"], greedy.shape["length_ratio"]
    if lengths[0] < SHORTER * lengths[1] and lengths[0] * lengths[1] < 1:  # greedy outputs may be too long
        said.append(f"outputs are {lengths[0]:.2f} and not {lengths[1]:.2f} times as long as the references")
    return " and ".join(said) or None
