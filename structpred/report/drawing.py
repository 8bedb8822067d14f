"""Drawings as SVG in one style.

Drawn by matplotlib's object interface: no pyplot, no figure registry, no display. Texts stay texts, and ink and grid
take the colours of the page around them, so that one drawing serves light and dark pages.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from structpred.report.document import Curves
from structpred.statistics import FEW, Estimate, estimate
from structpred.text import plain

# Mid-tones, at least 3:1 against white and against the dark page; line styles keep them apart without colour.
COLOURS = ("#2f7bd6", "#c8641b", "#1f9468", "#b9479b", "#8268cf", "#9a7d1c", "#2e8fa3", "#cc4d4d")
_STYLES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
INK, GRID = "#010203", "#040506"  # placeholders that no drawing uses, replaced in the SVG
_PAPER_GRID = "#d8dde2"
_NAME_WIDTH, _NAME_LINES = 24, 3
WRITTEN = "Written by structpred"
"""Stands in every file of a drawing, which may therefore be written over."""
_PAGES: ContextVar[list[bytes] | None] = ContextVar("pages", default=None)
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


@contextmanager
def drawing(inches: tuple[float, float], salt: str) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one empty pair of axes, in our style; the ``salt`` tells the drawings of a page apart."""
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


def chart(draw: Callable[[Axes], None], inches: tuple[float, float], salt: str, x: str, y: str | None = None) -> str:
    """A drawing with a grid and labelled axes.

    Args:
        draw: draws onto the axes.
        inches: width and height.
        salt: as of `drawing`.
        x: label of the horizontal axis.
        y: label of the vertical axis, which has no grid lines without one.
    """
    with drawing(inches, salt) as (figure, axes):
        draw(axes)
        axes.grid(axis="x" if y is None else "both", color=GRID, linewidth=0.6)
        axes.set_xlabel(plain(x))
        axes.set_ylabel(plain(y or ""))
        return svg(figure)


def log_axis(axis: Axis, ticks: Sequence[float] = (1, 2, 5)) -> None:
    """Plain numbers at some multiples of each power of ten, for an axis that is logarithmic."""
    axis.set_major_locator(LogLocator(subs=ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def draw_estimate(axes: Axes, x: float, values: Sequence[float], colour: str, interval: Estimate | None = None) -> None:
    """A dot for every value above ``x``; several have a bar at their mean, more than three also a 95 % interval.

    Args:
        axes: where.
        x: the place.
        values: the dots.
        colour: of all.
        interval: the mean and its interval, where it is not that of `estimate`.
    """
    axes.plot([x] * len(values), values, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0, zorder=2)
    interval = interval or estimate(np.array(values, dtype=float))
    if len(values) > 1:
        axes.plot([x], [interval.mean], "_", color=colour, markersize=13, markeredgewidth=2.4, zorder=4)
    if interval.half_width is not None:
        ends = [interval.mean - interval.half_width, interval.mean + interval.half_width]
        axes.plot([x, x], ends, color=colour, linewidth=1.6, zorder=3)


def draw_curves(drawn: Curves, colours: Mapping[str, str] | None = None, height: float = 3.4) -> str:
    """Curves over their only axis, from the numbers that a page draws them from.

    Several points are joined by a line. A single one is a dot, or a dot for each seed with their mean and interval.

    Args:
        drawn: the curves.
        colours: of each curve, by its name; by default the best one stands out.
        height: of the drawing, in inches.
    """
    axis = next(iter(drawn.curves[0].x))
    points = [(curve, curve.x[axis]) for curve in drawn.curves]
    own = colours or {curve.arm: COLOURS[curve.look == "best"] for curve in drawn.curves}

    def draw(axes: Axes) -> None:
        if drawn.band:
            axes.axvspan(*drawn.band, color=COLOURS[1], alpha=0.12, linewidth=0)
        for level in drawn.levels:
            axes.axhline(level, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=1)
        if drawn.joined:
            means = [curve.mean[0] for curve, _ in points]
            axes.plot([places[0] for _, places in points], means, color=INK, linewidth=0.8, alpha=0.4, zorder=1)
        for curve, places in points:
            if curve.values:
                half_width = (curve.high[0] - curve.low[0]) / 2 if len(curve.values) > FEW else None
                draw_estimate(axes, places[0], curve.values, own[curve.arm], Estimate(curve.mean[0], half_width))
            else:
                style = "--" if curve.look == "dashed" else "-" if len(places) > 1 else "o"
                width, alpha = (1.4, 1.0) if curve.look == "best" else (1.0, 0.5)
                axes.plot(places, curve.mean, style, color=own[curve.arm], alpha=alpha, linewidth=width, markersize=4.5)
        if drawn.log:
            axes.set_xscale("log")
            log_axis(axes.xaxis)
        elif all(place.is_integer() for _, places in points for place in places):
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(6))

    return chart(draw, (5.2, height), str(drawn), f"{axis}{', log scale' if drawn.log else ''}", drawn.label)


def svg(figure: Figure) -> str:
    """The figure as an element to stand inside a page."""
    if (pages := _PAGES.get()) is not None:
        pages.append(_paper(figure))
        return ""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text.strip()


def pdf(draw: Callable[[], str]) -> bytes:
    """What ``draw`` draws, as PDF for white paper.

    Args:
        draw: makes a figure and returns its `svg`.
    """
    pages: list[bytes] = []
    token = _PAGES.set(pages)
    try:
        draw()
    finally:
        _PAGES.reset(token)
    return pages[0]


def png(figure: Figure) -> bytes:
    """The figure as PNG for white paper; draw its `svg` first, because the colours of its grid change."""
    _whiten(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, facecolor="white", metadata={"Software": WRITTEN})
    return stream.getvalue()


def _whiten(figure: Figure) -> None:
    """Ink, a placeholder, is black on paper, and the grid grey."""
    figure.draw_without_rendering()  # grid lines are made only now
    for line in figure.findobj(Line2D):
        if isinstance(line, Line2D) and line.get_color() == GRID:
            line.set_color(_PAPER_GRID)


def _paper(figure: Figure) -> bytes:
    """The figure as PDF."""
    _whiten(figure)
    stream = io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42}):  # letters stay letters that can be searched and edited
        figure.savefig(stream, format="pdf", metadata={"Creator": WRITTEN, "Producer": None, "CreationDate": None})
    return stream.getvalue()


def wrapped(name: str) -> str:
    """A user's name for an arm on up to three lines, for an axis or a legend."""
    return "\n".join(textwrap.wrap(plain(name), _NAME_WIDTH, max_lines=_NAME_LINES, placeholder=" …"))


def standalone(drawing: str) -> str:
    """A drawing as a file of its own, which follows the reader's light or dark theme."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" style="font-family: sans-serif" '
    return drawing.replace("<svg ", head, 1).replace(">", f"><style>{_THEMES}</style>", 1) + "\n"
