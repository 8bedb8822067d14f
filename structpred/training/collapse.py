"""Says in words, once a run, that training has collapsed: outputs no longer tell inputs apart, or lose their length.

Models that learn from their own outputs do this, mostly in silence, because the loss may look fine. What is watched
are the dev predictions of every epoch and the objective's diagnostics (`structpred.objectives.diagnostics`); nothing is
concluded from a state that ordinary training passes through on its way.
"""

import warnings
from collections.abc import Sequence

from structpred.results import Epoch
from structpred.task import Example
from structpred.vocabulary import Symbols

LEAST_REFERENCES = 20
"""Distinct dev references below which nothing is concluded from dev outputs."""

FEW, MANY = 0.1, 0.3
"""Distinct outputs for each distinct reference: below ``FEW`` is a collapse after it was ``MANY``."""

SHORT, LONG = 0.25, 4.0
"""Length of dev outputs for that of their references: outside is a collapse after it was within half to twice."""

TIED, VARIED = 0.95, 0.5
"""Share of groups whose samples all score alike: above ``TIED`` after it was below ``VARIED``, and a worse reward."""

REMEDY = "lower the learning rate, warm up with maximum likelihood, or mix it in"


class CollapseWarning(UserWarning):
    """Training has collapsed."""


def shape_of(predictions: Sequence[Symbols], examples: Sequence[Example]) -> dict[str, float]:
    """What dev predictions look like beside the first reference of each example, however right they are.

    ``outputs`` and how many of them are ``distinct``; ``distinct_references``; ``length_ratio`` of all outputs to all
    references, ends counted so that it is always defined.
    """
    references = [example.references[0] for example in examples]
    lengths = [sum(len(each) + 1 for each in side) for side in (predictions, references)]
    return {
        "outputs": float(len(predictions)),
        "distinct": float(len(set(predictions))),
        "distinct_references": float(len(set(references))),
        "length_ratio": lengths[0] / max(lengths[1], 1),
    }


def warn_of_collapse(history: Sequence[Epoch], epochs: int) -> None:
    """Warn where the last epoch is the first that shows a collapse.

    Args:
        history: the run so far; that is all there is to remember, so a run that is resumed warns once as well.
        epochs: the budget.
    """
    *before, now = (collapsed(history[: i + 1], epochs) for i in range(len(history)))
    if now is not None and not any(before):
        warnings.warn(f"{now}: training has collapsed; {REMEDY}", CollapseWarning, stacklevel=2)


def collapsed(history: Sequence[Epoch], epochs: int) -> str | None:
    """What shows that training had collapsed by the end of a history; None where nothing does.

    A state counts that training fell into from a better one. Where the objective learns from samples, few or short
    outputs count also if better ones never came: from the middle of the budget on, and not before the third epoch.
    Long ones do not: a model that has learnt little yet may just not have found the end.
    """
    late = len(history) >= max(3, epochs / 2) and "zero_variance" in _diagnostics(history[-1])
    shapes = [epoch.shape for epoch in history if epoch.shape.get("distinct_references", 0) >= LEAST_REFERENCES]
    return (_few_outputs(shapes, late) or _lost_length(shapes, late) if shapes else None) or _certain_and_worse(history)


def _few_outputs(shapes: Sequence[dict[str, float]], late: bool) -> str | None:
    shares = [shape["distinct"] / shape["distinct_references"] for shape in shapes]
    if shares[-1] < FEW and (late or max(shares) >= MANY):
        distinct, outputs, references = (int(shapes[-1][key]) for key in ("distinct", "outputs", "distinct_references"))
        return f"{distinct} of {outputs} dev outputs are distinct where references have {references}"
    return None


def _lost_length(shapes: Sequence[dict[str, float]], late: bool) -> str | None:
    ratios = [shape["length_ratio"] for shape in shapes]
    fell = any(0.5 <= ratio <= 2 for ratio in ratios)
    if (ratios[-1] < SHORT and (late or fell)) or (ratios[-1] > LONG and fell):
        return f"dev outputs are {ratios[-1]:.2g} times as long as their references"
    return None


def _certain_and_worse(history: Sequence[Epoch]) -> str | None:
    found = [_diagnostics(epoch) for epoch in history]
    watched = [each for each in found if {"zero_variance", "reward"} <= each.keys()]
    if not watched or found[-1] is not watched[-1]:
        return None
    first, last = watched[0], watched[-1]
    if first["zero_variance"] < VARIED and last["zero_variance"] > TIED and last["reward"] < first["reward"]:
        return (
            f"in {last['zero_variance']:.0%} of groups all samples score alike, at a mean reward of "
            f"{last['reward']:.3g} where it was {first['reward']:.3g} at first"
        )
    return None


def _diagnostics(epoch: Epoch) -> dict[str, float]:
    """By their last names: a sum of objectives puts the names of its parts before them."""
    return {name.rpartition("/")[2]: value for name, value in epoch.diagnostics.items()}
