"""The content of a report and its order; the renderers decide how it looks."""

import re
from functools import partial

from structpred.comparison import axes, breakdowns, certainty, charts, compared, methods, plots
from structpred.comparison.analysis import Row, mean_ranks, scores
from structpred.comparison.ensembles import averaged
from structpred.comparison.findings import ComparisonResult
from structpred.provenance import environment
from structpred.report.document import Column, Document, Dots, Figure, Section, Sentences, Table, Tone, joined
from structpred.report.drawing import Look, looks
from structpred.results import Measure, RunResult, direction
from structpred.statistics import FEW, CrossedTest, Estimate, ExamplesTest, fixed
from structpred.text import counted

_NAMED = 4  # arms that a title names; more are counted
_TONES: dict[str, Tone] = {"better": "good", "worse": "bad"}


def document(report: ComparisonResult, *, averaged: bool = False) -> Document:
    """The whole report.

    Args:
        report: what was found.
        averaged: its runs are means over tasks, so it has no data, no epochs and no list of its runs.
    """
    return Document(
        title=_title(report),
        sections=(
            Section("Conclusion", _answer(report)),
            *(_metric_section(report, metric) for metric in report.metrics),
            *((_pairs_section(report),) if report.design.pairs == "all" and len(report.arms) > 2 else ()),
            *((_examples_section(report),) if report.over_examples else ()),
            *((_crossed_section(report),) if report.crossed else ()),
            *breakdowns.sections(report),
            *certainty.sections(report),
            *compared.sections(report, averaged=averaged),
            Section("What differs between the arms", (_differences(report),)),
            Section("How to read the numbers", (Sentences(_notes(report, averaged=averaged)),)),
            *(() if averaged else (Section("Runs", (_runs(report),)),)),
        ),
        arms=tuple(report.arms),
    )


def _answer(report: ComparisonResult) -> tuple[Sentences | Figure, ...]:
    """The headline, the arms ranked, and what holds for each."""
    headline, *rest = report.conclusion()
    more = (Sentences(tuple(rest)),) if rest else ()
    return (Sentences((headline,), lead=True), _score_plot(report, report.metrics[0]), *more)


def _title(report: ComparisonResult) -> str:
    several = len(report.arms) > _NAMED
    return f"Comparison of {f'{len(report.arms)} arms' if several else joined(list(report.arms))}"


def _metric_section(report: ComparisonResult, metric: Measure) -> Section:
    primary = metric is report.metrics[0]
    role = "primary metric" if primary else "supporting metric"
    table = _score_table(report, metric, costs=primary)
    return Section(f"{metric.name}, {role}, {direction(metric)}", (table, *_figures(report, metric)))


def _score_table(report: ComparisonResult, metric: Measure, *, costs: bool) -> Table:
    rows = report.table(metric)
    columns = [Column("arm", numeric=False), Column(f"dev {metric.name} (%)"), Column(f"test {metric.name} (%)")]
    columns += [Column(f"test {metric.name} of the ensemble (%)")] if report.ensembles else []
    columns += [Column("test − baseline"), Column(_p_title(report)), Column("verdict on test", numeric=False)]
    if costs:
        columns += [Column("seconds per run"), Column("CPU-seconds per run")]
    cells = tuple((*_score_cells(report, metric, row), *(_cost_cells(row) if costs else ())) for row in rows)
    return Table(tuple(columns), cells, tuple(_TONES.get(row.verdict, "") for row in rows))


def _p_title(report: ComparisonResult) -> str:
    return "p (Holm)" if report.design.rule == "fixed" else "anytime p (Holm)"


def _pairs_section(report: ComparisonResult) -> Section:
    """All pairs of arms on the primary metric: row minus column, marked where a difference or equivalence is shown."""
    metric, arms = report.metrics[0], list(report.arms)
    tests, ranks = report.tests(), mean_ranks(report.results, metric)
    cells = {(one, one): "" for one in arms}
    for (one, other), contrast in tests.items():
        mark = "*" if contrast.verdict in ("better", "worse") else "≈" if contrast.within else ""
        cells[one, other] = f"{fixed(contrast.difference.mean, '+')}{mark}"
        cells[other, one] = f"{fixed(-contrast.difference.mean, '+')}{mark}"
    columns = (Column("arm", numeric=False), Column("mean rank"), *(Column(f"− {arm}") for arm in arms))
    ranked = sorted(arms, key=lambda arm: ranks[arm])
    rows = tuple((arm, fixed(ranks[arm]), *(cells[arm, other] for other in arms)) for arm in ranked)
    legend = (
        f"A row's test {metric.name} minus a column's; * marks a difference that is shown, ≈ one that is within "
        f"±{report.design.margin(metric.name):g}, both after Holm's correction over all {len(tests)} pairs.",
        "The mean rank is over seeds, 1 for the best arm of a seed; ranks are described, not tested.",
    )
    return Section(f"All pairs on {metric.name}", (Table(columns, rows), Sentences(legend)))


def _examples_section(report: ComparisonResult) -> Section:
    """The tests of pairs of arms over the test examples."""
    metric = report.metrics[0].name
    rows = tuple(_tested(pair, test) for pair, test in report.over_examples.items())
    first = next(iter(report.over_examples.values()))
    models = "one model per arm" if first.models == 1 else f"the {first.models} models of each arm, averaged"
    says = (
        f"This compares the trained models themselves ({models}) and holds for new examples like these "
        f"{first.examples:,}. The interval is from a paired bootstrap over examples, p from approximate randomisation; "
        "neither is corrected for several pairs. Neither says anything about other seeds, so neither supports a claim "
        "about an objective.",
    )
    return Section(f"Over the test examples, {metric}", (Table(_tested_columns(metric), rows), Sentences(says)))


def _crossed_section(report: ComparisonResult) -> Section:
    """The tests of pairs of arms over seeds and test examples together."""
    metric, seeds = report.metrics[0].name, len(report.seeds)
    columns = (*_tested_columns(metric), Column("from seeds"), Column("from examples"), Column("from both"))
    rows = tuple(
        (
            *_tested(pair, test),
            *(f"{100 * part / test.variance:.0f} %" for part in (test.of_seeds, test.of_examples, test.of_both)),
        )
        for pair, test in report.crossed.items()
    )
    says = (
        f"This holds for new seeds and new examples at once: a crossed model treats the {seeds} seeds and the test "
        "examples as samples. The interval and p use Student's t with "
        f"{counted(seeds - 1, 'degree')} of freedom; they are not corrected for several pairs and assume a number of "
        "seeds fixed beforehand. The verdict is the one over seeds alone.",
        "The last columns say where the uncertainty of the difference comes from: from seeds, which more seeds reduce; "
        "from examples, which more examples reduce; and from what is particular to an example under a seed, which "
        "either reduces.",
    )
    return Section(f"Over seeds and test examples, {metric}", (Table(columns, rows), Sentences(says)))


def _tested_columns(metric: str) -> tuple[Column, ...]:
    arms, difference = Column("arms", numeric=False), Column(f"difference in test {metric}")
    return arms, difference, Column("95 % interval"), Column("p")


def _tested(pair: tuple[str, str], test: ExamplesTest | CrossedTest) -> tuple[str, str, str, str]:
    interval = f"{fixed(test.low, '+')} to {fixed(test.high, '+')}"
    return " − ".join(pair), fixed(test.difference, "+"), interval, f"{test.p:.4f}"


def _score_cells(report: ComparisonResult, metric: Measure, row: Row) -> tuple[str, ...]:
    together = report.ensembles
    own = (row.arm, str(row.dev), str(row.test), *([fixed(together[row.arm]["test"][metric.name])] if together else []))
    if row.contrast is None:
        return *own, "", "", row.verdict
    p = row.contrast.corrected_p
    probability = "" if p is None else "< 0.0001" if p < 0.0001 else f"{p:.4f}"
    return *own, row.contrast.difference.signed, probability, row.verdict


def _cost_cells(row: Row) -> tuple[str, str]:
    return _cost(row.seconds, row.relative_seconds), _cost(row.cpu_seconds, row.relative_cpu_seconds)


def _cost(seconds: float, relative: float | None) -> str:
    return f"{seconds:,.1f}" if relative is None else f"{seconds:,.1f} (×{relative:.2f})"


def _figures(report: ComparisonResult, metric: Measure) -> tuple[Figure, ...]:
    score_plot = () if metric is report.metrics[0] else (_score_plot(report, metric),)  # that one is in the conclusion
    difference_plot = (_difference_plot(report, metric),) if len(report.arms) > 1 else ()
    against = axes.figures(report, metric, dots_caption(len(report.seeds)))
    return (*score_plot, *difference_plot, *against, *_curves(report, metric))


def _score_plot(report: ComparisonResult, metric: Measure) -> Figure:
    """The arms from the best down."""
    rows = sorted(report.table(metric), key=lambda row: row.test.mean, reverse=metric.higher_is_better)
    values = {row.arm: scores(report.results[row.arm], "test", metric.name).tolist() for row in rows}
    baseline = next(row.test.mean for row in rows if row.arm == report.baseline)
    label = f"test {metric.name} (%), {direction(metric)}"
    estimates = {row.arm: row.test for row in rows}
    caption = f"Test {metric.name}, the best first. {dots_caption(len(report.seeds))}; dashed: {report.baseline}."
    notes = {row.arm: row for row in rows}
    chart = charts.strip(values, estimates, label, baseline, report.seeds, notes=notes)
    draw = partial(plots.dot_plot, values, estimates, _looks(report), label, baseline)
    return Figure(draw, caption, chart=Dots((chart,)))


def _difference_plot(report: ComparisonResult, metric: Measure) -> Figure:
    values, estimates = _differences_of(report, metric)
    label = f"difference in test {metric.name} (percentage points)"
    reference = "each one's baseline" if report.design.groups else report.baseline
    caption = (
        f"The same, minus {reference} under the same seed. {dots_caption(len(report.seeds))}; dashed: no difference."
    )
    chart = charts.strip(values, estimates, label, 0.0, report.seeds)
    return Figure(partial(plots.dot_plot, values, estimates, _looks(report), label, 0.0), caption, chart=Dots((chart,)))


def _differences_of(report: ComparisonResult, metric: Measure) -> tuple[dict[str, list[float]], dict[str, Estimate]]:
    """For each arm, its differences from its baseline by seed, and their mean."""
    tested = {row.arm: (row.reference, row.contrast) for row in report.table(metric) if row.contrast is not None}
    of = {arm: scores(runs, "test", metric.name) for arm, runs in report.results.items()}
    values = {arm: (of[arm] - of[reference or ""]).tolist() for arm, (reference, _) in tested.items()}
    return values, {arm: contrast.difference for arm, (_, contrast) in tested.items()}


def strip(name: str, report: ComparisonResult) -> plots.Strip:
    """The differences on the primary metric, the best arm first, as one strip of a figure."""
    metric = report.metrics[0]
    reference = "baseline" if report.design.groups else report.baseline
    label = f"test {metric.name} − {reference} (percentage points)"
    values, estimates = _differences_of(report, metric)
    ranked = sorted(values, key=lambda arm: estimates[arm].mean, reverse=metric.higher_is_better)
    return plots.Strip(name, {arm: values[arm] for arm in ranked}, estimates, label, metric.higher_is_better)


def dots_caption(seeds: int) -> str:
    """The meaning of dots, bars and lines, for a caption."""
    if seeds == 1:
        return "One seed, no interval"
    return "One dot per seed; bar: mean" if seeds <= FEW else "One dot per seed; bar: mean; line: 95 % interval"


def _curves(report: ComparisonResult, metric: Measure) -> tuple[Figure, ...]:
    drawn = charts.curves(report, metric)
    if drawn is None:
        return ()
    band = "mean over seeds, band from the lowest to the highest seed; a curve ends with the shortest of its runs"
    caption = f"Dev {metric.name} after each epoch: {band if len(report.seeds) > 1 else 'one seed'}."
    return (Figure(partial(plots.learning_curves, drawn, _looks(report)), caption, chart=drawn),)


def _looks(report: ComparisonResult) -> dict[str, Look]:
    return looks(list(report.arms))


def _differences(report: ComparisonResult) -> Table | Sentences:
    fields = report.differences()
    if len(report.arms) == 1:
        return Sentences(("There is one arm only.",))
    if not fields:
        return Sentences(("Nothing: the arms are the same experiment under different names.",))
    varying = {field: values for field, values in fields.items() if len(set(values.values()) - {""}) > 1}
    if not varying:
        return Sentences(("Only settings that some arms do not have; the line of each arm above names them.",))
    columns = (Column("field", numeric=False), *(Column(arm, numeric=False) for arm in report.arms))
    return Table(columns, tuple((field, *values.values()) for field, values in varying.items()))


def _notes(report: ComparisonResult, *, averaged: bool) -> tuple[str, ...]:
    here = environment()
    return (
        "Scores are in percent. The dev scores chose the checkpoint; the test set was scored once, with that "
        "checkpoint.",
        *methods.notes(report),
        *_ensembles(report),
        *(() if averaged else (breakdowns.note(report.inspection),)),
        *(_signature(report, metric) for metric in report.metrics),
        "Seconds are wall-clock time and CPU-seconds processor time, both for training and evaluation, per run on "
        f"average; × is relative to {report.baseline}. {_devices(report)}",
        _trainers(report),
        f"{here.told()} {here.threads}.",
    )


def _ensembles(report: ComparisonResult) -> tuple[str, ...]:
    """A sentence on the column of ensembles."""
    if not report.ensembles:
        return ()
    kinds = averaged(report.arms)
    of = f"The ensemble of an arm combines the models of its {len(report.seeds)} seeds"
    return (f"{of}{f', averaging {joined(kinds)}' if kinds else ''}; it is one model per arm, so nothing is tested.",)


def _signature(report: ComparisonResult, metric: Measure) -> str:
    runs = [run for arm in report.arms for run in report.results[arm]]
    found = dict.fromkeys(run.signatures.get(metric.name, "not recorded") for run in runs)
    warning = "" if len(found) == 1 else " — the runs were scored in different ways and cannot be compared strictly"
    return f"{metric.name} is computed as {joined(list(found))}{warning}."


def _devices(report: ComparisonResult) -> str:
    every = (run.device for arm in report.arms for run in report.results[arm])
    devices = list(dict.fromkeys(re.sub(r"\b1 threads$", "1 thread", device) for device in every))  # as older runs say
    if len(devices) == 1:
        return f"All runs were on {devices[0]}."
    return f"Runs were on different devices ({joined(devices)}), so their times do not compare strictly."


def _trainers(report: ComparisonResult) -> str:
    versions = sorted({run.trainer for arm in report.arms for run in report.results[arm]})
    if len(versions) == 1:
        return f"All runs were trained with version {versions[0]} of Trainer."
    found = joined([str(version) for version in versions])
    return f"Runs were trained with different versions of Trainer ({found}) and cannot be compared strictly."


def _runs(report: ComparisonResult) -> Table:
    columns = [Column("arm", numeric=False), Column("seed")]
    columns += [Column(f"{split} {metric.name} (%)") for metric in report.metrics for split in ("dev", "test")]
    columns += [Column("best epoch"), Column("steps"), Column("skipped"), Column("seconds"), Column("CPU-seconds")]
    columns += [Column("identity", numeric=False)]
    cells = tuple(
        (arm, str(seed), *_run_cells(run, report.metrics))
        for arm in report.arms
        for seed, run in zip(report.seeds, report.results[arm], strict=True)
    )
    return Table(tuple(columns), cells)


def _run_cells(run: RunResult, metrics: tuple[Measure, ...]) -> tuple[str, ...]:
    found = [fixed(run.scores[split][metric.name]) for metric in metrics for split in ("dev", "test")]
    return (
        *found,
        str(run.best_epoch),
        f"{run.steps:,}",
        f"{run.skipped:,}",
        f"{run.seconds:,.1f}",
        f"{run.cpu_seconds:,.1f}",
        run.identity[:12],
    )
