"""Eleven ways to go on from likelihood: the rule of tuning, the calls that are counted, and the record."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from structpred.experiment import Experiment
from structpred.experiments.five_objectives import SEQ2SEQ, K
from structpred.experiments.warm_start_objectives import (
    ARMS,
    START,
    TUNING_SEED,
    best_trials,
    calls,
    experiments,
    tried,
)
from structpred.objectives import DPO, Objective
from structpred.objectives.distillation import Teacher
from structpred.rewards import ConstantReward, EditDistance, Reward
from structpred.sequences import Sequences
from structpred.testing.spaces import sizes_of
from tests.support.tiny import tiny_seq2seq

RECORD = Path(__file__).resolve().parents[2] / "experiments" / "records" / "warm_start_objectives"
SIXTEEN = 16


def test_arms_share_start_and_epochs_and_have_four_trials_each() -> None:
    every = tried("runs/start")
    assert len(every) == 4 * len(ARMS) == 44
    assert {each.epochs for each in every.values()} == {SIXTEEN} == {SEQ2SEQ.trainer.epochs}
    assert {each.start for each in every.values()} == {START}
    assert len({each.to_json() for each in every.values()}) == len(every)
    assert experiments().keys() == ARMS.keys() - {"DPO"}


@pytest.mark.parametrize("name", ARMS)
def test_calls_of_the_reward_are_those_that_a_step_makes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[torch.Tensor] = []

    def counting(reward: type[Reward]) -> None:
        score = reward.score

        def counted(self: Reward, outputs: Sequences, given: Sequences) -> torch.Tensor:
            scored.append(outputs.lengths)
            return score(self, outputs, given)

        monkeypatch.setattr(reward, "score", counted)

    counting(EditDistance)
    counting(ConstantReward)
    network = tiny_seq2seq(3)
    inputs, targets = Sequences.of([[0, 1], [2]]), Sequences.of([[1, 2], [0]])
    for value in ARMS[name].values:
        objective: Objective = ARMS[name].make(value, "runs/start")
        if "credit" in ARMS[name].own and value == "token":
            continue  # its rewards come from increments, of as many outputs as with the other credit
        scored.clear()
        content = inputs.content
        state = Teacher(network, content, "start") if isinstance(objective, DPO) else objective.state(sizes_of(3))
        state = state.double() if state is not None else None
        objective(network(inputs), targets, state=state, generator=torch.Generator().manual_seed(0), inputs=inputs)
        assert sum(lengths.numel() for lengths in scored) == calls(objective) * len(targets)


def test_the_lowest_per_wins_then_the_lower_wer_then_the_earlier() -> None:
    dev = {name: {"PER": 20.0, "WER": 60.0} for name in tried("runs/start")}
    earliest = best_trials(dev)
    assert earliest == {name: arm.trials[0] for name, arm in ARMS.items()}
    better = {arm: ARMS[arm].named(ARMS[arm].trials[place]) for arm, place in (("ML", 3), ("GRPO", 2))}
    dev[f"ML, {better['ML']}"] = {"PER": 19.9, "WER": 70.0}
    dev[f"GRPO, {better['GRPO']}"] = {"PER": 20.0, "WER": 59.9}
    chosen = best_trials(dev)
    assert chosen == earliest | {"ML": ARMS["ML"].trials[3], "GRPO": ARMS["GRPO"].trials[2]}


@pytest.fixture(scope="module")
def record() -> dict[str, dict[str, Any]]:
    parts = ("start", "tuning", "comparison")
    return {part: json.loads((RECORD / part / "results.json").read_text(encoding="utf-8")) for part in parts}


def test_the_record_follows_the_rule_of_tuning(record: dict[str, dict[str, Any]]) -> None:
    tuning, comparison = record["tuning"], record["comparison"]
    assert tuning["seeds"] == [TUNING_SEED]
    assert comparison["seeds"] == record["start"]["seeds"] == [0, 1, 2, 3, 4]
    chosen = best_trials({name: runs[0]["scores"]["dev"] for name, runs in tuning["runs"].items()})
    assert list(comparison["arms"]) == list(ARMS)
    for name, node in comparison["arms"].items():
        arm = Experiment.from_json(json.dumps(node))
        start = arm.objective.run if isinstance(arm.objective, DPO) else ""
        assert start.startswith("runs/") or name != "DPO"
        made = ARMS[name].experiment(chosen[name], start)
        assert (arm.objective, arm.optimiser, arm.trainer) == (made.objective, made.optimiser, made.trainer), name
    assert K == 5
