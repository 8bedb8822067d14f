"""The path of a batch on a device, with a stand-in for one: who waits for it, and whose tensors are left behind."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import pytest
import torch
from _pytest.mark.structures import ParameterSet

from structpred.config import components, registered_name
from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import LocalScores
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments.benchmarks.gpu_agreement import pairs
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq, Transformer, WordEmbedding
from structpred.objective import Objective
from structpred.objectives import (
    REINFORCE,
    RML,
    Critic,
    Greedy,
    LabelSmoothing,
    Learned,
    MaximumLikelihood,
    MinimumRisk,
    Mixer,
    RunningMean,
    Weighted,
    WeightedSum,
)
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.returned import waiting
from structpred.rewards import ConstantReward, Context, Hamming, Reward, SentenceBleu, bind
from structpred.runs import train
from structpred.sequences import Sequences
from structpred.training import Trainer, waits
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.distributed import DistributedContext
from structpred.training.meters import NonfiniteGuard, Totals
from structpred.training.step import Stepper
from tests.support.device import DEVICE, There, Watch, move
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
    objective=MaximumLikelihood(),
    trainer=Trainer(batch_tokens=40),
)

CALLERS = {  # which function of the project it is that waits, for each reason to
    "structpred/distributions/layout.py: of": waits.CHAIN,
    "structpred/distributions/linear_chain.py: _extremes": waits.CHAIN,
    "structpred/distributions/linear_chain.py: expected_score": waits.CHAIN,
    "structpred/distributions/search.py: decode_loop": waits.SYMBOLS,
    "structpred/distributions/search.py: __init__": waits.SYMBOLS,
    "structpred/distributions/search.py: drop_finished": waits.SYMBOLS,
    "structpred/distributions/search.py: ranked": waits.SYMBOLS,
    "structpred/distributions/autoregressive.py: _positions": waits.SYMBOLS,
    "structpred/objectives/mixer.py: losses": waits.SYMBOLS,
    "structpred/rewards/edit_distance.py: _here": waits.EDITS,
    "structpred/sequences.py: tolist": waits.TEXT,
    "structpred/rewards/every_reference.py: <genexpr>": waits.TEXT,
    "structpred/rewards/every_reference.py: _asked": waits.TEXT,
    "structpred/payoffs/hamming.py: _successes": waits.NOISE,
    "structpred/payoffs/hamming.py: sample": waits.NOISE,
    "structpred/objectives/critics.py: weights": waits.FIT,
    "structpred/objectives/critics.py: learn": waits.FIT,
    "structpred/sequences.py: _spelt": waits.WORDS,
    "structpred/sequences.py: gather": waits.WORDS,
}
NETWORKS: dict[str, Model] = {
    "crf": CRF(embedding=8, hidden=8, dropout=0.0),
    "lstm-tagger": LSTMTagger(embedding=8, hidden=8, dropout=0.0),
    "seq2seq": Seq2Seq(embedding=8, hidden=8, dropout=0.0, length_ratio=1.0, length_extra=2),
    "transformer": Transformer(
        hidden=8, feedforward=8, encoder_layers=1, decoder_layers=1, dropout=0.0, length_ratio=1.0, length_extra=2
    ),
}
OF_A_KIND = (MaximumLikelihood, LabelSmoothing, REINFORCE, Mixer)
"""One objective for each way in which a decoder is asked: a Transformer is asked no more, for `Autoregressive` asks."""
BASELINES = [
    REINFORCE(reward=Hamming(), baseline=RunningMean()),
    REINFORCE(reward=Hamming(), baseline=Learned()),
    REINFORCE(reward=Hamming(), baseline=Greedy()),
    REINFORCE(reward=Hamming(), baseline=Critic(embedding=4, hidden=4), credit="token"),
]
MADE_OF_OTHERS = [
    WeightedSum(parts=(Weighted(objective=MaximumLikelihood()), Weighted(objective=LabelSmoothing()))),
    WeightedSum(
        parts=(Weighted(objective=MaximumLikelihood()), Weighted(objective=MinimumRisk(reward=SentenceBleu())))
    ),
]


def every_pair() -> Iterator[ParameterSet]:
    """What the benchmark of agreement goes through, and what the capability table does not go into."""
    asked: set[type[Objective]] = set()
    for objective, model in pairs():
        rewards = {registered_name(part) for part in components(objective) if isinstance(part, Reward)}
        if rewards & {"chrf", "constant", "every-reference", "gleu", "ter", "text-bleu", "weighted"} and not isinstance(
            objective, REINFORCE
        ):
            continue  # asked as the others are; one objective is enough
        if isinstance(model, Transformer) and (not isinstance(objective, OF_A_KIND) or type(objective) in asked):
            continue
        if isinstance(model, Transformer):
            asked.add(type(objective))
        yield case(objective, NETWORKS[registered_name(model)])
    for objective in BASELINES:
        yield case(objective, NETWORKS["lstm-tagger"])
    for objective in MADE_OF_OTHERS:
        yield case(objective, NETWORKS["seq2seq"])
    yield case(MaximumLikelihood(), LSTMTagger(inputs=WordEmbedding(), embedding=8, hidden=8, dropout=0.0))


def case(objective: Objective, model: Model) -> ParameterSet:
    chosen = [registered_name(part) for part in components(objective) if part.family is not None][1:]
    names = [registered_name(objective), *chosen, "on", registered_name(model)]
    return pytest.param(objective, model, id=" ".join(names))


PAIRS = list(every_pair())


@pytest.fixture(autouse=True)
def _a_device_that_can_what_others_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch asks these by the name of the device, which is not one that computes."""
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_, **__: None)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def stepper_of(experiment: Experiment) -> tuple[Stepper, EncodedData]:
    prepared = EncodedData.of(experiment.task.load(), experiment.model)
    return Stepper(experiment, prepared, DistributedContext("cpu")), prepared


def epoch(experiment: Experiment, prepared: EncodedData, device: torch.device) -> EpochPlan:
    resident = prepared.training.to(device)
    return EpochPlan(prepared.training, resident, experiment.objective, budget=40, seed=0, epoch=0)


def take_two(stepper: Stepper, plan: EpochPlan) -> Totals:
    """Half-way through training, as the trainer takes those after which it does not report."""
    totals = Totals()
    for position in range(2):
        with waiting(False):
            taken = stepper.train_step(plan, position, position, 0.5)
        totals.add(taken.scored.losses, taken.scored.diagnostics, taken.scored.tokens, taken.skip)
    return totals


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Objective, Model], Objective]:
    """Gives an objective that needs a teacher one: a run of the same model."""
    root = tmp_path_factory.mktemp("teachers")

    @cache
    def teacher(model: Model) -> str:
        lesson = replace(TINY, model=model, trainer=replace(TINY.trainer, epochs=1))
        return str(train(lesson, root=root, device="cpu").folder.path)

    def with_teacher(objective: Objective, model: Model) -> Objective:
        if not objective.learns_from:
            return objective
        return replace(objective, **{objective.learns_from: teacher(model)})

    return with_teacher


@pytest.mark.parametrize(("objective", "model"), PAIRS)
def test_a_step_mixes_no_devices_and_waits_for_what_is_listed_and_nothing_else(
    objective: Objective, model: Model, taught: Callable[[Objective, Model], Objective]
) -> None:
    experiment = bind(replace(TINY, model=model, objective=taught(objective, model)), Context.of(TINY.task))
    here, prepared = stepper_of(experiment)
    expected = take_two(here, epoch(experiment, prepared, torch.device("cpu")))
    there, _ = stepper_of(experiment)
    with Watch() as watch:
        move(there.modules)
        there.parameters = [each for each in there.modules.parameters() if each.requires_grad]
        there.optimizer = experiment.optimiser.build(there.parameters)  # unwrapped
        there.guard = NonfiniteGuard(DEVICE)
        there.buffers = [] if there.modules.state is None else list(there.modules.state.buffers())
        plan = epoch(experiment, prepared, DEVICE)
        watch.waited.clear()
        totals = take_two(there, plan)
    assert {CALLERS.get(place, place) for place in watch.waited} == set(waits.reasons(objective, model)), watch.waited
    assert isinstance(totals.losses, There), "nobody has read the loss"
    assert float(totals.losses.numbers) == pytest.approx(float(expected.losses), rel=1e-5, abs=2e-6), (
        "but for rounding in float32, of which a small divergence of large log-probabilities has more"
    )
    for mine, its in zip(here.parameters, there.parameters, strict=True):
        assert isinstance(its, There)
        # Adam makes a part of its rate, 1e-3, of the rounding of a gradient near 0, and all of it if there is no other
        nothing = isinstance(getattr(objective, "reward", None), ConstantReward)
        torch.testing.assert_close(its.numbers, mine.detach(), rtol=1e-5, atol=2e-3 if nothing else 1e-4)


def test_what_promises_not_to_wait_is_not_little() -> None:
    promising = {each.id for each in PAIRS if waits.promises(*each.values)}  # type: ignore[arg-type]
    assert {
        "maximum-likelihood on lstm-tagger",
        "maximum-likelihood on seq2seq",
        "label-smoothing on seq2seq",
    } <= promising
    assert {"rml edit-distance sampled on seq2seq", "expected-reward hamming on lstm-tagger"} <= promising


def test_a_chain_waits_twice_whatever_is_asked_of_it_and_once_for_an_expectation() -> None:
    with Watch() as watch, waiting(False):
        lengths, labels = torch.tensor([3, 2]).to(DEVICE), torch.zeros(2, 3, dtype=torch.long).to(DEVICE)
        p = LinearChain(torch.randn(2, 3, 4).to(DEVICE).requires_grad_(), torch.randn(4, 4).to(DEVICE), lengths)
        watch.waited.clear()
        torch.autograd.backward(p.log_prob(Sequences(labels, lengths).candidates()).sum())
        p.sample(2)
        p.argmax()
        likelihood = sorted(watch.waited)
        p.entropy()
    assert likelihood == [
        "structpred/distributions/layout.py: of",
        "structpred/distributions/linear_chain.py: _extremes",
    ]
    assert watch.waited[2:] == ["structpred/distributions/linear_chain.py: expected_score"]


def test_a_batch_is_gathered_without_waiting_for_the_device() -> None:
    prepared = EncodedData.of(TINY.task.load(), TINY.model)
    with Watch() as watch:
        plan = EpochPlan(prepared.training, prepared.training.to(DEVICE), RML(), budget=40, seed=0, epoch=0)
        watch.waited.clear()
        batches = [part for position in range(len(plan)) for part in plan.parts(position, 2)]
    assert watch.waited == []
    assert all(isinstance(each.targets.labels, There) for each in batches)


WAYS: dict[str, Callable[[torch.Tensor], object]] = {
    "float": float,
    "bool": bool,
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "copied into main memory": lambda x: torch.zeros(1).copy_(x),
    "nonzero": lambda x: (x > 0).nonzero(),
    "by a mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
    "unique": torch.unique,
    "unique_consecutive": torch.unique_consecutive,
    "bincount": lambda x: x.long().bincount(),
    "one_hot": lambda x: torch.nn.functional.one_hot(x.long()),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long()),
    "solve": lambda x: torch.linalg.solve(x.expand(1, 1), x),
    "pinv": lambda x: torch.linalg.pinv(x.expand(1, 1), hermitian=True),
    "copied from main memory": lambda x: torch.zeros(1).to(x.device),
    "by indices in main memory": lambda x: x[torch.zeros(1, dtype=torch.long)],
}
FREE: dict[str, Callable[[torch.Tensor], object]] = {
    "copied from main memory without blocking": lambda x: torch.zeros(1).to(x.device, non_blocking=True),
    "nonzero_static": lambda x: torch.nonzero_static(x, size=1),
    "repeat_interleave of a known size": lambda x: x.repeat_interleave(x.long(), output_size=1),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "by indices on the device": lambda x: x[x.long() - 1],
    "another type": lambda x: x.double(),
}


@pytest.mark.parametrize("crossing", WAYS.values(), ids=WAYS)
def test_the_stand_in_sees_every_way_to_wait(crossing: Callable[[torch.Tensor], object]) -> None:
    with Watch() as watch:
        crossing(torch.ones(1, device=DEVICE))
    assert watch.waited


@pytest.mark.parametrize("staying", FREE.values(), ids=FREE)
def test_the_stand_in_sees_no_wait_where_there_is_none(staying: Callable[[torch.Tensor], object]) -> None:
    with Watch() as watch:
        staying(torch.ones(1, device=DEVICE))
    assert not watch.waited


@pytest.mark.parametrize("payoff", [HammingPayoff, EditDistancePayoff])
def test_draws_of_a_payoff_can_be_made_on_a_device(payoff: type[HammingPayoff | EditDistancePayoff]) -> None:
    here = Sequences.of([[0, 1, 2, 3], [3, 2], []])

    def drawn(references: Sequences) -> Sequences:
        q = payoff(temperature=Temperature(rescaled=0.8)).distribution(references, 4)
        return q.sample(5, torch.Generator().manual_seed(0))

    expected = drawn(here)
    with Watch():
        found = drawn(here.to(DEVICE))
    for mine, its in zip((found.labels, found.lengths), (expected.labels, expected.lengths), strict=True):
        assert isinstance(mine, There)
        assert torch.equal(mine.numbers, its)


@pytest.mark.parametrize("said", [None, True, False])
def test_lengths_on_a_device_are_compared_unless_a_step_must_not_wait(said: bool | None) -> None:
    with Watch(), nullcontext() if said is None else waiting(said):
        labels, lengths = torch.zeros(1, 2, dtype=torch.long).to(DEVICE), torch.tensor([2]).to(DEVICE)
        outputs = Sequences(labels, lengths).candidates()
        p = Factorised(torch.zeros(1, 2, 3).to(DEVICE), lengths)
        asked: list[Callable[[], object]] = [
            lambda: Hamming().score(outputs, Sequences(labels, lengths - 1)),
            lambda: p.expected_score(LocalScores(p.scores, lengths - 1)),
        ]
        for compare in asked:
            with nullcontext() if said is False else pytest.raises(ConfigError, match="in example 0"):
                compare()


def test_the_stand_in_refuses_a_tensor_that_was_left_behind() -> None:
    with Watch(), pytest.raises(AssertionError, match="a tensor in main memory meets the device"):
        torch.ones(3, device=DEVICE) + torch.arange(3)
