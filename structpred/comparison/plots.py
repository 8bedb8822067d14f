"""Plots of a comparison: every seed a dot, intervals, learning curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from structpred.comparison.charts import EPOCH
from structpred.report.document import Curves
from structpred.report.drawing import (
    GRID,
    INK,
    Look,
    drawing,
    looks,
    plain_figure,
    style,
    svg,
    wrapped,
)
from structpred.statistics import Estimate
from structpred.text import plain


def dot_plot(
    values: Mapping[str, Sequence[float]],
    estimates: Mapping[str, Estimate],
    arms: Mapping[str, Look],
    label: str,
    line: float,
) -> str:
    """One row an arm: a dot for every seed, the mean as a bar and its 95 % interval as a line.

    Args:
        values: one value a seed for every arm; a seed keeps its height within the row, so that pairs can be followed.
        estimates: mean and interval of every arm.
        arms: colour and line style of each arm.
        label: what the horizontal axis measures, with its unit.
        line: where the dashed line stands, such as the baseline's mean or no difference.
    """
    with drawing((5.2, 0.9 + 0.5 * len(values)), label) as (figure, axes):
        axes.axvline(line, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=1)
        for row, arm in enumerate(values):
            _draw_arm(axes, row, values[arm], estimates[arm], arms[arm].colour)
        axes.set_yticks(range(len(values)), [wrapped(arm) for arm in values])
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.margins(x=0.08)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_xlabel(plain(label))
        return svg(figure)


def _draw_arm(axes: Axes, row: int, values: Sequence[float], interval: Estimate, colour: str) -> None:
    heights = row + (np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1))
    axes.plot(values, heights, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0, zorder=2)
    if interval.half_width is not None:
        ends = [interval.mean - interval.half_width, interval.mean + interval.half_width]
        axes.plot(ends, [row, row], color=colour, linewidth=2, solid_capstyle="butt", zorder=3)
    if len(values) > 1:
        axes.plot([interval.mean], [row], "|", color=colour, markersize=15, markeredgewidth=2.4, zorder=4)


@dataclass(frozen=True)
class Strip:
    """What one of several axes of `strips` shows.

    Attributes:
        title: stands above it.
        values: one difference a seed for every arm.
        estimates: mean and interval of each.
        label: what the axis measures, with its unit.
        higher_is_better: False turns the axis round, so that better is always to the right.
    """

    title: str
    values: Mapping[str, Sequence[float]]
    estimates: Mapping[str, Estimate]
    label: str
    higher_is_better: bool


def strips(drawn: Sequence[Strip]) -> str:
    """Differences from a baseline, one below the other: every seed a dot, the mean a bar, its interval a line.

    An axis is logarithmic beyond 1 where the largest difference is above 1 and more than 8 times the median one: an arm
    that fails would make all others look the same.
    """
    heights = [1.0 + len(strip.values) for strip in drawn]
    with plain_figure((7.2, 0.9 * len(drawn) + 0.34 * sum(heights)), drawn[0].label) as figure:
        axes_of = figure.subplots(len(drawn), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axes, strip in zip(axes_of, drawn, strict=True):
            style(axes)
            _draw_strip(axes, strip)
        return svg(figure)


def _draw_strip(axes: Axes, strip: Strip) -> None:
    colours = looks(list(strip.values))
    axes.axvline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=1)
    for row, arm in enumerate(strip.values):
        _draw_arm(axes, row, strip.values[arm], strip.estimates[arm], colours[arm].colour)
    axes.set_yticks(range(len(strip.values)), [wrapped(arm) for arm in strip.values])
    axes.set_ylim(len(strip.values) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    sizes = [abs(each.mean) for each in strip.estimates.values()]
    if max(sizes) > max(1.0, 8 * float(np.median(sizes))):
        axes.set_xscale("symlog", linthresh=1.0)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        scale = ", logarithmic beyond 1"
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7))
        scale = ""
    axes.margins(x=0.06)
    if not strip.higher_is_better:
        axes.invert_xaxis()
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_title(plain(strip.title), loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel(f"{plain(strip.label)}{scale}; better to the right")


def profiles(drawn: Curves, arms: Mapping[str, Look]) -> str:
    """For every arm the share of its runs, over tasks and seeds, that are better than each score.

    Args:
        drawn: the lines, as of `structpred.comparison.charts.profiles`.
        arms: colour and line style of each arm.
    """
    height = 3.2 + 0.2 * ((len(drawn.curves) + 1) // 2)
    (axis,) = drawn.curves[0].x
    with drawing((5.2, height), f"performance profile, {axis}") as (figure, axes):
        for curve in drawn.curves:
            look = arms[curve.arm]
            axes.plot(curve.x[axis], curve.mean, color=look.colour, linestyle=look.style, label=wrapped(curve.arm))
        axes.set_xlabel(plain(axis))
        axes.set_ylabel(drawn.label)
        axes.grid(color=GRID, linewidth=0.6)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK)
        return svg(figure)


def learning_curves(drawn: Curves, arms: Mapping[str, Look]) -> str:
    """Mean over seeds by epoch with a band from the lowest to the highest seed.

    Args:
        drawn: the curves, as of `structpred.comparison.charts.curves`.
        arms: colour and line style of each arm.
    """
    lines = max(wrapped(curve.arm).count("\n") + 1 for curve in drawn.curves)
    legend_rows = (len(drawn.curves) + 1) // 2
    with drawing((5.2, 3.2 + 0.2 * lines * legend_rows), drawn.label) as (figure, axes):
        for curve in drawn.curves:
            epochs, look = curve.x[EPOCH], arms[curve.arm]
            marker = "o" if len(epochs) == 1 else ""  # a line of one point would not be seen
            name, style = wrapped(curve.arm), look.style
            axes.plot(epochs, curve.mean, color=look.colour, linestyle=style, marker=marker, label=name)
            axes.fill_between(epochs, curve.low, curve.high, color=look.colour, alpha=0.18, linewidth=0)
        axes.set_xlabel(EPOCH)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        everything = np.concatenate([[*curve.low, *curve.high] for curve in drawn.curves])
        axes.set_ylabel(f"{plain(drawn.label)}{_set_scale(axes, everything)}")
        axes.grid(color=GRID, linewidth=0.6)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK)
        axes.margins(x=0.02)
        return svg(figure)


def _set_scale(axes: Axes, values: np.ndarray) -> str:
    if not values.size or values.min() <= 0 or values.max() < 5 * values.min():
        return ""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    return ", log scale"
