"""Rewards that read symbols, text and examples, in environments."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from structpred.environments import SequencePrediction, SequencePredictionVectorEnv
from structpred.errors import CodeError, ConfigError
from structpred.rewards import (
    EditDistance,
    FunctionReward,
    Hamming,
    Reward,
    SentenceBleu,
    SentenceChrf,
    SentenceGleu,
    SentenceTer,
    WeightedReward,
    WeightedRewards,
)
from structpred.task import Splits, Task
from structpred.vocabulary import Symbols
from tests.support.environments import Readings, TwoReadings, steps_of


class Spaced(Readings):
    """TER counts words, and some first references twice; metadata are the place in the split."""

    def load(self) -> Splits:
        found = super().load()
        train, dev, test = (
            tuple(
                replace(each, references=each.references + each.references[: i % 2], metadata={"place": i})
                for i, each in enumerate(split)
            )
            for split in (found.train, found.dev, found.test)
        )
        return Splits(train, dev, test, found.digest)

    def render(self, output: Symbols) -> str:
        return " ".join(output)


def as_ids(output: Sequence[Any], reference: Sequence[Any]) -> float:
    return -float(Levenshtein.distance(output, reference))


def known(output: str, reference: str, *, source: list[str], metadata: Mapping[str, int]) -> float:
    return as_ids(output, reference) + 100.0 * metadata["place"] + len(source)


def three(output: str, reference: str, third: str) -> float:
    return 0.0


def failing(output: str, reference: str) -> float:
    return 1.0 / len(output)


def function(name: str, on: Any = "text", **fields: Any) -> FunctionReward:
    return FunctionReward(function=f"{__name__}:{name}", on=on, **fields)


def texts_of(env: SequencePrediction, observation: Mapping[str, Any], example: int) -> tuple[str, tuple[str, ...]]:
    prefix = observation["prefix"][: observation["prefix_length"][0]]
    output = env.vocabularies.labels.decode(prefix.tolist())
    return " ".join(output), tuple(map(" ".join, env.examples[example].references))


@pytest.mark.parametrize("paid", ["end", "increments"])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("reward", "theirs", "sign"), [(SentenceChrf(), CHRF(), 1), (SentenceTer(), TER(), -1)], ids=["chrf", "ter"]
)
def test_rewards_sum_to_sacrebleu_s_score(reward: Reward, theirs: CHRF | TER, sign: int, split: str, paid: str) -> None:
    """Labels that training does not know, in references of the test split, are read as they are."""
    env = SequencePrediction(Spaced(), reward, split=split, paid=paid, limit=6)
    env.action_space.seed(1)
    for seed in range(40):
        earned = 0.0
        for step in steps_of(env, seed=seed):
            earned += step[1]
        output, references = texts_of(env, step[0], step[4]["example"])
        assert earned == pytest.approx(sign * theirs.sentence_score(output, references).score / 100, abs=1e-6)


@pytest.mark.parametrize("on", ["ids", "symbols", "text"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_on_whatever_it_sees_the_same_function_pays_the_same(on: str, split: str) -> None:
    env = SequencePrediction(Readings(), function("as_ids", on=on, cache=30), split=split, paid="increments")
    other = SequencePrediction(Readings(), EditDistance(), split=split, paid="increments")
    for seed in range(20):
        env.action_space.seed(seed)
        other.action_space.seed(seed)
        mine, its = ([step[1] for step in steps_of(each, seed=seed)] for each in (env, other))
        assert mine == its


def test_a_function_may_be_given_by_itself_or_by_its_name() -> None:
    expected = SequencePrediction(Readings(), function("as_ids", on="ids")).rules.reward
    for given in (as_ids, f"{__name__}:as_ids"):
        assert SequencePrediction(Readings(), given).rules.reward == expected
    with pytest.raises(ConfigError, match=r"a reward function must be importable, .* a lambda has no name"):
        SequencePrediction(Readings(), lambda output, reference: 0.0)


def test_a_function_is_told_of_the_example_that_the_episode_is_about() -> None:
    envs = SequencePredictionVectorEnv(Spaced(), function("known"), num_envs=7, autoreset_mode="SameStep", limit=4)
    actions = np.random.default_rng(0)
    _, infos = envs.reset(seed=3)
    ended = 0
    for _ in range(60):
        about = infos["example"]
        _, rewards, terminations, truncations, infos = envs.step(actions.integers(0, envs.rules.actions, 7))
        for i in (terminations | truncations).nonzero()[0]:
            example, final = envs.examples[about[i]], infos["final_obs"][i]
            prefix = final["prefix"][: final["prefix_length"][0]].tolist()
            output = " ".join(envs.vocabularies.labels.decode(prefix))
            best = max(as_ids(output, " ".join(reference)) for reference in example.references)
            assert rewards[i] == pytest.approx(best + 100 * about[i] + len(example.source))
            ended += 1
    assert ended > 50


SUMS = {
    "of lengths that differ": (Readings(), (EditDistance(), SentenceGleu(), SentenceBleu())),
    "of text": (Spaced(), (SentenceChrf(), EditDistance())),
    "of positions": (TwoReadings(), (Hamming(), Hamming())),
    "of positions and edits": (TwoReadings(), (Hamming(), EditDistance())),
}


@pytest.mark.parametrize("paid", ["end", "increments"])
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_pays_the_sum_of_what_its_parts_pay(name: str, paid: str) -> None:
    task, parts = SUMS[name]
    assert isinstance(task, Task)
    whole = WeightedRewards(parts=tuple(WeightedReward(reward=each, weight=2 - i) for i, each in enumerate(parts[:2])))
    fixed = {} if whole.same_length else {"fixed_length": False, "limit": 5}
    envs = [SequencePrediction(task, each, paid=paid, **fixed) for each in (whole, *parts[:2])]  # type: ignore[arg-type]  # of two kinds
    for seed in range(15):
        totals = []
        for env in envs:
            env.action_space.seed(seed)
            totals.append(sum(step[1] for step in steps_of(env, seed=seed)))
        assert totals[0] == pytest.approx(2 * totals[1] + totals[2], abs=1e-5)


def test_the_checker_finds_nothing() -> None:
    chrf = SequencePrediction("spelling-variants", "chrf", paid="increments", size=50, held_out=10)
    check_env(chrf, skip_render_check=True)
    check_env(SequencePrediction(Spaced(), function("known"), render_mode="ansi"), skip_render_check=True)


def test_what_goes_wrong_is_one_sentence() -> None:
    env = SequencePrediction(Readings(), function("failing"), paid="end")
    env.reset(options={"example": 2})
    with pytest.raises(CodeError, match=r"^failing, line \d+ of .*test_rewards_of_text\.py, failed with ZeroDivision"):
        env.step(env.rules.labels)
    env = SequencePrediction(Readings(), function("known"), paid="end")
    env.reset(options={"example": 2})
    with pytest.raises(CodeError, match=r"^known, line \d+ of .*, failed with KeyError: 'place'"):
        env.step(env.rules.labels)
    with pytest.raises(ConfigError, match=r"^the reward function '.*:three' must take an output and a reference, and"):
        SequencePrediction(Readings(), function("three"))
    with pytest.raises(ConfigError, match="there is no reward named 'chrff'; did you mean"):
        SequencePrediction(Readings(), "chrff")
