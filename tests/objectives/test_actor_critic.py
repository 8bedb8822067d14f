"""The critic: unbiased whatever it predicts, blind to what comes after, trained to the true values, apart from p."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Factorised
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import LSTMTagger
from structpred.objectives import REINFORCE, Critic, NoBaseline
from structpred.objectives.actor_critic import ValueNetwork
from structpred.rewards import EditDistance
from structpred.rewards.base import increments_of
from structpred.sequences import Sequences
from structpred.testing.spaces import (
    Dictated,
    built,
    double_precision,
    every_output,
    log_probs_of,
    repeated,
    sizes_of,
    targets_for,
    tiny_models,
    tuples_of,
)
from structpred.training import Trainer
from structpred.training.data import EncodedData
from structpred.training.settings import Adam
from structpred.training.trainer import Training
from tests.support.tiny import Copying

INPUTS = Sequences.of([[0, 1]])
MODELS = ("crf", "lstm-tagger", "seq2seq")
SMALL = Critic(embedding=4, hidden=6)


def prepared(name: str) -> tuple[nn.Module, Sequences]:
    model = tiny_models()[name]
    return built(model), targets_for(model, INPUTS)


def critic_of(objective: REINFORCE, *, disturbed: bool = False) -> ValueNetwork:
    with torch.random.fork_rng(), double_precision():
        torch.manual_seed(3)
        network = objective.state(sizes_of(2))
        assert isinstance(network, ValueNetwork)
        if disturbed:
            nn.init.normal_(network.last.weight)
            network.moments.copy_(torch.tensor([0.5, -1.0, 4.0]))
    return network


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters, strict=True)]
    )


@pytest.mark.parametrize("credit", ["sequence", "token"])
@pytest.mark.parametrize("name", MODELS)
def test_its_expected_gradient_is_that_of_the_expected_reward_whatever_it_predicts(
    name: str, credit: Literal["sequence", "token"]
) -> None:
    network, target = prepared(name)
    objective = REINFORCE(samples=1, baseline=SMALL, credit=credit)
    every = tuples_of(every_output(network(INPUTS), 2), 1)
    many = repeated(INPUTS, len(every)), repeated(target, len(every))
    p = network(many[0])
    log_probs = p.log_prob(every)[:, 0]
    rewards = EditDistance().score(every, many[1])[:, 0]
    truth = gradient(-(log_probs.exp() * rewards).sum(), network)
    found = []
    for baseline in (objective.baseline, NoBaseline()):
        each = replace(objective, baseline=baseline)
        losses = each(Dictated(p, every), many[1], state=critic_of(objective, disturbed=True))
        weighted = losses.values * log_probs.detach().exp()
        torch.testing.assert_close(gradient(weighted.sum(), network), truth, rtol=0, atol=1e-9)
        found.append(torch.stack([gradient(value, network) for value in losses.values]))
    assert (found[0] - found[1]).abs().max() > 0.1  # in each sample the critic does matter


@pytest.mark.parametrize("name", ["lstm-tagger", "seq2seq"])
def test_no_value_depends_on_what_comes_after_or_on_padding(name: str) -> None:
    network, target = prepared(name)
    every = every_output(network(INPUTS), 2)
    steps = every.labels.shape[-1]
    critic = critic_of(REINFORCE(baseline=SMALL), disturbed=True)
    values = critic(every, target, steps)[0]
    rows = every.labels[0].tolist()
    for one, row in enumerate(rows):
        for other, second in enumerate(rows):
            for t in range(steps):
                if row[:t] == second[:t]:
                    torch.testing.assert_close(values[one, t], values[other, t], rtol=0, atol=1e-12)
                elif t == 1:
                    assert abs(values[one, t] - values[other, t]) > 1e-6
    wide = Sequences(torch.nn.functional.pad(target.labels, (0, 2), value=1), target.lengths)
    torch.testing.assert_close(critic(every, wide, steps)[0], values, rtol=0, atol=1e-12)


def test_its_loss_is_the_regression_and_reaches_the_critic_alone() -> None:
    network, target = prepared("seq2seq")
    drawn = network(INPUTS).sample(3, torch.Generator().manual_seed(0))
    objective = REINFORCE(samples=3, baseline=replace(SMALL, coefficient=0.3), credit="token")
    critic = critic_of(objective, disturbed=True)
    steps = drawn.labels.shape[-1] + 1
    values = critic(drawn, target, steps)
    increments = increments_of(EditDistance(), drawn, target).double()
    by_hand = torch.zeros((), dtype=torch.float64)
    rewards = torch.zeros((), dtype=torch.float64)
    log_probs = network(INPUTS).token_log_probs(drawn)
    deviation = (4.0 / 0.5 - (-1.0 / 0.5) ** 2) ** 0.5
    ended = torch.ones_like(drawn.lengths) if drawn.ended is None else drawn.ended.long()
    for row in range(3):
        for t in range(int(drawn.lengths[0, row] + ended[0, row])):
            apart = increments[0, row, t:].sum() - values[0, row, t]
            by_hand = by_hand + 0.3 * 0.5 * (apart / deviation) ** 2 / 3
            rewards = rewards - apart.detach() * log_probs[0, row, t] / 3
    losses = objective(Dictated(network(INPUTS), drawn), target, state=critic)
    total = losses.values.sum()
    torch.testing.assert_close(gradient(total, critic), gradient(by_hand, critic), rtol=0, atol=1e-10)
    torch.testing.assert_close(gradient(total, network), gradient(rewards, network), rtol=0, atol=1e-10)
    assert float(total.detach()) == pytest.approx(float(-increments.sum(-1).mean()))


def test_it_learns_the_true_values_of_every_prefix() -> None:
    """Full batches: all outputs, weighed by their probabilities, so that there is no noise."""
    network, target = prepared("seq2seq")
    every = tuples_of(every_output(network(INPUTS), 2), 1)
    p, targets = network(repeated(INPUTS, len(every))), repeated(target, len(every))
    chances = log_probs_of(p, every)[:, 0].exp()
    returns = increments_of(EditDistance(), every, targets)[:, 0].double().flip(-1).cumsum(-1).flip(-1)
    objective = REINFORCE(samples=1, baseline=Critic(embedding=8, hidden=16), credit="token")
    critic = critic_of(objective)
    steps = p.token_log_probs(every).shape[-1]

    def error() -> float:
        """The largest, of prefixes that are not too rare."""
        with torch.no_grad():
            found, worst = critic(every, targets, steps)[:, 0], 0.0
        rows = every.labels[:, 0].tolist()
        lengths, ended = every.lengths[:, 0], every.ended
        assert ended is not None
        going = lengths + ended[:, 0].long()
        for t in range(steps):
            for row in (i for i in range(len(rows)) if going[i] > t):
                same = torch.tensor([rows[i][:t] == rows[row][:t] and bool(going[i] > t) for i in range(len(rows))])
                if chances[same].sum() > 0.02:
                    truth = (chances * returns[:, t])[same].sum() / chances[same].sum()
                    worst = max(worst, abs(float(found[row, t] - truth)))
        return worst

    before = error()
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.05)
    for _ in range(40):
        loss = (objective(Dictated(p, every), targets, state=critic).values * chances).sum()
        weights = list(critic.parameters())
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = slope
        optimiser.step()
    assert before > 0.3
    assert error() < 0.05


def test_the_size_of_its_error_does_not_shorten_the_model_s_step() -> None:
    """Clipped together, a critic's gradient a million times as large would leave nothing of the model's."""
    moved = []
    for coefficient in (1.0, 1e6):
        experiment = Experiment(
            task=Copying(),
            model=LSTMTagger(embedding=4, hidden=4, dropout=0.0),
            objective=REINFORCE(baseline=Critic(embedding=4, hidden=4, coefficient=coefficient)),
            optimiser=Adam(lr=1e3, epsilon=1e3),  # steps in proportion to the gradient
            trainer=Trainer(clip=0.1),
        )
        with torch.random.fork_rng():
            data = EncodedData.of(experiment.task.load(), experiment.model)
            training = Training(experiment, data, device="cpu")
            before = [each.detach().clone() for each in training.model.parameters()]
            training.rehearse(1)
        moved.append([new.detach() - old for old, new in zip(before, training.model.parameters(), strict=True)])
    for one, other in zip(*moved, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert max(float(each.abs().max()) for each in moved[0]) > 1e-4


def test_only_empty_outputs_are_no_special_case_and_a_missing_network_is_named() -> None:
    p = Factorised(torch.zeros(2, 0, 2, dtype=torch.float64, requires_grad=True), torch.tensor([0, 0]))
    objective = REINFORCE(samples=2, credit="token", baseline=SMALL)
    assert objective(p, Sequences.of([[], []]), state=critic_of(objective)).values.tolist() == [0.0, 0.0]
    with pytest.raises(ConfigError, match=r"Critic needs its network: pass state=objective\.state\(sizes\)"):
        objective(p, Sequences.of([[], []]))
