"""Fields by their dotted names, in Python and on the command line."""

import pytest

from structpred.assignment import assigned
from structpred.cli import assignments
from structpred.config import Json
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.objectives import RML
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature

BASE = assignments.experiment(["objective=rml"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seed": 3}, ["seed=3"]),
        ({"optimiser.lr": 0.01, "model.hidden": 8}, ["optimiser.lr=.01", "model.hidden=8"]),
        (
            {"objective": "label-smoothing", "objective.epsilon": 0.2},
            ["objective=label-smoothing", "objective.epsilon=.2"],
        ),
        (
            {"objective.payoff": "hamming", "objective.payoff.temperature.literal": 0.2},
            ["objective.payoff=hamming", "objective.payoff.temperature.literal=.2"],
        ),
        ({"objective.payoff.temperature.rescaled": 0.7}, ["objective.payoff.temperature.rescaled=0.7"]),
        ({"trainer.patience": None}, ["trainer.patience=null"]),
        ({"decoding.length_penalty": 0.5}, ["decoding.length_penalty=.5"]),
    ],
    ids=lambda given: next(iter(given)),
)
def test_python_and_the_command_line_make_the_same(values: dict[str, Json], words: list[str]) -> None:
    made = assigned(BASE, values)
    assert made == assignments.experiment(words, BASE)
    assert made.to_json() == assignments.experiment(words, BASE).to_json()


def test_what_excludes_a_value_becomes_none_and_the_base_stays() -> None:
    before = BASE.to_json()
    made = assigned(BASE, {"objective.payoff.temperature.literal": 0.3})
    assert made.objective == RML(payoff=EditDistancePayoff(temperature=Temperature(literal=0.3)))
    assert BASE.to_json() == before


def test_any_config_can_be_changed_not_only_an_experiment() -> None:
    payoff = HammingPayoff(temperature=Temperature(edit_rate=0.1))
    assert assigned(payoff, {"temperature.edit_rate": 0.2}) == HammingPayoff(temperature=Temperature(edit_rate=0.2))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model.hiddn": 3}, "model.hiddn: Seq2Seq has no field 'hiddn'; did you mean 'hidden'?"),
        ({"seed.x": 3}, "seed.x: 'seed' of Experiment has no fields of its own"),
        ({"objective": "rlm"}, "there is no objective named 'rlm'; did you mean 'rml'?"),
        ({"trainer.epochs": 0}, "trainer.epochs must be at least 1, but got 0"),
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_is_not_there_or_cannot_be_is_refused(values: dict[str, Json], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        assigned(BASE, values)
    assert str(caught.value).startswith(said)
    assert isinstance(BASE, Experiment)
