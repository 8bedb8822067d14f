"""The figures of a study, each drawn from numbers that a page can show too."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from structpred.report.document import Curve, Curves, Dot, Dots, Figure, Strip, Stroke
from structpred.report.drawing import COLOURS, INK, chart, draw_curves
from structpred.results import direction
from structpred.statistics import FEW, estimate
from structpred.text import plain
from structpred.tuning.outcomes import Outcome, Result
from structpred.tuning.summary import Optimum, optimum, short

ORDER = "finished trial, in order"
"""The horizontal axis of `_history`."""


def figures(result: Result, importances: Mapping[str, float]) -> Iterator[Figure]:
    """The figures of a study, once a trial has finished.

    Args:
        result: the study.
        importances: how much each parameter matters; empty where that cannot be told.
    """
    if result.best is None:
        return
    measured = f"dev {result.metric.name} (%)"
    label = f"{measured}, {direction(result.metric)}"
    for found in filter(None, (optimum(result, name) for name in result.numeric())):
        yield _against(result, found, label)
    yield _history(result, label)
    if any(each.epochs for each in result.outcomes):
        yield _curves(result, f"{measured}, greedy")
    if importances:
        yield _shares(result, importances)


def _against(result: Result, found: Optimum, label: str) -> Figure:
    """The metric against one parameter: a point a trial, the best one and what cannot be told from it set apart."""
    points = tuple(
        Curve.point(
            _called(each),
            {short(found.parameter): each.parameters[found.parameter]},
            each.fresh,
            estimate(np.array(each.fresh, dtype=float)),
            "best" if each is result.best else "",
        )
        for each in result.finished
        if found.parameter in each.parameters
    )
    band = () if found.low is None or found.high is None else (found.low, found.high)
    seeds = max(len(each.fresh) for each in result.finished)
    mean, interval = "; bar: mean" if seeds > 1 else "", "; line: 95 % interval" if seeds > FEW else ""
    shaded = "; band: values of trials not shown to be worse than the best" if band else ""
    caption = f"one dot per seed of the table{mean}{interval}; orange: the best{shaded}."
    return _figure(result, Curves(label, points, log=result.numeric()[found.parameter].log, band=band), caption)


def _history(result: Result, label: str) -> Figure:
    """The mean of each finished trial in the order of slots, as the table has it, and that of the best so far."""
    done = [each for each in result.outcomes if each.state == "finished"]
    best = [min(done[:count], key=result.rank).mean for count in range(1, len(done) + 1)]
    stair = [best[0], *(mean for pair in pairwise(best) for mean in pair)]
    places = [1, *(place for place in range(2, len(best) + 1) for _ in range(2))]
    trials = [_line(_called(each), [each.mean], [i], ORDER) for i, each in enumerate(done, 1)]
    drawn = Curves(label, (_line("the best so far", stair, places, ORDER, "best"), *trials))
    return _figure(result, drawn, "trials in their order, as in the table; line: the best so far.", 3.0)


def _curves(result: Result, label: str) -> Figure:
    """The metric of the first seed after each epoch, finished trials first and the best of them first."""
    lines = []
    for each in (each for each in result.ordered if each.epochs):
        epochs = sorted(each.epochs)
        stroke: Stroke = "" if each.state == "finished" else "dashed"
        lines.append(_line(_called(each), [each.epochs[epoch] for epoch in epochs], epochs, "epoch", stroke))
    caption = "greedy decoding after each epoch, first seed; dashed: pruned or failed."
    return _figure(result, Curves(label, tuple(lines)), caption, 3.2)


def _shares(result: Result, importances: Mapping[str, float]) -> Figure:
    """A bar a parameter."""
    names = [short(name) for name in importances]

    def draw(axes: Axes) -> None:
        axes.barh([plain(name) for name in names], list(importances.values()), color=COLOURS[0], alpha=0.7, height=0.5)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.axvline(0, color=INK, linewidth=0.8)

    label = "share of the variance among good trials (PED-ANOVA)"
    rows = tuple(Dot(name, (), share, 0.0, share) for name, share in zip(names, importances.values(), strict=True))
    drawn = partial(chart, draw, (5.2, 0.9 + 0.45 * len(names)), f"importance {names}", label)
    return Figure(drawn, f"{result.name}: what mattered.", chart=Dots((Strip(label, 0.0, rows, ()),)))


def _figure(result: Result, drawn: Curves, caption: str, height: float = 3.4) -> Figure:
    return Figure(partial(draw_curves, drawn, height=height), f"{result.name}: {caption}", chart=drawn)


def _line(name: str, scores: Sequence[float], places: Sequence[float], axis: str, look: Stroke = "") -> Curve:
    values = tuple(map(float, scores))
    return Curve(name, values, values, values, {axis: tuple(map(float, places))}, look=look)


def _called(each: Outcome) -> str:
    return f"trial {each.number}" if each.state == "finished" else f"trial {each.number} ({each.state})"
