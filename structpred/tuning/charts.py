"""The numbers behind the pictures of a study, from which the page draws them with values to point at."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from structpred.comparison.charts import EPOCH, ends
from structpred.report.document import Curve, Curves, Dot, Dots, Look, Strip
from structpred.statistics import estimate
from structpred.tuning.outcomes import Outcome, Result
from structpred.tuning.summary import Optimum, short

ORDER = "finished trial, in order"
"""The horizontal axis of `history`."""


def against(result: Result, found: Optimum, label: str) -> Curves:
    """The metric against one parameter: a point a trial, the best one and what cannot be told from it set apart."""
    best, name = result.finished[0], short(found.parameter)
    points = [
        _point(each, each.parameters[found.parameter], name, "best" if each is best else "")
        for each in result.finished
        if found.parameter in each.parameters
    ]
    band = () if found.low is None or found.high is None else (found.low, found.high)
    return Curves(label, tuple(points), log=result.numeric()[found.parameter].log, band=band)


def _point(each: Outcome, place: float, axis: str, look: Look) -> Curve:
    low, high = ends(each.fresh, estimate(np.array(each.fresh, dtype=float)))
    mean = each.mean
    bounds = (mean if low is None else low,), (mean if high is None else high,)
    return Curve(_called(each), (mean,), *bounds, {axis: (float(place),)}, each.fresh, look)


def history(means: Sequence[tuple[Outcome, float]], label: str) -> Curves:
    """Trials in their order and the best so far.

    Args:
        means: finished trials, each with the score of the best until then.
        label: of the scores.
    """
    bests = [best for _, best in means]
    stair = [bests[0], *(best for pair in pairwise(bests) for best in pair)]
    places = [1, *(place for place in range(2, len(bests) + 1) for _ in range(2))]
    trials = [_line(_called(each), [each.mean], [i], ORDER) for i, (each, _) in enumerate(means, 1)]
    return Curves(label, (_line("the best so far", stair, places, ORDER, "best"), *trials))


def curves(result: Result, label: str) -> Curves:
    """The metric of the first seed after each epoch, finished trials first and the best of them first."""
    ordered = [*result.finished, *(each for each in result.outcomes if each.state != "finished")]
    return Curves(label, tuple(_epochs(each) for each in ordered if each.epochs))


def _epochs(each: Outcome) -> Curve:
    epochs = sorted(each.epochs)
    look: Look = "" if each.state == "finished" else "dashed"
    return _line(_called(each), [each.epochs[epoch] for epoch in epochs], epochs, EPOCH, look)


def _line(name: str, scores: Sequence[float], places: Sequence[float], axis: str, look: Look = "") -> Curve:
    values = tuple(map(float, scores))
    return Curve(name, values, values, values, {axis: tuple(map(float, places))}, look=look)


def _called(each: Outcome) -> str:
    return f"trial {each.number}" if each.state == "finished" else f"trial {each.number} ({each.state})"


def shares(of: Mapping[str, float], label: str) -> Dots:
    """How much each parameter matters."""
    rows = tuple(Dot(short(name), (), share, 0.0, share) for name, share in of.items())
    return Dots((Strip(label, 0.0, rows, ()),))
