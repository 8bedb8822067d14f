"""What a space searches, and what is said about one that cannot be searched."""

import math
from dataclasses import replace

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from structpred.assignment import assigned
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood, MinimumRisk
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.training import Adam
from structpred.tuning import Over, Range, Suggest, spaces
from structpred.tuning.search import described, grid, probed, signature
from structpred.tuning.spaces import READY, ready
from tests.support.tuning import TEMPERED, TINY, rate

RESCALED = replace(TINY, objective=RML(payoff=EditDistancePayoff(temperature=Temperature(rescaled=0.8))))


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (spaces.edit_rate(RESCALED), 0.02, RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.02)))),
        (spaces.rescaled(TEMPERED), 0.7, RML(payoff=EditDistancePayoff(temperature=Temperature(rescaled=0.7)))),
        (spaces.smoothing(replace(TINY, objective=LabelSmoothing())), 0.2, LabelSmoothing(epsilon=0.2)),
        (spaces.sharpness(replace(TINY, objective=MinimumRisk())), 0.5, MinimumRisk(sharpness=0.5)),
    ],
    ids=["edit rate", "rescaled", "smoothing", "sharpness"],
)
def test_ready_spaces_set_the_field_of_the_objective(space: Over, value: float, expected: object) -> None:
    (field,) = [each.field for each in space.ranges]
    assert space(FixedTrial({field: value})).objective == expected


def test_ready_spaces_of_the_optimiser_and_the_model() -> None:
    assert spaces.learning_rate(TINY)(FixedTrial({"optimiser.lr": 0.002})).optimiser == Adam(lr=0.002)
    assert spaces.dropout(TINY)(FixedTrial({"model.dropout": 0.4})) == assigned(TINY, {"model.dropout": 0.4})


def test_ready_ranges_go_by_name_and_by_field() -> None:
    assert all(ready(name) is ready(each.field) is each for name, each in READY.items())
    with pytest.raises(ConfigError, match="there is no ready range 'edit-rat'; did you mean 'edit-rate'"):
        ready("edit-rat")


def test_several_fields_and_names_of_a_family_are_searched_together() -> None:
    objective = Range(field="objective", choices=("maximum-likelihood", "label-smoothing"))
    space = Over(TINY, (objective, Range(field="model.embedding", low=4, high=16)))
    made = space(FixedTrial({"objective": "label-smoothing", "model.embedding": 7}))
    assert made.objective == LabelSmoothing()
    assert made == assigned(TINY, {"objective": "label-smoothing", "model.embedding": 7})
    experiment, asked = probed(space)
    assert experiment.objective == MaximumLikelihood()
    assert asked["model.embedding"] == IntDistribution(4, 16)
    assert isinstance(asked["objective"], CategoricalDistribution)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"low": 0.1}, "a low end below a high one, but got 0.1 and None"),
        ({"low": 2.0, "high": 1.0}, "a low end below a high one, but got 2.0 and 1.0"),
        ({"low": 0.0, "high": 1.0, "log": True}, "must begin above 0, but got 0.0"),
        ({"low": 0.0, "choices": (1, 2)}, "either choices or a range, but got both"),
    ],
)
def test_what_is_no_range_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"model.dropout: .*{said}"):
        Range(field="model.dropout", **fields)  # type: ignore[arg-type]


def test_fields_that_are_not_there_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"objective\.epsilon: MaximumLikelihood has no field 'epsilon'"):
        spaces.smoothing(TINY)
    with pytest.raises(ConfigError, match=r"seed\.x: 'seed' of Experiment has no fields of its own"):
        Over(TINY, (Range(field="seed.x", low=0, high=1),))
    with pytest.raises(ConfigError, match="each once, but got"):
        Over(TINY, (READY["dropout"], READY["dropout"]))
    with pytest.raises(ConfigError, match=r"model\.dropout must be below 1 and at least 0, but got -1"):
        spaces.dropout(TINY, low=-1.0, high=0.5)


def asks_nothing(trial: Suggest) -> Experiment:
    del trial
    return TINY


def returns_nothing(trial: Suggest) -> Experiment:
    trial.suggest_float("x", 0.0, 1.0)
    return None  # type: ignore[return-value]


def asks_twice(trial: Suggest) -> Experiment:
    trial.suggest_float("x", 0.0, 1.0)
    trial.suggest_float("x", 0.0, 2.0)
    return TINY


def backwards(trial: Suggest) -> Experiment:
    trial.suggest_float("x", 1.0, 0.0)
    return TINY


def fails(trial: Suggest) -> Experiment:
    raise KeyError(trial.suggest_float("x", 0.0, 1.0))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (fails, r"failed with KeyError in line \d+ of .*test_spaces.py: 0.5"),
        (lambda trial: trial.suggest_categorical("x", [MaximumLikelihood()]), r"choice MaximumLikelihood\(\), which"),
        (lambda trial: trial.suggest_categorical("x", [1, True]), "expected each choice once"),
        (lambda trial: trial.suggest_int("x", 2.5, 4), "asks for x, a whole number, by 2.5"),
        (lambda trial: trial.suggest_float("x", 0, math.inf), "both ends must be finite"),
        (lambda trial: trial.suggest_float("", 0, 1), "the name of a parameter must be one line"),
        (lambda trial: trial.suggest_float(3, 0, 1), "the name of a parameter must be one line"),
        (asks_nothing, "nothing to tune"),
        (returns_nothing, "must return an Experiment, but got None"),
        (asks_twice, "asks for x twice"),
        (backwards, "asks for x, which cannot be"),
        (lambda trial: trial.suggest_uniform("x", 0, 1), "failed with AttributeError"),
    ],
    ids=[
        "raises",
        "object",
        "equal choices",
        "half",
        "infinite",
        "no name",
        "number",
        "nothing asked",
        "nothing returned",
        "twice",
        "backwards",
        "no such method",
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_in_words(space: spaces.Space, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        probed(space)


def test_a_grid_has_every_combination_with_both_ends() -> None:
    space = Over(
        TINY,
        (
            Range(field="optimiser.lr", low=0.001, high=0.1, log=True),
            Range(field="model.embedding", low=4, high=6),
            Range(field="trainer.precision", choices=("fp32", "bf16")),
        ),
    )
    points = grid(space, 3)
    assert len(points) == 3 * 3 * 2
    assert len({tuple(point.values()) for point in points}) == len(points)
    assert sorted({point["optimiser.lr"] for point in points}) == pytest.approx([0.001, 0.01, 0.1])
    assert {point["model.embedding"] for point in points} == {4, 5, 6}
    assert len(grid(Over(TINY, (Range(field="model.embedding", low=4, high=6),)), 10)) == 3
    thirds = grid(Over(TINY, (Range(field="optimiser.lr", low=1 / 300, high=1 / 30),)), 2)
    assert [point["optimiser.lr"] for point in thirds] == [1 / 300, 1 / 30], "no end is rounded to a value beyond it"
    assert len(grid(Over(TINY, (Range(field="optimiser.lr", low=0.001, high=0.1),)), 1)) == 1


def test_the_signature_tells_spaces_apart() -> None:
    assert signature(*probed(rate)) == signature(*probed(rate))
    wider = spaces.edit_rate(TEMPERED, high=0.5)
    assert signature(*probed(wider)) != signature(*probed(spaces.edit_rate(TEMPERED)))
    assert signature(*probed(wider)) == signature(*probed(spaces.edit_rate(replace(TEMPERED, seed=9), high=0.5)))
    assert described(FloatDistribution(0.0, 1.0, step=0.25)) == "from 0 to 1 in steps of 0.25"
    assert described(CategoricalDistribution((1, "a"))) == "one of 1, 'a'"
