"""Plots as SVG: every seed a dot, intervals, learning curves.

Drawn by matplotlib's object interface: no pyplot, no figure registry, no display. Texts stay texts, and ink and grid
take the colours of the page around them, so that one drawing serves light and dark pages.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from structpred.plain import plain
from structpred.statistics import Estimate

# Mid-tones, at least 3:1 against white and against the dark page; line styles keep them apart without colour.
COLOURS = ("#2f7bd6", "#c8641b", "#1f9468", "#b9479b", "#8268cf", "#9a7d1c", "#2e8fa3", "#cc4d4d")
_STYLES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
INK, GRID = "#010203", "#040506"  # placeholders that no drawing uses, replaced in the SVG
_NAME_WIDTH, _NAME_LINES = 24, 3
_THEMES = (
    "svg { color: #1d2329; --grid: #e3e7eb; } "
    "@media (prefers-color-scheme: dark) { svg { color: #e4e8ec; --grid: #2c333a; } }"
)
_CLEANING = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"^.*?<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 role="img">'),  # no prologue, name spaces, fixed size
        (r"<metadata>.*?</metadata>\s*", ""),
        (r"<defs>\s*<style.*?</style>\s*</defs>\s*", ""),  # it would style the whole page
        (r"\bxlink:href=", "href="),
        (r'\sid="(?![mp][0-9a-f]{10}")[^"]*"', ""),  # figure_1 and its like, the same in every drawing
        (r"font-family: [^;\"]*; ", ""),  # the page's font
        (INK, "currentColor"),
        (GRID, "var(--grid, #8884)"),
    )
)


@dataclass(frozen=True)
class Look:
    """The colour and the line style of an arm, the same in every plot."""

    colour: str
    style: str | tuple[int, tuple[int, ...]]


def looks(arms: Sequence[str]) -> dict[str, Look]:
    """A look for every arm; 40 arms before two look the same."""
    return {arm: Look(COLOURS[i % len(COLOURS)], _STYLES[i % len(_STYLES)]) for i, arm in enumerate(arms)}


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
        arms: how each arm looks.
        label: what the horizontal axis measures, with its unit.
        line: where the dashed line stands, such as the baseline's mean or no difference.
    """
    with drawing((5.2, 0.9 + 0.5 * len(values)), label) as (figure, axes):
        axes.axvline(line, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=1)
        for row, arm in enumerate(values):
            _draw_arm(axes, row, values[arm], estimates[arm], arms[arm].colour)
        axes.set_yticks(range(len(values)), [_wrapped(arm) for arm in values])
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

    An axis is logarithmic beyond 1 where the largest difference is more than 8 times the median one: an arm that fails
    would make all others look the same.
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
    axes.set_yticks(range(len(strip.values)), [_wrapped(arm) for arm in strip.values])
    axes.set_ylim(len(strip.values) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    sizes = [abs(each.mean) for each in strip.estimates.values()]
    if max(sizes) > 8 * max(float(np.median(sizes)), 0.1):
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


def standalone(drawing: str) -> str:
    """A drawing as a file of its own, which follows the reader's light or dark theme."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" style="font-family: sans-serif" '
    return drawing.replace("<svg ", head, 1).replace(">", f"><style>{_THEMES}</style>", 1) + "\n"


def learning_curves(histories: Mapping[str, Sequence[Sequence[float]]], arms: Mapping[str, Look], label: str) -> str:
    """Mean over seeds by epoch with a band from the lowest to the highest seed.

    A curve ends with the shortest of its runs: beyond, the mean would be of fewer seeds and could jump for that alone.

    Args:
        histories: for every arm and seed, the dev score after each epoch.
        arms: how each arm looks.
        label: what the vertical axis measures, with its unit; the axis is logarithmic where scores span a factor of 5.
    """
    curves = {arm: _aligned(runs) for arm, runs in histories.items()}
    lines = max(_wrapped(arm).count("\n") + 1 for arm in curves)
    legend_rows = (len(curves) + 1) // 2
    with drawing((5.2, 3.2 + 0.2 * lines * legend_rows), label) as (figure, axes):
        for arm, scores in curves.items():
            _draw_curve(axes, scores, arms[arm], _wrapped(arm))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        everything = np.concatenate([scores.ravel() for scores in curves.values()])
        axes.set_ylabel(f"{plain(label)}{_set_scale(axes, everything)}")
        axes.grid(color=GRID, linewidth=0.6)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK)
        axes.margins(x=0.02)
        return svg(figure)


def _draw_curve(axes: Axes, scores: np.ndarray, look: Look, name: str) -> None:
    epochs = np.arange(1, scores.shape[1] + 1)
    marker = "o" if len(epochs) == 1 else ""  # a line of one point would not be seen
    axes.plot(epochs, scores.mean(0), color=look.colour, linestyle=look.style, marker=marker, label=name)
    axes.fill_between(epochs, scores.min(0), scores.max(0), color=look.colour, alpha=0.18, linewidth=0)


def _aligned(runs: Sequence[Sequence[float]]) -> np.ndarray:
    shortest = min(len(run) for run in runs)
    return np.array([run[:shortest] for run in runs], dtype=float).reshape(len(runs), shortest)


def _set_scale(axes: Axes, values: np.ndarray) -> str:
    if not values.size or values.min() <= 0 or values.max() < 5 * values.min():
        return ""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    return ", log scale"


@contextmanager
def drawing(inches: tuple[float, float], salt: str) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one empty pair of axes, in our style; texts that tell drawings of a page apart are its ``salt``."""
    with plain_figure(inches, salt) as figure:
        axes = figure.add_subplot()
        style(axes)
        yield figure, axes


@contextmanager
def plain_figure(inches: tuple[float, float], salt: str) -> Iterator[Figure]:
    """The same without axes."""
    settings = mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": plain(salt),  # ids inside the drawing: the same each time, others in other drawings
            "text.parse_math": False,
            "font.family": "sans-serif",
            "font.size": 10.0,
        }
    )
    with settings, warnings.catch_warnings():
        # The browser's fonts draw the text; what matplotlib's own font lacks only makes the estimated width rough.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield Figure(figsize=inches, layout="constrained")


def style(axes: Axes) -> None:
    """Our lines and colours."""
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(which="both", color=INK, labelcolor=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def svg(figure: Figure) -> str:
    """The figure as an element to stand inside a page."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text.strip()


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(plain(name), _NAME_WIDTH, max_lines=_NAME_LINES, placeholder=" …"))
