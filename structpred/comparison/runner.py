"""Run every arm under every seed, side by side, and report."""

import os
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from structpred.comparison import ensembles as of_ensembles
from structpred.comparison.design import DEFAULT, Design
from structpred.comparison.estimate import jobs, known, rehearse
from structpred.comparison.from_runs import completed
from structpred.comparison.inspection import Shown
from structpred.comparison.panels import Panel, PanelsReport, checked, planned
from structpred.comparison.plan import Plan, PlannedRun, unfinished
from structpred.comparison.report import Report
from structpred.display import Overview, duration, scores
from structpred.engine import Engine, Handle, check_machinery, open_engine
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.files import root_of_runs
from structpred.forecast import Cost, Forecast
from structpred.results import RunResult
from structpred.runs import tidy
from structpred.training.data import Tokenizer, warn_of_unknown
from structpred.values import Count, coerce

MAX_SEEDS = 20
Until = Literal["decided"] | None


def compare(
    arms: Mapping[str, Experiment],
    *,
    seeds: Sequence[int] = range(5),
    baseline: str | None = None,
    design: Design = DEFAULT,
    until: Until = None,
    max_seeds: int | None = None,
    root: str | Path = "runs",
    workers: int | None = None,
    device: str = "auto",
    executor: Executor | None = None,
    console: Console | None = None,
    examples: Shown = "licensed",
    ensembles: bool = False,
) -> Report:
    """Run each arm under each seed and report what differs.

    All arms of a seed start from the same weights, see the same examples in the same order and train for the same
    budget. Finished runs are found by their identity and used again; interrupted ones resume. Runs are spread over
    processes of one thread each; a script that calls this needs the usual ``if __name__ == "__main__":``. A
    single worker runs in this process, so components defined in a notebook can be compared.

    Args:
        arms: experiments by name; their own seeds are ignored.
        seeds: at least two for any test; with two or three, only large differences can be shown.
        baseline: the arm that others are compared with; the first by default.
        design: how it is decided: margins of equivalence, all pairs, or baselines of groups.
        until: ``"decided"`` adds seeds one at a time until every pair has a verdict on the first metric; the
            anytime-valid test then carries it.
        max_seeds: stop adding seeds at this many in all; `MAX_SEEDS` by default.
        root: the folder of run folders.
        workers: processes; one per CPU by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        executor: trains the runs instead of local processes, such as that of `structpred.engine.cluster`; it must
            see the same files, and its workers should have one thread each.
        console: where progress is shown; the standard error by default.
        examples: ``"licensed"`` puts test examples with every arm's outputs into the report where the task says that
            they may be given away, ``"all"`` in any case, ``"none"`` not at all.
        ensembles: also score the ensemble of each arm's seeds (`structpred.runs.Ensemble`), in a column of its own.

    Raises:
        ConfigError: arms that cannot be compared, no worker, or several workers that cannot import a component.
        DataError: the task's data cannot be read.
        RunError: some runs failed (all others are finished and kept), or a finished run fails its checks.
    """
    panels = {"": Panel(arms=arms, seeds=seeds, baseline=baseline, design=design)}
    where = _Where(workers, device, executor, console, examples, ensembles)
    return _compared(panels, root, until, max_seeds, where)[""]


def compare_panels(
    panels: Mapping[str, Panel],
    *,
    until: Until = None,
    max_seeds: int | None = None,
    root: str | Path = "runs",
    workers: int | None = None,
    device: str = "auto",
    executor: Executor | None = None,
    console: Console | None = None,
    examples: Shown = "licensed",
    ensembles: bool = False,
) -> PanelsReport:
    """Run several comparisons on one set of workers, and report them together.

    Args:
        panels: the comparisons by name.
        until: as in `compare`, like the others; each panel gets seeds until it is decided.
        max_seeds: the most seeds of a panel.
        root: the folder of run folders.
        workers: processes.
        device: where to train.
        executor: instead of local processes.
        console: where progress is shown.
        examples: as in `compare`.
        ensembles: as in `compare`.

    Raises:
        ConfigError: no panels, or as in `compare`; the message names the panel.
        DataError: a task's data cannot be read.
        RunError: some runs failed (all others are finished and kept), or a finished run fails its checks.
    """
    where = _Where(workers, device, executor, console, examples, ensembles)
    return PanelsReport(_compared(panels, root, until, max_seeds, where))


@dataclass(frozen=True)
class _Where:
    """Where runs are trained and shown, and what the report holds besides their scores; see `compare`.

    Attributes:
        quiet: do not say how many runs are found, as for each seed that is added.
    """

    workers: int | None
    device: str
    executor: Executor | None
    console: Console | None
    examples: Shown
    ensembles: bool = False
    quiet: bool = False

    @property
    def shown(self) -> Console:
        """Where progress is shown."""
        return self.console or Console(stderr=True)


def _compared(
    panels: Mapping[str, Panel], folder: str | Path, until: Until, max_seeds: int | None, where: _Where
) -> dict[str, Report]:
    root = root_of_runs(folder)
    panels = checked(panels)
    coerce(where.workers, Count | None, "workers")
    check_machinery(where.device, where.executor, where.console)
    coerce(until, Until, "until")
    coerce(where.examples, Shown, "examples")
    most = most_seeds(panels, until, max_seeds)
    if where.ensembles:
        for panel in panels.values():
            of_ensembles.check(panel.arms, len(panel.seeds))
    if until is not None:
        panels = {name: replace(panel, design=replace(panel.design, rule="anytime")) for name, panel in panels.items()}
    plans = _trained(panels, root, where)
    reports = {name: _reported(plan) for name, plan in plans.items()}
    while until is not None and (undecided := [name for name, report in reports.items() if _open(report, most)]):
        for name in undecided:
            seed = max(reports[name].seeds) + 1
            where.shown.print(_what_is_open(name, reports[name], seed), markup=False, soft_wrap=True)
            panels = {**panels, name: replace(panels[name], seeds=(*reports[name].seeds, seed))}
        plans = _trained(panels, root, replace(where, quiet=True))
        reports |= {name: _reported(plans[name]) for name in undecided}
    return {name: _completed(report, plans[name], where) for name, report in reports.items()}


def _completed(report: Report, plan: Plan, where: _Where) -> Report:
    """Add what run folders hold besides scores, which deciding on another seed does not need."""
    found = of_ensembles.of_plan(plan) if where.ensembles else {}
    return replace(completed(report, plan, where.examples), ensembles=found)


def most_seeds(panels: Mapping[str, Panel], until: Until, max_seeds: int | None) -> int:
    """The most seeds that a panel gets.

    Raises:
        ConfigError: ``max_seeds`` without ``until``, or more seeds than that to start with.
    """
    coerce(max_seeds, Count | None, "max_seeds")
    if max_seeds is not None and until is None:
        raise ConfigError(f"max_seeds is a limit for seeds that are added, but got {max_seeds} without until='decided'")
    most = MAX_SEEDS if max_seeds is None else max_seeds
    for panel in panels.values():
        if until is not None and len(panel.seeds) > most:
            raise ConfigError(
                f"max_seeds must be at least the number of seeds to start with, {len(panel.seeds)}, but got {most}; "
                "raise it, or start with fewer seeds"
            )
    return most


def _what_is_open(name: str, report: Report, seed: int) -> str:
    tests = report.tests().values()
    left = sum(not contrast.decided for contrast in tests)
    where = f"{name}: " if name else ""
    looked = f"on {report.metrics[0].name} after {len(report.seeds)} seeds"
    return f"{where}{left} of {len(tests)} pairs undecided {looked}; next is seed {seed}"


def _open(report: Report, max_seeds: int) -> bool:
    return not report.decided and len(report.seeds) < max_seeds


def _trained(panels: Mapping[str, Panel], root: Path, where: _Where) -> dict[str, Plan]:
    """The plan of every panel, with all its runs trained or found."""
    plans = planned(panels, root)
    todo = unfinished(list(plans.values()))
    if not where.quiet:
        every = {run.folder for plan in plans.values() for run in (*plan.runs, *todo)}
        runs = "1 run is" if len(every) == 1 else f"{len(every)} runs are"
        where.shown.print(f"{len(every) - len(todo)} of {runs} finished already, {len(todo)} to train", soft_wrap=True)
    if todo:
        for plan in plans.values():
            first = next(iter(plan.arms.values()))
            warn_of_unknown(plan.splits, Tokenizer.of(plan.splits.train, first.model.encoder()))
        count = _processes(where.workers, todo)
        with _engine(todo, count, root, where.device, where.executor) as engine:
            _run_all(list(plans.values()), engine, count if where.executor is None else None, where.shown)
    return plans


def costs(
    plans: Sequence[Plan], *, root: Path, workers: int | None, device: str, executor: Executor | None = None
) -> tuple[dict[str, Cost], dict[str, str]]:
    """The estimated cost of a run of each arm and start, by label: from finished runs, or else a short rehearsal.

    Returns:
        The costs, and for each label that could not be rehearsed the reason.
    """
    found = known([run for plan in plans for run in (*plan.runs, *plan.starts)])
    todo = unfinished(plans)
    if all(run.label in found for run in todo):
        return found, {}
    with _engine(todo, _processes(workers, todo), root, device, executor) as engine:
        rehearsals = {run.label: _rehearse(engine, run) for run in _new_kinds(todo, found)}
        wait(rehearsals.values())
        failed = {label: future.exception() for label, future in rehearsals.items()}
        return found | _shown(rehearsals), {label: str(error) for label, error in failed.items() if error is not None}


def _processes(workers: int | None, todo: Sequence[PlannedRun]) -> int:
    return min(workers or os.cpu_count() or 1, len(todo))


def _engine(
    todo: Sequence[PlannedRun], workers: int, root: Path, device: str, executor: Executor | None = None
) -> AbstractContextManager[Engine]:
    experiments = [run.experiment for run in todo]
    return open_engine(experiments, root=root, device=device, workers=workers, executor=executor)


def _rehearse(engine: Engine, run: PlannedRun) -> "Future[Cost]":
    return engine.call(rehearse, run.experiment.task, run.experiment, engine.device, run.start)


def _new_kinds(todo: Sequence[PlannedRun], found: Container[str]) -> list[PlannedRun]:
    """The first run of each arm whose cost is not known."""
    first: dict[str, PlannedRun] = {}
    for run in todo:
        first.setdefault(run.label, run)
    return [run for label, run in first.items() if label not in found]


def _reported(plan: Plan) -> Report:
    results: dict[str, list[RunResult]] = {arm: [] for arm in plan.arms}
    metrics = next(iter(plan.arms.values())).reported
    for run in plan.runs:
        results[run.arm].append(run.found().reported_by(metrics, plan.splits).result)
    for run in (*plan.runs, *plan.starts):
        if run.folder.finished:
            tidy(run.folder)
    kept = {arm: tuple(runs) for arm, runs in results.items()}
    return Report(plan.arms, plan.seeds, plan.baseline, kept, metrics, plan.design)


def _run_all(plans: Sequence[Plan], engine: Engine, count: int | None, console: Console) -> None:
    """Submit the unfinished runs and show progress until all are done.

    Args:
        plans: the comparisons.
        engine: trains the runs.
        count: how many workers there are; None for a given executor, which does not say.
        console: where progress is shown.
    """
    runs = [run for plan in plans for run in plan.runs]
    work = _Work(unfinished(plans), known(runs), engine, count)
    work.submit_ready()
    failures = _watch(work, len({run.folder for run in runs if run.folder.finished}), console)
    if failures:
        name, failure = next(iter(failures.items()))
        waiting = len(work.waiting)
        raise RunError(
            f"{len(failures) + waiting} of {len(work.submitted) + waiting} runs did not finish, first {name}: "
            f"{failure}; finished runs are kept, and the same command resumes from here"
        )


class _Work:
    """The runs to train: those submitted, and those waiting for the run that they start from."""

    def __init__(
        self, runs: Sequence[PlannedRun], found: Mapping[str, Cost], engine: Engine, count: int | None
    ) -> None:
        self.engine = engine
        self.waiting = list(runs)
        self.submitted: dict[Handle, PlannedRun] = {}
        self.rehearsals: dict[str, Future[Cost]] = {}
        self.forecast, self._found = Forecast(jobs(runs), count), found
        if len({run.label for run in runs}) > (count or 1):  # else the first runs side by side are of every kind
            self.rehearsals = {run.label: _rehearse(engine, run) for run in _new_kinds(runs, found)}

    def hear(self) -> None:
        """Pass the results of the rehearsals to the forecast, once all have ended."""
        if self.forecast.costs or not all(future.done() for future in self.rehearsals.values()):
            return
        self.forecast.costs = {**self._found, **_shown(self.rehearsals)}

    def submit_ready(self) -> None:
        """Submit the runs that are ready."""
        ready = [run for run in self.waiting if run.ready]
        self.waiting = [run for run in self.waiting if run not in ready]
        self.submitted |= {self.engine.submit(run.experiment, run.folder): run for run in ready}


def _shown(rehearsals: Mapping[str, "Future[Cost]"]) -> dict[str, Cost]:
    """The results of the rehearsals that did not fail."""
    done = {label: future for label, future in rehearsals.items() if not future.cancelled()}
    return {label: future.result() for label, future in done.items() if future.exception() is None}


def _watch(work: _Work, finished: int, console: Console) -> dict[str, str]:
    """Show all runs until they are done, bars on a terminal, else a line as each one ends; returns the failures."""
    total, failures = finished + len(work.submitted) + len(work.waiting), dict[str, str]()
    with Overview(console, finished, total, work.forecast) as shown:
        while work.engine.under_way:
            ended = work.engine.wait(0.5)
            work.hear()
            # not all executors say which runs they are at
            under_way = {work.submitted[each].name: each.progress() for each in work.engine.under_way}
            shown.update({name: progress for name, progress in under_way.items() if progress is not None})
            for handle in ended:
                run = work.submitted[handle]
                assert handle.outcome is not None
                if failure := handle.outcome.failure:
                    failures[run.name] = failure
                    shown.end(run.name, f"{run.name}: failed: {failure}")
                    continue
                result = run.found().result
                line = f"dev {scores(result.scores['dev'])} after {duration(result.seconds)}"
                shown.end(run.name, f"{run.name}: {line}", seconds=result.seconds)
            if ended:
                work.submit_ready()
    return failures
