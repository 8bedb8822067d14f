"""What training asks for, counted: rewards and passes of decoders."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from structpred import Experiment, Trainer
from structpred.distributions.factorised import Factorised
from structpred.errors import Interrupted
from structpred.models import Seq2Seq
from structpred.objective import Objective
from structpred.objectives import (
    REINFORCE,
    RML,
    Beam,
    ExpectedReward,
    Greedy,
    MaximumLikelihood,
    MinimumRisk,
    NoBaseline,
    Sampled,
    SelfNormalised,
)
from structpred.payoffs import ReweightedPayoff
from structpred.results import RunResult
from structpred.rewards import EditDistance, Hamming, WeightedReward, WeightedRewards
from structpred.rewards.base import costs_of, increments_of, scores_of
from structpred.sequences import Sequences
from structpred.tally import Tally, asked_rewards, counting, passed_decoder
from structpred.task import Splits
from structpred.training.checkpoint import State
from structpred.training.data import EncodedData
from structpred.training.monitoring import JsonlLogger, Logger
from structpred.training.trainer import Training
from tests.support.reports import a_run
from tests.support.tiny import Copying, tiny_p

SUM = WeightedRewards(parts=(WeightedReward(reward=EditDistance()), WeightedReward(reward=EditDistance(), weight=0.5)))
REWEIGHTED = RML(payoff=ReweightedPayoff(), estimator=SelfNormalised(k=2))


@pytest.mark.parametrize(
    ("objective", "rewards", "passes"),
    [
        (MaximumLikelihood(), 0, 1),
        (RML(estimator=Sampled(k=3)), 0, 3),  # the payoff draws, the model scores; equal draws count each
        (REWEIGHTED, 2, 2),  # rewards are asked ahead of the steps
        (REINFORCE(samples=3, baseline=NoBaseline(), reward=SUM), 3, 6),  # drawn, then scored; a sum asks once
        (REINFORCE(samples=2, baseline=Greedy()), 3, 5),
        (MinimumRisk(candidates=Beam(k=4)), 5, 9),  # a beam of four, and the reference beside them
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Objective) else str(value),
)
def test_an_objective_asks_as_often_as_it_says(objective: Objective, rewards: int, passes: int) -> None:
    p, targets, generator, tally = tiny_p(), Sequences.of([[0, 1], [1]]), torch.Generator().manual_seed(0), Tally()
    with counting(tally):
        draws = objective.draw(targets, 2, generator)
        objective(p, targets, draws=draws, generator=generator)
    assert tally == Tally(2 * rewards, 2 * passes)


def test_a_tagger_has_no_decoder_and_an_exact_reward_counts_its_table_and_the_best() -> None:
    p, tally = Factorised(torch.zeros(3, 2, 2), torch.tensor([2, 1, 2])), Tally()
    with counting(tally):
        ExpectedReward(reward=Hamming())(p, Sequences.of([[0, 1], [1], [1, 1]]))
    assert tally == Tally(6, 0)


def test_verbs_and_rewards_count_the_outputs_they_are_asked_for() -> None:
    p, targets = tiny_p(), Sequences.of([[0, 1], [1]])
    outputs = Sequences(targets.labels.unsqueeze(1).repeat(1, 3, 1), targets.lengths.unsqueeze(1).repeat(1, 3))
    generator = torch.Generator().manual_seed(0)
    asked: dict[str, tuple[Callable[[], object], int]] = {
        "log_prob": (lambda: p.log_prob(outputs), 6),
        "steps": (lambda: p.steps(outputs), 6),
        "sample": (lambda: p.sample(5, generator), 10),
        "continuations": (lambda: p.continuations(targets, 2, generator), 4),
        "mixed history": (lambda: p.mixed_history(outputs, torch.ones(2, 3, 2, dtype=torch.bool), generator), 6),
        "greedy": (p.greedy, 2),
        "n-best": (lambda: p.n_best(3), 6),
    }
    for name, (ask, expected) in asked.items():
        tally = Tally()
        with counting(tally):
            ask()
        assert tally == Tally(0, expected), name
    tally = Tally()
    with counting(tally):
        scores_of(EditDistance(), outputs, targets)
        increments_of(EditDistance(), outputs, targets)
        costs_of(Hamming(), targets, 2)
        with counting(None):
            asked_rewards(100)
    passed_decoder(100)  # nobody counts
    assert tally == Tally(14, 0)
    assert Tally.of([tally.state(), Tally(1, 2).state()]) == Tally(15, 2)


EXAMPLES = 6
TINY = Experiment(
    task=Copying(train=EXAMPLES),
    model=Seq2Seq(embedding=4, hidden=4, dropout=0.0, length_extra=2, length_ratio=1.0),
    objective=REWEIGHTED,
    trainer=Trainer(epochs=2, batch_tokens=20),
)


def training(*loggers: Logger) -> Training:
    found = TINY.task.load()
    splits = Splits(found.train, found.dev[:1], found.test[:1], found.digest)
    return Training(TINY, EncodedData.of(splits, TINY.model), device="cpu", loggers=loggers)


@pytest.mark.filterwarnings("ignore:importance weights are poor")
def test_counts_go_on_after_an_interruption_into_log_and_result(tmp_path: Path) -> None:
    saved: list[State] = []
    log, steps = tmp_path / "log.jsonl", iter([False, True])
    first, run = training(), training(JsonlLogger(log))
    with pytest.raises(Interrupted):
        first.run(save=saved.append, save_every=1e9, stopping=lambda: next(steps))
    assert first.position == 2  # within the first epoch, whose draws are made again, and not counted again
    run.restore(saved[-1])
    run.run(save=saved.append, save_every=1e9, stopping=lambda: False)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    counts = [(line["reward_calls"], line["decoder_passes"]) for line in lines if "dev/PER" in line]
    assert counts == [(2 * EXAMPLES, 2 * EXAMPLES), (4 * EXAMPLES, 4 * EXAMPLES)]
    result = asdict(replace(a_run(1.0), history=tuple(run.history)))
    kept = RunResult.of(json.loads(json.dumps(result)))
    assert (kept.cost("decoder_passes"), kept.cost("reward_calls")) == counts[-1]
    assert 0 < kept.history[0].costs["cpu_seconds"] < kept.history[1].costs["cpu_seconds"]
    wrong = {**result["history"][0], "costs": {"reward_calls": "many"}}
    for epoch in result["history"]:
        del epoch["costs"]
    assert RunResult.of(result).cost("decoder_passes") is None  # an older one
    with pytest.raises(ValueError, match="expected the scores of a run"):
        RunResult.of(result | {"history": [wrong]})
    run.restore({name: value for name, value in saved[-1].items() if name != "tally"})
    assert run.tally is None  # what was asked before is not known
