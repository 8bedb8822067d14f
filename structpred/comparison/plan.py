"""The runs of a comparison: which are finished, and which remain."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from structpred.comparison.design import DEFAULT, Design
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.registry import nearest
from structpred.runs import Folder, Run
from structpred.task import Splits, loaded, refuse_empty
from structpred.text import refuse_unseen
from structpred.training import checkpoint
from structpred.training.evaluation import check_metrics
from structpred.values import coerce, refuse


@dataclass(frozen=True)
class PlannedRun:
    """One arm under one seed, or a run that arms start from.

    Attributes:
        arm: the arm's name; ``"start of ARM"`` if it is not an arm itself.
        experiment: the arm with the seed set.
        identity: the run's.
        folder: where it is, or will be.
        start: where the run that it starts from is, if any.
        panel: the name of the comparison among several; empty where there is one.
        processes: how many train it, or have trained it where it is finished and only reported on.
    """

    arm: str
    experiment: Experiment
    identity: str
    folder: Folder
    start: Folder | None = None
    panel: str = ""
    processes: int = 1

    @property
    def label(self) -> str:
        """The arm, and the comparison where there are several."""
        return f"{self.panel}: {self.arm}" if self.panel else self.arm

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.label}, seed {self.experiment.seed}"

    @property
    def state(self) -> str:
        """``"finished"``, ``"to be resumed"`` or ``"to be run"``."""
        if self.folder.finished:
            return "finished"
        return "to be resumed" if checkpoint.all_of(self.folder.checkpoint) else "to be run"

    @property
    def ready(self) -> bool:
        """True once the run that it starts from, if any, is finished."""
        return self.start is None or self.start.finished or self.state != "to be run"

    def found(self) -> Run:
        """The finished run.

        Raises:
            RunError: what is there is not this run, is damaged, or is what another number of processes has trained.
        """
        return Run.found(self.folder, self.identity, self.processes)


@dataclass(frozen=True)
class Plan:
    """The runs of a comparison, seeds in the outer loop, so that every arm has early results.

    Attributes:
        arms: experiments by name; their own seeds are ignored.
        seeds: the seeds every arm is run under.
        baseline: the arm that others are compared with.
        splits: the data all arms share.
        runs: one for every arm and seed.
        starts: what runs start from and is no arm itself, each once, in an order in which they can be trained.
        design: how the comparison is decided.
    """

    arms: Mapping[str, Experiment]
    seeds: tuple[int, ...]
    baseline: str
    splits: Splits
    runs: tuple[PlannedRun, ...]
    starts: tuple[PlannedRun, ...] = ()
    design: Design = Design()

    @classmethod
    def of(
        cls,
        arms: Mapping[str, Experiment],
        seeds: Sequence[int],
        baseline: str | None,
        root: Path,
        panel: str = "",
        design: Design = DEFAULT,
    ) -> "Plan":
        """Check the arms, read the data and look up finished runs.

        A finished run counts as an arm's only if it has the arm's identity and was trained by one process.

        Raises:
            RunError: a run that is there is another's, is damaged, or was trained by several processes; see
                `Run.found`.
            ConfigError: no arms, no seeds, an arm's name with control characters, arms that are equal, share a run or
                are on different tasks or budgets, a baseline that is no arm, or a design that does not fit.
            DataError: the task's data cannot be read.
        """
        seeds = listed(seeds)
        _check(arms, seeds, baseline)
        if not isinstance(design, Design):
            refuse("design", "a Design", design)
        first = next(iter(arms))
        design = design.checked(list(arms), baseline or first, arms[first].reported)
        splits = loaded(arms[first].task)
        refuse_empty(splits, arms[first].task)
        check_metrics(arms[first].metrics, splits, arms[first].task)
        seeded = [(arm, replace(experiment, seed=seed)) for seed in seeds for arm, experiment in arms.items()]
        runs = tuple(_planned(arm, experiment, root, splits.digest, panel) for arm, experiment in seeded)
        _refuse_one_run_of_two_arms(runs)
        starts = _starts(runs, root, splits.digest, panel)
        for run in (*runs, *starts):
            if run.folder.finished:
                run.found()
        return cls(arms, tuple(seeds), baseline or first, splits, runs, starts, design)

    @property
    def unfinished(self) -> tuple[PlannedRun, ...]:
        """The remaining runs: starts first, and only those that are still needed."""
        todo = [run for run in self.runs if not run.folder.finished]
        needed = {run.start for run in todo if not run.ready}
        starts: list[PlannedRun] = []
        for run in reversed(self.starts):  # from the youngest, which may need an older one
            if run.folder in needed:
                starts.insert(0, run)
                needed |= set() if run.ready else {run.start}
        return (*starts, *todo)


def unfinished(plans: Sequence[Plan]) -> tuple[PlannedRun, ...]:
    """The remaining runs of several comparisons, each once: starts first, then seed by seed."""
    todo = [(plan, run) for plan in plans for run in plan.unfinished]
    ordered = sorted(todo, key=lambda each: _turn(*each))  # in the order of the plans where turns are equal
    once: dict[Folder, PlannedRun] = {}
    for _, run in ordered:
        once.setdefault(run.folder, run)
    return tuple(once.values())


def _turn(plan: Plan, run: PlannedRun) -> int:
    return -1 if run in plan.starts else plan.seeds.index(run.experiment.seed)


def _planned(arm: str, experiment: Experiment, root: Path, data: str, panel: str) -> PlannedRun:
    identity, start = experiment.identity(data), experiment.start
    folder = None if start is None else _folder(root, start.identity(data))
    return PlannedRun(arm, experiment, identity, _folder(root, identity), folder, panel)


def _folder(root: Path, identity: str) -> Folder:
    return Folder(root / identity[:16])


def _starts(runs: Sequence[PlannedRun], root: Path, data: str, panel: str) -> tuple[PlannedRun, ...]:
    """What runs start from, directly or not, without those that are runs of an arm themselves; the oldest first."""
    own = {run.folder for run in runs}
    found: dict[Folder, Experiment] = {}
    needed_by: dict[Folder, dict[int, dict[str, None]]] = {}  # arms in their order, each once
    for run in runs:
        for depth, experiment in reversed(list(enumerate(run.experiment.ancestors(), 1))):
            folder = _folder(root, experiment.identity(data))
            found[folder] = experiment
            needed_by.setdefault(folder, {}).setdefault(depth, {})[run.arm] = None
    return tuple(
        _planned(_start_name(needed_by[folder]), experiment, root, data, panel)
        for folder, experiment in found.items()
        if folder not in own
    )


def _start_name(arms: Mapping[int, Iterable[str]]) -> str:
    """Such as ``"start of RML, risk"``; by how many starts lie between."""
    return " and ".join(f"{'start of ' * depth}{', '.join(names)}" for depth, names in arms.items())


def _refuse_one_run_of_two_arms(runs: Sequence[PlannedRun]) -> None:
    """Refuse arms whose difference under a seed would be none at all, as one of them shares the other's start there."""
    once: dict[Folder, PlannedRun] = {}
    for run in runs:
        if (twin := once.setdefault(run.folder, run)) is not run:
            raise ConfigError(
                f"the arms {twin.arm!r} and {run.arm!r} are one and the same run under seed {run.experiment.seed}; use "
                "a start_seed that is none of the seeds"
            )


def _check(arms: Mapping[str, Experiment], seeds: Sequence[int], baseline: str | None) -> None:
    _check_kinds(arms, baseline)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"a comparison needs at least one seed, each once, but got {list(seeds)}")
    if baseline is not None and baseline not in arms:
        raise ConfigError(
            f"the baseline must be one of the arms, but got {baseline!r}; {nearest(baseline, list(arms))}"
        )
    first = next(iter(arms))
    for one, other in combinations(arms, 2):
        if replace(arms[one], seed=0) == replace(arms[other], seed=0):
            raise ConfigError(f"the arms {one!r} and {other!r} are the same experiment; leave one out or change it")
    for other in arms:
        check_shared(first, arms[first], other, arms[other])


def _check_kinds(arms: Mapping[str, Experiment], baseline: str | None) -> None:
    if not isinstance(arms, Mapping):
        refuse("the arms of a comparison", "Experiments by name", arms)
    if not arms:
        raise ConfigError("a comparison needs at least one arm, but got none")
    for arm, experiment in arms.items():
        refuse_unseen(arm, "the name of an arm")
        if not isinstance(experiment, Experiment):
            refuse(f"the arm {arm!r}", "an Experiment", experiment)
    if not isinstance(baseline, str | None):
        refuse("the baseline", "the name of an arm", baseline)


def listed(seeds: object) -> tuple[int, ...]:
    """Seeds as whole numbers.

    Raises:
        ConfigError: they are something else.
    """
    if not isinstance(seeds, Iterable):
        refuse("seeds", "several whole numbers, such as range(5)", seeds)
    assert isinstance(seeds, Iterable)
    return tuple(coerce(seed, int, "a seed") for seed in seeds)  # type: ignore[misc]  # `coerce` makes them so


def check_shared(first: str, one: Experiment, other: str, another: Experiment) -> None:
    """Refuse arms with different tasks or budgets; the budget includes the runs that an arm starts from."""
    if one.metrics != another.metrics:
        raise ConfigError(
            f"the arms of a comparison share their metrics, but {first!r} and {other!r} differ in them; give all arms "
            "the same"
        )
    mine, theirs = (replace(each.trainer, epochs=each.epochs) for each in (one, another))
    if one.task == another.task and mine == theirs:
        return
    field = "task" if one.task != another.task else "trainer"
    epochs = (
        f" ({one.epochs} and {another.epochs} epochs in all, with those of what they start from)"
        if field == "trainer" and one.epochs != another.epochs
        else ""
    )
    raise ConfigError(
        f"the arms of a comparison share their {field}, but {first!r} and {other!r} differ in it{epochs}; "
        "compare them in two comparisons"
    )
