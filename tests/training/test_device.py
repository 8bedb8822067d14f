"""The path of a batch on a device, with a stand-in for one: who waits for it, and whose tensors are left behind."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Seq2Seq, WordEmbedding
from structpred.objectives import (
    REINFORCE,
    RML,
    ExpectedReward,
    LabelSmoothing,
    MaximumLikelihood,
    MaxMargin,
    MinimumRisk,
    OptimalCompletion,
    RunningMean,
)
from structpred.payoffs import HammingPayoff, Temperature
from structpred.rewards import Hamming
from structpred.training import Trainer
from structpred.training.batching import EpochPlan
from structpred.training.care import Care
from structpred.training.data import Prepared
from structpred.training.ranks import Ranks
from structpred.training.stepper import Stepper
from structpred.training.tallies import Totals
from tests.support.device import DEVICE, There, Watch, move
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
    objective=MaximumLikelihood(),
    trainer=Trainer(batch_tokens=40),
)
TAGGER = replace(TINY, model=LSTMTagger(embedding=8, hidden=8, dropout=0.0))
BY_WORDS = replace(TINY, model=LSTMTagger(inputs=WordEmbedding(), embedding=8, hidden=8, dropout=0.0))
CHAIN = replace(TINY, model=CRF(embedding=8, hidden=8, dropout=0.0))
SPREAD = HammingPayoff(temperature=Temperature(edit_rate=0.1))

PACKING = {"structpred/distributions/packing.py", "structpred/distributions/linear_chain.py"}  # leaves padding out
LENGTHS = {"structpred/distributions/protocols.py", "structpred/rewards/hamming.py"}  # refuses outputs that do not fit
WORDS = {"structpred/words.py", "structpred/sequences.py"}  # spells each word of a batch once
DRAWS = {  # asks after every symbol whether all have ended; edit distances are counted by the processor
    "structpred/distributions/search.py",
    "structpred/distributions/autoregressive.py",  # where those symbols stand
    "structpred/rewards/edit_distance.py",
}
CRITIC = {"structpred/objectives/critics.py"}  # learns from the steps that there are
CASES: dict[str, tuple[Experiment, set[str]]] = {
    "tagger, likelihood": (TAGGER, set()),
    "tagger, smoothing": (replace(TAGGER, objective=LabelSmoothing()), set()),
    "tagger, RML": (replace(TAGGER, objective=RML(payoff=SPREAD)), set()),
    "tagger, expected reward": (replace(TAGGER, objective=ExpectedReward(reward=Hamming())), LENGTHS),
    "tagger of words": (BY_WORDS, WORDS),
    "chain, likelihood": (CHAIN, PACKING),
    "chain, margin": (replace(CHAIN, objective=MaxMargin(reward=Hamming())), PACKING | LENGTHS),
    "seq2seq, likelihood": (TINY, set()),
    "seq2seq, smoothing": (replace(TINY, objective=LabelSmoothing()), set()),
    "seq2seq, RML": (replace(TINY, objective=RML()), set()),
    "seq2seq, minimum risk": (replace(TINY, objective=MinimumRisk()), DRAWS),
    "seq2seq, REINFORCE": (replace(TINY, objective=REINFORCE(baseline=RunningMean())), DRAWS | CRITIC),
    "seq2seq, optimal completion": (replace(TINY, objective=OptimalCompletion()), DRAWS),
}


@pytest.fixture(autouse=True)
def _a_device_that_can_what_others_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch asks these by the name of the device, which is not one that computes."""
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_, **__: None)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def stepper_of(experiment: Experiment) -> tuple[Stepper, Prepared]:
    prepared = Prepared.of(experiment.task.load(), experiment.model)
    return Stepper(experiment, prepared, Ranks("cpu")), prepared


def take_two(stepper: Stepper, experiment: Experiment, prepared: Prepared, device: torch.device) -> Totals:
    resident, totals = prepared.training.to(device), Totals()
    plan = EpochPlan(prepared.training, resident, experiment.objective, budget=40, seed=0, epoch=0)
    for position in range(2):
        taken = stepper.take(plan, position, position, 0.0)
        totals.add(taken.scored.losses, taken.scored.diagnostics, taken.scored.tokens, taken.skip)
    return totals


@pytest.mark.parametrize(("experiment", "may_wait"), CASES.values(), ids=CASES)
def test_a_step_mixes_no_devices_and_waits_only_where_it_is_known_to(
    experiment: Experiment, may_wait: set[str]
) -> None:
    here, prepared = stepper_of(experiment)
    expected = take_two(here, experiment, prepared, torch.device("cpu"))
    there, _ = stepper_of(experiment)
    with Watch() as watch:
        move(there.modules)
        there.parameters = list(there.modules.parameters())
        there.optimizer = experiment.optimiser.build(there.parameters)  # unwrapped
        there.care = Care(DEVICE)
        there.buffers = [] if there.modules.state is None else list(there.modules.state.buffers())
        totals = take_two(there, experiment, prepared, DEVICE)
    assert {place.partition(":")[0] for place in watch.waited} <= may_wait, watch.waited
    assert may_wait != PACKING or len(watch.waited) == 4, "a chain waits for its lengths and for its range, every step"
    assert isinstance(totals.losses, There), "nobody has read the loss"
    assert float(totals.losses.numbers) == pytest.approx(float(expected.losses))
    for mine, its in zip(here.parameters, there.parameters, strict=True):
        assert isinstance(its, There)
        torch.testing.assert_close(its.numbers, mine.detach())


def test_a_batch_is_gathered_without_waiting_for_the_device() -> None:
    prepared = Prepared.of(TINY.task.load(), TINY.model)
    with Watch() as watch:
        plan = EpochPlan(prepared.training, prepared.training.to(DEVICE), RML(), budget=40, seed=0, epoch=0)
        watch.waited.clear()
        batches = [part for position in range(len(plan)) for part in plan.parts(position, 2)]
    assert watch.waited == []
    assert all(isinstance(each.targets.labels, There) for each in batches)


@pytest.mark.parametrize(
    "crossing",
    [float, bool, lambda x: x.sum().item(), lambda x: x.tolist(), lambda x: x.cpu(), lambda x: (x > 0).nonzero(),
     lambda x: x[x > 0], lambda x: x.masked_select(x > 0)],
    ids=["float", "bool", "item", "tolist", "cpu", "nonzero", "by a mask", "masked_select"],
)  # fmt: skip
def test_the_stand_in_sees_every_way_to_wait(crossing: Callable[[torch.Tensor], object]) -> None:
    with Watch() as watch:
        crossing(torch.ones(1, device=DEVICE))
    assert watch.waited


def test_the_stand_in_refuses_a_tensor_that_was_left_behind() -> None:
    with Watch(), pytest.raises(AssertionError, match="a tensor in main memory meets the device"):
        torch.ones(3, device=DEVICE) + torch.arange(3)
