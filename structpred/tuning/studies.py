"""A study: one search space on one task, kept in a storage under a name."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from structpred.errors import ConfigError
from structpred.metrics import Metric
from structpred.task import loaded
from structpred.tuning import samplers
from structpred.tuning.probe import grid, probed, signature
from structpred.tuning.search import Search
from structpred.tuning.spaces import Space
from structpred.tuning.trials import SCORES, TrialQueue, owners

SIGNATURE = "structpred"
"""The attribute of a study that says what it searches."""
SECONDS = "seconds"
"""The attribute of a study with the seconds that were spent on it."""
MORE_SEEDS = ", more seeds"
"""After the name of a study: the study of its finalists."""


@dataclass(frozen=True)
class Study:
    """A study and its finalists.

    Attributes:
        name: its name in the storage.
        space: what it searches.
        search: its budget and rules.
        main: its trials.
        storage: where it is kept.
        metric: what is optimised, on dev.
    """

    name: str
    space: Space
    search: Search
    main: TrialQueue
    storage: BaseStorage
    metric: Metric

    @classmethod
    def open(cls, name: str, space: Space, search: Search, storage: BaseStorage) -> "Study":
        """Open it, or begin it.

        Raises:
            ConfigError: the space cannot be searched, or is not the one that the stored study searches.
        """
        experiment, _ = probed(space)
        metric = experiment.task.metrics[0]
        mine = signature(space) | {
            "seeds": ", ".join(map(str, search.seeds)),
            "metric": f"{metric.name}, {'higher' if metric.higher_is_better else 'lower'} is better",
            "data": loaded(experiment.task).digest,
        }
        opened = optuna.create_study(
            storage=storage,
            study_name=name,
            direction=_direction(metric),
            load_if_exists=True,
            sampler=samplers.sampler(search),
            pruner=samplers.pruner(search, experiment.trainer.epochs),
        )
        _refuse_another_space(opened, mine)
        return cls(name, space, search, TrialQueue(opened, _fixed(space, search)), storage, metric)

    @cached_property
    def more(self) -> TrialQueue:
        """The finalists under more seeds; to be asked for only once the main trials are over."""
        study = optuna.create_study(
            storage=self.storage,
            study_name=f"{self.name}{MORE_SEEDS}",
            direction=_direction(self.metric),
            load_if_exists=True,
            sampler=samplers.sampler(self.search),
            pruner=optuna.pruners.NopPruner(),
        )
        fixed = [
            {"trial": trial.number, "seed": seed} for seed in self.search.later_seeds for trial in self.finalists()
        ]
        return TrialQueue(study, fixed)

    def queues(self) -> list[TrialQueue]:
        """Its trials, and once these are over its finalists under more seeds."""
        return [self.main, self.more] if self.search.finalists and self.main.over() else [self.main]

    def seconds(self) -> float:
        """Seconds that its driver has counted while a trial was running, over all restarts."""
        stored: float | None = self.main.study.user_attrs.get(SECONDS)
        return _seconds_of_earlier_versions(self.main.trials()) if stored is None else stored

    def save_seconds(self, seconds: float) -> None:
        """Keep them for the next driver."""
        self.main.study.set_user_attr(SECONDS, seconds)

    def trials(self) -> list[FrozenTrial]:
        """The trials that count, in the order of their slots."""
        trials = self.main.trials()
        return [trials[number] for slot, number in sorted(owners(trials).items())]

    def complete(self) -> list[FrozenTrial]:
        """Those of them that ran to their end, the best first, and of equal ones that of the first slot.

        Not that of the lowest number: a trial that was put back has a higher one.
        """
        sign = -1 if self.metric.higher_is_better else 1
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        return sorted(done, key=lambda trial: sign * _value(trial))

    def finalists(self) -> list[FrozenTrial]:
        """The best trials of different parameters, as many as are to be run under more seeds."""
        different: dict[str, FrozenTrial] = {}
        for trial in self.complete():
            different.setdefault(json.dumps(trial.params, sort_keys=True), trial)
        return list(different.values())[: self.search.finalists]

    def scores(self) -> dict[int, dict[int, float]]:
        """The dev metric of each trial by number and seed, more seeds included."""
        found = {trial.number: _scores(trial) for trial in self.trials()}
        for extra in self.more.trials() if len(self.queues()) > 1 else ():
            if extra.state == TrialState.COMPLETE and extra.params["trial"] in found:
                found[extra.params["trial"]][extra.params["seed"]] = _value(extra)
        return found


def _seconds_of_earlier_versions(trials: Sequence[FrozenTrial]) -> float:
    """Seconds during which at least one trial was running that ended well, by the clocks of its workers."""
    done = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    spans = [(t.datetime_start, t.datetime_complete) for t in done if t.datetime_start and t.datetime_complete]
    total, reached = 0.0, datetime.min
    for start, end in sorted(spans):
        total += max((end - max(start, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    return total


def _scores(trial: FrozenTrial) -> dict[int, float]:
    found: dict[str, float] = trial.user_attrs.get(SCORES, {})
    return {int(seed): score for seed, score in found.items()}


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _fixed(space: Space, search: Search) -> list[dict[str, Any]]:
    if search.sampler != "grid":
        return [{} for _ in range(search.trials)]
    points = grid(space, search.points)
    if len(points) > search.trials:
        raise ConfigError(
            f"the grid has {len(points)} points, but there are to be {search.trials} trials; raise trials to "
            f"{len(points)} or lower points"
        )
    return list(points)


def _direction(metric: Metric) -> StudyDirection:
    return StudyDirection.MAXIMIZE if metric.higher_is_better else StudyDirection.MINIMIZE


def _refuse_another_space(study: optuna.Study, mine: dict[str, str]) -> None:
    stored: dict[str, str] | None = study.user_attrs.get(SIGNATURE)
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"the study {study.study_name!r} was not made by structpred; give yours another name")
        study.set_user_attr(SIGNATURE, mine)
        return
    for name in dict.fromkeys([*stored, *mine]):
        if stored.get(name) != mine.get(name):
            raise ConfigError(
                f"the stored study {study.study_name!r} {_difference(name, stored.get(name), mine.get(name))}; give "
                "this search another study name, or search what the study does"
            )


def _difference(name: str, stored: str | None, mine: str | None) -> str:
    if name == "experiment":
        return f"is of another experiment: it has {_first_difference(stored or '', mine or '')}"
    if stored is None:
        return f"does not search {name.removeprefix('parameter ')}, but this one does"
    if mine is None:
        return f"searches {name.removeprefix('parameter ')}, but this one does not"
    verb = f"searches {name.removeprefix('parameter ')}" if name.startswith("parameter ") else f"has the {name}"
    return f"{verb} {stored}, but this one {mine}"


def _first_difference(stored: str, mine: str) -> str:
    """The first field in which two experiments differ."""
    one, other = _flat(json.loads(stored)), _flat(json.loads(mine))
    field = next(field for field in dict.fromkeys([*one, *other]) if one.get(field) != other.get(field))
    return f"{field}={one.get(field)}, but this one {other.get(field)}"


def _flat(node: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(node, dict):
        return {key: value for name in node for key, value in _flat(node[name], f"{prefix}{name}.").items()}
    return {prefix.removesuffix("."): json.dumps(node)}
