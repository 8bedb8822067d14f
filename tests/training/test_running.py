"""Statistics of earlier steps: one step is one, into however many pieces its batch is split."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from structpred.errors import Interrupted
from structpred.experiment import Experiment
from structpred.models import LSTMTagger
from structpred.objectives import REINFORCE
from structpred.objectives.actor_critic import Critic
from structpred.objectives.baselines import Baseline
from structpred.objectives.critics import Learned, RunningMean
from structpred.rewards import Hamming
from structpred.running import Running, begin, running_in, settle
from structpred.runs import train
from structpred.tasks import LetterTagging
from structpred.training import Trainer, checkpoint

STEPS = 6


class Mean(Running):
    """A mean that fades by half."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__(2)
        self.register_buffer("value", torch.zeros((), dtype=torch.float64))

    def fade_in(self, sums: Tensor) -> None:
        self.value.mul_(0.5).add_(sums[0] / sums[1], alpha=0.5)


def test_pieces_of_a_step_count_as_one_and_calls_outside_of_training_as_a_step_each() -> None:
    mean = Mean()
    mean.add(torch.tensor([4.0, 1.0]))
    assert mean.value.item() == 2.0
    begin([mean])
    mean.add(torch.tensor([100.0, 1.0]))
    begin([mean])  # the attempt before has failed
    mean.add(torch.tensor([1.0, 1.0]))
    mean.add(torch.tensor([5.0, 2.0]))
    assert mean.value.item() == 2.0
    settle([mean], lambda sums: 2 * sums)  # as if another process had the same
    assert mean.value.item() == 2.0
    mean.add(torch.tensor([0.0, 1.0]))
    mean.eval()
    mean.add(torch.tensor([0.0, 1.0]))
    assert mean.value.item() == 1.0
    assert list(mean.state_dict()) == ["value"]
    assert running_in(torch.nn.Sequential(torch.nn.Linear(1, 1), mean)) == [mean]
    assert running_in(None) == []


def state_after(baseline: Baseline, accumulate: int, root: Path) -> dict[str, Tensor]:
    """The baseline's statistics after some steps in so many pieces each."""
    looks = iter(range(STEPS))
    experiment = Experiment(
        task=LetterTagging(size=300, held_out=21),
        model=LSTMTagger(embedding=8, hidden=8, dropout=0.0),
        objective=REINFORCE(reward=Hamming(), baseline=baseline),
        trainer=Trainer(epochs=2, accumulate=accumulate),
    )
    with pytest.raises(Interrupted):
        train(replace(experiment), root=root, device="cpu", stopping=lambda: next(looks) == STEPS - 1)
    (saved,) = root.glob("*/checkpoint.pt")
    kept = checkpoint.load(saved)
    assert kept["where"]["steps"] == STEPS
    return {name: each for name, each in kept["modules"].items() if name in ("state.gram", "state.moments")}


@pytest.mark.parametrize("baseline", [RunningMean(decay=0.9), Learned(decay=0.9), Critic(embedding=4, hidden=4)])
def test_a_batch_in_pieces_fades_what_is_older_once(baseline: Baseline, tmp_path: Path) -> None:
    whole, pieces = (state_after(baseline, count, tmp_path / str(count)) for count in (1, 4))
    assert whole.keys() == pieces.keys()
    if isinstance(baseline, Critic):
        weight = 1 - 0.99**STEPS
        assert whole["state.moments"][0].item() == pytest.approx(weight)
        assert pieces["state.moments"][0].item() == pytest.approx(weight)
    else:
        assert whole["state.gram"][0, 0].item() == pytest.approx(1 - 0.9**STEPS)
        assert pieces["state.gram"][0, 0].item() == pytest.approx(1 - 0.9**STEPS)
