"""Run every arm under every seed, side by side, and report."""

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from structpred.comparison.estimate import jobs, known
from structpred.comparison.panels import Panel, PanelsReport, planned
from structpred.comparison.plan import Plan, PlannedRun, read_progress, unfinished
from structpred.comparison.report import Report
from structpred.comparison.workers import Workers
from structpred.comparison.workers import workers as open_workers
from structpred.config import Count, coerce, components
from structpred.display import Overview, duration, scores
from structpred.errors import RunError, StructpredError
from structpred.experiment import Experiment
from structpred.files import described
from structpred.forecast import Cost, Forecast
from structpred.imports import check_importable
from structpred.results import RunResult
from structpred.running import tidy
from structpred.training.data import Codec, warn_of_unknown


def compare(
    arms: Mapping[str, Experiment],
    *,
    seeds: Sequence[int] = range(5),
    baseline: str | None = None,
    root: str | Path = "runs",
    workers: int | None = None,
    device: str = "auto",
    executor: Executor | None = None,
    console: Console | None = None,
) -> Report:
    """Run each arm under each seed and report what differs.

    All arms of a seed start from the same weights, see the same examples in the same order and train for the same
    budget. Finished runs are found by their identity and used again; interrupted ones go on. Runs are spread over
    processes of one thread each; a script that calls this needs the usual ``if __name__ == "__main__":``. One worker
    runs in this process, and that is how components of a notebook can be compared.

    Args:
        arms: experiments by name; their own seeds are ignored.
        seeds: five or more are needed to claim a difference of objectives.
        baseline: the arm that others are compared with; the first by default.
        root: the folder of run folders.
        workers: processes; one a processor by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        executor: run on this instead of processes of our own, such as that of `structpred.comparison.cluster`; it must
            see the same files, and its workers should have one thread each.
        console: where progress is shown; the standard error by default.

    Raises:
        ConfigError: arms that cannot be compared, no worker, or several workers that cannot import a component.
        DataError: the task's data cannot be read.
        RunError: some runs failed; all others are finished and kept. Or one that is there cannot be believed.
    """
    panel = Panel(arms=arms, seeds=seeds, baseline=baseline)
    return _compared({"": panel}, Path(root), workers, device, executor, console)[""]


def compare_panels(
    panels: Mapping[str, Panel],
    *,
    root: str | Path = "runs",
    workers: int | None = None,
    device: str = "auto",
    executor: Executor | None = None,
    console: Console | None = None,
) -> PanelsReport:
    """Run several comparisons on one set of workers, and report them together.

    Args:
        panels: the comparisons by name.
        root: as in `compare`, like the others.
        workers: processes.
        device: where to train.
        executor: instead of processes of our own.
        console: where progress is shown.

    Raises:
        ConfigError: no panels, or as in `compare`; the message names the panel.
        DataError: a task's data cannot be read.
        RunError: some runs failed; all others are finished and kept. Or one that is there cannot be believed.
    """
    return PanelsReport(_compared(panels, Path(root), workers, device, executor, console))


def _compared(
    panels: Mapping[str, Panel],
    root: Path,
    workers: int | None,
    device: str,
    executor: Executor | None,
    console: Console | None,
) -> dict[str, Report]:
    coerce(workers, Count | None, "workers")
    plans = planned(panels, root)
    todo = unfinished(list(plans.values()))
    if todo:
        for plan in plans.values():
            first = next(iter(plan.arms.values()))
            warn_of_unknown(plan.splits, Codec.of(plan.splits.train, first.model.encoder()))
        with _crew(todo, workers, executor, root) as (chosen, count):
            _run_all(list(plans.values()), chosen, count, root, device, console or Console(stderr=True))
    return {name: _reported(plan) for name, plan in plans.items()}


def costs(plans: Sequence[Plan], *, root: Path, workers: int | None, device: str) -> dict[str, Cost]:
    """What a run of every arm and start should cost, by label: what finished ones took, else from a short rehearsal.

    What cannot even be rehearsed is left out.
    """
    found = known([run for plan in plans for run in (*plan.runs, *plan.starts)])
    todo = unfinished(plans)
    if all(run.label in found for run in todo):
        return found
    with _crew(todo, workers, None, root) as (chosen, _):
        rehearsals = {run.label: chosen.rehearse(run, device) for run in _new_kinds(todo, found)}
        wait(rehearsals.values())
        return found | _shown(rehearsals)


@contextmanager
def _crew(
    todo: Sequence[PlannedRun], workers: int | None, executor: Executor | None, root: Path
) -> Iterator[tuple[Workers, int | None]]:
    """Workers for the runs, and how many there are; None for somebody else's executor, which does not say."""
    count = min(workers or os.cpu_count() or 1, len(todo))
    if executor is None and count > 1:
        parts = [type(part) for run in todo for part in components(run.experiment)]
        check_importable(dict.fromkeys(parts), f"{count} worker processes")
    with open_workers(executor, count, root) as chosen:
        yield chosen, count if executor is None else None


def _new_kinds(todo: Sequence[PlannedRun], found: Container[str]) -> list[PlannedRun]:
    """The first run of every arm of which it is not known what it costs."""
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
    return Report(plan.arms, plan.seeds, plan.baseline, {arm: tuple(runs) for arm, runs in results.items()}, metrics)


def _run_all(
    plans: Sequence[Plan], chosen: Workers, count: int | None, root: Path, device: str, console: Console
) -> None:
    """Start what is unfinished and show it until all is done."""
    runs = [run for plan in plans for run in plan.runs]
    work = _Work(unfinished(plans), known(runs), chosen, count, root, device)
    try:
        work.submit_ready()
        _watch(work, len({run.folder for run in runs if run.folder.finished}), console)
    except BaseException as reason:
        work.cancel()
        if isinstance(reason, BrokenProcessPool):  # no worker is left to take what became ready
            raise RunError(f"{_reason(reason)}; finished runs are kept") from reason
        raise
    failures = {run.name: error for future, run in work.futures.items() if (error := _failure(future))}
    if failures:
        name, error = next(iter(failures.items()))
        waiting = len(work.waiting)
        raise RunError(
            f"{len(failures) + waiting} of {len(work.futures) + waiting} runs did not finish, first {name}: "
            f"{_reason(error)}; finished runs are kept, and the same command goes on from here"
        ) from error


class _Work:
    """The runs to do: those given to workers, and those that wait for the run they start from."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        found: Mapping[str, Cost],
        chosen: Workers,
        count: int | None,
        root: Path,
        device: str,
    ) -> None:
        self.chosen, self.root, self.device = chosen, root, device
        self.waiting = list(runs)
        self.futures: dict[Future[None], PlannedRun] = {}
        self.rehearsals: dict[str, Future[Cost]] = {}
        self.forecast, self._found = Forecast(jobs(runs), count), found
        if len({run.label for run in runs}) > (count or 1):  # else the first runs side by side are of every kind
            self.rehearsals = {run.label: chosen.rehearse(run, device) for run in _new_kinds(runs, found)}

    def cancel(self) -> None:
        """Take back what no worker has begun."""
        for rehearsal in self.rehearsals.values():
            rehearsal.cancel()
        for future in self.futures:
            future.cancel()

    def hear(self) -> None:
        """Take in what rehearsals have shown, once all are over."""
        if self.forecast.costs or not all(future.done() for future in self.rehearsals.values()):
            return
        self.forecast.costs = {**self._found, **_shown(self.rehearsals)}

    def submit_ready(self) -> set[Future[None]]:
        """Give workers what may be trained now."""
        ready = [run for run in self.waiting if run.ready]
        self.waiting = [run for run in self.waiting if run not in ready]
        submitted = {self.chosen.submit(run, self.root, self.device): run for run in ready}
        self.futures |= submitted
        return set(submitted)


def _shown(rehearsals: Mapping[str, Future[Cost]]) -> dict[str, Cost]:
    """What those rehearsals have shown that did not fail."""
    return {label: future.result() for label, future in rehearsals.items() if _failure(future) is None}


def _watch(work: _Work, finished: int, console: Console) -> None:
    """Show all runs until they are done: bars on a terminal, else a line as each one ends."""
    total, pending = finished + len(work.futures) + len(work.waiting), set(work.futures)
    with Overview(console, finished, total, work.forecast) as shown:
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when="FIRST_COMPLETED")
            work.hear()
            under_way = {work.futures[future] for future in pending}  # not all executors say which ones are running
            shown.update({run.name: progress for run in under_way if (progress := read_progress(run.folder))})
            for future in done:
                run, error = work.futures[future], _failure(future)
                if error is not None:
                    silent = isinstance(error, BrokenProcessPool)
                    shown.end(run.name, f"{run.name}: failed: {_reason(error)}", silent=silent)
                    continue
                result = run.found().result
                line = f"dev {scores(result.scores['dev'])} after {duration(result.seconds)}"
                shown.end(run.name, f"{run.name}: {line}", seconds=result.seconds)
            pending |= work.submit_ready() if done else set()


def _failure(future: Future[None] | Future[Cost]) -> BaseException | None:
    if future.cancelled():
        return RunError("its executor gave it up, as a cluster does whose scheduler has ended")
    return future.exception()


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return (
            "a worker process died; if it was for want of memory, try fewer workers, and a script that compares needs "
            'if __name__ == "__main__":'
        )
    if isinstance(error, OSError):
        return described(error)
    if isinstance(error, StructpredError):
        return str(error)
    return f"{type(error).__name__}: {error}"
