"""The layout of a report on one study or several: sections, tables, figures and what they draw."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from structpred.provenance import environment
from structpred.report.document import Column, Document, Figure, Section, Sentences, Table, Tone
from structpred.report.drawing import COLOURS, INK, chart, draw_estimate, log_axis
from structpred.statistics import FEW, Estimate, estimate, fixed
from structpred.text import plain
from structpred.tuning import charts
from structpred.tuning.outcomes import Conventions, Importances, Outcome, Result, conventions
from structpred.tuning.summary import Optimum, budget, conclusion, not_worse, notes, number, optimum, short

_BLUE, _ORANGE = COLOURS[:2]
_TEMPERATURES = ("literal", "rescaled", "edit rate")


def document(results: tuple[Result, ...], importances: Importances) -> Document:
    """The whole report.

    Args:
        results: one a study.
        importances: how much each parameter matters, by study.
    """
    tempered = [result for result in results if _temperature(result, result.best)]
    here = environment()
    packages = ", ".join(f"{name} {version}" for name, version in here.packages.items())
    made = f"Report made with Python {here.python} on {here.platform}; {packages}, optuna {optuna.__version__}."
    return Document(
        title=f"Tuning: {results[0].name if len(results) == 1 else f'{len(results)} studies'}",
        sections=(
            Section("Conclusion", (Sentences(tuple(itertools.chain(*map(conclusion, results))), lead=True),)),
            *((Section("The best temperature of each study", (_temperatures(tempered),)),) if tempered else ()),
            Section("Budget", (Sentences(budget(results)),)),
            *(
                Section(f"Trials of {result.name}", (_trials(result), *_figures(result, importances)))
                for result in results
            ),
            Section("How to read the numbers", (Sentences((*notes(results[0]), made)),)),
        ),
    )


def _trials(result: Result) -> Table:
    """A row a trial, the finished ones first and the best of them first."""
    dev = f"dev {result.metric.name} (%)"
    cells: list[tuple[Column, Callable[[Outcome], str]]] = [(Column("trial"), lambda each: str(each.number))]
    cells += [(Column(short(name)), partial(_parameter, name)) for name in result.distributions]
    if _temperature(result, result.best):
        titles = ("τ literal", *_TEMPERATURES[1:])
        cells += [(Column(title), partial(_convention, result, i)) for i, title in enumerate(titles)]
    cells += [
        (Column("state", numeric=False), lambda each: each.state),
        (Column("seeds"), lambda each: str(len(each.fresh)) if each.scores else ""),
        (Column(dev), lambda each: str(_mean(each)) if each.scores else ""),
    ]
    if any(map(_reached, result.outcomes)):
        cells += [
            (Column(f"stopped at {dev}, greedy"), lambda each: fixed(each.epochs[e]) if (e := _reached(each)) else ""),
            (Column("epoch"), lambda each: str(_reached(each) or "")),
        ]
    kept = not_worse(result)
    cells += [
        (Column("seconds"), lambda each: f"{each.seconds:,.0f}"),
        (Column("note", numeric=False), lambda each: _note(result, each, kept)),
    ]
    ordered = [*result.finished, *(each for each in result.outcomes if each.state != "finished")]
    tones: dict[str, Tone] = {"failed": "bad"}
    return Table(
        tuple(column for column, _ in cells),
        tuple(tuple(cell(each) for _, cell in cells) for each in ordered),
        tuple("good" if each is result.best else tones.get(each.state, "") for each in ordered),
    )


def _parameter(name: str, each: Outcome) -> str:
    return number(each.parameters.get(name, ""))


def _convention(result: Result, i: int, each: Outcome) -> str:
    temperature = _temperature(result, each)
    value = temperature[i] if temperature else ""
    return "-" if value is None else number(value)


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
        near = [found for each in not_worse(result) if (found := _temperature(result, each))]
        tied = f", {len(result.tied)} trials tie" if len(result.tied) > 1 else ""
        values = [_convention(result, i, best) for i in range(3)]
        spans = [_span(found[i] for found in near) for i in range(3)]
        rows.append((result.name, *values, *spans, f"{result.metric.name} {_mean(best)}{tied}"))
    return Table(tuple(columns), tuple(rows))


def _temperature(result: Result, outcome: Outcome | None) -> Conventions | None:
    return None if outcome is None else conventions(outcome.experiment, result.labels)


def _span(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{number(min(known))} to {number(max(known))}" if known else "not known"


def _mean(outcome: Outcome) -> Estimate:
    return estimate(np.array(outcome.fresh, dtype=float))


def _figures(result: Result, importances: Importances) -> tuple[Figure, ...]:
    if result.best is None:
        return ()
    metric, of = result.metric, importances.get(result.name, {})
    label = f"dev {metric.name} (%), {'higher' if metric.higher_is_better else 'lower'} is better"
    found = [
        _slice(result, each, label) for each in (optimum(result, name) for name in result.numeric()) if each is not None
    ]
    found.append(_history(result, label))
    found += [_curves(result, f"dev {metric.name} (%), greedy")] if any(each.epochs for each in result.outcomes) else []
    found += [_shares(of)] if of else []
    return tuple(replace(figure, caption=f"{result.name}: {figure.caption}") for figure in found)


def _slice(result: Result, found: Optimum, label: str) -> Figure:
    """The metric against one parameter, by the seeds of the table."""
    log = result.numeric()[found.parameter].log
    band = "; band: values of trials not shown to be worse than the best" if found.low is not None else ""
    seeds = max(len(each.fresh) for each in result.finished)
    bar = "; bar: mean" if seeds > 1 else ""
    line = "; line: 95 % interval" if seeds > FEW else ""

    def draw(axes: Axes) -> None:
        if found.low is not None and found.high is not None:
            axes.axvspan(found.low, found.high, color=_ORANGE, alpha=0.12, linewidth=0)
        for each in result.finished:
            if found.parameter in each.parameters:
                colour = _ORANGE if each is result.finished[0] else _BLUE
                draw_estimate(axes, each.parameters[found.parameter], each.fresh, colour)
        if log:
            axes.set_xscale("log")
            log_axis(axes.xaxis)
        axes.yaxis.set_major_locator(MaxNLocator(6))

    title = f"{short(found.parameter)}{', log scale' if log else ''}"
    drawn = partial(chart, draw, (5.2, 3.4), f"{label} {found.parameter}", title, label)
    caption = f"one dot per seed of the table{bar}{line}; orange: the best{band}."
    return Figure(drawn, caption, chart=charts.against(result, found, label))


def _history(result: Result, label: str) -> Figure:
    """The mean of each finished trial in the order of slots, as the table has it, and that of the best so far."""
    done = [each for each in result.outcomes if each.state == "finished"]
    best = [min(done[:count], key=result.rank).mean for count in range(1, len(done) + 1)]

    def draw(axes: Axes) -> None:
        numbers, means = list(range(1, len(done) + 1)), [each.mean for each in done]
        axes.plot(numbers, means, "o", color=_BLUE, alpha=0.6, markersize=4.5, markeredgewidth=0)
        axes.step(numbers, best, where="post", color=_ORANGE, linewidth=1.4)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))

    drawn = partial(chart, draw, (5.2, 3.0), f"{label} history", charts.ORDER, label)
    caption = "trials in their order, as in the table; line: the best so far."
    return Figure(drawn, caption, chart=charts.history(list(zip(done, best, strict=True)), label))


def _curves(result: Result, label: str) -> Figure:
    """The dev metric of the first seed by epoch, pruned trials dashed."""

    def draw(axes: Axes) -> None:
        for each in filter(lambda each: each.epochs, result.outcomes):
            epochs, style = sorted(each.epochs), "-" if each.state == "finished" else "--"
            axes.plot(epochs, [each.epochs[epoch] for epoch in epochs], style, color=_BLUE, alpha=0.45, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))

    drawn = partial(chart, draw, (5.2, 3.2), f"{label} curves", "epoch", label)
    caption = "greedy decoding after each epoch, first seed; dashed: pruned or failed."
    return Figure(drawn, caption, chart=charts.curves(result, label))


def _shares(of: Mapping[str, float]) -> Figure:
    """A bar a parameter."""
    names = [plain(short(name)) for name in of]

    def draw(axes: Axes) -> None:
        axes.barh(names, list(of.values()), color=_BLUE, alpha=0.7, height=0.5)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.axvline(0, color=INK, linewidth=0.8)

    label = "share of the variance among good trials (PED-ANOVA)"
    drawn = partial(chart, draw, (5.2, 0.9 + 0.45 * len(names)), f"importance {names}", label)
    return Figure(drawn, "what mattered.", chart=charts.shares(of, label))
