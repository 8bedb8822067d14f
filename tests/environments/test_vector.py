"""Many episodes at a time are the episodes of single environments, in every autoreset mode."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.utils.passive_env_checker import data_shares_objects
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from structpred.environments import SequencePrediction, SequencePredictionVectorEnv
from structpred.rewards import EditDistance, Hamming, Reward, SentenceBleu
from structpred.task import Task
from structpred.tasks import HiddenMarkov
from tests.support.environments import Readings, TwoReadings

NUMBER = 7
PAIRS: dict[str, tuple[Task, Reward]] = {
    "edit distance": (Readings(), EditDistance()),
    "BLEU": (Readings(), SentenceBleu(order=2)),
    "Hamming": (TwoReadings(), Hamming()),
    "hidden Markov": (HiddenMarkov(), Hamming()),
}
each_pair = pytest.mark.parametrize("name", PAIRS)
each_mode = pytest.mark.parametrize("mode", AutoresetMode)
both_ways = pytest.mark.parametrize("paid", ["end", "increments"])


def both(name: str, mode: AutoresetMode, **arguments: Any) -> tuple[SequencePredictionVectorEnv, SyncVectorEnv]:
    """Ours, and Gymnasium's of single environments."""
    task, reward = PAIRS[name]
    ours = SequencePredictionVectorEnv(task, reward, num_envs=NUMBER, autoreset_mode=mode, **arguments)
    singles = [lambda: SequencePrediction(task, reward, **arguments)] * NUMBER
    return ours, SyncVectorEnv(singles, autoreset_mode=mode)


def same(ours: Any, theirs: Any) -> None:
    assert data_equivalence(ours, theirs, exact=True), (ours, theirs)


@both_ways
@each_mode
@each_pair
def test_every_step_is_that_of_single_environments(name: str, mode: AutoresetMode, paid: str) -> None:
    ours, theirs = both(name, mode, paid=paid)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata == theirs.metadata
    same(ours.reset(seed=3), theirs.reset(seed=3))
    actions = np.random.default_rng(0)
    overs = 0
    for _ in range(40):
        row = actions.integers(0, int(ours.single_action_space.n), NUMBER)  # type: ignore[attr-defined]
        stepped = ours.step(row), theirs.step(row)
        same(*stepped)
        assert stepped[0][0] in ours.observation_space
        over = np.logical_or(*stepped[0][2:4])
        overs += int(over.sum())
        if mode is AutoresetMode.DISABLED and over.any():
            same(ours.reset(options={"reset_mask": over}), theirs.reset(options={"reset_mask": over}))
    assert overs > 10


@each_mode
def test_gymnasium_records_the_same_statistics(mode: AutoresetMode) -> None:
    recorded = [
        RecordEpisodeStatistics(env, buffer_length=1000) for env in both("edit distance", mode, paid="increments")
    ]
    for env in recorded:
        env.reset(seed=1)
        actions = np.random.default_rng(0)
        for _ in range(60):
            _, _, terminations, truncations, _ = env.step(actions.integers(0, 3, NUMBER))
            over = terminations | truncations
            if mode is AutoresetMode.DISABLED and over.any():
                env.reset(options={"reset_mask": over})
    ours, theirs = recorded
    if mode is not AutoresetMode.DISABLED:  # there SyncVectorEnv takes the mask away from the wrapper
        assert list(ours.return_queue) == list(theirs.return_queue)
        assert list(ours.length_queue) == list(theirs.length_queue)
    assert ours.episode_count > 30
    assert max(ours.length_queue) > 2


def test_seeds_count_up_or_are_given_one_by_one() -> None:
    ours, theirs = both("hidden Markov", AutoresetMode.NEXT_STEP)
    counted, _ = ours.reset(seed=10)
    listed, _ = ours.reset(seed=list(range(10, 10 + NUMBER)))
    same(counted, listed)
    same(ours.reset(seed=10), theirs.reset(seed=10))
    same(ours.reset(seed=[5, None, *range(5)]), theirs.reset(seed=[5, None, *range(5)]))
    same(ours.reset(), theirs.reset())
    first, _ = ours.reset(seed=np.int64(10))
    same(counted, first)


def test_examples_can_be_chosen_for_all_or_one_by_one() -> None:
    ours, _ = both("edit distance", AutoresetMode.NEXT_STEP)
    assert ours.reset(options={"example": 2})[1]["example"].tolist() == [2] * NUMBER
    assert ours.reset(options={"example": [3, 2, 1, 0, 1, 2, 3]})[1]["example"].tolist() == [3, 2, 1, 0, 1, 2, 3]
    mask = np.arange(NUMBER) == 4
    _, infos = ours.reset(options={"example": 3, "reset_mask": mask})
    assert ours.episodes.example.tolist() == [3, 2, 1, 0, 3, 2, 3]
    assert infos["_example"].tolist() == mask.tolist()


@each_mode
def test_what_was_handed_out_is_never_written_to(mode: AutoresetMode) -> None:
    ours, _ = both("edit distance", mode, paid="increments")
    results: list[Any] = [ours.reset(seed=0)]
    for _ in range(2):
        results.append(ours.step(np.zeros(NUMBER, np.int64)))
    results.append(ours.step(np.full(NUMBER, 2)))  # all end
    for i, first in enumerate(results):
        for second in results[i + 1 :]:
            assert not data_shares_objects(first[0], second[0])
            assert not data_shares_objects(first[-1], second[-1])
            pairs = zip(first[1:4], second[1:4], strict=True) if len(first) == len(second) == 5 else ()
            assert not any(np.shares_memory(*pair) for pair in pairs)


def test_actions_of_episodes_that_are_being_reset_may_be_anything() -> None:
    ours, _ = both("edit distance", AutoresetMode.NEXT_STEP)
    ours.reset(seed=0)
    ours.step(np.full(NUMBER, 2))
    _, rewards, terminations, truncations, infos = ours.step(np.full(NUMBER, -1))
    assert not np.stack([rewards, terminations, truncations]).any()
    assert ours.episodes.length.tolist() == [0] * NUMBER
    assert infos["action_mask"].all()


def test_masks_are_those_of_single_environments() -> None:
    ours, theirs = both("edit distance", AutoresetMode.NEXT_STEP, limit=3)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    for _ in range(10):
        np.testing.assert_array_equal(ours.action_masks(), np.stack(theirs.call("action_masks")))
        ours.step(np.zeros(NUMBER, np.int64))
        theirs.step(np.zeros(NUMBER, np.int64))


def test_every_sub_environment_is_rendered() -> None:
    ours, theirs = both("Hamming", AutoresetMode.SAME_STEP, render_mode="ansi")
    with pytest.raises(ResetNeeded):
        ours.render()
    for env in (ours, theirs):
        env.reset(seed=0)
        env.step(np.ones(NUMBER, np.int64))
    assert ours.render() == theirs.render()
    unseen = SequencePredictionVectorEnv(TwoReadings(), Hamming())
    with pytest.warns(UserWarning, match="make the environment with render_mode='ansi'"):
        assert unseen.render() is None


def test_a_vector_may_also_be_made_of_single_environments_in_processes_of_their_own() -> None:
    envs = gymnasium.make_vec("structpred.environments:structpred/HiddenMarkov-v0", 2, "async", size=30)
    try:
        ours = gymnasium.make_vec("structpred/HiddenMarkov-v0", 2, size=30)
        same(envs.reset(seed=0)[0], ours.reset(seed=0)[0])
    finally:
        envs.close()
