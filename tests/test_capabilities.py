"""Which reward goes with which objective and model, as the classes themselves say."""

from dataclasses import dataclass

import pytest

from structpred.capabilities import EXAMPLES, Grid, Row, combinations, grid
from structpred.config import registered_name
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives

NEW = ("chrf", "gleu", "ter", "text-bleu", "weighted")
ANY = ("candidate-hinge", "minimum-risk", "mixer", "reinforce")
POSITIONS = ("expected-reward", "max-margin", "softmax-margin")


@pytest.fixture(scope="module")
def shown() -> Grid:
    return grid()


def row(shown: Grid, objective: str, reward: str) -> Row:
    (found,) = (each for each in shown.rows if (each.objective, each.reward) == (objective, reward))
    return found


def test_a_model_that_cannot_be_made_without_values_is_left_out(monkeypatch: pytest.MonkeyPatch, shown: Grid) -> None:
    monkeypatch.delitem(EXAMPLES, "path_or_name")
    assert set(shown.models) - set(grid().models) == {"pretrained-seq2seq"}
    assert "pretrained-seq2seq" not in {registered_name(model) for _, model in combinations()}


@pytest.mark.parametrize("objective", ANY)
@pytest.mark.parametrize("reward", NEW)
def test_rewards_of_any_length_go_wherever_the_edit_distance_goes(shown: Grid, objective: str, reward: str) -> None:
    assert row(shown, objective, reward).ways == row(shown, objective, "edit-distance").ways
    assert "sampled" in row(shown, objective, reward).ways


@pytest.mark.parametrize("objective", POSITIONS)
def test_a_sum_goes_wherever_any_of_its_parts_could_go(shown: Grid, objective: str) -> None:
    assert row(shown, objective, "weighted").ways == row(shown, objective, "hamming").ways
    for reward in ("chrf", "gleu", "ter", "text-bleu"):
        found = row(shown, objective, reward)
        assert not any(found.ways)
        assert all("needs a reward that is a sum over positions" in reason for reason in found.reasons)


@objectives.register("test-scaled")
@dataclass(frozen=True, kw_only=True)
class Scaled(MaximumLikelihood):
    """Likelihood times a number that has no default."""

    scale: float


def test_an_objective_that_cannot_be_made_without_values_says_so(shown: Grid) -> None:
    found = row(shown, "test-scaled", "-")
    assert set(found.ways) == {""}
    assert set(found.reasons) == {
        "Scaled needs a value for scale; its classmethod examples() can give one of each kind"
    }
    for name in ("weighted-sum", "switch", "anneal"):
        assert set(row(shown, name, "-").ways) == {"as its parts"}


def test_an_objective_made_of_another_may_ask_more_of_the_model(shown: Grid) -> None:
    ways = dict(zip(shown.models, row(shown, "adversarial", "-").ways, strict=True))
    assert ways["crf"] == ways["transformer"] == "as its parts"
    assert not ways["pretrained-seq2seq"]


def test_there_is_one_row_for_each_objective_and_reward(shown: Grid) -> None:
    pairs = [(each.objective, each.reward) for each in shown.rows]
    assert len(pairs) == len(set(pairs))
    assert {objective for objective, _ in pairs} == set(objectives)
