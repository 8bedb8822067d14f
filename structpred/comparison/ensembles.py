"""The ensemble of an arm's seeds: the score of all its models combined."""

from collections.abc import Mapping
from typing import Any

from structpred.comparison.plan import Plan
from structpred.distributions.protocols import Mean
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.runs import Ensemble

Scores = dict[str, dict[str, float]]
"""``scores[split][metric]`` in percent, as those of a run."""


def check(arms: Mapping[str, Experiment], seeds: int) -> None:
    """Refuse ensembles that cannot be made, before anything is trained.

    Args:
        arms: the experiments by name.
        seeds: how many runs an arm has.

    Raises:
        ConfigError: there is one seed, or an arm's distributions have no mean.
    """
    if seeds < 2:
        raise ConfigError("an ensemble of an arm's seeds needs at least two seeds, but there is 1; add seeds")
    for name, arm in arms.items():
        if not issubclass(arm.model.distribution, Mean):
            raise ConfigError(
                f"{name}: an ensemble needs `mean`, which the {arm.model.distribution.__name__} distribution of "
                f"{type(arm.model).__name__} does not offer; add it, or leave ensembles out"
            )


def of_plan(plan: Plan) -> dict[str, Scores]:
    """By arm the scores of the `structpred.runs.Ensemble` of its runs, under the arm's own decoding."""
    return {arm: _scores(plan, arm) for arm in plan.arms}


def _scores(plan: Plan, arm: str) -> Scores:
    ensemble = Ensemble([run.found() for run in plan.runs if run.arm == arm])
    metrics = plan.arms[arm].reported
    return {split: ensemble.evaluate(getattr(plan.splits, split), metrics=metrics) for split in ("dev", "test")}


def averaged(arms: Mapping[str, Any]) -> list[str]:
    """What the ensembles of these arms average, without repetition; arms that cannot be built here are left out."""
    distributions = [arm.model.distribution for arm in arms.values() if isinstance(arm, Experiment)]
    return list(dict.fromkeys(each.averages() for each in distributions if issubclass(each, Mean)))
