"""A diagnosis as tables and sentences for the terminal, and as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from structpred.config import encode
from structpred.diagnosis.runner import OWN, Diagnosis, Row
from structpred.diagnosis.signal import Measured
from structpred.report.document import Column, Document, Section, Sentences, Table
from structpred.report.files import written
from structpred.text import counted

FORMAT = 1
KEY = "diagnosis"
"""The key by which a file of ours is known; it holds the format."""

_HOW = {
    "exact": "is exact",
    "enumerated": "is exact, by enumeration of all outputs",
    "estimated": "is estimated from draws, whose errors are included",
}
_COLUMNS = ("objective", "‖g‖", "SNR", "a draw", "a CPU-second", "cosine", "bias")


def document(found: Diagnosis) -> Document:
    """Tables of all points, and what they mean."""
    sections = [Section("What it says", (Sentences((*summary(found), *_notes(found))),))]
    points = dict.fromkeys(row.point for row in found.rows)
    for point in points:
        rows = [row for row in found.rows if row.point == point]
        for wrt in dict.fromkeys(row.wrt for row in rows):
            some = [row for row in rows if row.wrt == wrt]
            sections.append(Section(f"{point.capitalize()}: gradients with respect to the {wrt}", (_table(some),)))
    sections.append(Section("Between the model and the payoff", (_divergences(found),)))
    if found.refused:
        reasons = tuple(f"{name}: {why}" for name, why in found.refused.items())
        sections.append(Section("Left out", (Sentences(reasons),)))
    return Document(f"Gradients of {found.subject}", tuple(sections))


def summary(found: Diagnosis) -> tuple[str, ...]:
    """How the gradients of RML and REINFORCE compare at each point; empty if either is missing."""
    return tuple(
        sentence
        for point in dict.fromkeys(row.point for row in found.rows)
        for sentence in _compared([row for row in found.rows if row.point == point and row.wrt == "weights"])
    )


def _compared(rows: Sequence[Row]) -> list[str]:
    sampled = [row for row in rows if row.random and row.outputs and row.objective != OWN]
    rml, policy = (
        next((row for row in sampled if row.objective.partition(" (")[0] == name), None)
        for name in ("rml", "reinforce")
    )
    if rml is None or policy is None:
        return []
    return [
        f"At the {rml.point}, a gradient of RML from {_draws(rml)} has {_ratio(rml)}, "
        f"and one of REINFORCE from {_draws(policy)} has {_ratio(policy)}; the cosines to the gradient of the expected "
        f"reward are {_cosine(rml)} and {_cosine(policy)}."
    ]


def _ratio(row: Row) -> str:
    """The signal-to-noise ratio as a phrase."""
    snr = row.quality.snr
    if math.isnan(snr.value):
        return "a signal-to-noise ratio that the draws leave open"
    return f"a signal-to-noise ratio of {shown(snr)}" if math.isfinite(snr.value) else "no noise in these draws"


def _cosine(row: Row) -> str:
    """The cosine; an estimate is not cut to where a cosine can be, which would hide how uncertain it is."""
    cosine = row.quality.cosine
    beyond = "" if cosine.exact or not abs(cosine.value) > 1 else ", beyond 1 by chance"
    return f"{shown(cosine)}{beyond}"


def _draws(row: Row) -> str:
    return f"{counted(row.outputs, 'draw')} an example"


def _notes(found: Diagnosis) -> tuple[str, ...]:
    how = dict.fromkeys(found.truths.values())
    rate = found.payoff.temperature.edit_rate
    return (
        f"A batch of {found.examples} training examples, {found.draws} gradients of each objective, seed {found.seed}; "
        f"the reward is {type(found.reward).__name__}, and the payoff {type(found.payoff).__name__} has "
        f"{rate} edits a symbol. The run's own objective keeps its own.",
        "SNR is ‖E g‖²/tr Var g of the gradient g of one step; that of a draw is divided by the outputs that it takes "
        "for an example, and that of a CPU-second by the time of a gradient. Without draws there is no noise.",
        "Weights and batch stay the same and dropout is off, so the noise is that of draws alone. Cosine and bias, "
        "‖E g − e‖/‖e‖, compare with the gradient e of minus the expected reward, which "
        f"{' or '.join(_HOW[each] for each in how)}. The bias of an objective in nats includes the other unit.",
        *found.notes,
    )


def _table(rows: Sequence[Row]) -> Table:
    columns = tuple(Column(title, numeric=title != "objective") for title in _COLUMNS)
    cells = tuple(
        (
            row.objective,
            shown(row.quality.norm),
            shown(row.quality.snr) if row.random else "no noise",
            shown(row.per_output) if row.random and row.outputs else "",
            shown(row.per_second) if row.random else "",
            _cosine(row),
            shown(row.quality.bias),
        )
        for row in rows
    )
    return Table(columns, cells)


def _divergences(found: Diagnosis) -> Table:
    titles = ("weights", "KL(q‖p), nats", "KL(p‖q), nats", "share of draws of p that count for q")
    columns = tuple(Column(title, numeric=title != "weights") for title in titles)
    rows = tuple((point, *map(shown, vars(each).values())) for point, each in found.divergences.items())
    return Table(columns, rows)


def shown(measured: Measured) -> str:
    """A number, with its standard error where it has one.

    Examples:
        >>> shown(Measured(0.01234, 0.0021)), shown(Measured(4.07142)), shown(Measured(float("nan")))
        ('0.0123 ± 0.0021', '4.07', 'open')

    Two draws give a number without an error:

    Examples:
        >>> shown(Measured(0.5, float("nan")))
        '0.5 ± ?'
    """
    if math.isnan(measured.value):
        return "open"
    if not math.isfinite(measured.value):
        return "no noise seen"
    if measured.exact:
        return f"{measured.value:.3g}"
    return f"{measured.value:.3g} ± {'?' if math.isnan(measured.error) else f'{measured.error:.2g}'}"


def as_json(found: Diagnosis) -> str:
    """Everything, as the text of ``diagnosis.json``; a number that is infinite or open is null."""
    tree: dict[str, Any] = {
        KEY: FORMAT,
        "subject": found.subject,
        "model": found.model,
        "reward": encode(found.reward),
        "payoff": encode(found.payoff),
        "batch": found.examples,
        "length": found.length,
        "num_labels": found.num_labels,
        "draws": found.draws,
        "seed": found.seed,
        "expected_reward_gradient": dict(found.truths),
        "gradients": [_tree(row) for row in found.rows],
        "divergences": {point: asdict(each) for point, each in found.divergences.items()},
        "left_out": dict(found.refused),
        "notes": list(found.notes),
    }
    return written(tree)


def _tree(row: Row) -> dict[str, Any]:
    return {
        "weights": row.point,
        "objective": row.objective,
        "with_respect_to": row.wrt,
        "random": row.random,
        "gradients": row.draws,
        "outputs": row.outputs,
        "mean_known": row.mean_known,
        "cpu_seconds": row.seconds,
        **asdict(row.quality),
        "snr_per_output": asdict(row.per_output),
        "snr_per_cpu_second": asdict(row.per_second),
    }


def is_ours(text: str) -> bool:
    """True for the text of a ``diagnosis.json``."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(tree, dict) and KEY in tree
