"""What the data can tell of an optimum, and in which words it is told."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from scipy import stats

from structpred.metrics import SymbolErrorRate
from structpred.objectives import RML
from structpred.payoffs import EditDistancePayoff, HammingPayoff, PublishedEditDistancePayoff, Temperature
from structpred.tuning import Outcome, Result
from structpred.tuning.analysis import noise, not_worse, optimum, threshold
from structpred.tuning.outcomes import conventions
from structpred.tuning.search import Search
from structpred.tuning.sentences import budget, conclusion, notes
from structpred.tuning.spaces import assigned
from tests.support.tuning import TEMPERED, TINY


def outcome(number: int, tau: float, scores: Sequence[float], state: str = "finished") -> Outcome:
    return Outcome(
        number=number,
        parameters={"tau": tau},
        experiment=assigned(TEMPERED, "objective.payoff.temperature.edit_rate", tau),
        state=state,
        scores=dict(enumerate(scores)),
        fresh=tuple(scores),
        epochs={},
        reason="",
        seconds=1.0,
    )


def result(scores: Mapping[float, Sequence[float]], low: float = 0.001, high: float = 1.0, **search: Any) -> Result:
    outcomes = tuple(outcome(i, tau, each) for i, (tau, each) in enumerate(scores.items()))
    ranges = {"tau": FloatDistribution(low, high, log=True)}
    return Result("s", SymbolErrorRate(), Search(finalists=0, **search), ranges, outcomes, 0, 40)


CLEAR = {0.01: [20.0, 21.0], 0.02: [15.0, 16.0], 0.03: [15.5, 16.5], 0.05: [22.0, 23.0]}


def test_noise_is_pooled_within_trials() -> None:
    found = noise(result({0.1: [1.0, 3.0], 0.2: [5.0, 5.0, 8.0], 0.3: [4.0]}).outcomes)
    assert found is not None
    assert found.freedom == 3
    assert found.deviation == pytest.approx(math.sqrt((2.0 + 6.0) / 3))
    assert noise(result({0.1: [1.0], 0.2: [2.0]}).outcomes) is None
    assert noise(result({0.1: [1.0, 1.0]}).outcomes) is None


def test_where_trials_on_both_sides_are_worse_the_optimum_is_interior() -> None:
    clear = result(CLEAR)
    found = optimum(clear, "tau")
    assert found is not None
    assert (found.best, found.low, found.high, found.verdict) == (0.02, 0.02, 0.03, "interior")
    assert "tau: the optimum is interior" in conclusion(clear)[1]
    assert "from 0.02 to 0.03" in conclusion(clear)[1]


@pytest.mark.parametrize(
    ("scores", "verdict", "said"),
    [
        ({**CLEAR, 0.01: [15.5, 17.0]}, "cannot tell", "nothing tried at the lower end is shown to be worse"),
        ({**CLEAR, 0.005: [14.0, 15.0]}, "at the edge", "the outermost one tried within 0.001 to 1"),
        (
            {tau: each[:1] for tau, each in CLEAR.items()},
            "no noise known",
            "no trial ran under two seeds, which would tell",
        ),
    ],
    ids=["open below", "edge", "one seed"],
)
def test_what_the_data_cannot_tell_is_said(scores: dict[float, list[float]], verdict: str, said: str) -> None:
    found = optimum(result(scores), "tau")
    assert found is not None
    assert found.verdict == verdict
    assert said in " ".join(conclusion(result(scores)))


def test_the_threshold_is_students_one_sided_and_corrected_for_all_trials() -> None:
    one, other = outcome(0, 0.1, [1.0, 2.0, 3.0]), outcome(1, 0.2, [4.0])
    seen = noise([one, other])
    assert seen is not None
    expected = stats.t(2).ppf(1 - 0.05 / 19) * 1.0 * math.sqrt(1 / 3 + 1)
    assert threshold(one, other, seen, 19) == pytest.approx(expected)


def test_where_nothing_differs_something_is_called_worse_in_one_study_of_twenty_at_most() -> None:
    # The best here is chosen by the very scores that are compared, so that the rate may exceed 5 %; with fresh seeds,
    # as finalists have, it must not. 400 studies: a rate of 5 % gives more than 33 (8.25 %) once in 300 times.
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        scores = {0.01 * (i + 1): random.normal(size=4 if i == 0 else 1).tolist() for i in range(12)}
        study = result(scores)
        seen = noise(study.finished)
        assert seen is not None
        fresh, *others = study.outcomes
        wrong += any(each.mean - fresh.mean > threshold(fresh, each, seen, 11) for each in others)
    assert wrong <= 33


def test_pruned_and_failed_trials_are_compared_with_nothing() -> None:
    study = result(CLEAR)
    stopped = (outcome(9, 0.5, [1.0], "pruned"), outcome(10, 0.6, [], "failed"))
    more = Result(**{**vars(study), "outcomes": (*study.outcomes, *stopped)})
    assert not_worse(more) == not_worse(study)
    assert more.best == study.best
    assert "4 finished, 1 pruned and 1 failed" in budget((more,))[1]


def test_an_equal_budget_is_stated() -> None:
    both = (result(CLEAR, trials=15), result(CLEAR, trials=15))
    assert budget(both)[0].startswith("Every one of the 2 studies had the same budget: 15 trials of 1 seed each;")
    assert any("s = 0.71 is the pooled standard deviation" in note for note in notes(both[0]))
    assert any("Nothing tells how much seeds matter" in note for note in notes(result({0.1: [1.0]})))


def test_a_temperature_is_told_in_every_convention_its_law_has() -> None:
    found = conventions(TEMPERED, 40)
    assert found is not None
    assert found.edit_rate == pytest.approx(0.1)
    assert found.rescaled == pytest.approx(found.literal * (1 + math.log(40)))
    published = PublishedEditDistancePayoff(temperature=Temperature(rescaled=0.8))
    law = conventions(replace(TEMPERED, objective=RML(payoff=published)), 40)
    assert law is not None
    assert law.rescaled == pytest.approx(0.8)
    assert law.edit_rate is None
    assert conventions(TINY, 40) is None
    assert EditDistancePayoff(temperature=Temperature(literal=found.literal)).edit_rate(40) == pytest.approx(0.1)
    assert HammingPayoff(temperature=Temperature(edit_rate=0.1)).edit_rate(40) == pytest.approx(0.1)
