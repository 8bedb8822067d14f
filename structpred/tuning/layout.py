"""The layout of a report on one study or several: sections, tables, figures and what they draw."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import optuna

from structpred.provenance import environment
from structpred.report.document import Column, Document, Section, Sentences, Table, Tone
from structpred.report.drawing import COLOURS
from structpred.statistics import Estimate, estimate, fixed
from structpred.tuning import charts
from structpred.tuning.outcomes import Importances, Outcome, Result
from structpred.tuning.summary import budget, conclusion, not_worse, notes, number, short

_BLUE, _ORANGE = COLOURS[:2]
_TEMPERATURES = ("literal", "rescaled", "edit rate")


def document(results: tuple[Result, ...], importances: Importances) -> Document:
    """The whole report.

    Args:
        results: one a study.
        importances: how much each parameter matters, by study.
    """
    tempered = [result for result in results if result.temperature(result.best)]
    made = environment().told(optuna=optuna.__version__)
    return Document(
        title=f"Tuning: {results[0].name if len(results) == 1 else f'{len(results)} studies'}",
        sections=(
            Section("Conclusion", (Sentences(tuple(itertools.chain(*map(conclusion, results))), lead=True),)),
            *((Section("The best temperature of each study", (_temperatures(tempered),)),) if tempered else ()),
            Section("Budget", (Sentences(budget(results)),)),
            *(
                Section(
                    f"Trials of {result.name}",
                    (_trials(result), *charts.figures(result, importances.get(result.name, {}))),
                )
                for result in results
            ),
            Section("How to read the numbers", (Sentences((*notes(results[0]), made)),)),
        ),
    )


def _trials(result: Result) -> Table:
    """A row a trial, the finished ones first and the best of them first."""
    dev = f"dev {result.metric.name} (%)"
    tempered, stopped = result.temperature(result.best) is not None, any(map(_reached, result.outcomes))
    columns = [Column("trial"), *(Column(short(name)) for name in result.distributions)]
    columns += [Column(name) for name in ("τ literal", *_TEMPERATURES[1:]) if tempered]
    columns += [Column("state", numeric=False), Column("seeds"), Column(dev)]
    columns += [Column(f"stopped at {dev}, greedy"), Column("epoch")] if stopped else []
    columns += [Column("seconds"), Column("note", numeric=False)]
    kept = not_worse(result)

    def cells(each: Outcome) -> tuple[str, ...]:
        reached = _reached(each)
        return (
            str(each.number),
            *(number(each.parameters.get(name, "")) for name in result.distributions),
            *(_conventions(result, each) if tempered else ()),
            each.state,
            *((str(len(each.fresh)), str(_mean(each))) if each.scores else ("", "")),
            *((fixed(each.epochs[reached]) if reached else "", str(reached or "")) if stopped else ()),
            f"{each.seconds:,.0f}",
            _note(result, each, kept),
        )

    tones: dict[str, Tone] = {"failed": "bad"}
    return Table(
        tuple(columns),
        tuple(map(cells, result.ordered)),
        tuple("good" if each is result.best else tones.get(each.state, "") for each in result.ordered),
    )


def _conventions(result: Result, each: Outcome) -> tuple[str, ...]:
    """The temperature of a trial in every convention, with a dash for one that its law does not have."""
    temperature = result.temperature(each) or ("", "", "")
    return tuple("-" if value is None else number(value) for value in temperature)


def _reached(each: Outcome) -> int:
    """The epoch that a trial without a final score had reached, by greedy decoding; 0 for others."""
    return 0 if each.scores else max(each.epochs, default=0)


def _note(result: Result, each: Outcome, kept: tuple[Outcome, ...]) -> str:
    if each in result.tied and len(result.tied) > 1:
        return "ties for the best"
    if each is result.best:
        return "best"
    return "not distinguishable from the best" if each in kept else each.reason


def _temperatures(results: Sequence[Result]) -> Table:
    """τ* of each study that has one, with the trials that cannot be told from it."""
    columns = [Column("study", numeric=False), *(Column(f"τ* {name}") for name in _TEMPERATURES)]
    columns += [Column(f"{name}, not distinguishable") for name in _TEMPERATURES]
    columns += [Column("dev metric", numeric=False)]
    rows = []
    for result in results:
        best = result.finished[0]
        near = [found for each in not_worse(result) if (found := result.temperature(each))]
        tied = f", {len(result.tied)} trials tie" if len(result.tied) > 1 else ""
        spans = [_span(found[i] for found in near) for i in range(len(_TEMPERATURES))]
        rows.append((result.name, *_conventions(result, best), *spans, f"{result.metric.name} {_mean(best)}{tied}"))
    return Table(tuple(columns), tuple(rows))


def _span(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{number(min(known))} to {number(max(known))}" if known else "not known"


def _mean(outcome: Outcome) -> Estimate:
    return estimate(np.array(outcome.fresh, dtype=float))
