"""The same arms on several tasks: a table for each task, and the macro-average."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from structpred.comparison import charts, layout, plots
from structpred.comparison.analysis import Contrast, contrasts, scores
from structpred.comparison.looks import after_looks, looks_in
from structpred.comparison.means import mean_ensembles, mean_run
from structpred.comparison.record import encode, findings
from structpred.comparison.report import Report
from structpred.config import Config
from structpred.errors import ConfigError
from structpred.report.document import Column, Document, Figure, Section, Sentences, Table
from structpred.report.drawing import looks
from structpred.report.files import FORMAT, readable, results_file, write_files, written
from structpred.report.terminal import Printable
from structpred.results import Measure, renamed, stored
from structpred.statistics import FEW, estimate, fixed
from structpred.statistics.aggregate import Aggregate, improvement, interquartile_mean
from structpred.text import refuse_unseen
from structpred.values import refuse

Published = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Across(Printable):
    """Reports of the same arms on several tasks, and their macro-average: every task counts the same.

    The macro-average is taken seed by seed, so that it is tested over seeds as one task's score is. Whether an arm is
    better on tasks in general is another question, tested over the tasks.

    Attributes:
        reports: one a task, by the task's name.
        published: published scores of other systems, in percent: ``published[who][metric][task]``.

    Raises:
        ConfigError: no reports, or they differ in arms, seeds, baseline, metrics, margins, pairs or groups, or two have
            the same runs; or published scores lack a task or are of a metric that the reports do not have.
    """

    reports: Mapping[str, Report]
    published: Published = field(default_factory=dict)

    # Users make these, and what is wrong is said in words, so run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.reports, Mapping) or not all(isinstance(e, Report) for e in self.reports.values()):
            refuse("the reports of Across", "Reports by the names of tasks, as in {'letters': report}", self.reports)
        if not self.reports:
            raise ConfigError("an average over tasks needs a report of at least one task, but got none")
        for name in self.reports:
            refuse_unseen(name, "the name of a task")
        if AVERAGE in self.reports:
            raise ConfigError(f"a task cannot be called {AVERAGE!r}, which is the row of their average; rename it")
        first, *others = self.reports
        for other in others:
            for what, of in (("arms, seeds, baseline and metrics", _shape), ("margins, pairs and groups", _decided)):
                one, another = of(self.reports[first]), of(self.reports[other])
                if one != another:
                    raise ConfigError(
                        f"the reports of {first} and {other} must have the same {what}, but have {one} and {another}; "
                        "compare them anew"
                    )
        self._check_runs()
        self._check_published()

    def _check_runs(self) -> None:
        seen: dict[tuple[str, ...], str] = {}
        for name, report in self.reports.items():
            runs = tuple(result.identity for arm in sorted(report.arms) for result in report.results[arm])
            if runs in seen:
                raise ConfigError(
                    f"every task needs a report of its own, but {seen[runs]} and {name} have the same runs, which "
                    "would count twice; leave one out"
                )
            seen[runs] = name

    def _check_published(self) -> None:
        object.__setattr__(self, "published", _numbers(self.published))
        names, measures = _shape(next(iter(self.reports.values())))[-1], next(iter(self.reports.values())).metrics
        for who, metrics in self.published.items():
            refuse_unseen(who, "the name of a published system")
            if who in next(iter(self.reports.values())).arms:
                raise ConfigError(f"published scores are of other systems, but {who!r} is an arm; rename it")
            for metric, known in renamed(metrics, measures).items():
                if metric not in names:
                    raise ConfigError(
                        f"published scores must be of the reports' metrics {names}, but {who} has {metric}; correct it"
                    )
                if absent := sorted(self.reports.keys() - known.keys()):
                    raise ConfigError(
                        f"published scores must cover every task, but {who} has no {metric} of {absent}; add them"
                    )

    @cached_property
    def average(self) -> Report:
        """The macro-average as a report of its own; costs and certainty are those of one run on average.

        What cannot be averaged is left out: data, outputs, epochs, and tests over examples. It is decided by the
        anytime-valid test if one of the tasks is.
        """
        first, every = next(iter(self.reports.values())), list(self.reports.values())
        looked = any(report.design.rule == "anytime" for report in every)
        results = {
            arm: tuple(mean_run([report.results[arm][i] for report in every]) for i in range(len(first.seeds)))
            for arm in first.arms
        }
        return replace(
            first,
            results=results,
            design=replace(first.design, rule="anytime" if looked else "fixed"),
            ensembles=mean_ensembles([report.ensembles for report in every]),
            over_examples={},
            crossed={},
            material=None,
            inspection=None,
        )

    def over_tasks(self, metric: Measure) -> dict[str, Contrast]:
        """Every arm against its baseline with the task, not the seed, as the unit: means over seeds, paired by task."""
        means = {
            arm: np.array([_test_scores(report, arm, metric).mean() for report in self.reports.values()])
            for arm in self.average.arms
        }
        design, baseline = self.average.design, self.average.baseline
        references = design.references(list(means), baseline)
        tested = contrasts(
            means,
            list(references.items()),
            higher_is_better=metric.higher_is_better,
            margin=design.margin(metric.name),
        )
        return {arm: tested[arm, reference] for arm, reference in references.items()}

    def aggregates(self, metric: Measure) -> dict[str, dict[str, Aggregate]]:
        """For each arm, the interquartile mean of its test scores over tasks and seeds, and its gain over the baseline.

        ``"difference"`` is the interquartile mean of the paired differences, ``"improvement"`` the chance that a run is
        better than one of the baseline on the same task. Empty with one seed: there is nothing to resample.
        """
        if len(self.average.seeds) == 1:
            return {}
        tables = {arm: self._tables(arm, metric) for arm in self.average.arms}
        references = self.average.design.references(list(tables), self.average.baseline)
        sign = 1 if metric.higher_is_better else -1
        found = {arm: {"score": Aggregate.of(interquartile_mean, table)} for arm, table in tables.items()}
        for arm, reference in references.items():
            pair = tables[arm], tables[reference]
            found[arm] |= {
                "difference": Aggregate.of(lambda one, other: interquartile_mean(one - other), *pair),
                "improvement": Aggregate.of(lambda one, other: improvement(sign * one, sign * other), *pair),
            }
        return found

    def _tables(self, arm: str, metric: Measure) -> np.ndarray:
        return np.stack([_test_scores(report, arm, metric) for report in self.reports.values()])

    def document(self) -> Document:
        """Everything that `show` and `write` render."""
        whole = layout.document(self.average, averaged=True)
        tables = tuple(self._section(metric) for metric in self.average.metrics)
        tasks = f"Macro-average over {len(self.reports)} tasks: {', '.join(self.reports)}. Every task counts the same."
        said = Sentences((tasks, self._settings()))
        averaged = Section("What is averaged", (said, *self._data()))
        return replace(whole, sections=(averaged, *whole.sections, *tables))

    def _settings(self) -> str:
        """Which task's settings are shown; an arm may have different ones on different tasks, as after tuning."""
        first, *others = self.reports
        shown = _settings_of(self.reports[first])
        if all(_settings_of(self.reports[other]) == shown for other in others):
            return f"Where settings of a task are shown, they are those of {first}."
        return f"Arms have settings of their own for each task; those shown are of {first}."

    def _data(self) -> tuple[Table, ...]:
        """The examples of every task, where all reports say them."""
        found = {task: report.material for task, report in self.reports.items()}
        rows = tuple(
            (task, *(f"{each.examples.get(split, 0):,}" for split in _SPLITS), f"{each.digest[:16]}…")
            for task, each in found.items()
            if each is not None
        )
        columns = (
            Column("task", numeric=False),
            *(Column(f"{name} examples") for name in _SPLITS.values()),
            Column("SHA-256 of the data", numeric=False),
        )
        return (Table(columns, rows),) if len(rows) == len(found) else ()

    def _section(self, metric: Measure) -> Section:
        arms = list(self.average.arms)
        of_metric = {who: stored(metric, scores) for who, scores in self.published.items()}
        known = {who: scores for who, scores in of_metric.items() if scores is not None}
        means = {who: float(np.mean([scores[task] for task in self.reports])) for who, scores in known.items()}
        rows = [
            (
                task,
                *(str(estimate(_test_scores(report, arm, metric))) for arm in arms),
                *(fixed(means[who] if task == AVERAGE else scores[task]) for who, scores in known.items()),
            )
            for task, report in {**self.reports, AVERAGE: self.average}.items()
        ]
        columns = (Column("task", numeric=False), *(Column(title) for title in (*arms, *known)))
        blocks = (Table(columns, tuple(rows)), Sentences(self._claims(metric)))
        return Section(f"Test {metric.name} of every task", (*blocks, *self._aggregated(metric)))

    def _aggregated(self, metric: Measure) -> tuple[Table | Sentences | Figure, ...]:
        """The aggregates of rliable, and a performance profile."""
        aggregates, seeds = self.aggregates(metric), len(self.average.seeds)
        if not aggregates:
            return ()
        rows = [
            (arm, *(_interval(numbers.get(name), sign) for name, sign in _AGGREGATES.items()))
            for arm, numbers in aggregates.items()
        ]
        columns = ("interquartile mean", "− baseline", "chance to beat the baseline")
        narrow = ", and are too narrow with so few seeds" if seeds <= FEW else ""
        says = (
            f"Over the {len(self.reports)} tasks and {seeds} seeds together, as in rliable: the interquartile mean is "
            "the mean of the middle half of all runs, and the chance is that of one run being better than one of the "
            "baseline on the same task. The 95 % intervals come from a bootstrap over seeds within each task; they "
            f"hold for these tasks{narrow}.",
        )
        tables = {arm: self._tables(arm, metric) for arm in self.average.arms}
        chart = charts.profiles(tables, metric)
        caption = f"Performance profile: the share of all runs whose test {metric.name} is better than a score."
        table = Table((Column("arm", numeric=False), *map(Column, columns)), tuple(rows))
        return table, Sentences(says), Figure(partial(plots.profiles, chart, looks(list(tables))), caption, chart=chart)

    def _claims(self, metric: Measure) -> tuple[str, ...]:
        """What the results say about tasks in general."""
        tasks = len(self.reports)
        references = self.average.design.references(list(self.average.arms), self.average.baseline)
        return tuple(
            f"{arm} minus {references[arm]} over the {tasks} tasks: {each.difference.signed}"
            + ("." if each.corrected_p is None else f", p = {each.corrected_p:.4f} (paired t test over tasks, Holm).")
            for arm, each in self.over_tasks(metric).items()
        )

    def write(self, folder: Path | str) -> tuple[Path, ...]:
        """Write ``results.json``, ``report.md`` and ``report.html`` into ``folder``, each whole or not at all.

        If the folder holds an earlier report of these runs with other seeds, what is written is decided by the
        anytime-valid test, as in `Report.write`.
        """
        looks = looks_in(Path(folder))
        across = replace(self, reports={task: after_looks(report, looks) for task, report in self.reports.items()})
        document = across.document()
        return write_files(folder, document, across._record(document))

    @classmethod
    def read(cls, file: Path | str, kind: type[Config] | None = None) -> "Across":
        """The reports whose `write` left ``file``; their average and its tests are computed anew.

        Args:
            file: the ``results.json``, or the folder that holds it.
            kind: the class of the arms' configs, as in `Report.read`.

        Raises:
            RunError: the file cannot be read, or holds no such report.
            ConfigError: an arm is not of the given kind.
        """
        place = results_file(file)

        def read(tree: dict[str, Any]) -> "Across":
            tasks = {task: Report.of(findings(node, place, kind)) for task, node in tree["tasks"].items()}
            return cls(tasks, tree.get("published", {}))

        return readable(place, read)

    def _record(self, document: Document) -> str:
        tree = {
            "format": FORMAT,
            "average": json.loads(encode(self.average)),
            "tasks": {task: json.loads(encode(_without_history(report))) for task, report in self.reports.items()},
            "published": self.published,
            "aggregates": {
                metric.name: {
                    arm: {name: asdict(number) for name, number in numbers.items()}
                    for arm, numbers in self.aggregates(metric).items()
                }
                for metric in self.average.metrics
            },
        }
        return written(tree, document)


AVERAGE = "macro-average"
"""The row of a table that is the mean of the others."""

_SPLITS = {"train": "training", "dev": "dev", "test": "test"}
_AGGREGATES = {"score": "-", "difference": "+", "improvement": "-"}


def _numbers(published: object) -> Published:
    """``published[who][metric][task]`` as plain numbers, refused if it is something else."""
    what, expected = "published scores", "numbers by system, metric and task: {'theirs': {'ACC': {'letters': 97.1}}}"
    level = [published]
    for _ in range(3):
        if not all(isinstance(each, Mapping) for each in level):
            refuse(what, expected, published)
        level = [value for each in level if isinstance(each, Mapping) for value in each.values()]
    if not all(isinstance(each, Real) and not isinstance(each, bool) and math.isfinite(each) for each in level):
        refuse(what, expected, published)
    given = cast("Published", published)
    return {
        who: {metric: {task: float(score) for task, score in scores.items()} for metric, scores in metrics.items()}
        for who, metrics in given.items()
    }


def _interval(number: Aggregate | None, sign: str) -> str:
    if number is None:
        return ""
    return f"{fixed(number.value, sign)} ({fixed(number.low, sign)} to {fixed(number.high, sign)})"


def _without_history(report: Report) -> Report:
    results = {arm: tuple(replace(run, history=()) for run in runs) for arm, runs in report.results.items()}
    return replace(report, results=results)


def _settings_of(report: Report) -> dict[str, dict[str, object]]:
    """The fields of every arm but its task."""
    return {
        name: {field.name: getattr(arm, field.name) for field in fields(arm) if field.name != "task"}
        for name, arm in report.arms.items()
    }


def _decided(report: Report) -> dict[str, object]:
    """By what a comparison is decided; whether seeds were added after a look may differ."""
    design = report.design
    margins = {metric.name: design.margin(metric.name) for metric in report.metrics}
    groups = {baseline: tuple(arms) for baseline, arms in design.groups.items()}
    return {"margins": margins, "pairs": design.pairs, "groups": groups}


def _shape(report: Report) -> tuple[list[str], tuple[int, ...], str, list[str]]:
    return list(report.arms), report.seeds, report.baseline, [metric.name for metric in report.metrics]


def _test_scores(report: Report, arm: str, metric: Measure) -> np.ndarray:
    return scores(report.results[arm], "test", metric.name)
