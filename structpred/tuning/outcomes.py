"""What a study found, as plain values: read back from its storage, or from a ``results.json``."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from structpred.config import components, encode
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.payoffs.base import Conventions, Payoff
from structpred.report.files import readable
from structpred.results import KeptMeasure, Measure
from structpred.training.data import EncodedData
from structpred.tuning.search import Numeric, Search
from structpred.tuning.studies import Study
from structpred.tuning.trials import DIED, REASON, WAY, given_up

STATES = {state: state.name.lower() for state in TrialState}
"""What a trial is called in each state."""
STATES |= {TrialState.COMPLETE: "finished", TrialState.FAIL: "failed"}
Importances = dict[str, dict[str, float]]
"""How much each parameter matters, by study; without studies where that cannot be told."""


@dataclass(frozen=True)
class Outcome:
    """One trial.

    Attributes:
        number: its number in the study.
        parameters: the values that were searched.
        experiment: the experiment they stand for; None where the space refuses them.
        state: ``"finished"``, ``"pruned"``, ``"failed"``, ``"running"`` or ``"waiting"``.
        scores: the dev metric by seed, in percent.
        fresh: the scores that did not choose it: under more seeds if it was run under them, else all.
        epochs: the dev metric of the first seed by epoch, by greedy decoding; a pruned trial ends with the epoch at
            which it was pruned.
        reason: why it failed or was stopped.
        seconds: from its start to its end.
    """

    number: int
    parameters: Mapping[str, Any]
    experiment: Experiment | None
    state: str
    scores: Mapping[int, float]
    fresh: tuple[float, ...]
    epochs: Mapping[int, float]
    reason: str
    seconds: float

    @property
    def mean(self) -> float:
        """The mean of `fresh`, the same for the same scores in another order."""
        return math.fsum(self.fresh) / len(self.fresh)


@dataclass(frozen=True)
class Result:
    """A study that is over, or as far as it has come.

    Attributes:
        name: its name in the storage.
        metric: the metric that was optimised, on dev.
        search: budget and rules.
        distributions: the space that was searched.
        outcomes: the trials that count, in the order of their slots.
        given_up: number of trials that were put back because their worker or driver died or was interrupted.
        labels: V, which the conventions of temperatures need.
        total: how many trials there are to be.
        ways: `Search.way` of all commands that queued these trials; empty where they do not say.
    """

    name: str
    metric: Measure
    search: Search
    distributions: Mapping[str, BaseDistribution]
    outcomes: tuple[Outcome, ...]
    given_up: int
    labels: int
    total: int = 0
    ways: tuple[str, ...] = ()

    @classmethod
    def of(cls, study: Study) -> "Result":
        """Read a study."""
        scores = study.scores()
        outcomes = tuple(_outcome(study, trial, scores[trial.number]) for trial in study.trials())
        labels = EncodedData.of(study.splits, study.experiment.model).training.sizes.num_labels
        name, metric, search, space, main = study.name, study.metric, study.search, study.parameters(), study.main
        ways = tuple(dict.fromkeys(trial.user_attrs[WAY] for trial in study.trials() if WAY in trial.user_attrs))
        return cls(name, metric, search, space, outcomes, given_up(main.trials()), labels, len(main), ways)

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """The trials that ran to their end, the best first; of equal ones the one in the first slot."""
        return tuple(sorted((each for each in self.outcomes if each.state == "finished"), key=self.rank))

    @property
    def ordered(self) -> tuple[Outcome, ...]:
        """All trials, the finished ones first and the best of them first."""
        return *self.finished, *(each for each in self.outcomes if each.state != "finished")

    def rank(self, outcome: Outcome) -> tuple[int, float]:
        """The order of finished trials: those under most seeds before all others, then the mean."""
        return -len(outcome.scores), -outcome.mean if self.metric.higher_is_better else outcome.mean

    @property
    def tied(self) -> tuple[Outcome, ...]:
        """The trials that score the same as the best, itself included; one where it is alone."""
        return tuple(each for each in self.finished if self.rank(each) == self.rank(self.finished[0]))

    @property
    def best(self) -> Outcome | None:
        """The best trial; where some ran under more seeds, the best of these by those seeds."""
        return next(iter(self.finished), None)

    @property
    def experiment(self) -> Experiment:
        """The best experiment, with the first seed.

        Raises:
            ConfigError: no trial finished.
        """
        if self.best is None or self.best.experiment is None:
            raise ConfigError(f"no trial of {self.name!r} finished, so there is no best experiment")
        return replace(self.best.experiment, seed=self.search.seeds[0])

    def temperature(self, outcome: Outcome | None) -> Conventions | None:
        """The temperature of a trial's first payoff; None where there is no trial or no payoff."""
        parts = () if outcome is None or outcome.experiment is None else components(outcome.experiment.objective)
        return next((part.conventions(self.labels) for part in parts if isinstance(part, Payoff)), None)

    def count(self, state: str) -> int:
        """How many trials are in a state."""
        return sum(each.state == state for each in self.outcomes)

    def numeric(self) -> dict[str, Numeric]:
        """The parameters that are numbers, with their ranges."""
        return {name: each for name, each in self.distributions.items() if isinstance(each, Numeric)}

    def tree(self) -> dict[str, object]:
        """What ``results.json`` holds of the study; `read` is the way back."""
        return {
            "name": self.name,
            "metric": self.metric.name,
            "measure": {field.name: getattr(self.metric, field.name) for field in fields(KeptMeasure)},
            "search": encode(self.search),
            "distributions": {name: json.loads(distribution_to_json(d)) for name, d in self.distributions.items()},
            "labels": self.labels,
            "best": None if self.best is None else encode(self.experiment),
            "tied": [each.number for each in self.tied] if len(self.tied) > 1 else [],
            "trials": [self._trial(each) for each in self.outcomes],
            "given up": self.given_up,
            "total": self.total,
            "ways": list(self.ways),
        }

    def _trial(self, outcome: Outcome) -> dict[str, object]:
        temperature = self.temperature(outcome)
        return {
            **{name: value for name, value in vars(outcome).items() if name != "fresh"},
            "experiment": None if outcome.experiment is None else outcome.experiment.to_json(),
            "temperature": None if temperature is None else temperature._asdict(),
        }


def read(file: Path) -> tuple[dict[str, Result], Importances]:
    """The studies of a ``results.json``, and how much each of their parameters matters.

    Raises:
        RunError: the file cannot be read, or holds no report of tuning.
        ConfigError: an experiment cannot be made by this version of the code.
    """
    return readable(file, _kept_studies)


def _kept_studies(tree: dict[str, Any]) -> tuple[dict[str, Result], Importances]:
    return {name: _result(node) for name, node in tree["studies"].items()}, tree.get("importances", {})


def _result(node: dict[str, Any]) -> Result:
    search = Search.from_json(json.dumps(node["search"]))
    return Result(
        name=node["name"],
        metric=KeptMeasure(**node["measure"]),
        search=search,
        distributions={name: json_to_distribution(json.dumps(each)) for name, each in node["distributions"].items()},
        outcomes=tuple(_kept(trial, search) for trial in node["trials"]),
        given_up=node["given up"],
        labels=node["labels"],
        total=node.get("total", 0),
        ways=tuple(node.get("ways", ())),
    )


def _kept(node: dict[str, Any], search: Search) -> Outcome:
    if node["state"] not in STATES.values():
        raise ValueError(f"no trial is {node['state']!r}")
    scores, epochs = ({int(key): float(score) for key, score in node[name].items()} for name in ("scores", "epochs"))
    experiment = None if node["experiment"] is None else Experiment.from_json(node["experiment"])
    same = {name: node[name] for name in ("number", "parameters", "state", "reason", "seconds")}
    return Outcome(**same, experiment=experiment, scores=scores, fresh=_fresh(scores, search), epochs=epochs)


def _outcome(study: Study, trial: FrozenTrial, scores: Mapping[int, float]) -> Outcome:
    return Outcome(
        number=trial.number,
        parameters=trial.params,
        experiment=study.experiment_of(trial),
        state=STATES[trial.state],
        scores=scores,
        fresh=_fresh(scores, study.search),
        epochs=trial.intermediate_values,
        reason=str(trial.user_attrs.get(REASON, DIED if trial.state == TrialState.FAIL else "")),
        seconds=0.0 if trial.duration is None else trial.duration.total_seconds(),
    )


def _fresh(scores: Mapping[int, float], search: Search) -> tuple[float, ...]:
    later = search.later_seeds
    return tuple(score for seed, score in scores.items() if seed in later) or tuple(scores.values())
