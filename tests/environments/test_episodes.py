"""One episode at a time: what Gymnasium asks of an environment, and that rewards are what they say."""

from functools import cache
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics

from structpred.environments import IDS, SequencePrediction, SequencePredictionVectorEnv
from structpred.rewards import EditDistance, Hamming, Reward, SentenceBleu
from structpred.task import Task
from structpred.tasks import HiddenMarkov
from tests.support.environments import OnlyOneLabel, Readings, TwoReadings, scores_of, steps_of
from tests.support.tiny import Copying

SMALL: dict[str, dict[str, Any]] = {
    "structpred/Pronunciation-v0": {"size": 1000, "held_out": 50},
    "structpred/LetterTagging-v0": {"size": 1000, "held_out": 50},
    "structpred/SpellingVariants-v0": {},
    "structpred/HiddenMarkov-v0": {},
}

ENVIRONMENTS: dict[str, tuple[Task, Reward, dict[str, Any]]] = {
    "several references": (Readings(), EditDistance(), {}),
    "held-out symbols": (Readings(), EditDistance(), {"split": "test"}),
    "short limit": (Readings(), EditDistance(), {"limit": 2}),
    "BLEU": (Readings(), SentenceBleu(order=2), {}),
    "tagging": (TwoReadings(), Hamming(), {}),
    "tagging, held-out": (TwoReadings(), Hamming(), {"split": "dev"}),
    "tagging by edit distance": (TwoReadings(), EditDistance(), {}),
    "tagging by BLEU": (TwoReadings(), SentenceBleu(order=2), {}),
    "one label": (OnlyOneLabel(), Hamming(), {}),
    "one label and an end": (OnlyOneLabel(), EditDistance(), {"fixed_length": False}),
    "copying freely": (Copying(), EditDistance(), {"fixed_length": False}),
}
each_environment = pytest.mark.parametrize("name", ENVIRONMENTS)
both_ways = pytest.mark.parametrize("paid", ["end", "increments"])


def made(name: str, **arguments: Any) -> SequencePrediction:
    task, reward, own = ENVIRONMENTS[name]
    return SequencePrediction(task, reward, **own, **arguments)


@cache
def kept(id: str) -> gymnasium.Env[Any, Any]:
    """An environment that stays, so that what others of the task need is loaded once."""
    return gymnasium.make(id, **SMALL[id])


def test_there_are_small_settings_for_every_id() -> None:
    assert SMALL.keys() == IDS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("id", IDS)
def test_the_checker_finds_nothing_in_registered_environments(id: str) -> None:
    env = kept(id)
    check_env(env.unwrapped)
    assert env.spec is not None
    assert gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json())).spec == env.spec


@both_ways
@each_environment
def test_the_checker_finds_nothing_in_environments_of_other_tasks(name: str, paid: str) -> None:
    check_env(made(name, paid=paid, render_mode="ansi"), skip_render_check=True)


@pytest.mark.parametrize("id", IDS)
def test_in_a_thousand_random_episodes_rewards_sum_to_the_reward_of_the_output(id: str) -> None:
    kept(id)
    for paid in ("end", "increments"):
        envs = gymnasium.make_vec(
            id, num_envs=100, vectorization_mode="vector_entry_point", paid=paid, autoreset_mode="SameStep", **SMALL[id]
        )
        inner = envs.unwrapped
        assert isinstance(inner, SequencePredictionVectorEnv)
        actions = np.random.default_rng(0)
        _, infos = envs.reset(seed=0)
        running, outputs, examples = np.zeros(100), [], []
        earned: list[float] = []
        while len(earned) < 1000:
            before = infos["example"]
            _, rewards, terminations, truncations, infos = envs.step(actions.integers(0, inner.rules.actions, 100))
            running += rewards
            over = terminations | truncations
            assert paid == "increments" or not rewards[~over].any()
            for i in over.nonzero()[0]:
                final = infos["final_obs"][i]
                outputs.append(final["prefix"][: final["prefix_length"][0]])
                examples.append(inner.examples[before[i]])
                earned.append(running[i])
            running[over] = 0
        scores = scores_of(inner.rules.reward, outputs, examples, inner.vocabularies.labels.symbols)
        np.testing.assert_allclose(earned, scores, rtol=0, atol=1e-9)
        assert len(set(examples)) > 300


@each_environment
def test_every_increment_is_what_the_last_symbol_adds(name: str) -> None:
    env = made(name, paid="increments")
    task_reward, labels = env.rules.reward, env.vocabularies.labels.symbols
    env.action_space.seed(0)
    for seed in range(20):
        earned = 0.0
        for observation, reward, _, _, info in steps_of(env, seed=seed):
            earned += reward
            prefix = observation["prefix"][: observation["prefix_length"][0]]
            references = env.examples[info["example"]].references
            if isinstance(task_reward, Hamming):  # which scores whole outputs, and here position by position
                wrong = [sum(labels[y] != right for y, right in zip(prefix, each, strict=False)) for each in references]
                expected = -float(min(wrong))
            else:
                (expected,) = scores_of(task_reward, [prefix], [env.examples[info["example"]]], labels)
            assert earned == pytest.approx(expected, abs=1e-6)


def test_the_first_step_pays_for_the_empty_output() -> None:
    env = made("several references", paid="increments")
    env.reset(options={"example": 1})
    assert env.step(1)[1] == -2.0  # y of yxy: −2, where the empty output has −3
    env.reset(options={"example": 1})
    observation, reward, terminated, truncated, _ = env.step(2)
    assert (reward, terminated, truncated, observation["prefix_length"].tolist()) == (-3.0, True, False, [0])


def test_an_episode_step_by_step() -> None:
    env = SequencePrediction(Readings(), EditDistance(), render_mode="ansi", limit=4)
    observation, info = env.reset(options={"example": 1})
    assert {key: values.tolist() for key, values in observation.items()} == {
        "source": [1, 1, 0],
        "source_length": [3],
        "source_mask": [1, 1, 1],
        "prefix": [2, 2, 2, 2],
        "prefix_length": [0],
        "prefix_mask": [0, 0, 0, 0],
    }
    assert (info["example"], info["action_mask"].tolist()) == (1, [1, 1, 1])
    assert env.render() == "source    b b a\noutput    \nreference yxy\nreward    -3 so far"
    observation, reward, terminated, truncated, _ = env.step(1)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert (observation["prefix"].tolist(), observation["prefix_mask"].tolist()) == ([1, 2, 2, 2], [1, 0, 0, 0])
    env.step(0)
    *_, info = env.step(1)
    assert info["action_mask"].tolist() == [0, 0, 1]  # a label would be one too many
    assert env.action_masks().tolist() == [False, False, True]
    assert env.step(2)[1:4] == (0.0, True, False)
    assert env.render() == "source    b b a\noutput    yxy\nreference yxy\nreward    0"

    env.reset(options={"example": 1})
    assert [env.step(0)[1:4] for _ in range(4)][-1] == (-3.0, False, True)  # xxxx stands for what it is


def test_the_source_decides_the_length_in_tagging() -> None:
    env = SequencePrediction(TwoReadings(), Hamming())
    assert env.action_space == gymnasium.spaces.Discrete(2)
    env.reset(options={"example": 2})
    assert [env.step(1)[1:4] for _ in range(3)] == [(0.0, False, False), (0.0, False, False), (-1.0, True, False)]
    shown = SequencePrediction(TwoReadings(), Hamming(), render_mode="ansi")
    shown.reset(options={"example": 0})
    shown.step(0)
    assert shown.render() == "source    a b a b\noutput    x\nreference xxyy\nreference yyyx\nreward    0 so far"
    free = SequencePrediction(TwoReadings(), EditDistance(), fixed_length=False)
    assert free.action_space == gymnasium.spaces.Discrete(3)


def test_symbols_unknown_from_training_share_an_id_and_spaces_are_those_of_all_splits() -> None:
    train, test = (SequencePrediction(Readings(), EditDistance(), split=split) for split in ("train", "test"))
    assert train.observation_space == test.observation_space
    assert train.action_space == test.action_space
    observation, _ = test.reset(seed=0)
    assert observation["source"].tolist() == [2, 1, 3]  # c is unknown, and 3 is padding


def test_equal_seeds_give_equal_episodes_and_a_seed_is_for_all_that_follow() -> None:
    first, second = (SequencePrediction(HiddenMarkov(), Hamming()) for _ in range(2))
    drawn = []
    for env in (first, second):
        examples = [env.reset(seed=5)[1]["example"]] + [env.reset()[1]["example"] for _ in range(20)]
        drawn.append(examples)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 10
    assert first.reset(seed=6)[1]["example"] != drawn[0][0]


def test_examples_are_drawn_evenly() -> None:
    env = SequencePrediction(Readings(), EditDistance())
    env.reset(seed=0)
    counts = np.bincount([env.reset()[1]["example"] for _ in range(4000)], minlength=4)
    assert (abs(counts - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)).all()


def test_masked_agents_are_never_cut() -> None:
    env = SequencePrediction(Readings(), EditDistance(), limit=3)
    env.action_space.seed(0)
    cut = {masked: sum(list(steps_of(env, masked=masked))[-1][3] for _ in range(100)) for masked in (False, True)}
    assert cut[True] == 0 < cut[False]


@both_ways
@each_environment
def test_gymnasium_records_returns_and_lengths(name: str, paid: str) -> None:
    env = RecordEpisodeStatistics(made(name, paid=paid))
    for seed in range(5):
        results = list(steps_of(env, seed=seed))
        assert results[-1][4]["episode"]["r"] == pytest.approx(sum(result[1] for result in results))
        assert results[-1][4]["episode"]["l"] == len(results)


def test_data_are_loaded_once_for_all_environments_of_a_task_that_are_in_use() -> None:
    train = SequencePrediction(HiddenMarkov(size=7), Hamming())
    dev = SequencePrediction(HiddenMarkov(size=7), Hamming(), split="dev")
    assert train.rules.encoded is dev.rules.encoded
    assert SequencePrediction(HiddenMarkov(size=8), Hamming()).rules.encoded is not dev.rules.encoded


def test_what_was_handed_out_is_never_written_to() -> None:
    env = SequencePrediction(Readings(), EditDistance())
    observation, info = env.reset(options={"example": 1})
    before = {key: values.copy() for key, values in observation.items()}
    observation["source"][:] = 0  # nor is what is read from it again
    env.step(1)
    again, _ = env.reset(options={"example": 1})
    for key, values in before.items():
        np.testing.assert_array_equal(again[key], values)
    assert info["action_mask"].tolist() == [1, 1, 1]


def test_a_task_and_a_reward_may_be_given_by_name_or_as_json() -> None:
    env = SequencePrediction("hidden-markov", {"type": "hamming"}, size=20, held_out=5)
    assert (env.rules.task, env.rules.reward) == (HiddenMarkov(size=20, held_out=5), Hamming())
    assert SequencePrediction({"type": "hidden-markov", "size": 20}, "bleu").rules.task == HiddenMarkov(size=20)


class Doubled(EditDistance):
    """Scores otherwise than its class does."""

    def score(self, outputs: Any, references: Any) -> Any:
        return 2 * super().score(outputs, references)


class OtherHamming(Hamming):
    """A reward of outputs as long as their references that the environment knows nothing of."""


def test_a_subclass_of_a_reward_has_its_own_word() -> None:
    own = SequencePrediction(Readings(), Doubled(), paid="increments")
    own.reset(options={"example": 1})
    assert own.step(2)[1] == -6.0


@both_ways
def test_other_rewards_of_equal_lengths_are_paid_by_what_each_symbol_adds(paid: str) -> None:
    known, other = (
        SequencePredictionVectorEnv(TwoReadings(), reward, num_envs=6, paid=paid)
        for reward in (Hamming(), OtherHamming())
    )
    actions = np.random.default_rng(0)
    known.reset(seed=0)
    other.reset(seed=0)
    paid_out = []
    for _ in range(30):
        row = actions.integers(0, 2, 6)
        paid_out.append(known.step(row)[1])
        np.testing.assert_array_equal(other.step(row)[1], paid_out[-1])
    assert np.count_nonzero(paid_out) > 20
