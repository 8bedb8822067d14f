"""Run every arm under every seed, side by side, and report."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from structpred.comparison.plan import Plan, PlannedRun, ProgressFile, read_progress
from structpred.comparison.report import Report
from structpred.display import bars, details, duration, scores
from structpred.errors import RunError
from structpred.experiment import Experiment
from structpred.results import RunResult
from structpred.runs import Folder, Run
from structpred.train import train


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
    processes of one thread each; a script that calls this needs the usual ``if __name__ == "__main__":``.

    Args:
        arms: experiments by name; their own seeds are ignored.
        seeds: five or more are needed to claim a difference of objectives.
        baseline: the arm that others are compared with; the first by default.
        root: the folder of run folders.
        workers: processes; one a processor by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        executor: run on this instead of processes of our own; it must see the same files.
        console: where progress is shown; the standard error by default.

    Raises:
        ConfigError: arms that cannot be compared.
        DataError: the task's data cannot be read.
        RunError: some runs failed; all others are finished and kept.
    """
    plan = Plan.of(arms, seeds, baseline, Path(root))
    console = console or Console(stderr=True)
    if plan.unfinished:
        workers = min(workers or os.cpu_count() or 1, len(plan.unfinished))
        with _executor(executor, workers) as chosen:
            _run_all(plan, chosen, root, device, console)
    results: dict[str, list[RunResult]] = {arm: [] for arm in arms}
    for run in plan.runs:
        results[run.arm].append(Run.load(run.folder.path).result)
    metrics = next(iter(arms.values())).task.metrics
    return Report(arms, plan.seeds, plan.baseline, {arm: tuple(each) for arm, each in results.items()}, metrics)


def _run_all(plan: Plan, executor: Executor, root: str | Path, device: str, console: Console) -> None:
    """Start what is unfinished and show it until all is done."""
    futures = {
        executor.submit(_train_one, run.experiment, str(root), device, str(run.folder.path)): run
        for run in plan.unfinished
    }
    _watch(futures, len(plan.runs) - len(futures), console)
    failures = {run.name: future.exception() for future, run in futures.items() if future.exception()}
    if failures:
        name, error = next(iter(failures.items()))
        if isinstance(error, BrokenProcessPool):
            error = RunError("a worker process died, perhaps for want of memory; try fewer workers")
        raise RunError(
            f"{len(failures)} of {len(futures)} runs failed, first {name}: {error}; finished runs are kept, "
            "and the same command goes on from here"
        ) from error


def _watch(futures: dict[Future[None], PlannedRun], finished: int, console: Console) -> None:
    """Show all runs until they are done: bars on a terminal, else a line as each one ends."""
    total, began, pending = finished + len(futures), time.monotonic(), set(futures)
    with bars(console) as shown:
        overall = shown.add_task(f"{total} runs", total=total, completed=finished, details="")
        tasks = {run.name: shown.add_task(run.name, total=1.0, visible=False, details="") for run in futures.values()}
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when="FIRST_COMPLETED")
            share = float(len(futures) - len(pending))
            for future, run in futures.items():
                progress = read_progress(run.folder) if future in pending else None
                running = progress is not None and progress.phase != "done" and future.running()
                shown.update(tasks[run.name], visible=running)
                if running and progress is not None:
                    shown.update(tasks[run.name], completed=progress.done, details=details(progress))
                    share += progress.done
            left = (time.monotonic() - began) * (len(futures) - share) / share if share > 0.05 else None
            note = f"about {duration(left)} left" if left is not None else ""
            shown.update(overall, completed=finished + len(futures) - len(pending), details=note)
            for future in done:
                shown.console.print(_line(futures[future], future, total - len(pending), total, note), soft_wrap=True)


def _line(run: PlannedRun, future: Future[None], done: int, total: int, note: str) -> str:
    if future.exception():
        return f"{run.name}: failed: {future.exception()}"
    result = Run.load(run.folder.path).result
    left = f", {note}" if note and done < total else ""
    return f"{run.name}: dev {scores(result.scores['dev'])} after {duration(result.seconds)} ({done} of {total}{left})"


def _train_one(experiment: Experiment, root: str, device: str, folder: str) -> None:
    with _busy:
        train(experiment, root=root, device=device, observer=ProgressFile(Folder(Path(folder))), stopping=_stopping)


# -------------------------------------------------------------------------------------------- processes of our own

_stopping: Callable[[], bool] = lambda: False  # noqa: E731 - replaced in workers by _begin
_busy = threading.Lock()


@contextmanager
def _executor(given: Executor | None, workers: int) -> Iterator[Executor]:
    """The executor to use; our own ends its runs with a checkpoint each when this process is interrupted."""
    if given is not None:
        yield given
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(stop, os.getpid()))
    try:
        yield pool
    except BaseException:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _begin(stop: threading.Event, parent: int) -> None:
    """Set a worker up: one thread, and an end when the parent says so or is no more."""
    global _stopping
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which sets ``stop``
    _stopping = lambda: stop.is_set() or os.getppid() != parent  # noqa: E731
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once its parent was killed; a run under way writes its checkpoint first."""
    while os.getppid() == parent:
        time.sleep(1)
    with _busy:
        os._exit(1)
