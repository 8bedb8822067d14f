"""What stands in the report of one study or of several."""

import warnings
from functools import partial

import optuna
from optuna.distributions import FloatDistribution, IntDistribution

from structpred.provenance import environment
from structpred.report.document import Column, Document, Figure, Section, Sentences, Table, Tone
from structpred.statistics import estimate, fixed
from structpred.tuning import plots
from structpred.tuning.analysis import not_worse, optimum
from structpred.tuning.outcomes import Outcome, Result, conventions
from structpred.tuning.sentences import budget, conclusion, notes
from structpred.tuning.wording import number, short

Importances = dict[str, dict[str, float]]


def document(results: tuple[Result, ...], importances: Importances) -> Document:
    """The whole report.

    Args:
        results: one a study.
        importances: of each study's parameters, by study; without those that cannot be told.
    """
    told = tuple(sentence for result in results for sentence in conclusion(result))
    temperatures = _temperatures(results)
    return Document(
        title=f"Tuning: {results[0].name if len(results) == 1 else f'{len(results)} studies'}",
        sections=(
            Section("Conclusion", (Sentences(told, lead=True),)),
            *((Section("The best temperature of each study", (temperatures,)),) if temperatures else ()),
            Section("Budget", (Sentences(budget(results)),)),
            *(_section(result, importances.get(result.name, {})) for result in results),
            Section("How to read the numbers", (Sentences((*notes(results[0]), _made())),)),
        ),
    )


def _section(result: Result, importances: dict[str, float]) -> Section:
    return Section(f"Trials of {result.name}", (_table(result), *_figures(result, importances)))


def _table(result: Result) -> Table:
    kept = not_worse(result) or ()
    metric = result.metric.name
    columns = [Column("trial"), *(Column(short(name)) for name in result.distributions)]
    columns += [Column("τ literal"), Column("rescaled"), Column("edit rate")] if _tempered(result) else []
    columns += [Column("state", numeric=False), Column("seeds"), Column(f"dev {metric} (%)")]
    columns += [Column(f"stopped at dev {metric} (%), greedy"), Column("epoch")] if _stopped(result) else []
    columns += [Column("seconds"), Column("note", numeric=False)]
    rest = [each for each in result.outcomes if each.state != "finished"]
    ordered = [*result.finished, *rest]
    rows = tuple(_row(result, each, _note(result, each, kept)) for each in ordered)
    tones: tuple[Tone, ...] = tuple(
        "good" if each is result.best else "bad" if each.state == "failed" else "" for each in ordered
    )
    return Table(tuple(columns), rows, tones)


def _row(result: Result, each: Outcome, note: str) -> tuple[str, ...]:
    cells = [str(each.number), *(number(each.parameters.get(name, "")) for name in result.distributions)]
    if _tempered(result):
        found = None if each.experiment is None else conventions(each.experiment, result.labels)
        cells += (
            ["", "", ""] if found is None else [_value(v) for v in (found.literal, found.rescaled, found.edit_rate)]
        )
    scores = [str(len(each.fresh)), str(estimate(plots.array(each.fresh)))] if each.scores else ["", ""]
    if _stopped(result):
        epoch = max(each.epochs) if _is_stopped(each) else None
        scores += ["", ""] if epoch is None else [fixed(each.epochs[epoch]), str(epoch)]
    return (*cells, each.state, *scores, f"{each.seconds:,.0f}", note)


def _note(result: Result, each: Outcome, kept: tuple[Outcome, ...]) -> str:
    if each in result.tied and len(result.tied) > 1:
        return "ties for the best"
    if each is result.best:
        return "best"
    return "not distinguishable from the best" if each in kept else each.reason


def _stopped(result: Result) -> bool:
    return any(map(_is_stopped, result.outcomes))


def _is_stopped(each: Outcome) -> bool:
    """True of a trial with no final score: what it had reached is by greedy decoding, in a column of its own."""
    return bool(each.epochs) and not each.scores


def _value(value: float | None) -> str:
    return "-" if value is None else number(value)


def _tempered(result: Result) -> bool:
    best = result.best
    return best is not None and best.experiment is not None and conventions(best.experiment, result.labels) is not None


def _temperatures(results: tuple[Result, ...]) -> Table | None:
    """τ* of each study that has one, with the trials that cannot be told from it."""
    tempered = [result for result in results if _tempered(result)]
    if not tempered:
        return None
    columns = [Column("study", numeric=False), Column("τ* literal"), Column("τ* rescaled"), Column("τ* edit rate")]
    columns += [Column(f"{name}, not distinguishable") for name in ("literal", "rescaled", "edit rate")]
    columns += [Column("dev metric", numeric=False)]
    return Table(tuple(columns), tuple(_temperature_row(result) for result in tempered))


def _temperature_row(result: Result) -> tuple[str, ...]:
    best, kept = result.best, not_worse(result)
    assert best is not None
    near = [_three(result, each) for each in kept or () if each.experiment is not None]
    spans = [_span([each[i] for each in near]) for i in range(3)]
    tied = f", {len(result.tied)} trials tie" if len(result.tied) > 1 else ""
    score = f"{result.metric.name} {estimate(plots.array(best.fresh))}{tied}"
    return (result.name, *map(_value, _three(result, best)), *spans, score)


def _three(result: Result, each: Outcome) -> tuple[float | None, float | None, float | None]:
    assert each.experiment is not None
    found = conventions(each.experiment, result.labels)
    return (None, None, None) if found is None else (found.literal, found.rescaled, found.edit_rate)


def _span(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{number(min(known))} to {number(max(known))}" if known else "not known"


def _figures(result: Result, importances: dict[str, float]) -> tuple[Figure, ...]:
    best = result.best
    if best is None:
        return ()
    metric = result.metric
    label = f"dev {metric.name} (%), {'higher' if metric.higher_is_better else 'lower'} is better"
    figures = [_slice(result, best, name, label) for name in result.numeric()]
    history = partial(plots.history_plot, result, label)
    figures.append(Figure(history, f"{result.name}: trials in their order, as in the table; line: the best so far."))
    with_epochs = [each for each in result.outcomes if each.epochs]
    if with_epochs:
        caption = f"{result.name}: greedy decoding after each epoch, first seed; dashed: pruned or failed."
        figures.append(Figure(partial(plots.curves_plot, with_epochs, f"dev {metric.name} (%), greedy"), caption))
    if importances:
        figures.append(Figure(partial(plots.importance_plot, importances), f"{result.name}: what mattered."))
    return tuple(each for each in figures if each is not None)


def _slice(result: Result, best: Outcome, name: str, label: str) -> Figure | None:
    found = optimum(result, name)
    if found is None:
        return None
    distribution = result.distributions[name]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    draw = partial(plots.slice_plot, result.finished, best, found, label, log=distribution.log)
    band = "; band: values of trials not shown to be worse than the best" if found.low is not None else ""
    return Figure(
        draw,
        f"{result.name}: a dot a seed of the table, bars and lines: mean and 95 % interval; orange: the best{band}.",
    )


def importances_of(study: optuna.Study) -> dict[str, float]:
    """How much each parameter matters; empty where that cannot be told."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of trials too few to choose good ones from
            found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError):
        return {}
    return found if len(found) > 1 else {}


def _made() -> str:
    here = environment()
    packages = ", ".join(f"{name} {version}" for name, version in here.packages.items())
    return f"Report made with Python {here.python} on {here.platform}; {packages}, optuna {optuna.__version__}."
