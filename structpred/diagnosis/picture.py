"""The picture of a diagnosis: which gradients are signal, and why RML starts where REINFORCE stalls."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from structpred.diagnosis.on_scores import reinforce_on_scores, rml_on_scores
from structpred.diagnosis.runner import Diagnosis, Row
from structpred.distributions import Factorised
from structpred.payoffs import HammingPayoff, Temperature
from structpred.report.drawing import COLOURS, GRID, log_axis, plain_figure, png, standalone, style, svg
from structpred.sequences import Sequences

SAMPLES = 4
STEPS = 60
"""Points of each curve."""
HIGHEST = 1000.0
"""The highest ratio that is drawn in its place."""
_MARKERS = ("o", "s")


def pictures(found: Diagnosis) -> tuple[str, bytes]:
    """The picture as the text of an SVG file, and as a PNG file on white."""
    rows = [row for row in found.rows if row.wrt == "weights" and row.random]
    names = list(dict.fromkeys(row.objective for row in rows))
    with plain_figure((11.0, 1.8 + max(3.0, 0.3 * len(names))), f"diagnosis of {found.subject}") as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for axes in (left, right):
            style(axes)
            axes.grid(color=GRID, linewidth=0.6)
        _draw_rows(left, rows, names)
        left.set_title(f"{found.model}, with respect to its weights", fontsize=10)
        _draw_path(right, found)
        return standalone(svg(figure)), png(figure)


def _draw_rows(axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    """A mark for every objective and point.

    An arrow to the left stands where the ratio may be 0, at two errors above it; one to the right at `HIGHEST`.
    """
    for number, point in enumerate(dict.fromkeys(row.point for row in rows)):
        colour, marker = COLOURS[number], _MARKERS[number % 2]
        axes.plot([], [], marker, color=colour, label=point)  # for the legend, whatever is resolved
        for row in (each for each in rows if each.point == point):
            snr, place = row.quality.snr, names.index(row.objective)
            error = 0.0 if math.isnan(snr.error) else 2 * snr.error
            if snr.value > HIGHEST:
                axes.plot([HIGHEST], [place], ">", color=colour, fillstyle="none")
            elif snr.value > error:
                axes.plot([snr.value - error, snr.value + error], [place, place], color=colour, linewidth=1.4)
                axes.plot([snr.value], [place], marker, color=colour)
            elif snr.value + error > 0:
                axes.plot([snr.value + error], [place], "<", color=colour, fillstyle="none")
    axes.axvline(1.0, color=COLOURS[5], linestyle="--", linewidth=1)
    axes.set_xscale("log")
    log_axis(axes.xaxis, (1,))
    axes.set_yticks(range(len(names)), list(names))
    axes.invert_yaxis()
    axes.set_xlabel("signal-to-noise ratio of one gradient, with two standard errors")
    if rows:
        axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=2)


def _draw_path(axes: Axes, found: Diagnosis) -> None:
    length, labels = max(1, round(found.length)), found.num_labels
    if labels > 1:
        edit_rate = min(found.payoff.temperature.edit_rate or 0.1, 0.99 * (labels - 1) / labels)
        shares, rml, reinforce = path(labels, length, edit_rate)
        axes.plot(shares[:-1], rml[:-1], color=COLOURS[0], label="one draw of RML")
        axes.plot(shares, reinforce, "--", color=COLOURS[1], label=f"{SAMPLES} draws of REINFORCE")
        axes.legend(frameon=False, fontsize=9, loc="lower left")
    axes.set_yscale("log")
    log_axis(axes.yaxis, (1,))
    axes.set_xlabel("share of the way from uniform p to the payoff")
    axes.set_title(f"exact: {length} independent labels of {labels}", fontsize=10)


def path(
    num_labels: int, length: int, edit_rate: float, *, samples: int = SAMPLES, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal-to-noise ratios on the way from a uniform p to the Hamming payoff q, exactly.

    The model treats ``length`` positions independently and p ∝ q^λ, with λ from 0 to 1. The gradient is that with
    respect to the scores, of one draw of RML and of REINFORCE with ``samples`` samples and the mean of the others.

    Args:
        num_labels: V, at least 2.
        length: positions.
        edit_rate: of the payoff.
        samples: of REINFORCE.
        steps: how many values of λ.

    Returns:
        λ, the ratios of RML, and those of REINFORCE, ``[steps]`` each.
    """
    targets = Sequences.of([[0] * length])
    q = HammingPayoff(temperature=Temperature(edit_rate=edit_rate)).distribution(targets, num_labels)
    scores = q.local_log_prob().unary
    shares = np.linspace(0.0, 1.0, steps)
    places = [Factorised(float(share) * scores, targets.lengths) for share in shares]
    rml = np.array([rml_on_scores(p, q).snr for p in places])
    reinforce = np.array([reinforce_on_scores(p, targets, samples=samples).snr for p in places])
    return shares, rml, reinforce
