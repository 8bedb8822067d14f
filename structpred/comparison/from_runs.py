"""A report of finished runs, without training: arms are found, and named by what differs between them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from structpred.comparison.plan import check_shared
from structpred.comparison.report import Report
from structpred.config import leaves, registered_name
from structpred.errors import RunError
from structpred.experiment import Experiment
from structpred.registry import objectives
from structpred.runs import Run

LIKELIHOOD = "maximum-likelihood"


def of_runs(runs: Sequence[Run], baseline: str | None = None) -> Report:
    """The report of some finished runs; runs that differ in nothing but the seed are one arm.

    Args:
        runs: the runs, each once.
        baseline: the name of an arm; the only one of maximum likelihood by default, else the first.

    Raises:
        ConfigError: the runs are of different tasks or budgets, or the baseline is no arm.
        RunError: a run is given twice, was trained on other data, or an arm lacks a seed that another has.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.data != first.data:
            raise RunError(
                f"{run.folder.path} was trained on other data than {first.folder.path}; report on them separately"
            )
    by_arm: dict[str, dict[int, Run]] = {}
    for run in runs:
        seeds = by_arm.setdefault(_without_seed(run.experiment).to_json(), {})
        if (twin := seeds.setdefault(run.experiment.seed, run)) is not run:
            raise RunError(
                f"{run.folder.path} and {twin.folder.path} are one arm under one seed; leave one of them out"
            )
    names = _names([_without_seed(next(iter(seeds.values())).experiment) for seeds in by_arm.values()])
    of_name = dict(zip(names, by_arm.values(), strict=True))
    every = sorted({run.experiment.seed for run in runs})
    for name, seeds in of_name.items():
        if missing := [seed for seed in every if seed not in seeds]:
            raise RunError(
                f"{name} has no run of seed {missing[0]} among these, but other arms have; add it, or leave out the "
                "others' runs of that seed"
            )
    arms = {name: _without_seed(next(iter(seeds.values())).experiment) for name, seeds in of_name.items()}
    for name, arm in arms.items():
        check_shared(names[0], arms[names[0]], name, arm)
    metrics = arms[names[0]].reported
    results = {
        name: tuple(seeds[seed].reported_by(metrics).result for seed in every) for name, seeds in of_name.items()
    }
    return Report(arms, tuple(every), baseline or _baseline(arms), results, metrics)


def _without_seed(experiment: Experiment) -> Experiment:
    return replace(experiment, seed=0, metrics=())


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
