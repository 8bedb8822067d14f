"""A reward against all references of an example: by hand, in a gradient by enumeration, and in training."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import REINFORCE, Greedy
from structpred.rewards import Context, EditDistance, EveryReference, Hamming, Reward, SentenceBleu, SentenceTer, bind
from structpred.rewards.base import Incremental, increments_of
from structpred.sequences import Sequences
from structpred.task import Example
from structpred.testing.spaces import (
    Dictated,
    as_candidates,
    built,
    every_output,
    repeated,
    strings,
    tiny_models,
    tuples_of,
)
from structpred.training import Trainer
from structpred.training.data import EncodedData
from structpred.training.trainer import Training
from structpred.vocabulary import Vocabulary
from tests.support.tiny import Copying

REFERENCES = [[[0, 1], [1]], [[0]], [[1, 1], [0, 1, 0]]]
"""Of three examples, the second with one reference only."""

Over = Literal["reward", "mean"]


def context() -> Context:
    named = [tuple(tuple("ab"[label] for label in row) for row in each) for each in REFERENCES]
    examples = tuple(Example(("x",), each, f"example {i}") for i, each in enumerate(named))
    return Context(Copying(), Vocabulary(("a", "b")), examples)


def given(*places: int) -> Sequences:
    """One reference of each example."""
    drawn = Sequences.of([REFERENCES[i][place] for i, place in enumerate(places)])
    return replace(drawn, examples=torch.arange(len(places)))


def by_hand(reward: Reward, over: Over, outputs: list[list[int]]) -> Tensor:
    """Each example by itself, against all of its references together or one after another."""
    rows = []
    for each in REFERENCES:
        several = as_candidates(each)
        together = reward.score(as_candidates(outputs), several)[0]
        single = [reward.score(as_candidates(outputs), Sequences.of([one]))[0] for one in each]
        rows.append(together if over == "reward" else torch.stack(single).double().mean(0))
    return torch.stack(rows)


@pytest.mark.parametrize("over", ["reward", "mean"])
@pytest.mark.parametrize(
    "reward", [EditDistance(), SentenceBleu(order=2), SentenceTer()], ids=lambda r: type(r).__name__
)
def test_it_is_the_reward_against_all_references_whichever_was_drawn(reward: Reward, over: Over) -> None:
    found = bind(EveryReference(reward=reward, over=over), context())
    outputs = strings(2, 2)
    wanted = by_hand(bind(reward, context()), over, outputs)
    for drawn in (given(0, 0, 0), given(1, 0, 1)):
        candidates = as_candidates(outputs, 3)
        torch.testing.assert_close(found.score(candidates, drawn).double(), wanted.double(), rtol=0, atol=1e-12)
        assert isinstance(found, Incremental) == isinstance(reward, Incremental)
        if isinstance(found, Incremental):
            sums = increments_of(found, candidates, drawn).sum(-1)
            torch.testing.assert_close(sums.double(), wanted.double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("over", ["reward", "mean"])
@pytest.mark.parametrize("credit", ["sequence", "token"])
def test_self_critical_training_follows_the_expected_reward_against_all_references(
    over: Over, credit: Literal["sequence", "token"]
) -> None:
    """By enumeration: the greedy output is compared with all references, too."""
    network, inputs = built(tiny_models()["seq2seq"]), Sequences.of([[0, 1]])
    objective = bind(
        REINFORCE(reward=EveryReference(over=over), samples=1, baseline=Greedy(), credit=credit), context()
    )
    every = tuples_of(every_output(network(inputs), 2), 1)
    p, targets = network(repeated(inputs, len(every))), repeated(Sequences.of([REFERENCES[2][0]]), len(every))
    log_probs = p.log_prob(every)[:, 0]
    losses = objective(Dictated(p, every), replace(targets, examples=torch.full((len(every),), 2)))
    outputs = [row[0] for row in zip(every.flatten().tolist(), strict=True)]
    rewards = by_hand(EditDistance(), over, outputs)[2]
    found, truth = (
        torch.autograd.grad(each, list(network.parameters()), retain_graph=True)
        for each in ((losses.values * log_probs.detach().exp()).sum(), -(log_probs.exp() * rewards).sum())
    )
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)


def test_training_says_which_examples_references_are_of() -> None:
    experiment = Experiment(
        task=Copying(),
        model=Seq2Seq(embedding=4, hidden=4, dropout=0.0),
        objective=REINFORCE(reward=EveryReference(), baseline=Greedy(), samples=1),
        trainer=Trainer(batch_tokens=40),
    )
    with torch.random.fork_rng():
        training = Training(experiment, EncodedData.of(experiment.task.load(), experiment.model), device="cpu")
        before = [each.detach().clone() for each in training.model.parameters()]
        training.rehearse(1)
    assert any(not torch.equal(one, new) for one, new in zip(before, training.model.parameters(), strict=True))


def test_it_takes_over_what_its_reward_needs_and_says_what_is_missing() -> None:
    assert EveryReference(reward=Hamming()).same_length
    assert not EveryReference().same_length
    assert EveryReference(reward=SentenceBleu()).pools_references
    assert EveryReference(over="mean").pools_references
    assert not EveryReference().pools_references
    nameless = replace(given(0, 0, 0), examples=None)
    with pytest.raises(ConfigError, match=r"EveryReference asks for the other references of each example, but nothing"):
        bind(EveryReference(), context()).score(as_candidates([[0]], 3), nameless)
