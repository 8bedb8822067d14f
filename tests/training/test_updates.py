"""Several updates on one batch: the same samples and dropout, pieces, limits, costs, and resuming."""

import contextlib
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import LSTMTagger, Model, Seq2Seq
from structpred.objectives import GRPO
from structpred.registry import rewards
from structpred.rewards import Reward
from structpred.sequences import Sequences
from structpred.tasks import HiddenMarkov
from structpred.training import Adam, Constant, Trainer
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.rollouts import Noise, Rollout
from structpred.training.step import TrainingStep
from structpred.training.trainer import Training
from tests.support.tiny import Copying

UPDATES = 3
STILL = 1e-30
"""A learning rate that leaves the weights as they are."""

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=GRPO(updates=UPDATES),
    optimiser=Adam(lr=1e-2, schedule=Constant(warmup=0.0)),
    trainer=Trainer(epochs=3, batch_tokens=40),
)
TAGGING = replace(TINY, task=HiddenMarkov(size=20, held_out=2), model=LSTMTagger(embedding=8, hidden=8, dropout=0.3))


def training(experiment: Experiment) -> Training:
    return Training(experiment, EncodedData.of(experiment.task.load(), experiment.model), device="cpu", observer=ignore)


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def slopes(run: Training, updates: int = UPDATES) -> list[Tensor]:
    """The gradient of each update on the first batch."""
    found: list[Tensor] = []
    rollout = None
    for _ in range(updates):
        rollout = run.stepper.train_step(run._plan(), 0, 0, 0.5, rollout=rollout).rollout
        found.append(torch.cat([each.grad.flatten() for each in run.stepper.parameters if each.grad is not None]))
    return found


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("experiment", [TINY, TAGGING], ids=["seq2seq", "tagger"])
def test_while_weights_stand_still_every_update_has_the_same_gradient_under_dropout(
    experiment: Experiment, pieces: int
) -> None:
    """So the ratio is 1 before anything was learnt: no other dropout, and no row in another's place."""
    still = replace(experiment, optimiser=Adam(lr=STILL), trainer=replace(experiment.trainer, accumulate=pieces))
    first, second, third = slopes(training(still))
    assert first.norm() > 1e-3
    torch.testing.assert_close(second, first, rtol=0, atol=1e-6)
    assert torch.equal(second, third)


def test_the_next_batch_has_other_dropout() -> None:
    run = training(TINY)
    before = torch.get_rng_state()
    run.stepper.train_step(run._plan(), 0, 0, 0.5)
    once = torch.get_rng_state()
    torch.set_rng_state(before)
    slopes(run)
    assert torch.equal(torch.get_rng_state(), once)
    assert not torch.equal(once, before)


def test_two_updates_are_two_steps_by_hand_on_the_same_draws() -> None:
    experiment = replace(TINY, objective=GRPO(updates=2), trainer=replace(TINY.trainer, clip=1e9))
    run, other = training(experiment), training(experiment)
    batch = other._plan()[0]
    network = other.model
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.0)
    noise = Noise.now(other.stepper.device)
    outputs, rewarded, old = None, torch.empty(0), None
    for _ in range(2):
        with noise.again():
            p: Any = network(Sequences.from_tensors(*batch.tensors()[0]))
            if outputs is None:
                outputs = p.sample(4, other.stepper.generator)
                rewarded = experiment.objective.reward.score(outputs, batch.targets)  # type: ignore[attr-defined]
            new = p.token_log_probs(outputs)
        old = new.detach() if old is None else old
        centred = rewarded - rewarded.mean(1, keepdim=True)
        advantages = (centred / (rewarded.std(1, keepdim=True) + 1e-4)).unsqueeze(-1)
        rho = (new - old).exp()
        gain = torch.minimum(rho * advantages, rho.clamp(0.8, 1.2) * advantages)
        symbols = (outputs.lengths + outputs.ended).clamp(min=1)
        steps = torch.arange(new.shape[-1]) < symbols.unsqueeze(-1)
        loss = -(torch.where(steps, gain, 0.0).sum(-1) / symbols).mean(1)
        optimizer.zero_grad()
        (loss.sum() / batch.tokens).backward()
        optimizer.step()
    torch.manual_seed(0)
    run = training(experiment)
    run._train(run._plan())
    assert run.steps == 2
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", [TINY.model, Seq2Seq(embedding=8, hidden=8, dropout=0.0)], ids=["dropout", "none"])
def test_an_interrupted_epoch_goes_on_bit_for_bit(model: Model) -> None:
    def steps(run: Training, batches: int) -> None:
        for _ in range(batches):
            plan = run._plan()
            run._train(plan)
            run.position += 1
            if run.position == len(plan):
                run.epoch, run.position = run.epoch + 1, 0

    experiment = replace(TINY, model=model)
    undisturbed, interrupted = training(experiment), None
    steps(undisturbed, 5)
    interrupted = training(experiment)
    steps(interrupted, 2)
    state = interrupted.state()
    resumed = training(experiment)
    resumed.restore(state)
    steps(resumed, 3)
    assert (undisturbed.steps, resumed.steps) == (5 * UPDATES, 5 * UPDATES)
    assert all(
        torch.equal(value, resumed.model.state_dict()[name]) for name, value in copied(undisturbed.model).items()
    )


def test_a_limit_of_steps_counts_every_update_and_is_kept_within_a_batch() -> None:
    run = training(replace(TINY, trainer=replace(TINY.trainer, max_steps=2 * UPDATES + 1)))
    run.run(save=lambda state: None, save_every=1e9, stopping=lambda: False)
    assert run.steps == 2 * UPDATES + 1
    assert run.finished()


def test_a_rehearsal_counts_updates() -> None:
    run = training(TINY)
    pace = run.rehearse(UPDATES + 1)
    assert pace.steps == UPDATES * len(run._plan())
    assert run.steps == 2 * UPDATES


def test_samples_and_rewards_are_paid_for_once_and_scoring_at_every_update() -> None:
    run = training(TINY)
    plan = run._plan()
    run._train(plan)
    samples = 4 * len(plan.rows[0])
    assert run.tally is not None
    assert run.tally.reward_calls == samples
    assert run.tally.decoder_passes == samples * (1 + UPDATES)
    assert run.clock.tokens == plan.tokens(0)
    assert set(run.totals.diagnostics()) == {
        "reward", "length_ratio", "distinct", "zero_variance", "deviation", "clipped",
    }  # fmt: skip


def test_where_memory_runs_out_in_a_later_update_its_samples_are_divided_with_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = replace(TINY, model=Seq2Seq(embedding=8, hidden=8, dropout=0.0), optimiser=Adam(lr=STILL))
    whole = slopes(training(experiment), 2)
    forward = TrainingStep.forward
    refused: list[int] = []

    def small(self: TrainingStep, inputs: Any, targets: Any, *others: Any) -> Any:
        if others[-1] is not None and len(targets[1]) > 4:
            refused.append(len(targets[1]))
            raise MemoryError
        return forward(self, inputs, targets, *others)

    monkeypatch.setattr(TrainingStep, "forward", small)
    with pytest.warns(RuntimeWarning, match="does not fit into memory"):
        found = slopes(training(experiment), 2)
    assert refused
    torch.testing.assert_close(found[1], whole[1], rtol=0, atol=1e-6)


@rewards.register("test-too-far-apart")
@dataclass(frozen=True, kw_only=True)
class TooFarApart(Reward):
    """Finite numbers whose differences are not."""

    same_length: ClassVar[bool] = False

    def score(self, outputs: Sequences, targets: Sequences) -> Tensor:
        signs = 1 - 2 * (torch.arange(outputs.lengths.shape[1]) % 2)
        return (3e38 * signs).expand(outputs.lengths.shape)


def test_doubtful_samples_are_used_for_no_update() -> None:
    run = training(replace(TINY, objective=GRPO(updates=UPDATES, reward=TooFarApart())))
    before = copied(run.model)
    run._train(run._plan())
    assert int(run.guard.skipped) == UPDATES
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


def test_what_pieces_kept_is_joined_by_row_and_divided_again() -> None:
    noise = Noise.now(torch.device("cpu"))
    one = {"labels": torch.ones(2, 3, 4), "lengths": torch.ones(2, 3)}
    two = {"labels": torch.full((3, 3, 2), 2.0), "lengths": torch.full((3, 3), 2.0)}
    rollout = Rollout.of([one, two], noise)
    assert rollout.pieces == 2
    first, second, third = rollout.split(3)
    assert [len(each["lengths"]) for each in (first, second, third)] == [2, 2, 1]
    assert torch.equal(first["labels"], one["labels"])
    assert second["labels"][..., :2].eq(2).all()
    assert second["labels"][..., 2:].eq(0).all()
    assert Rollout.of([], noise).split(0) == []
    for odd in ({"labels": one["labels"]}, one | {"lengths": torch.ones(2)}):
        with pytest.raises(ConfigError, match=r"Losses\.kept must have the same names and numbers of axes for every"):
            Rollout.of([one, odd], noise)


class Streams:
    """Random streams of devices that this machine has not: the state is how many numbers have been drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drawn = {torch.device("cuda", 0): 5, torch.device("cuda", 1): 9}
        monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: torch.tensor(self.drawn[torch.device(device)]))
        monkeypatch.setattr("torch.cuda.set_rng_state", self.set)

    def set(self, state: Tensor, device: torch.device) -> None:
        self.drawn[torch.device(device)] = int(state)

    def draw(self, index: int) -> int:
        self.drawn[torch.device("cuda", index)] += 1
        return self.drawn[torch.device("cuda", index)]


@pytest.mark.parametrize("fails", [False, True], ids=["to its end", "failing"])
def test_the_stream_of_a_gpu_is_drawn_from_again_and_then_goes_on(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By fake streams; of two GPUs only the one that trains, and main memory's as well."""
    streams = Streams(monkeypatch)
    noise = Noise.now(torch.device("cuda", 1))
    first = streams.draw(1), streams.draw(0), torch.rand(2)
    streams.draw(1)
    with contextlib.suppress(KeyError), noise.again():
        assert streams.draw(1) == first[0]
        assert torch.equal(torch.rand(2), first[2])
        streams.draw(0)
        if fails:
            raise KeyError
    assert streams.drawn == {torch.device("cuda", 0): 7, torch.device("cuda", 1): 11}
    assert not torch.equal(torch.rand(2), first[2]), "that of main memory goes on too"


def test_on_a_cpu_no_stream_of_a_gpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("get_rng_state", "set_rng_state"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *given: pytest.fail("there is none"))
    with Noise.now(torch.device("cpu")).again():
        torch.rand(1)
