"""What a stranger gets wrong is one sentence that says what to do."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jaxtyping
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded, UnsupportedMode

from structpred.environments import SequencePrediction, SequencePredictionVectorEnv
from structpred.errors import CodeError, ConfigError, DataError
from structpred.rewards import EditDistance, FunctionReward, Hamming, Reward
from structpred.sequences import Recording
from structpred.task import Example, Splits
from structpred.tasks import HiddenMarkov, SpellingVariants
from tests.support.environments import Readings, TwoReadings, steps_of


@dataclass(frozen=True, kw_only=True)
class Given(Readings):
    """Whatever examples a test wants."""

    examples: ClassVar[tuple[Example, ...]] = ()
    number: int = 0

    def load(self) -> Splits:
        return Splits(self.examples, (), (), "given")


def of_examples(*examples: Example) -> Given:
    return type("Given", (Given,), {"examples": examples})()  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Strange(EditDistance):
    """A reward that is none where it matters."""

    def score(self, outputs: Any, references: Any) -> Any:
        return super().score(outputs, references).masked_fill(outputs.lengths > 1, -float("inf"))


@dataclass(frozen=True, kw_only=True)
class Failing(EditDistance):
    """A reward with a mistake in it."""

    def score(self, outputs: Any, references: Any) -> Any:
        return outputs.labels / (1 // 0)


@dataclass(frozen=True, kw_only=True)
class Unreadable(Readings):
    """A task with a mistake in it."""

    def load(self) -> Splits:
        raise KeyError("train")


@dataclass(frozen=True, kw_only=True)
class SameLength(Reward):
    """A reward of outputs as long as their references that says nothing of their parts."""

    same_length: ClassVar[bool] = True

    def score(self, outputs: Any, references: Any) -> Any:
        return Hamming().score(outputs, references)


def env(task: Any = Readings(), **arguments: Any) -> SequencePrediction:  # noqa: B008 - frozen
    return SequencePrediction(task, EditDistance(), **arguments)


def tagging(task: Any = TwoReadings(), reward: Any = Hamming(), **arguments: Any) -> SequencePrediction:  # noqa: B008 - frozen
    return SequencePrediction(task, reward, **arguments)


def vector(**arguments: Any) -> SequencePredictionVectorEnv:
    return SequencePredictionVectorEnv(Readings(), EditDistance(), **arguments)


HELLO = Example(Recording("hello.wav", np.zeros((2, 3))), (("x",),), "line 1")
UNLABELLED, EMPTY, FULL = (
    Example(tuple(x), (tuple(y),), f"line {len(x)}") for x, y in (("a", ""), ("", ""), ("aa", "xx"))
)
NO_NAME = r"SequencePrediction.task must be a task or the name of one, but got "

ARGUMENTS: dict[str, tuple[Callable[[], object], str]] = {
    "no task": (lambda: tagging(None), NO_NAME + "None"),
    "a class": (lambda: tagging(HiddenMarkov), NO_NAME + "<class"),
    "task and reward exchanged": (lambda: tagging(Hamming(), Readings()), NO_NAME + r"Hamming\(\)"),
    "no reward": (
        lambda: tagging(reward=3),
        r"SequencePrediction.reward must be a reward or the name of one, but got 3",
    ),
    "task's name": (lambda: tagging("hiden-markov"), r"no task named 'hiden-markov'; did you mean 'hidden-markov'\?"),
    "reward's name": (lambda: tagging(reward="haming"), r"no reward named 'haming'; did you mean 'hamming'\?"),
    "reward without its field": (lambda: tagging(reward="function"), r"needs a value for 'function'"),
    "a field's value": (
        lambda: tagging("hidden-markov", noise=2),
        r"SequencePrediction.task.noise must be .* below 1, but got 2",
    ),
    "fields beside a task": (
        lambda: env(size=3),
        r"arguments \(size\) as fields of a task that is given by its name, but task is Readings\(\)",
    ),
    "split": (lambda: env(split="valid"), r"split must be one of 'train', 'dev', 'test', but got 'valid'"),
    "paid": (lambda: env(paid="increment"), r"paid must be one of 'end', 'increments', .* did you mean 'increments'\?"),
    "limit": (lambda: env(limit=0), r"SequencePrediction.limit must be at least 1, but got 0"),
    "limit of a tagger": (lambda: tagging(limit=5), r"SequencePrediction.limit is for outputs of free length"),
    "fixed length": (lambda: env(fixed_length="yes"), r"SequencePrediction.fixed_length must be True or False"),
    "an empty split": (lambda: tagging(split="test"), r"the split 'test' of this task is empty"),
    "Hamming where length is free": (
        lambda: tagging(Readings()),
        r"word 'ab': the reward Hamming needs a task of tagging, .* 2 symbols have references of 1, 3, 2 labels",
    ),
    "tagging where length is free": (lambda: env(fixed_length=True), r"\(fixed_length=True\) needs a task of tagging"),
    "Hamming with an end": (
        lambda: tagging(fixed_length=False),
        r"Hamming needs outputs as long as their references, but SequencePrediction.fixed_length is False",
    ),
    "increments of another reward of equal lengths": (
        lambda: tagging(reward=SameLength(), paid="increments"),
        r"paid='increments'\) needs the reward of every prefix, but SameLength",
    ),
    "recordings": (lambda: env(task=of_examples(HELLO)), r"line 1: .* shows its agent symbols, .* a recording"),
    "no labels": (lambda: env(task=of_examples(UNLABELLED)), r"needs training examples with labels to choose from"),
    "no examples": (lambda: env(task=of_examples()), r"but Given has 0 training examples without any label"),
    "nothing to tag": (lambda: tagging(of_examples(FULL, EMPTY)), r"line 0: the reward Hamming needs .* 0 symbols"),
    "no environments": (lambda: vector(num_envs=0), r"VectorEnv.num_envs must be at least 1, but got 0"),
    "mode": (lambda: vector(autoreset_mode="next"), r"one of 'NextStep', 'SameStep', 'Disabled', but got 'next'"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_wrong_arguments_are_refused(name: str) -> None:
    make, message = ARGUMENTS[name]
    with pytest.raises((ConfigError, DataError), match=message):
        make()


@pytest.mark.parametrize("kind", [SequencePrediction, SequencePredictionVectorEnv])
def test_nothing_but_text_is_rendered(kind: Any) -> None:
    with pytest.raises(UnsupportedMode, match="render_mode must be 'ansi' or None, but got 'human'"):
        kind(Readings(), EditDistance(), render_mode="human")


@pytest.mark.parametrize("action", [3, -1, 1.0, True, None, "0", np.array([0]), [0]])
def test_an_action_that_does_not_exist_is_refused_and_changes_nothing(action: Any) -> None:
    one = env()
    one.reset(seed=0)
    message = re.escape(f"an action must be a whole number from 0 to 2, of which 2 ends the output, but got {action!r}")
    with pytest.raises(InvalidAction, match=message):
        one.step(action)
    assert one.episodes.length.tolist() == [0]


@pytest.mark.parametrize("action", [0, np.int64(0), np.int32(0), np.array(0)])
def test_every_kind_of_whole_number_is_an_action(action: Any) -> None:
    one = env()
    one.reset(seed=0)
    one.step(action)
    assert one.episodes.length.tolist() == [1]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 3], r"sub-environment 1: an action must be a whole number from 0 to 2, .* but got 3"),
        ([0, -1], r"sub-environment 1: .* but got -1"),
        ([0], r"actions must be 2 whole numbers, one for each sub-environment, but got an array of shape \(1,\)"),
        (0, r"but got an array of shape \(\)"),
        ([0.0, 1.0], r"type float64"),
        ([True, False], r"type bool"),
        ([[0], [1]], r"shape \(2, 1\)"),
    ],
)
def test_actions_that_do_not_exist_are_refused(actions: Any, message: str) -> None:
    envs = SequencePredictionVectorEnv(Readings(), EditDistance(), num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        envs.step(actions)
    assert envs.episodes.length.tolist() == [0, 0]
    envs.step([0, 1])


def test_the_end_of_a_tagger_is_no_action() -> None:
    one = SequencePrediction(TwoReadings(), Hamming())
    one.reset(seed=0)
    with pytest.raises(InvalidAction, match="a whole number from 0 to 1, but got 2"):
        one.step(2)


def test_stepping_needs_a_running_episode() -> None:
    one = env(render_mode="ansi")
    for call in (lambda: one.step(0), one.render):
        with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
            call()
    one.reset(seed=0)
    one.step(2)
    assert "reward" in one.render()  # the last one can still be looked at
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first, and again after each episode"):
        one.step(0)
    many = SequencePredictionVectorEnv(Readings(), EditDistance(), num_envs=2, autoreset_mode="Disabled")
    with pytest.raises(ResetNeeded, match=r"there are no running episodes to step: call reset\(\) first"):
        many.step([0, 0])
    with pytest.raises(ResetNeeded, match=r"the first reset\(\) must begin an episode in every sub-environment"):
        many.reset(options={"reset_mask": np.array([True, False])})
    many.reset(seed=0)
    many.step([0, 2])
    with pytest.raises(ResetNeeded, match="the episode of sub-environment 1 is over, and autoreset_mode is DISABLED"):
        many.step([0, 0])


@pytest.mark.parametrize("example", [4, -1, 1.5, "0", [0, 1]])
def test_an_example_that_does_not_exist_is_refused(example: Any) -> None:
    one = env()
    with pytest.raises(ConfigError, match=r"options\['example'\] must be a whole number from 0 to 3, the examples of"):
        one.reset(options={"example": example})


@pytest.mark.parametrize("mask", [[True, False], np.array([1, 0]), np.array([True]), np.zeros(2, bool)])
def test_a_reset_mask_that_is_none_is_refused(mask: Any) -> None:
    envs = SequencePredictionVectorEnv(Readings(), EditDistance(), num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(ConfigError, match=r"options\['reset_mask'\] must be a NumPy array of 2 truth values"):
        envs.reset(options={"reset_mask": mask})


def test_unknown_options_and_wrong_numbers_of_seeds_are_refused() -> None:
    envs = SequencePredictionVectorEnv(Readings(), EditDistance(), num_envs=2)
    for each in (env(), envs):
        with pytest.raises(ConfigError, match=r"reset has no option 'exmaple'; did you mean 'example'\?"):
            each.reset(options={"exmaple": 1})
    with pytest.raises(ConfigError, match="reset needs one seed, or 2 of them, but got 3"):
        envs.reset(seed=[1, 2, 3])


def test_options_that_are_no_dict_are_refused() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # which would refuse them first; set again before each test
    for each in (env(), SequencePredictionVectorEnv(Readings(), EditDistance(), num_envs=2)):
        with pytest.raises(ConfigError, match="reset's options must be a dict of values by name, but got 3"):
            each.reset(options=3)  # type: ignore[arg-type]


def test_a_reward_that_is_not_finite_is_refused() -> None:
    one = SequencePrediction(Readings(), Strange(), paid="increments")
    one.reset(seed=0)
    one.step(0)
    with pytest.raises(ConfigError, match=r"Strange.score must return numbers that are finite .* but returned -inf"):
        one.step(1)


def test_an_error_in_ones_own_code_is_told_with_its_line() -> None:
    with pytest.raises(
        CodeError, match=r"Failing.score, line \d+ of .*test_mistakes.py, failed with ZeroDivisionError"
    ):
        next(steps_of(SequencePrediction(Readings(), Failing(), paid="increments"), seed=0))
    with pytest.raises(CodeError, match=r"Unreadable.load, line \d+ of .*test_mistakes.py, failed with KeyError"):
        SequencePrediction(Unreadable(), EditDistance())


def test_a_function_of_ones_own_is_a_reward() -> None:
    reward: Reward = FunctionReward(function="tests.environments.test_mistakes:overlap")
    one = SequencePrediction(replace(SpellingVariants(), size=20), reward)
    one.reset(options={"example": 0})
    one.step(0)
    assert one.step(one.rules.labels)[1] == 1.0


def overlap(output: list[int], reference: list[int]) -> float:
    return float(len(output))
