"""Search for the best experiment of a space, on one machine or on many, and report what was found."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from rich.console import Console

from structpred.engine import check_machinery, open_engine
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.files import root_of_runs
from structpred.provenance import environment
from structpred.report import best
from structpred.report.document import Document
from structpred.report.files import FORMAT, write_files, written
from structpred.report.terminal import Printable
from structpred.text import refuse_unseen
from structpred.training.data import Tokenizer, warn_of_unknown
from structpred.training.process import signals
from structpred.tuning import layout, outcomes
from structpred.tuning.outcomes import Importances, Result
from structpred.tuning.runner import StudyRunner
from structpred.tuning.search import POINTS, Points, Search, grid
from structpred.tuning.spaces import Space
from structpred.tuning.storage import opened
from structpred.tuning.studies import MORE_SEEDS, Study
from structpred.tuning.summary import budget, conclusion, optimum
from structpred.tuning.trials import claimed
from structpred.values import Few, Interval, coerce, refuse


@dataclass(frozen=True)
class Tuning(Printable):
    """Studies that are over, or as far as they have come.

    Attributes:
        studies: the result of each study, by its name among those that were tuned together.
        importances: how much each parameter matters, by name in the storage.
        storage: where the studies are.
    """

    studies: dict[str, Result]
    importances: Importances
    storage: str

    @property
    def best(self) -> Experiment:
        """The best experiment of the only study.

        Raises:
            ConfigError: no trial finished.
        """
        (result,) = self.studies.values()
        return result.experiment

    def document(self) -> Document:
        """Everything that `show` and `write` render."""
        return layout.document(tuple(self.studies.values()), self.importances)

    @classmethod
    def read(cls, file: Path | str) -> "Tuning":
        """The report whose `write` left ``file``; see `structpred.tuning.outcomes.read`.

        Raises:
            RunError: the file cannot be read, or holds no report of tuning.
            ConfigError: an experiment cannot be made by this version of the code.
        """
        return cls(*outcomes.read(Path(file)), str(file))

    def write(self, folder: Path | str) -> tuple[Path, ...]:
        """Write ``results.json``, ``report.md``, ``report.html``, and for each study its best experiment.

        The best experiment is ``best_NAME.json``, its canonical JSON, and ``best_NAME.py``, a module whose
        ``experiments()`` a comparison takes. Those that an earlier report left there are removed.

        Returns:
            The paths of the files.

        Raises:
            ConfigError: the folder has a file of one of these names that no report wrote, or that was changed since.
        """
        place, stems = Path(folder), best.stems(self.studies)
        named = {stem: each for stem, each in zip(stems, self.studies.values(), strict=True) if each.best is not None}
        best.refuse_others(place, list(named))
        document = self.document()
        files = list(write_files(folder, document, self._record(document)))
        for stem, result in named.items():
            seeds = (*result.search.seeds, *result.search.later_seeds)
            spent = budget((result,))[0]
            module = best.module(result.experiment, name=result.name, stem=stem, budget=spent, seeds=seeds)
            files += best.write(place, stem, module=module, config=f"{result.experiment.to_json()}\n")
        best.remove_others(place, list(named))
        return tuple(files)

    def _record(self, document: Document) -> str:
        """The text of ``results.json``."""
        studies = {}
        for label, result in self.studies.items():
            optima = {name: asdict(found) for name in result.numeric() if (found := optimum(result, name))}
            studies[label] = {**result.tree(), "optima": optima}
        told = [sentence for result in self.studies.values() for sentence in conclusion(result)]
        record = {"format": FORMAT, "studies": studies, "importances": self.importances, "conclusion": told}
        return written({**record, "environment": asdict(environment())}, document)


def _check_name(label: str) -> None:
    refuse_unseen(label, "the name of a study")
    if label.endswith(MORE_SEEDS):
        raise ConfigError(f"the name of a study may not end with {MORE_SEEDS!r}, but got {label!r}")


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
    points: int | None = None,
    pruner: str = "median",
    finalists: int = 3,
    more_seeds: int = 3,
    draw: int = 0,
    name: str = "tuning",
    storage: str | Path | None = None,
    root: str | Path = "runs",
    workers: int = 1,
    device: str = "auto",
    executor: Executor | None = None,
    lease: float = 60.0,
    console: Console | None = None,
) -> Tuning:
    """Find the best experiment of a space by the first of its metrics on dev, `Experiment.metrics` or the task's own.

    The same call resumes where it was stopped, whatever stopped it. Every trial is trained by `structpred.train`, so
    that finished runs are used again and interrupted ones resume. A study has one driver at a time: a second call on it
    waits until the first has ended. More machines take part through ``executor``. With several workers the script needs
    the usual ``if __name__ == "__main__":``.

    Args:
        space: a function from a trial to an `Experiment`; or several by name, with a study and the same budget each.
        trials: how many in all, over all calls and restarts; 20 by default, or as many as a grid has points.
        timeout: no trial starts once trials have been running for this many seconds in all, pauses left out, by the
            clock of the process that drives the study.
        seeds: each trial is run under all of them, and their mean is optimised. Unless ``pruner`` is ``"none"``, later
            ones are left out once the first ones are on average worse than half of the finished trials. The default
            differs from the seeds of a comparison, which begin at 0.
        sampler: ``"tpe"``, ``"random"`` or ``"grid"``.
        points: values of each range in a grid; 10 by default.
        pruner: ``"median"``, ``"hyperband"`` or ``"none"``, which trains every trial to its end under all seeds.
        finalists: how many of the best trials are run under more seeds in the end.
        more_seeds: how many more seeds.
        draw: seed of the sampler.
        name: the study's name in the storage; with several spaces ``NAME/SPACE``.
        storage: a journal file or a URL, see `structpred.tuning.storage.open_storage`; ``tuning.journal`` beside the
            runs by default.
        root: the folder of run folders.
        workers: trials at once, each in a process of one thread; one is trained in a thread of this process.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        executor: trains the runs instead of local processes, such as that of `structpred.engine.cluster`; it must see
            the same files. ``workers`` is still the number of trials at once.
        lease: seconds of silence after which the driver of a study in a database counts as dead, and a waiting one
            takes over; with a journal or SQLite that happens at once.
        console: where progress is shown, if it is a terminal; the standard error by default.

    Raises:
        ConfigError: a space that cannot be searched, a name with control characters, metrics that do not fit the task,
            another space or metric than that of the stored study, or a budget that cannot be.
        DataError: the task's data cannot be read.
        RunError: the storage cannot be used, or the machine failed.
        Interrupted: SIGINT or SIGTERM ended it early; runs under way have written a checkpoint.
    """
    root = root_of_runs(root)
    check_machinery(device, executor, console)
    if not isinstance(seeds, Iterable):
        refuse("seeds", "several whole numbers, such as range(100, 103)", seeds)
    coerce(workers, Few, "workers")
    coerce(lease, Annotated[float, Interval(above=0, most=1e6)], "lease")
    coerce(points, Points | None, "points")
    if points is not None and sampler != "grid":
        raise ConfigError(f"points is for a grid, but the sampler is {sampler!r}; set sampler='grid' or leave it out")
    points = POINTS if points is None else points
    spaces = {f"{name}/{each}": one for each, one in space.items()} if isinstance(space, Mapping) else {name: space}
    labels = list(space) if isinstance(space, Mapping) else [name]
    if not spaces:
        raise ConfigError("tune needs at least one space, but got none")
    for label in (name, *labels):
        _check_name(label)
    if trials is None:
        trials = max(len(grid(each, points)) for each in spaces.values()) if sampler == "grid" else TRIALS
    search = Search(
        trials=trials,
        timeout=timeout,
        seeds=tuple(seeds),
        sampler=sampler,  # type: ignore[arg-type]  # coerced and checked by its class
        points=points,
        pruner=pruner,  # type: ignore[arg-type]
        finalists=finalists,
        more_seeds=more_seeds,
        draw=draw,
    )
    place, console = str(root / "tuning.journal" if storage is None else storage), console or Console(stderr=True)

    def opened_studies() -> list[Study]:
        return [Study.open(each, space, search, kept) for each, space in spaces.items()]

    with opened(place) as kept, signals() as stopping:
        say = partial(console.print, soft_wrap=True, markup=False, highlight=False)
        held = [study.main.study for study in opened_studies()]
        with claimed(place, kept, held, lease, waiting=say, stopping=stopping) as lost:
            studies = opened_studies()  # again, as another driver may have begun them meanwhile
            if not all(queue.over() for study in studies for queue in study.queues()):
                for study in studies:  # workers are quiet
                    encoder = study.experiment.model.encoder()
                    warn_of_unknown(study.splits, Tokenizer.of(study.splits.train, encoder))
                experiments = [study.experiment for study in studies]
                with open_engine(experiments, root, device, workers, executor) as engine:
                    StudyRunner(studies, engine, console, stopping, lost).run(workers)
        results = {label: Result.of(study) for label, study in zip(labels, studies, strict=True)}
        return Tuning(results, {study.name: study.importances() for study in studies}, place)
