"""A function of one's own as a config: JSON, identity, binding, and what may be given as a function."""

import functools
import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from structpred.cli import assignments
from structpred.config import encode
from structpred.errors import ConfigError
from structpred.objectives import MinimumRisk
from structpred.rewards import FunctionReward, Reward, WeightedReward, WeightedRewards, bind
from structpred.testing import check_reward
from tests.rewards.test_function import (
    CONTEXT,
    HERE,
    OUTPUTS,
    TARGETS,
    OneOfIds,
    at_odds,
    nothing,
    of_metadata,
    reward,
    watched,
)


def test_it_comes_back_from_json() -> None:
    made = reward(watched, on="text", cache=100)
    assert Reward.from_json(made.to_json()) == made
    assert Reward.from_json(f'{{"type":"function","function":"{HERE}:watched"}}') == reward(watched)
    bound = bind(made, CONTEXT)
    assert bound == made
    assert (bound.to_json(), hash(bound)) == (made.to_json(), hash(made))


def test_older_runs_keep_their_identity() -> None:
    """The JSON that is hashed is that of the version before there were ``on`` and ``cache``."""
    old = {"type": "function", "function": f"{HERE}:nothing", "version": 1}
    new = encode(reward(nothing), versions=True)
    assert isinstance(new, dict)
    del new["sources"]
    assert new == old
    assert encode(reward(nothing, on="text"), versions=True) != encode(reward(nothing), versions=True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"on": "words"}, r"FunctionReward\.on must be one of 'ids', 'symbols', 'text'"), ({"cache": -1}, "cache")],
)
def test_wrong_settings_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        reward(watched, **fields)


@pytest.mark.parametrize("on", ["ids", "symbols", "text"])
def test_the_kit_checks_a_function_whatever_it_sees(on: Any) -> None:
    check_reward(reward(at_odds, on=on))


def test_binding_reaches_every_reward_and_copies_nothing_else() -> None:
    ids: Sequence[Reward] = [WeightedRewards(parts=(WeightedReward(reward=each),)) for each in (OneOfIds(), OneOfIds())]
    for each in ids:
        assert bind(each, CONTEXT) is each
    mixed = WeightedRewards(
        parts=(
            WeightedReward(reward=reward(watched, on="text"), weight=2),
            WeightedReward(reward=ids[0]),
            WeightedReward(reward=WeightedRewards(parts=(WeightedReward(reward=reward(of_metadata)),)), weight=0.5),
        )
    )
    bound = bind(mixed, CONTEXT)
    assert bound == mixed
    assert bound.parts[1] is mixed.parts[1]
    assert bound.score(OUTPUTS, TARGETS).tolist() == [[0 + 1 + 10, -6 + 1 + 10], [8 + 1 - 5, -6 + 1 - 5]]
    with pytest.raises(ConfigError, match="FunctionReward reads what label ids stand for"):
        mixed.score(OUTPUTS, TARGETS)


def test_the_source_is_that_of_the_function_which_runs_though_its_file_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "edited_rewards.py"
    file.write_text("def first(output, reference):\n    return 0.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = FunctionReward(function="edited_rewards:first")
    before = made.fingerprint()
    file.write_text("def first(output, reference):\n    return 1.0 if output else 0.5\n", encoding="utf-8")
    os.utime(file, (0, 0))
    assert made.fingerprint() == FunctionReward(function="edited_rewards:first").fingerprint() == before


@pytest.mark.parametrize("edit", ["def first(output, reference):\n    return 1.0\n", "# moved\n{}", "def ("])
def test_a_file_that_was_edited_between_its_import_and_its_first_use_is_refused(
    edit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = "def first(output, reference):\n    return 0.0\n"
    name = f"edited_before_use_{len(edit)}"
    file = tmp_path / f"{name}.py"
    file.write_text(before, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = FunctionReward(function=importlib.import_module(name).first)
    file.write_text(edit.format(before), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^the file of the reward function '{name}:first' was edited after it was"):
        made.fingerprint()
    file.write_text(before + "\n\nother = 3\n", encoding="utf-8")
    assert made.fingerprint() == (before,), "what was edited is not the function"


# ------------------------------------------------------------------------------------------------ given as a function


class Counting:
    """A callable with settings of its own."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, output: list[int], reference: list[int]) -> float:
        return self.weight * len(output)

    def method(self, output: list[int], reference: list[int]) -> float:
        return self(output, reference)

    @staticmethod
    def static(output: list[int], reference: list[int]) -> float:
        return float(len(output))


COUNTING = Counting(0.5)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (watched, f"{HERE}:watched"),
        (Counting.static, f"{__name__}:Counting.static"),
        (COUNTING, f"{__name__}:COUNTING"),
    ],
)
def test_whatever_can_be_imported_and_called_is_a_reward(given: Any, name: str) -> None:
    objective = MinimumRisk(reward=given)
    assert objective.reward == FunctionReward(function=name) == FunctionReward(function=given)
    assert MinimumRisk.from_json(objective.to_json()) == objective
    assert objective.reward.score(OUTPUTS, TARGETS).shape == (2, 2)
    assert "class Counting:" in FunctionReward(function=COUNTING).fingerprint()[0], "whose settings are in its module"  # type: ignore[arg-type]  # it is replaced by its name


def a_closure() -> Callable[..., float]:
    def inner(output: list[int], reference: list[int]) -> float:
        return 0.0

    return inner


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda output, reference: 0.0, "a reward function must be importable, so that .*, but a lambda has no name; "),
        (a_closure(), r"but inner is defined inside a function; define it by def at the top level of a \.py file"),
        (COUNTING.method, r"but Counting\.method is not what .*:Counting\.method is; define"),
        (functools.partial(watched), r"but functools\.partial\(.* has no name; .* as in 'my_module:my_function'$"),
        (Counting(2.0), "has no name; define"),
        (FunctionReward, r"MinimumRisk\.reward must be a Reward, but got the class; write FunctionReward\(\)$"),
        (Counting, r"MinimumRisk\.reward must be a Reward, but got <class"),
        ("watched", r"MinimumRisk\.reward must be a Reward, but got 'watched'$"),
    ],
)
def test_what_cannot_be_imported_again_is_refused_with_the_way_out(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MinimumRisk(reward=given)


def test_on_the_command_line_a_name_with_a_colon_is_a_function() -> None:
    words = [f"objective.reward={HERE}:watched", "objective.reward.on=text"]
    made = assignments.experiment(["objective=minimum-risk", *words])
    assert made.objective == MinimumRisk(reward=reward(watched, on="text"))
