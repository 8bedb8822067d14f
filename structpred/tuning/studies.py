"""A study: one search space on one task, kept in a storage under a name."""

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from structpred.config import digest, leaves
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.metrics import Metric
from structpred.results import direction
from structpred.task import Splits, loaded, refuse_empty
from structpred.training.evaluation import check_metrics
from structpred.tuning.search import (
    Distribution,
    Search,
    apart_from_seed,
    grid,
    made,
    probed,
    pruner_for,
    signature,
)
from structpred.tuning.spaces import Space
from structpred.tuning.trials import MADE, SCORES, TrialQueue, owners, placed

SIGNATURE, SECONDS = "structpred", "seconds"
"""Attributes of a study: what it searches, and the seconds during which a trial was running."""
MORE_SEEDS = ", more seeds"
"""Appended to the name of a study: the study of its finalists."""


@dataclass(frozen=True)
class Study:
    """A study and its finalists.

    Attributes:
        name: its name in the storage.
        space: the space that it searches.
        search: its budget and rules.
        main: its trials.
        storage: where it is kept.
        metric: the metric that is optimised, on dev: the first one that the experiments are reported by.
        experiment: the experiment in the middle of the space.
        distributions: the parameters of the space.
        splits: the data of that experiment's task.
    """

    name: str
    space: Space
    search: Search
    main: TrialQueue
    storage: BaseStorage
    metric: Metric
    experiment: Experiment
    distributions: Mapping[str, Distribution]
    splits: Splits

    @classmethod
    def open(cls, name: str, space: Space, search: Search, storage: BaseStorage) -> "Study":
        """Open a study, or begin it.

        Raises:
            ConfigError: the space cannot be searched, its metrics do not fit the task, or the stored study searches
                another one, by another metric, or trained something else.
        """
        experiment, distributions = probed(space)
        metric, splits = experiment.reported[0], loaded(experiment.task)
        refuse_empty(splits, experiment.task)
        check_metrics(experiment.metrics, splits, experiment.task)
        own = metric.name in {each.name for each in experiment.task.metrics}  # as in studies of earlier versions
        how = direction(metric) if own else f"{direction(metric)}, {metric.signature}"
        mine = signature(experiment, distributions) | {
            "seeds": ", ".join(map(str, search.seeds)),
            "metric": f"{metric.name}, {how}",
            "data": splits.digest,
        }
        formerly = [f"{name}, {how}" for name in metric.former]
        study = _stored(storage, name, metric, pruner_for(search, experiment.trainer.epochs))
        _refuse_another_space(study, mine, formerly)
        main = TrialQueue(study, search, _fixed(space, search, study))
        opened = cls(name, space, search, main, storage, metric, experiment, distributions, splits)
        for trial in opened.trials():
            opened.experiment_of(trial)
        return opened

    @cached_property
    def more(self) -> TrialQueue:
        """The finalists under more seeds; to be asked for only once the main trials are over."""
        study = _stored(self.storage, f"{self.name}{MORE_SEEDS}", self.metric, NopPruner())
        points = [
            {"trial": trial.number, "seed": seed} for seed in self.search.later_seeds for trial in self.finalists()
        ]
        return TrialQueue(study, self.search, placed(points, study.get_trials(deepcopy=False)))

    def queues(self) -> list[TrialQueue]:
        """Its trials, and once these are over its finalists under more seeds."""
        return [self.main, self.more] if self.search.finalists and self.main.over() else [self.main]

    def seconds(self) -> float:
        """Seconds during which at least one trial was running, as drivers have counted them over all restarts.

        Drivers of earlier versions counted nothing; their trials tell by the clocks of their workers.
        """
        if (stored := self.main.study.user_attrs.get(SECONDS)) is not None:
            return float(stored)
        done = [trial for trial in self.main.trials() if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        spans = [(t.datetime_start, t.datetime_complete) for t in done if t.datetime_start and t.datetime_complete]
        total, reached = 0.0, datetime.min
        for start, end in sorted(spans):
            total += max((end - max(start, reached)).total_seconds(), 0.0)
            reached = max(reached, end)
        return total

    def trials(self) -> list[FrozenTrial]:
        """The trials that count, in the order of their slots."""
        return list(owners(self.main.trials()).values())

    def parameters(self) -> dict[str, Distribution]:
        """The distributions of all parameters: those of the space's middle, then those that only some trials have."""
        known = dict(self.distributions)
        for trial in self.trials():
            for name, distribution in trial.distributions.items():
                known.setdefault(name, distribution)  # type: ignore[arg-type]  # one of the three that trials offer
        return known

    def experiment_of(self, trial: FrozenTrial) -> Experiment | None:
        """The experiment of a trial; None where the space failed before it made one.

        Raises:
            ConfigError: the space makes something else of the trial's parameters than was trained.
        """
        # a database reads a trial's state before its parameters and attributes, so those of a running one may not fit
        trained = trial.user_attrs.get(MADE) if trial.state.is_finished() else None
        try:
            experiment = made(self.space, FixedTrial(trial.params)) if trial.params else None
        except (Exception, SystemExit):  # noqa: BLE001 - the space is a user's code, and failed in the trial as well
            experiment = None
        if trained is not None and (experiment is None or digest(apart_from_seed(experiment)) != trained):
            raise ConfigError(
                f"the space makes another experiment of {trial.params} than trial {trial.number} of the study "
                f"{self.name!r} has trained; give this search another study name, or restore the space, and let it "
                "draw no random numbers of its own"
            )
        return experiment

    def finalists(self) -> list[FrozenTrial]:
        """The best completed trials of different parameters, as many as are to be run under more seeds.

        Of equal ones the first slot goes before, and not the lowest number: a trial that was put back has a higher one.
        """
        sign = -1 if self.metric.higher_is_better else 1
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        different: dict[str, FrozenTrial] = {}
        for trial in sorted(complete, key=lambda each: sign * value_of(each)):
            different.setdefault(json.dumps(trial.params, sort_keys=True), trial)
        return list(different.values())[: self.search.finalists]

    def scores(self) -> dict[int, dict[int, float]]:
        """The dev metric of each trial by number and seed, more seeds included as far as the search asks for them."""
        by_trial = {trial.number: scores_of(trial) for trial in self.trials()}
        for extra in self.more.trials() if len(self.queues()) > 1 else ():
            number, seed = extra.params.get("trial"), extra.params.get("seed")
            if extra.state == TrialState.COMPLETE and number in by_trial and seed in self.search.later_seeds:
                by_trial[number][seed] = value_of(extra)
        return by_trial

    def importances(self) -> dict[str, float]:
        """How much each parameter matters; empty where that cannot be told."""
        with warnings.catch_warnings(action="ignore"), suppress(ValueError, RuntimeError):  # of too few trials
            importances = optuna.importance.get_param_importances(self.main.study)
            return importances if len(importances) > 1 else {}
        return {}


def scores_of(trial: FrozenTrial) -> dict[int, float]:
    """The dev metric of a trial by seed."""
    stored: dict[str, float] = trial.user_attrs.get(SCORES, {})
    return {int(seed): score for seed, score in stored.items()}


def value_of(trial: FrozenTrial) -> float:
    """The value of a completed trial."""
    assert trial.value is not None
    return trial.value


def _stored(storage: BaseStorage, name: str, metric: Metric, pruner: BasePruner) -> optuna.Study:
    to = StudyDirection.MAXIMIZE if metric.higher_is_better else StudyDirection.MINIMIZE
    return optuna.create_study(storage=storage, study_name=name, direction=to, load_if_exists=True, pruner=pruner)


def _fixed(space: Space, search: Search, study: optuna.Study) -> dict[int, Mapping[str, Any]]:
    """The parameters of each slot.

    Raises:
        ConfigError: a grid with more points than trials, or in a study that has run points of its own.
    """
    if search.sampler != "grid":
        return {slot: {} for slot in range(search.trials)}
    points = grid(space, search.points)
    if len(points) > search.trials:
        count, trials = len(points), f"there are to be {search.trials} trials"
        raise ConfigError(f"the grid has {count} points, but {trials}; raise trials to {count} or lower points")
    stored = study.get_trials(deepcopy=False)
    slots = placed(points, stored)
    others = [trial for slot, trial in owners(stored).items() if slot not in slots and trial.params]
    if others:
        raise ConfigError(
            f"the stored study {study.study_name!r} has trials that are no points of this grid of {len(points)}, such "
            f"as trial {others[0].number} with {others[0].params}; give the grid another study name, or tune with the "
            "sampler and the points of the study"
        )
    return slots


def _refuse_another_space(study: optuna.Study, mine: dict[str, str], formerly: Sequence[str]) -> None:
    """Compare a study's signature with the one it must have; ``formerly`` its metric was described in other words."""
    stored: dict[str, str] | None = study.user_attrs.get(SIGNATURE)
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"the study {study.study_name!r} was not made by structpred; give yours another name")
        study.set_user_attr(SIGNATURE, mine)
        return
    if stored.get("metric") in formerly:
        stored = stored | {"metric": mine["metric"]}
    one, other = (dict(leaves({**each, "experiment": json.loads(each["experiment"])})) for each in (stored, mine))
    for name in dict.fromkeys([*one, *other]):
        if one.get(name) != other.get(name):
            raise ConfigError(
                f"the stored study {study.study_name!r} has {name} = {one.get(name, 'none')}, but this one has "
                f"{other.get(name, 'none')}; give this search another study name, or search what the study does"
            )
