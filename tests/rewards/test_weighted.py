"""Weighted sums of rewards: sums of numbers, position by position and symbol by symbol, where the parts allow it."""

import itertools
import pickle
from dataclasses import replace

import pytest
import torch

from structpred.errors import ConfigError
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objective import check_reward as check_pairing
from structpred.objectives import REINFORCE, ExpectedReward, MaxMargin, MinimumRisk
from structpred.rewards import (
    EditDistance,
    FunctionReward,
    Hamming,
    Reward,
    SentenceBleu,
    SentenceChrf,
    SentenceGleu,
    WeightedReward,
    WeightedRewards,
)
from structpred.rewards.base import Decomposable, Incremental, costs_of, increments_of
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings


def summed(*parts: Reward, weights: tuple[float, ...] = (2.0, 0.25, 1.0)) -> WeightedRewards:
    pairs = zip(parts, weights, strict=False)
    return WeightedRewards(parts=tuple(WeightedReward(reward=each, weight=weight) for each, weight in pairs))


def distance(output: list[int], reference: list[int]) -> float:
    return -abs(len(output) - len(reference))


FUNCTION = FunctionReward(function=f"{__name__}:distance")


@pytest.mark.parametrize(
    "parts", [(EditDistance(), SentenceBleu()), (SentenceGleu(), FUNCTION, EditDistance()), (SentenceBleu(),)]
)
def test_it_is_the_sum_on_every_output(parts: tuple[Reward, ...]) -> None:
    outputs = as_candidates(strings(2, 3))
    for reference in strings(2, 3):
        targets = Sequences.of([reference])
        expected = sum(
            weight * part.score(outputs, targets) for weight, part in zip((2.0, 0.25, 1.0), parts, strict=False)
        )
        assert isinstance(expected, torch.Tensor)
        torch.testing.assert_close(summed(*parts).score(outputs, targets), expected)


def test_weights_are_not_cut_to_single_precision() -> None:
    found = summed(EditDistance(), weights=(0.1,)).score(as_candidates([[0, 1, 0]]), Sequences.of([[1]]))
    assert found.item() == 0.1 * -2.0


def test_several_references_are_each_part_s_own_affair() -> None:
    outputs = as_candidates(strings(2, 2))
    both = Sequences(torch.tensor([[[0, 1], [1, 0]]]), torch.tensor([[2, 1]]))
    expected = 2 * EditDistance().score(outputs, both) + 0.25 * SentenceBleu().score(outputs, both)
    torch.testing.assert_close(summed(EditDistance(), SentenceBleu()).score(outputs, both), expected)


def test_costs_add_up_where_all_parts_are_sums_over_positions() -> None:
    nested = summed(Hamming(), summed(Hamming(), Hamming()))
    assert nested.decomposes
    assert nested.same_length
    assert isinstance(nested, Decomposable)
    references = Sequences(torch.tensor([[0, 1, 1], [1, 7, 7]]), torch.tensor([3, 1]))
    costs = costs_of(nested, references, 2)
    for row, length in enumerate((3, 1)):
        target = references.select(slice(row, row + 1))
        best = nested.score(target.candidates(), target).item()
        for output in itertools.product(range(2), repeat=length):
            value = nested.score(as_candidates([list(output)]), target).item()
            assert best - value == costs[row, range(length), list(output)].sum().item()
    assert costs[1, 1:].sum() == 0


def test_increments_add_up_where_all_parts_have_them() -> None:
    reward = summed(EditDistance(), SentenceGleu(), SentenceBleu())
    assert isinstance(reward, Incremental)
    outputs = as_candidates(strings(2, 3))
    for reference in strings(2, 3):
        targets = Sequences.of([reference])
        found = increments_of(reward, outputs, targets)
        torch.testing.assert_close(found.sum(-1).double(), reward.score(outputs, targets), rtol=0, atol=1e-6)
        each = [part.reward.increments(outputs, targets) for part in reward.parts]  # type: ignore[attr-defined]
        torch.testing.assert_close(found, 2 * each[0] + 0.25 * each[1] + each[2])


@pytest.mark.parametrize(
    ("parts", "decomposes", "same_length", "incremental"),
    [
        ((Hamming(),), True, True, True),
        ((Hamming(), EditDistance()), False, True, True),
        ((Hamming(), FUNCTION), False, True, False),
        ((EditDistance(), SentenceBleu()), False, False, True),
        ((EditDistance(), SentenceChrf()), False, False, False),
        ((EditDistance(), summed(SentenceBleu(), FUNCTION)), False, False, False),
    ],
)
def test_it_can_do_what_all_parts_can(
    parts: tuple[Reward, ...], decomposes: bool, same_length: bool, incremental: bool
) -> None:
    for reward in (
        made := summed(*parts),
        pickle.loads(pickle.dumps(made)),
        replace(made),
        Reward.from_json(made.to_json()),
    ):
        assert reward == made
        assert (reward.decomposes, reward.same_length) == (decomposes, same_length)
        assert isinstance(reward, Decomposable) == decomposes
        assert isinstance(reward, Incremental) == incremental
        assert hasattr(reward, "costs") == decomposes
    assert not WeightedRewards.decomposes
    assert not WeightedRewards.same_length


def test_objectives_ask_the_sum_itself() -> None:
    ExpectedReward(reward=summed(Hamming(), Hamming())).check_model(CRF())
    MaxMargin(reward=summed(Hamming())).check_model(LSTMTagger())
    with pytest.raises(ConfigError, match="ExpectedReward needs a reward that is a sum over positions, but Weighted"):
        ExpectedReward(reward=summed(Hamming(), EditDistance()))
    REINFORCE(reward=summed(EditDistance(), SentenceGleu()), credit="token")
    with pytest.raises(ConfigError, match="needs a reward that says what each symbol adds, but WeightedRewards does"):
        REINFORCE(reward=summed(EditDistance(), FUNCTION), credit="token")
    check_pairing(summed(EditDistance()), Seq2Seq(), "MinimumRisk")
    with pytest.raises(ConfigError, match="MinimumRisk with the reward WeightedRewards needs outputs as long as"):
        MinimumRisk(reward=summed(EditDistance(), Hamming())).check_model(Seq2Seq())


def no_number(output: list[int], reference: list[int]) -> float:
    return float("nan")


def test_a_part_at_fault_is_named() -> None:
    reward = summed(EditDistance(), FunctionReward(function=f"{__name__}:no_number"))
    with pytest.raises(ConfigError, match=r"no_number' must return a number that is finite"):
        reward.score(as_candidates([[0]]), Sequences.of([[1]]))


@pytest.mark.parametrize("weight", [0, -1, float("inf")])
def test_weights_that_turn_a_reward_round_are_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"WeightedReward\.weight must be a"):
        WeightedReward(reward=Hamming(), weight=weight)


def test_an_empty_sum_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^WeightedRewards needs at least one part, but got none; give it"):
        WeightedRewards(parts=())


def test_an_attribute_that_does_not_exist_is_refused_as_ever() -> None:
    with pytest.raises(AttributeError, match="'WeightedRewards' object has no attribute 'cost'"):
        _ = summed(Hamming()).cost
