"""What a study found, as plain values read back from its storage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from structpred.config import components
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.payoffs.base import Payoff
from structpred.results import Measure
from structpred.task import loaded
from structpred.training.data import EncodedData
from structpred.tuning.probe import probed
from structpred.tuning.search import Search
from structpred.tuning.studies import Study
from structpred.tuning.trials import DIED, REASON, given_up

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Outcome:
    """One trial.

    Attributes:
        number: its number in the study.
        parameters: what was searched.
        experiment: what they stand for; None where the space refuses them.
        state: ``"finished"``, ``"pruned"``, ``"failed"``, ``"running"`` or ``"waiting"``.
        scores: the dev metric by seed, in percent.
        fresh: those of its scores that did not choose it: under more seeds if it was run under them, else all.
        epochs: the dev metric of the first seed by epoch, by greedy decoding; that of a pruned trial ends with the
            epoch at which it was pruned.
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
        """The mean of `fresh`."""
        return sum(self.fresh) / len(self.fresh)


@dataclass(frozen=True)
class Result:
    """A study that is over, or as far as it has come.

    Attributes:
        name: its name in the storage.
        metric: what was optimised, on dev.
        search: budget and rules.
        distributions: what was searched.
        outcomes: the trials that count, in the order of their slots.
        given_up: trials that were put back because their worker or driver died or was interrupted.
        labels: V, which the conventions of temperatures need.
        total: how many trials there are to be.
    """

    name: str
    metric: Measure
    search: Search
    distributions: Mapping[str, BaseDistribution]
    outcomes: tuple[Outcome, ...]
    given_up: int
    labels: int
    total: int = 0

    @classmethod
    def of(cls, study: Study) -> "Result":
        """Read a study."""
        experiment, distributions = probed(study.space)
        scores, later = study.scores(), set(study.search.later_seeds)
        trials = study.trials()
        outcomes = tuple(_outcome(study, trial, scores[trial.number], later) for trial in trials)
        lost = given_up(study.main.trials())
        labels = EncodedData.of(loaded(experiment.task), experiment.model).training.sizes.num_labels
        return cls(study.name, study.metric, study.search, distributions, outcomes, lost, labels, len(study.main))

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """The trials that ran to their end, the best first; of equal ones that of the first slot."""
        return tuple(sorted((each for each in self.outcomes if each.state == "finished"), key=self.rank))

    def rank(self, outcome: Outcome) -> tuple[int, float]:
        """What finished trials are ordered by: those under most seeds before all others, then the mean."""
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

    def count(self, state: str) -> int:
        """How many trials are in a state."""
        return sum(each.state == state for each in self.outcomes)

    def numeric(self) -> tuple[str, ...]:
        """The parameters that are numbers."""
        kinds = FloatDistribution | IntDistribution
        return tuple(name for name, each in self.distributions.items() if isinstance(each, kinds))


@dataclass(frozen=True)
class Conventions:
    """A payoff's temperature in every convention; None where its law has none."""

    literal: float
    rescaled: float | None
    edit_rate: float | None


def conventions(experiment: Experiment, labels: int) -> Conventions | None:
    """The temperature of an experiment's first payoff; None where it has no payoff."""
    payoff = next((each for each in components(experiment.objective) if isinstance(each, Payoff)), None)
    if payoff is None:
        return None
    found = [_convert(payoff, name, labels) for name in ("rescaled", "edit_rate")]
    return Conventions(payoff.literal(labels), *found)


def _convert(payoff: Payoff, name: str, labels: int) -> float | None:
    convert = getattr(payoff, name, None)
    return None if convert is None else float(convert(labels))


def _outcome(study: Study, trial: FrozenTrial, scores: Mapping[int, float], later: set[int]) -> Outcome:
    started, ended = trial.datetime_start or datetime.min, trial.datetime_complete or trial.datetime_start
    return Outcome(
        number=trial.number,
        parameters=trial.params,
        experiment=_experiment(study, trial),
        state=STATES[trial.state],
        scores=scores,
        fresh=tuple(score for seed, score in scores.items() if seed in later) or tuple(scores.values()),
        epochs=trial.intermediate_values,
        reason=str(trial.user_attrs.get(REASON, DIED if trial.state == TrialState.FAIL else "")),
        seconds=0.0 if ended is None else (ended - started).total_seconds(),
    )


def _experiment(study: Study, trial: FrozenTrial) -> Experiment | None:
    try:
        return study.space(FixedTrial(trial.params)) if trial.params else None
    except (ConfigError, ValueError):
        return None
