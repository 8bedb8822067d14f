"""What the data can tell of an optimum, and in which words it is told."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from matplotlib.axes import Axes
from optuna.distributions import FloatDistribution

from structpred.assignment import assigned
from structpred.experiment import Experiment
from structpred.metrics import SymbolErrorRate
from structpred.objectives import RML
from structpred.payoffs import EditDistancePayoff, HammingPayoff, PublishedEditDistancePayoff, Temperature
from structpred.report.document import Curves, Dots, Figure
from structpred.tuning import Outcome, Result
from structpred.tuning import charts as charts_of_tuning
from structpred.tuning.layout import document
from structpred.tuning.search import Search
from structpred.tuning.summary import budget, conclusion, not_worse, notes, optimum, position
from tests.support.studies import shown_of
from tests.support.tuning import TEMPERED, TINY


@cache
def at(tau: float) -> Experiment:
    return assigned(TEMPERED, {"objective.payoff.temperature.edit_rate": tau})


def outcome(number: int, tau: float, scores: Sequence[float], state: str = "finished") -> Outcome:
    return Outcome(
        number=number,
        parameters={"tau": tau},
        experiment=at(tau),
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
        (
            {**CLEAR, 0.005: [14.0, 15.0]},
            "outermost",
            "0.005, is the lowest tried and between it and the end of the range at 0.001 nothing was tried; run more",
        ),
        (
            {**CLEAR, 0.0015: [14.0, 15.0]},
            "at the edge",
            "0.0015, is the lowest tried and near that end of the range 0.001 to 1, so the optimum may lie beyond; "
            "widen the range there",
        ),
        (
            {**CLEAR, 0.8: [14.0, 15.0]},
            "at the edge",
            "0.8, is the highest tried and near that end of the range 0.001 to 1, so the optimum may lie beyond; widen",
        ),
        ({0.0015: [1.0], 0.01: [2.0], 0.1: [3.0], 0.5: [4.0]}, "few", "the outermost of too few to tell"),
        ({0.0015: [1.0], 0.01: [2.0], 0.1: [3.0], 0.5: [4.0], 0.9: [1.0]}, "tied", "from 0.0015 to 0.9 tie for"),
        (
            {tau: each[:1] for tau, each in CLEAR.items()},
            "no noise known",
            "no trial ran under two seeds, which would tell",
        ),
    ],
    ids=["open below", "far from the end", "lower edge", "upper edge", "few", "tied", "one seed"],
)
def test_what_the_data_cannot_tell_is_said(scores: dict[float, list[float]], verdict: str, said: str) -> None:
    found = optimum(result(scores), "tau")
    assert found is not None
    assert found.verdict == verdict
    assert said in " ".join(conclusion(result(scores)))


def test_pruned_and_failed_trials_are_compared_with_nothing() -> None:
    study = result(CLEAR)
    stopped = (outcome(9, 0.5, [1.0], "pruned"), outcome(10, 0.6, [], "failed"))
    more = Result(**{**vars(study), "outcomes": (*study.outcomes, *stopped)})
    assert not_worse(more) == not_worse(study)
    assert more.best == study.best
    assert "4 finished, 1 pruned and 1 failed." in budget((more,))[1]


def test_the_order_of_seeds_makes_no_trial_better() -> None:
    scores = [100 * count / 33 for count in (1, 2, 3)]
    assert scores[0] + scores[1] + scores[2] != scores[2] + scores[1] + scores[0], "a plain sum would tell them apart"
    assert len(result({0.1: scores, 0.2: scores[::-1]}).tied) == 2


def test_an_equal_budget_is_stated() -> None:
    both = (result(CLEAR, trials=15), result(CLEAR, trials=15))
    assert budget(both)[0].startswith("Every one of the 2 studies had the same budget: 15 trials of 1 seed each;")
    later, earlier = result(CLEAR, trials=2), replace(result({0.1: [1.0]}, trials=2), name="t")
    assert budget((later, earlier))[0] == (
        "The last command asked for 2 trials of 1 seed each; sampler tpe, pruner median, but earlier ones for more: "
        "s has 4 trials."
    )
    changed = replace(later, ways=("sampler random, pruner none", "sampler tpe, pruner median"))
    assert "; sampler random, pruner none, then sampler tpe, pruner median, but" in budget((changed,))[0]
    assert any("s = 0.71 is the pooled standard deviation" in note for note in notes(both[0]))
    assert any("Nothing tells how much seeds matter" in note for note in notes(result({0.1: [1.0]})))


def test_a_temperature_is_told_in_every_convention_its_law_has() -> None:
    study = result({0.1: [1.0]})
    found = study.temperature(study.best)
    assert found is not None
    assert found.edit_rate == pytest.approx(0.1)
    assert found.rescaled == pytest.approx(found.literal * (1 + math.log(40)))
    published = PublishedEditDistancePayoff(temperature=Temperature(rescaled=0.8))
    tempered = replace(TEMPERED, objective=RML(payoff=published))
    law = study.temperature(replace(study.outcomes[0], experiment=tempered))
    assert law is not None
    assert law.rescaled == pytest.approx(0.8)
    assert law.edit_rate is None
    assert study.temperature(replace(study.outcomes[0], experiment=TINY)) is None
    assert study.temperature(None) is None
    assert EditDistancePayoff(temperature=Temperature(literal=found.literal)).edit_rate(40) == pytest.approx(0.1)
    assert HammingPayoff(temperature=Temperature(edit_rate=0.1)).edit_rate(40) == pytest.approx(0.1)


@pytest.mark.parametrize(("value", "log", "expected"), [(0.01, True, 0.5), (0.0505, False, 0.5), (0.001, True, 0.0)])
def test_a_place_in_a_range_is_on_the_ranges_own_scale(value: float, log: bool, expected: float) -> None:
    distribution = FloatDistribution(0.001, 0.1, log=log)
    assert position(value, distribution) == pytest.approx(expected)


def test_four_trials_that_all_score_the_same_are_named_and_none_is_called_best() -> None:
    study = result({0.0334: [100.0], 0.003: [100.0], 0.2: [100.0], 0.01: [100.0]}, low=0.003, high=0.3)
    said = " ".join(conclusion(study))
    assert "4 of 4 finished trials tie for the best, with dev" in said
    assert "trial 0 (tau 0.0334), trial 1 (tau 0.003), trial 2 (tau 0.2) and trial 3 (tau 0.01)" in said
    assert "run more trials" in said
    assert "The temperature of the first of those that tie is" in said
    for wrong in ("the best of", "the best value", "widen", "outermost"):
        assert wrong not in said
    page = shown_of("s", study)
    assert page.count("ties for the best") == 4
    assert "4 trials tie |" in page
    many = result({0.01 * (i + 1): [1.0] for i in range(9)})
    assert "and 4 more. The first of them is taken" in conclusion(many)[0]


def test_one_tie_within_what_is_shown_to_be_worse_leaves_the_optimum_interior() -> None:
    study = result({**CLEAR, 0.03: [15.0, 16.0]})
    assert len(study.tied) == 2
    found = optimum(study, "tau")
    assert found is not None
    assert found.verdict == "interior"


def test_ties_go_by_slot_so_that_a_trial_that_was_put_back_does_not_lose() -> None:
    put_back, later = outcome(7, 0.1, [1.0]), outcome(1, 0.2, [1.0])  # in the order of their slots
    study = replace(result({}), outcomes=(put_back, later))
    assert study.best is put_back
    assert study.finished == (put_back, later)


def finalist(number: int, tau: float, first: float, later: Sequence[float]) -> Outcome:
    scores = dict(enumerate([first, *later]))
    return replace(outcome(number, tau, [first]), scores=scores, fresh=tuple(later))


def test_table_and_plots_are_of_the_same_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    lucky, steady = finalist(0, 0.1, 10.0, [30.0, 32.0]), finalist(1, 0.2, 20.0, [22.0, 24.0])
    study = replace(result({}), outcomes=(lucky, steady, outcome(2, 0.3, [15.0])))
    drawn: list[tuple[list[float], list[float]]] = []
    plot = Axes.plot

    def record(self: Axes, x: Any, y: Any, *arguments: Any, **options: Any) -> Any:
        drawn.append((list(x), list(y)))
        return plot(self, x, y, *arguments, **options)

    monkeypatch.setattr(Axes, "plot", record)
    for figure in [block for block in document((study,), {}).sections[3].blocks if isinstance(block, Figure)]:
        figure.draw()
    assert ([0.1, 0.1], [30.0, 32.0]) in drawn
    assert [each for each in drawn if each[0] in ([1], [2], [3])] == [([1], [31.0]), ([2], [23.0]), ([3], [15.0])]
    assert ([1, 2, 2, 3, 3], [31.0, 31.0, 23.0, 23.0, 23.0]) in drawn, "the best so far is what the table puts first"
    assert not [y for _, y in drawn if 10.0 in y or 20.0 in y]
    rows = shown_of("s", study)
    assert "23.00 (22.00 to 24.00)" in rows
    (steady_row,) = [line for line in rows.splitlines() if line.startswith("|     1 |")]
    assert re.search(r"finished \|\s+2 \|\s+23.00", steady_row), "as many seeds as the mean is of"


def test_what_pruned_trials_had_reached_has_a_column_of_its_own() -> None:
    pruned = replace(outcome(9, 0.5, [], "pruned"), epochs={1: 50.0, 2: 40.0}, reason="pruned after epoch 2")
    hopeless = replace(outcome(10, 0.6, [33.0], "pruned"), epochs={1: 60.0}, reason="hopeless after 1 of 2 seeds")
    study = result(CLEAR)
    rows = shown_of("s", replace(study, outcomes=(*study.outcomes, pruned, hopeless)))
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows.splitlines() if line.startswith("|")]
    head = next(row for row in table if row[0] == "trial")
    cells = {row[0]: dict(zip(head, row, strict=True)) for row in table if len(row) == len(head)}
    final, stopped = "dev PER (%)", "stopped at dev PER (%), greedy"
    assert (cells["9"][final], cells["9"][stopped], cells["9"]["epoch"]) == ("", "40.00", "2")
    assert (cells["10"][final], cells["10"][stopped], cells["10"]["seeds"]) == ("33.00", "", "1")
    assert cells["0"][stopped] == ""
    assert stopped not in shown_of("s", study)
    assert "Final scores come from a beam of 5, scores of stopped trials from greedy decoding" in rows


def test_pictures_have_the_numbers_that_the_page_draws_them_from() -> None:
    pruned = replace(outcome(9, 0.5, [], "pruned"), epochs={2: 40.0, 1: 50.0})
    study = replace(result(CLEAR), outcomes=(outcome(7, 0.04, [18.0]), *result(CLEAR).outcomes, pruned))
    section = document((study,), {"s": {"tau": 1.0}}).sections[3]
    charts = [block.chart for block in section.blocks if isinstance(block, Figure)]
    against, history, curves, shares = charts
    assert isinstance(against, Curves)
    assert isinstance(history, Curves)
    assert isinstance(curves, Curves)
    assert isinstance(shares, Dots)
    assert (against.log, against.band) == (True, (0.02, 0.04)), "what is not shown to be worse than the best"
    points = {point.arm: (point.x["tau"], point.mean, point.values, point.look) for point in against.curves}
    assert points["trial 1"] == ((0.02,), (15.5,), (15.0, 16.0), "best")
    assert points["trial 7"] == ((0.04,), (18.0,), (18.0,), "")
    best, *trials = history.curves
    stair = dict(zip(best.x[charts_of_tuning.ORDER], best.mean, strict=True))
    assert stair == {1: 18.0, 2: 20.5, 3: 15.5, 4: 15.5, 5: 15.5}, "trials under more seeds stand before others"
    assert [line.mean for line in trials] == [(18.0,), (20.5,), (15.5,), (16.0,), (22.5,)]
    (stopped,) = curves.curves
    assert (stopped.arm, stopped.mean, stopped.x, stopped.look) == (
        "trial 9 (pruned)", (50.0, 40.0), {"epoch": (1.0, 2.0)}, "dashed",
    )  # fmt: skip
    assert [(row.arm, row.mean) for row in shares.strips[0].rows] == [("tau", 1.0)]
