"""A report of finished runs, without training: runs are grouped into arms, named by what differs between them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from structpred.comparison import inspection, material
from structpred.comparison.examples import of_examples
from structpred.comparison.inspection import Inspection, Shown
from structpred.comparison.plan import Plan, PlannedRun, check_shared
from structpred.comparison.report import Report
from structpred.config import leaves, registered_name
from structpred.errors import ConfigError, DataError, RunError, StructpredError
from structpred.experiment import Experiment
from structpred.registry import objectives
from structpred.runs import Folder, Run
from structpred.runs.folder import Files
from structpred.task import Splits, loaded
from structpred.values import coerce

LIKELIHOOD = "maximum-likelihood"


def of_runs(runs: Sequence[Run], baseline: str | None = None, *, examples: Shown = "licensed") -> Report:
    """The report of some finished runs; runs that differ only in the seed are one arm.

    It holds the same as a report of `compare`. If the task's data can no longer be read, or have changed since, errors
    by kind and examples are left out, and the report says why.

    Args:
        runs: the runs, each once.
        baseline: the name of an arm; by default the only maximum-likelihood arm, or else the first arm.
        examples: which test examples the report may show; see `structpred.comparison.runner.compare`.

    Raises:
        ConfigError: the runs are of different tasks or budgets, or the baseline is not an arm.
        RunError: a run is given twice, was trained on other data or by other code, or an arm lacks a seed that another
            has.
    """
    coerce(examples, Shown, "examples")
    first = runs[0]
    for run in runs[1:]:
        if run.data != first.data:
            raise RunError(
                f"{run.folder.path} was trained on other data than {first.folder.path}; report on them separately"
            )
    by_arm = _by_arm(runs)
    for _, seeds in by_arm:
        _refuse_other_code(list(seeds.values()))
    names = _names([arm for arm, _ in by_arm])
    of_name = {name: seeds for name, (_, seeds) in zip(names, by_arm, strict=True)}
    every = sorted({run.experiment.seed for run in runs})
    for name, seeds in of_name.items():
        if missing := [seed for seed in every if seed not in seeds]:
            raise RunError(
                f"{name} has no run of seed {missing[0]} among these, but other arms have; add it, or leave out the "
                "others' runs of that seed"
            )
    arms = {name: arm for name, (arm, _) in zip(names, by_arm, strict=True)}
    for name, arm in arms.items():
        check_shared(names[0], arms[names[0]], name, arm)
    metrics = arms[names[0]].reported
    results = {
        name: tuple(seeds[seed].reported_by(metrics).result for seed in every) for name, seeds in of_name.items()
    }
    report = Report(arms, tuple(every), baseline or _baseline(arms), results, metrics)
    splits, why = _data(first)
    plan = _plan(report, [(name, seeds[seed]) for seed in every for name, seeds in of_name.items()], splits)
    report = completed(report, plan, examples)
    return report if why is None else _without_data(report, first, why)


def _refuse_other_code(runs: Sequence[Run]) -> None:
    """Refuse runs of one arm of which some were trained by the present code of its components and some were not."""
    try:
        present = [_of_present_code(run) for run in runs]
    except (ConfigError, DataError, RunError):  # something is absent, such as a reward function, weights or a teacher
        return
    if any(present) and not all(present):
        other, like_now = runs[present.index(False)], runs[present.index(True)]
        raise RunError(
            f"{other.folder.path} was trained by other code of a component than {like_now.folder.path}, which has the "
            "present code; report on them separately, or train the first again"
        )


def _of_present_code(run: Run) -> bool:
    """Whether a run was trained by the present code of its components, or does not say by which."""
    known = (run.experiment.past_identities(run.data, code=code) for code in (True, False))
    return any(run.result.identity in each for each in known)


def completed(report: Report, plan: Plan, examples: Shown) -> Report:
    """Add to a report what the folders of its runs hold besides scores."""
    over_examples, crossed = of_examples(plan)
    return replace(
        report,
        over_examples=over_examples,
        crossed=crossed,
        inspection=inspection.of_plan(plan, examples),
        material=material.of_plan(plan),
    )


def _data(run: Run) -> tuple[Splits, str | None]:
    """The data that a run was trained on; if they cannot be read, no examples, and the reason."""
    nothing = Splits(train=(), dev=(), test=(), digest=run.data)
    try:
        found = loaded(run.experiment.task)
    except StructpredError as error:
        return nothing, f"the data could not be read when this report was made ({error})"
    if found.digest != run.data:
        return nothing, "the data had changed since the runs were trained when this report was made"
    return found, None


def _without_data(report: Report, first: Run, why: str) -> Report:
    """What remains without the data: how many examples the runs predicted, and why outputs are not examined."""
    assert report.material is not None
    counts = {"dev": len(first.predictions("dev")), "test": len(first.predictions("test"))}
    return replace(
        report,
        inspection=Inspection(0, counts["test"], False, (), {}, why),
        material=replace(report.material, examples=counts),
    )


def _plan(report: Report, runs: Sequence[tuple[str, Run]], splits: Splits) -> Plan:
    """The plan that led to some finished runs; an arm has no start in it if one of its starts has been removed."""
    given = {run.result.identity: run for _, run in runs}
    before = {run.folder: _before(run, given) for _, run in runs}
    lost = {name for name, run in runs if before[run.folder] is None}
    planned: list[PlannedRun] = []
    starts: dict[Folder, PlannedRun] = {}
    for name, run in runs:
        chain = [] if name in lost else before[run.folder] or []
        planned.append(_planned(name, run, chain))
        for number, start in enumerate(chain, 1):
            if start.folder not in before:
                starts.setdefault(start.folder, _planned(f"start of {name}", start, chain[number:]))
    arms = {name: arm for name, arm in report.arms.items() if isinstance(arm, Experiment)}
    return Plan(
        arms, report.seeds, report.baseline, splits, tuple(planned), tuple(reversed(starts.values())), report.design
    )


def _planned(name: str, run: Run, before: Sequence[Run]) -> PlannedRun:
    start = before[0].folder if before else None
    return PlannedRun(name, run.experiment, run.result.identity, run.folder, start, processes=run.result.processes)


def _before(run: Run, given: Mapping[str, Run]) -> list[Run] | None:
    """The run that a run starts from, the one that this starts from, and so on; None if one has been removed."""
    chain: list[Run] = []
    for _ in run.experiment.ancestors():
        folder = (chain or [run])[-1].folder
        identity = Files(folder.path).json(folder.record.name).get("start")
        try:
            start = given.get(str(identity)) or Run.load(folder.path.parent / str(identity)[:16])
        except StructpredError:
            return None
        if start.result.identity != identity:
            return None
        chain.append(start)
    return chain


StartSeeds = tuple[int | None, ...]
"""The seeds of what runs start from, the nearest first; None where each start has the seed of what starts from it."""


def _by_arm(runs: Sequence[Run]) -> list[tuple[Experiment, dict[int, Run]]]:
    """The arms, each with its runs by seed.

    Whether seeds have starts of their own or share one is seen from the runs together: a run whose start has its own
    seed fits either.

    Raises:
        RunError: a run is given twice.
    """
    texts = [_without_seeds(run.experiment).to_json() for run in runs]
    ways: dict[str, dict[StartSeeds, None]] = {}  # each once, in the order of runs
    for text, run in zip(texts, runs, strict=True):
        ways.setdefault(text, {})[_start_seeds(run)] = None
    found: dict[tuple[str, StartSeeds], list[Run]] = {}
    for text, run in zip(texts, runs, strict=True):
        shared_first = sorted(ways[text], key=lambda way: way.count(None))
        found.setdefault((text, next(way for way in shared_first if _fits(run, way))), []).append(run)
    return [
        (_with_start_seeds(_without_seeds(group[0].experiment), way), _by_seed(group))
        for (_, way), group in found.items()
    ]


def _by_seed(runs: Sequence[Run]) -> dict[int, Run]:
    seeds: dict[int, Run] = {}
    for run in runs:
        if (twin := seeds.setdefault(run.experiment.seed, run)) is not run:
            raise RunError(
                f"{run.folder.path} and {twin.folder.path} are one arm under one seed; leave one of them out"
            )
    return seeds


def _without_seeds(experiment: Experiment) -> Experiment:
    start = None if experiment.start is None else _without_seeds(experiment.start)
    return replace(experiment, seed=0, metrics=(), start=start, start_seed=None)


def _seeds(run: Run) -> list[int]:
    """Its own, that of its start, and so on."""
    return [run.experiment.seed, *(start.seed for start in run.experiment.ancestors())]


def _start_seeds(run: Run) -> StartSeeds:
    return tuple(None if seed == before else seed for before, seed in pairwise(_seeds(run)))


def _fits(run: Run, way: StartSeeds) -> bool:
    pairs = zip(pairwise(_seeds(run)), way, strict=True)
    return all(seed == (before if wanted is None else wanted) for (before, seed), wanted in pairs)


def _with_start_seeds(experiment: Experiment, way: StartSeeds) -> Experiment:
    if experiment.start is None:
        return experiment
    return replace(experiment, start=_with_start_seeds(experiment.start, way[1:]), start_seed=way[0])


def _baseline(arms: Mapping[str, Experiment]) -> str:
    likelihood = [name for name, arm in arms.items() if objectives.name_of(type(arm.objective)) == LIKELIHOOD]
    return likelihood[0] if len(likelihood) == 1 else next(iter(arms))


def _names(arms: Sequence[Experiment]) -> list[str]:
    """A name for each of several different experiments: its objective, and fields that tell arms of one apart."""
    objective_of = [registered_name(arm.objective) for arm in arms]
    fields = [dict(leaves(arm)) for arm in arms]
    names = []
    for i, objective in enumerate(objective_of):
        alike = [fields[j] for j in range(len(arms)) if objective_of[j] == objective]
        names.append(", ".join([objective, *_told(fields[i], alike)]))
    twins = Counter(names)
    return [name if twins[name] == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)]


def _told(own: Mapping[str, str], alike: Sequence[Mapping[str, str]]) -> list[str]:
    """The fields of an arm in which those of the same objective differ, such as ``edit_rate=0.04``."""
    differing = [field for field in own if len({each.get(field) for each in alike}) > 1]
    # a field that others lack says no more than the component that brings it
    shared = [field for field in differing if all(field in each for each in alike)]
    chosen = shared or differing
    chosen = [field for field in chosen if own[field] != "-"] or chosen
    last = Counter(field.rpartition(".")[2] for field in chosen)
    named = {field: name if last[name := field.rpartition(".")[2]] == 1 else field for field in chosen}
    return [f"{name}={'none' if own[field] == '-' else own[field]}" for field, name in named.items()]
