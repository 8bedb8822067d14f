"""Search for the best experiment of a space, on one machine or on many, until the budget is spent."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from rich.console import Console

from structpred.config import Few, Interval, coerce
from structpred.errors import ConfigError
from structpred.plain import refuse_unseen
from structpred.task import loaded
from structpred.training.data import Codec, warn_of_unknown
from structpred.tuning.board import Board
from structpred.tuning.contents import importances_of
from structpred.tuning.evaluation import Place
from structpred.tuning.outcomes import Result
from structpred.tuning.probe import grid, probed
from structpred.tuning.processes import Job, run_in_processes
from structpred.tuning.report import Tuning
from structpred.tuning.search import Points, Search
from structpred.tuning.spaces import Space
from structpred.tuning.storage import default_storage, opened, shared
from structpred.tuning.studies import MORE_SEEDS, Study
from structpred.tuning.workers import work

TRIALS = 20
FIRST_SEED = 100
"""Comparisons begin at 0, so that what was tuned is compared under seeds that took no part."""


def tune(
    space: Space | Mapping[str, Space],
    *,
    trials: int | None = None,
    timeout: float | None = None,
    seeds: Sequence[int] = (FIRST_SEED,),
    sampler: str = "tpe",
    points: int = 10,
    pruner: str = "median",
    finalists: int = 3,
    more_seeds: int = 3,
    draw: int = 0,
    name: str = "tuning",
    storage: str | Path | None = None,
    root: str | Path = "runs",
    workers: int = 1,
    device: str = "auto",
    lease: float = 60.0,
    console: Console | None = None,
) -> Tuning:
    """Find the best experiment of a space by the task's first metric on dev.

    The same call goes on where it was stopped, whatever stopped it; several calls on one storage, on one machine or on
    many, share the trials. Every trial is trained by `structpred.train`, so that finished runs are used again and
    interrupted ones go on. With several workers the script needs the usual ``if __name__ == "__main__":``.

    Args:
        space: a function from a trial to an `Experiment`; or several by name, with a study and the same budget each.
        trials: how many in all, over all workers, calls and restarts; 20 by default, or as many as a grid has points.
        timeout: no trial starts once workers have been at work for so many seconds in all, pauses left out.
        seeds: each trial is run under all of them, and their mean is optimised. Later ones are left out once the
            first ones are on average worse than half of the finished trials. They are others than those of a
            comparison, which begin at 0.
        sampler: ``"tpe"``, ``"random"`` or ``"grid"``.
        points: values of each range in a grid.
        pruner: ``"median"``, ``"hyperband"`` or ``"none"``.
        finalists: so many of the best trials are run under more seeds in the end.
        more_seeds: how many more.
        draw: seed of the sampler.
        name: the study's name in the storage; with several spaces ``NAME/SPACE``.
        storage: a journal file or a URL, see `structpred.tuning.storage.open_storage`; ``tuning.journal`` beside the
            runs by default.
        root: the folder of run folders.
        workers: processes of one thread each; one works in this process.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        lease: seconds of silence after which a worker counts as dead and its trial is put back; one on this machine
            is noticed at once.
        console: where progress is shown, if it is a terminal; the standard error by default.

    Raises:
        ConfigError: a space that cannot be searched, a name with control characters, another space than that of the
            stored study, or a budget that cannot be.
        DataError: the task's data cannot be read.
        RunError: the storage cannot be used, or workers failed.
        Interrupted: a signal ended it early.
    """
    coerce(workers, Few, "workers")
    coerce(lease, Annotated[float, Interval(above=0, most=1e6)], "lease")
    coerce(points, Points, "points")
    spaces = {f"{name}/{each}": one for each, one in space.items()} if isinstance(space, Mapping) else {name: space}
    labels = list(space) if isinstance(space, Mapping) else [name]
    if not spaces:
        raise ConfigError("expected one space to tune or more, but got none")
    for label in (name, *labels):
        refuse_unseen(label, "the name of a study")
        if label.endswith(MORE_SEEDS):
            raise ConfigError(f"the name of a study may not end with {MORE_SEEDS!r}, but got {label!r}")
    search = Search(
        trials=_trials(trials, sampler, points, spaces),
        timeout=timeout,
        seeds=tuple(seeds),
        sampler=sampler,  # type: ignore[arg-type]  # coerced and checked by its class
        points=points,
        pruner=pruner,  # type: ignore[arg-type]
        finalists=finalists,
        more_seeds=more_seeds,
        draw=draw,
    )
    place = default_storage(Path(root)) if storage is None else str(storage)
    if workers > 1 and not shared(place):
        raise ConfigError(
            f"SQLite serves one process only, but got {place} for {workers} workers; use a journal file, PostgreSQL or "
            "MySQL, or one worker"
        )
    job = Job(spaces, search, place, Path(root), device, lease)
    with opened(place) as kept:
        studies = job.studies(kept)
        _run(job, studies, workers, console or Console(stderr=True))
        results = {label: Result.of(study) for label, study in zip(labels, studies, strict=True)}
        return Tuning(results, {study.name: importances_of(study.main.study) for study in studies}, place)


def _run(job: Job, studies: Sequence[Study], workers: int, console: Console) -> None:
    for study in studies:
        _warn_of_unknown(study.space)
    with Board(studies, job.root, console) as board:
        if workers > 1:
            for study in studies:
                study.main.fill()  # before several processes do it at once
            run_in_processes(job, workers, board.refresh)
        else:
            work(studies, Place(job.root, job.device, lambda: False, board.refresh), job.lease)


def _trials(trials: int | None, sampler: str, points: int, spaces: Mapping[str, Space]) -> int:
    if trials is not None:
        return trials
    return max(len(grid(space, points)) for space in spaces.values()) if sampler == "grid" else TRIALS


def _warn_of_unknown(space: Space) -> None:
    """Here and once: workers are quiet."""
    experiment, _ = probed(space)
    splits = loaded(experiment.task)
    warn_of_unknown(splits, Codec.of(splits.train, experiment.model.encoder()))
