"""MIXER against the sum over all continuations, and what begins and ends its schedule."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from structpred.distributions.autoregressive import Autoregressive
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import LSTMTagger, Seq2Seq
from structpred.objective import Losses
from structpred.objectives import MaximumLikelihood, Mixer, Point
from structpred.objectives.mixer import advantages, forced_steps
from structpred.rewards import EditDistance, Hamming
from structpred.sequences import Sequences
from structpred.training import Trainer
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training
from tests.support.tiny import Copying, strings, tiny_seq2seq

V, LONGEST = 2, 2
INPUTS = Sequences.of([[0, 1, 2]])
MIXER = Mixer(k=2, start=Point(step=0), end=Point(step=10))


def every_output() -> Sequences:
    """All that can be drawn: strings up to the limit, and the beginnings of longer ones."""
    ended, cut = strings(V, LONGEST), strings(V, LONGEST + 1, shortest=LONGEST + 1)
    flat = Sequences.of([*ended, *cut])
    return Sequences(flat.labels, flat.lengths, torch.tensor([True] * len(ended) + [False] * len(cut)))


def those_from(prefix: list[int]) -> Sequences:
    """The outputs that begin so."""
    outputs = every_output()
    return outputs.select(torch.tensor([row[: len(prefix)] == prefix for row in outputs.tolist()]))


def as_batch(outputs: Sequences) -> Sequences:
    """``[outputs, time]`` as the candidates of a single example."""
    assert outputs.ended is not None
    return Sequences(outputs.labels.unsqueeze(0), outputs.lengths.unsqueeze(0), outputs.ended.unsqueeze(0))


def free_log_probs(p: Autoregressive, outputs: Sequences, forced: int) -> Tensor:
    """log p(y | the first steps), ``[batch, candidates]``."""
    return p.token_log_probs(outputs)[..., forced:].sum(-1)


def gradient(loss: Tensor, module: nn.Module) -> tuple[Tensor, ...]:
    found = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for g, p in zip(found, module.parameters(), strict=True))


class Dictated:
    """p whose continuations are given."""

    def __init__(self, p: Autoregressive, draws: Sequences) -> None:
        self.p, self.draws = p, draws
        self.num_labels = p.num_labels

    def token_log_probs(self, outputs: Sequences) -> Tensor:
        return self.p.token_log_probs(outputs)

    def continuations(self, prefixes: Sequences, k: int, generator: torch.Generator | None = None) -> Sequences:
        assert self.draws.lengths.shape[1] == k
        return self.draws


@pytest.mark.parametrize("reference", [[0, 1], [1], []], ids=str)
@pytest.mark.parametrize("step", [0, 4, 5, 7, 10])
def test_the_expected_gradient_is_that_of_likelihood_and_reward_by_enumeration(reference: list[int], step: int) -> None:
    module, target = tiny_seq2seq(V, longest=LONGEST).eval(), Sequences.of([reference])
    forced = len(reference) + 1 - (len(reference) + 1) * step // 10
    outputs = those_from(reference[: min(forced, len(reference))])
    pairs = torch.tensor(list(itertools.product(range(len(outputs)), repeat=2)))
    many = module(Sequences(INPUTS.labels.expand(len(pairs), -1), INPUTS.lengths.expand(len(pairs))))
    assert outputs.ended is not None
    draws = Sequences(outputs.labels[pairs], outputs.lengths[pairs], outputs.ended[pairs])
    weights = free_log_probs(many, draws, forced).sum(1).exp().detach()
    references = Sequences(target.labels.expand(len(pairs), -1), target.lengths.expand(len(pairs)))
    p: Any = Dictated(many, draws)
    found: Losses = MIXER(p, references, step=step)
    if forced <= len(reference):
        assert weights.sum().item() == pytest.approx(1, abs=1e-9)
    estimated = gradient((weights * found.values).sum() / weights.sum(), module)

    single = module(INPUTS)
    likelihood = single.token_log_probs(target.candidates())[0, 0, :forced].sum()
    reward = torch.zeros((), dtype=torch.float64)
    if forced <= len(reference):
        every = as_batch(outputs)
        log_probs = free_log_probs(single, every, forced)[0]
        reward = (log_probs.exp() * EditDistance().score(every, target)[0]).sum()
    torch.testing.assert_close(estimated, gradient(-likelihood - reward, module), rtol=0, atol=1e-9)


def test_before_its_start_it_is_maximum_likelihood() -> None:
    p = tiny_seq2seq(V)(INPUTS)
    found = MIXER(p, Sequences.of([[0, 1]]), step=0)
    torch.testing.assert_close(found.values, MaximumLikelihood()(p, Sequences.of([[0, 1]])).values, rtol=0, atol=0)
    assert found.diagnostics["free"].item() == 0


def test_after_its_end_the_loss_is_the_mean_cost_of_the_models_own_outputs() -> None:
    p, target = tiny_seq2seq(V).eval()(INPUTS), Sequences.of([[0, 1]])
    found = MIXER(p, target, step=10, generator=torch.Generator().manual_seed(1))
    draws = p.sample(2, torch.Generator().manual_seed(1))
    expected = -EditDistance().score(draws, target).double().mean(1)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.diagnostics["reward"], -expected, rtol=0, atol=1e-12)


def test_the_steps_left_to_likelihood_shrink_from_all_to_none() -> None:
    lengths = torch.tensor([0, 3, 9])
    assert forced_steps(lengths, 0.0).tolist() == [1, 4, 10]
    assert forced_steps(lengths, 0.5).tolist() == [1, 2, 5]
    assert forced_steps(lengths, 1.0).tolist() == [0, 0, 0]


def test_equal_rewards_have_no_advantage_and_advantages_sum_to_nothing() -> None:
    assert torch.equal(advantages(torch.full((2, 3), -4.0)), torch.zeros(2, 3))
    assert advantages(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-3.0, -1.5, 4.5]]


@pytest.mark.parametrize("prefix", [[], [1], [0, 1]], ids=str)
def test_continuations_are_exact_draws_given_their_prefix(prefix: list[int]) -> None:
    p = tiny_seq2seq(V, longest=LONGEST).eval()(INPUTS)
    drawn = p.continuations(Sequences.of([prefix]), 20_000, torch.Generator().manual_seed(0))
    outputs = those_from(prefix)
    rows = outputs.tolist()
    observed = [0] * len(rows)
    for row in drawn.flatten().tolist():
        observed[rows.index(row)] += 1
    expected = free_log_probs(p, as_batch(outputs), len(prefix))[0].exp().detach() * 20_000
    # one chance in 10^6 of a false alarm, and the seed is fixed
    assert stats.chisquare(observed, expected.numpy()).pvalue > 1e-6


def test_prefixes_of_a_batch_are_each_their_own() -> None:
    p = tiny_seq2seq(3).eval()(Sequences.of([[0, 1], [2], [1]]))
    prefixes = Sequences(torch.tensor([[2, 1, 0], [0, 1, 1], [0, 2, 2]]), torch.tensor([3, 1, 0]))
    drawn = p.continuations(prefixes, 5, torch.Generator().manual_seed(0))
    for row, start in zip(drawn.labels.tolist(), prefixes.tolist(), strict=True):
        assert all(each[: len(start)] == start for each in row)
    assert (drawn.lengths >= prefixes.lengths.unsqueeze(1)).all()
    long = Sequences(torch.ones(3, 9, dtype=torch.long), torch.tensor([9, 9, 9]))
    assert p.continuations(long, 1).lengths.unique().tolist() == [5], "a prefix beyond the limit is cut"


def test_what_cannot_work_is_refused() -> None:
    base = Experiment(task=Copying(), model=Seq2Seq(), objective=Mixer())
    with pytest.raises(
        ConfigError, match=r"Mixer needs an end after its start, in the same unit, .*step=3.*share=0\.5"
    ):
        Mixer(start=Point(step=3), end=Point(share=0.5))
    with pytest.raises(ConfigError, match="Mixer needs an end after its start"):
        Mixer(start=Point(step=3), end=Point(step=3))
    with pytest.raises(ConfigError, match=r"Mixer\.k must be at least 2"):
        Mixer(k=1)
    with pytest.raises(ConfigError, match=r"Mixer needs `continuations`, which the Factorised .* does not offer"):
        replace(base, model=LSTMTagger())
    with pytest.raises(ConfigError, match="Mixer with the reward Hamming needs outputs as long"):
        replace(base, objective=Mixer(reward=Hamming()))


def test_it_trains_through_its_whole_schedule() -> None:
    experiment = Experiment(
        task=Copying(),
        model=Seq2Seq(embedding=8, hidden=8),
        objective=Mixer(k=2),
        trainer=Trainer(epochs=4, batch_tokens=40),
    )
    prepared = EncodedData.of(experiment.task.load(), experiment.model)
    under_way = Training(experiment, prepared, device="cpu", observer=ignore)
    under_way.run(save=lambda state: None, save_every=1e9, stopping=lambda: False)
    free = [epoch.diagnostics["free"] for epoch in under_way.history]
    assert free[0] == 0
    assert free == sorted(free)
    assert free[-1] == 1
