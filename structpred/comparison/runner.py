"""Run every arm under every seed, side by side, and report."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from rich.console import Console

from structpred.comparison.plan import Plan, PlannedRun, read_progress
from structpred.comparison.report import Report
from structpred.comparison.workers import Workers
from structpred.comparison.workers import workers as open_workers
from structpred.config import Count, coerce, components
from structpred.display import Overview, duration, scores
from structpred.errors import RunError, StructpredError
from structpred.experiment import Experiment
from structpred.files import described
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
    coerce(workers, Count | None, "workers")
    plan = Plan.of(arms, seeds, baseline, Path(root))
    if plan.unfinished:
        first = next(iter(arms.values()))
        warn_of_unknown(plan.splits, Codec.of(plan.splits.train, first.model.encoder()))
        count = min(workers or os.cpu_count() or 1, len(plan.unfinished))
        if executor is None and count > 1:
            parts = [type(part) for arm in arms.values() for part in components(arm)]
            check_importable(parts, f"{count} worker processes")
        with open_workers(executor, count, Path(root)) as chosen:
            _run_all(plan, chosen, Path(root), device, console or Console(stderr=True))
    results: dict[str, list[RunResult]] = {arm: [] for arm in arms}
    for run in plan.runs:
        results[run.arm].append(run.found().result)
    for run in (*plan.runs, *plan.starts):
        if run.folder.finished:
            tidy(run.folder)
    metrics = next(iter(arms.values())).task.metrics
    return Report(arms, plan.seeds, plan.baseline, {arm: tuple(each) for arm, each in results.items()}, metrics)


def _run_all(plan: Plan, chosen: Workers, root: Path, device: str, console: Console) -> None:
    """Start what is unfinished and show it until all is done."""
    work = _Work(plan.unfinished, chosen, root, device)
    try:
        work.submit_ready()
        _watch(work, sum(run.folder.finished for run in plan.runs), console)
    except BaseException as reason:
        for future in work.futures:
            future.cancel()
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

    def __init__(self, runs: Sequence[PlannedRun], chosen: Workers, root: Path, device: str) -> None:
        self.chosen, self.root, self.device = chosen, root, device
        self.waiting = list(runs)
        self.futures: dict[Future[None], PlannedRun] = {}

    def submit_ready(self) -> set[Future[None]]:
        """Give workers what may be trained now."""
        ready = [run for run in self.waiting if run.ready]
        self.waiting = [run for run in self.waiting if run not in ready]
        submitted = {self.chosen.submit(run, self.root, self.device): run for run in ready}
        self.futures |= submitted
        return set(submitted)


def _watch(work: _Work, finished: int, console: Console) -> None:
    """Show all runs until they are done: bars on a terminal, else a line as each one ends."""
    total, pending = finished + len(work.futures) + len(work.waiting), set(work.futures)
    with Overview(console, finished, total) as shown:
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when="FIRST_COMPLETED")
            under_way = {work.futures[future] for future in pending}  # not all executors say which ones are running
            shown.update({run.name: progress for run in under_way if (progress := read_progress(run.folder))})
            for future in done:
                run, error = work.futures[future], _failure(future)
                line = f"failed: {_reason(error)}" if error else _told(run)
                shown.end(run.name, f"{run.name}: {line}", silent=isinstance(error, BrokenProcessPool))
            pending |= work.submit_ready() if done else set()


def _failure(future: Future[None]) -> BaseException | None:
    if future.cancelled():
        return RunError("its executor gave it up, as a cluster does whose scheduler has ended")
    return future.exception()


def _told(run: PlannedRun) -> str:
    result = run.found().result
    return f"dev {scores(result.scores['dev'])} after {duration(result.seconds)}"


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
