"""Runs that are interrupted anywhere, also while dev or test is scored."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from structpred.distributions.protocols import Decoding
from structpred.errors import Interrupted
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.runs import Run, train
from structpred.training import Adam, Trainer, checkpoint
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=2, batch_tokens=200),
    decoding=Decoding(beam=2),
)


def stop_at(question: int, asked: list[int]) -> Callable[[], bool]:
    """Answer yes to one question; ``asked`` counts them."""

    def stopping() -> bool:
        asked.append(len(asked))
        return len(asked) == question

    return stopping


def outcome(run: Run) -> tuple[Any, ...]:
    result = run.result
    timeless = [replace(epoch, seconds=0.0, costs={**epoch.costs, "cpu_seconds": 0.0}) for epoch in result.history]
    return result.steps, result.best_epoch, result.scores, timeless, run.predictions("test")


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_run_ends_the_same_wherever_it_was_interrupted(average: float | None, tmp_path: Path) -> None:
    experiment = replace(TINY, trainer=replace(TINY.trainer, average=average))
    asked: list[int] = []
    undisturbed = train(experiment, root=tmp_path / "undisturbed", stopping=stop_at(0, asked))
    steps, epochs = undisturbed.result.steps, 2
    assert len(asked) == steps + epochs + 2  # after a step, before a batch of dev after an epoch, of dev and of test
    for question in range(1, len(asked) + 1):
        root = tmp_path / str(question)
        with pytest.raises(Interrupted):
            train(experiment, root=root, stopping=stop_at(question, []))
        resumed = train(experiment, root=root)
        assert outcome(resumed) == outcome(undisturbed), question
        kept, wanted = (checkpoint.load(run.folder.weights) for run in (resumed, undisturbed))
        assert all(torch.equal(kept[name], wanted[name]) for name in wanted)
        assert not resumed.folder.checkpoint.exists()


def test_a_run_whose_time_was_over_takes_no_further_step(tmp_path: Path) -> None:
    experiment = replace(TINY, trainer=replace(TINY.trainer, max_seconds=1e-6))
    for question in (2, 3, 4):  # dev at the end of the only epoch, dev and test by the beam
        root = tmp_path / str(question)
        with pytest.raises(Interrupted):
            train(experiment, root=root, stopping=stop_at(question, []))
        result = train(experiment, root=root).result
        assert (result.steps, len(result.history)) == (1, 1)
