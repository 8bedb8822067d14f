"""Epoch plans: every example once, within budget, the same for every objective."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from structpred.models import SymbolEmbedding
from structpred.objective import Objective
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood, Sampled
from structpred.seeds import generator
from structpred.sequences import Sequences
from structpred.training.batching import EpochPlan, token_batches
from structpred.training.data import Tokenizer, TrainingData
from tests.support.tiny import Copying

EXAMPLES = Copying(train=50).load().train
CODEC = Tokenizer.of(EXAMPLES, SymbolEmbedding())
DATA = TrainingData.of(EXAMPLES, CODEC)


def plan(objective: Objective, seed: int = 0, epoch: int = 0, budget: int = 24) -> EpochPlan:
    return EpochPlan(DATA, DATA, objective, budget=budget, seed=seed, epoch=epoch)


@settings(deadline=None, max_examples=50)
@given(some.lists(some.integers(1, 30), min_size=1, max_size=60), some.integers(1, 80), some.integers(0, 5))
def test_every_example_is_in_one_batch_within_the_budget(costs: list[int], budget: int, seed: int) -> None:
    batches = token_batches(torch.tensor(costs), budget, generator(seed))
    assert sorted(torch.cat(batches).tolist()) == list(range(len(costs)))
    for batch in batches:
        largest = max(costs[i] for i in batch.tolist())
        assert len(batch) == 1 or len(batch) * largest <= budget


def fewest(costs: list[int], budget: int) -> int:
    """The least number of batches that the budget allows: each takes all that it can."""
    batches, size = 0, 0
    for cost in sorted(costs):
        size = size + 1 if size and (size + 1) * cost <= budget else 1
        batches += size == 1
    return batches


@settings(deadline=None, max_examples=300)
@given(some.lists(some.integers(1, 30), min_size=1, max_size=60), some.integers(1, 80))
def test_batches_are_as_few_and_as_even_as_the_budget_allows(costs: list[int], budget: int) -> None:
    found = token_batches(torch.tensor(costs), budget, generator(0))
    batches = sorted(sorted(costs[i] for i in batch.tolist()) for batch in found)
    assert len(batches) == fewest(costs, budget)
    for number, batch in enumerate(batches):
        share = sum(map(sum, batches[: number + 1])) / (number + 1)
        full = (len(batch) + 1) * batch[-1] > budget
        assert full or sum(batch) >= share - batch[0] / 2


@settings(deadline=None, max_examples=100)
@given(some.integers(1, 200), some.integers(1, 9), some.integers(1, 60))
def test_of_examples_as_long_as_each_other_no_batch_has_two_more_than_another(n: int, cost: int, budget: int) -> None:
    sizes = {len(batch) for batch in token_batches(torch.full((n,), cost), budget, generator(0))}
    assert max(sizes) - min(sizes) <= 1


def test_a_left_over_is_spread() -> None:
    """Filled one after the other, the batches would be of 12, 12 and 1 examples."""
    assert sorted(len(batch) for batch in token_batches(torch.full((25,), 2), 24, generator(0))) == [8, 8, 9]


def test_order_and_targets_depend_on_seed_and_epoch_and_not_on_the_objective() -> None:
    plans = [plan(MaximumLikelihood()), plan(LabelSmoothing()), plan(RML(estimator=Sampled(k=3)))]
    for other in plans[1:]:
        for first, second in zip(plans[0].rows, other.rows, strict=True):
            assert torch.equal(first, second)
        assert torch.equal(plans[0].chosen, other.chosen)
    for different in (plan(MaximumLikelihood(), seed=1), plan(MaximumLikelihood(), epoch=1)):
        assert torch.cat(different.rows).tolist() != torch.cat(plans[0].rows).tolist()


def test_a_batch_holds_the_examples_it_says_and_draws_of_their_targets() -> None:
    epoch = plan(RML(estimator=Sampled(k=3)), epoch=3)
    for position in range(len(epoch)):
        batch = epoch[position]
        assert batch.draws is not None
        assert isinstance(batch.inputs, Sequences)
        assert batch.draws.lengths.shape == (len(batch.inputs), 3)
        assert batch.tokens == int(batch.targets.lengths.sum()) + len(batch.targets)
        rows = zip(epoch.rows[position].tolist(), batch.inputs.tolist(), batch.targets.tolist(), strict=True)
        for i, source, target in rows:
            assert CODEC.vocabularies.inputs.decode(source) == EXAMPLES[i].source
            assert CODEC.write(target) in EXAMPLES[i].references


def test_draws_are_those_of_the_target_chosen() -> None:
    """At a vanishing temperature a draw is its target, so any mix-up of rows would show."""
    from structpred.payoffs import EditDistancePayoff, Temperature

    epoch = plan(RML(payoff=EditDistancePayoff(temperature=Temperature(literal=1e-3)), estimator=Sampled(k=2)))
    for position in range(len(epoch)):
        batch = epoch[position]
        assert batch.draws is not None
        for k in range(2):
            assert torch.equal(batch.draws.labels[:, k], batch.targets.labels)


def test_the_same_seed_and_epoch_give_the_same_draws() -> None:
    first, second, other = (plan(RML(), epoch=epoch).draws for epoch in (2, 2, 3))
    assert first is not None
    assert second is not None
    assert other is not None
    one, two, three = (each.outputs for each in (first, second, other))
    assert torch.equal(one.labels, two.labels)
    assert not torch.equal(one.lengths, three.lengths) or not torch.equal(one.labels, three.labels)


def test_all_references_of_an_example_get_their_turn() -> None:
    several = [i for i, example in enumerate(EXAMPLES) if len(example.references) == 2]
    seen = torch.stack([plan(MaximumLikelihood(), epoch=epoch).chosen[several] for epoch in range(30)])
    assert (seen != seen[0]).any(0).all(), "a fair coin shows one side 30 times in a row once in 10^9"


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_a_bad_budget_is_refused(bad: object) -> None:
    from structpred.errors import ConfigError
    from structpred.training import Trainer

    with pytest.raises(ConfigError, match=r"Trainer\.batch_tokens must be"):
        Trainer(batch_tokens=bad)  # type: ignore[arg-type]
