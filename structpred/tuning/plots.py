"""Drawings of a study, in the style of a comparison's."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from structpred.plain import plain
from structpred.report.drawing import COLOURS, GRID, INK, drawing, svg
from structpred.statistics import estimate
from structpred.tuning.analysis import Optimum
from structpred.tuning.outcomes import Outcome, Result
from structpred.tuning.wording import short

_BLUE, _ORANGE = COLOURS[:2]


def slice_plot(outcomes: Sequence[Outcome], best: Outcome, found: Optimum, label: str, *, log: bool) -> str:
    """The metric against one parameter: a dot a seed, means and intervals of those under several seeds.

    Args:
        outcomes: finished trials.
        best: the one that stands out.
        found: where the optimum may lie; drawn as a band.
        label: what the vertical axis measures.
        log: whether the parameter is spread over the logarithm.
    """
    with drawing((5.2, 3.4), f"{label} {found.parameter}") as (figure, axes):
        if found.low is not None and found.high is not None:
            axes.axvspan(found.low, found.high, color=_ORANGE, alpha=0.12, linewidth=0)
        for each in outcomes:
            if found.parameter in each.parameters:
                _draw(axes, float(each.parameters[found.parameter]), each, _ORANGE if each is best else _BLUE)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_xlabel(f"{plain(short(found.parameter))}{', log scale' if log else ''}")
        axes.set_ylabel(plain(label))
        return svg(figure)


def _draw(axes: Axes, x: float, outcome: Outcome, colour: str) -> None:
    scores = outcome.fresh  # as in the table: other seeds than those that chose it, where it ran under such
    axes.plot([x] * len(scores), scores, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0, zorder=2)
    if len(outcome.fresh) > 1:
        interval = estimate(array(outcome.fresh))
        axes.plot([x], [interval.mean], "_", color=colour, markersize=13, markeredgewidth=2.4, zorder=4)
        if interval.half_width is not None:
            ends = [interval.mean - interval.half_width, interval.mean + interval.half_width]
            axes.plot([x, x], ends, color=colour, linewidth=1.6, zorder=3)


def array(values: Sequence[float]) -> np.ndarray:
    """Scores as numpy has them."""
    return np.array(values, dtype=float)


def history_plot(result: Result, label: str) -> str:
    """The mean of each finished trial in the order of slots, as the table has it, and that of the best so far."""
    done = [each for each in result.outcomes if each.state == "finished"]
    numbers = list(range(1, len(done) + 1))
    means = [each.mean for each in done]
    so_far = [min(done[: i + 1], key=result.rank).mean for i in range(len(done))]
    with drawing((5.2, 3.0), f"{label} history") as (figure, axes):
        axes.plot(numbers, means, "o", color=_BLUE, alpha=0.6, markersize=4.5, markeredgewidth=0)
        axes.step(numbers, so_far, where="post", color=_ORANGE, linewidth=1.4)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_xlabel("finished trial, in order")
        axes.set_ylabel(plain(label))
        return svg(figure)


def curves_plot(outcomes: Sequence[Outcome], label: str) -> str:
    """The dev metric of the first seed by epoch, pruned trials dashed."""
    with drawing((5.2, 3.2), f"{label} curves") as (figure, axes):
        for each in outcomes:
            style = "-" if each.state == "finished" else "--"
            epochs = sorted(each.epochs)
            axes.plot(epochs, [each.epochs[i] for i in epochs], style, color=_BLUE, alpha=0.45, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_xlabel("epoch")
        axes.set_ylabel(plain(label))
        return svg(figure)


def importance_plot(importances: Mapping[str, float]) -> str:
    """A bar a parameter."""
    names = [plain(short(name)) for name in importances]
    with drawing((5.2, 0.9 + 0.45 * len(names)), f"importance {names}") as (figure, axes):
        axes.barh(names, list(importances.values()), color=_BLUE, alpha=0.7, height=0.5)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("share of the variance among good trials (PED-ANOVA)")
        return svg(figure)
