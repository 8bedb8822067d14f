"""What every model must satisfy."""

from typing import Any

import torch
from scipy.special import chdtrc
from torch import Tensor, nn

from structpred.distributions.protocols import Decode, Decoding, Sample
from structpred.models import Model
from structpred.sequences import Sequences
from structpred.testing.spaces import built, every_output

FALSE_ALARM = 1e-6
"""Probability that a check of a model whose draws are right fails; the seed is fixed, so it fails always or never."""

DRAWS = 20_000
INPUTS = ((0, 1), (2,), (1, 1))


def check_model(model: Model, *, labels: int = 2, longest: int = 2, draws: int = DRAWS) -> None:
    """Check that a model returns the distribution it declares, and that this is one.

    The probabilities of all outputs sum to one; batching an input with others, the order of a batch and what stands in
    the padding change nothing; draws follow the probabilities by χ²; gradients are those of finite differences.

    Args:
        model: a specification of a tiny network without dropout, reading `Sequences` of up to three symbols.
        labels: V; small, so that outputs can be listed.
        longest: the limit at which a model of free length cuts its outputs.
        draws: how many outputs are drawn for each input; fewer for a large network find only larger faults.

    Raises:
        AssertionError: a property does not hold; the message says which.
    """
    where = type(model).__name__
    network = built(model, labels).eval()
    p = network(Sequences.of(INPUTS))
    declared = model.distribution.__name__
    assert isinstance(p, model.distribution), f"{where}: declares {declared}, but returns {type(p).__name__}"
    assert p.num_labels == labels, f"{where}: expected a distribution over {labels} labels, but got {p.num_labels}"
    for row, source in enumerate(INPUTS):
        _check_one(network, row, source, longest, draws, where)
    if isinstance(p, Decode):
        decoded = p.decode(Decoding(beam=2))
        assert len(decoded) == len(INPUTS), f"{where}: decode must return one output for each input"
    _check_gradient(network, longest, where)


def _check_one(network: nn.Module, row: int, source: tuple[int, ...], longest: int, draws: int, where: str) -> None:
    alone = network(Sequences(torch.tensor([[*source, 1, 0]]), torch.tensor([len(source)])))
    outputs = every_output(alone, len(source), longest)
    log_probs = alone.log_prob(outputs)[0]
    total = float(log_probs.detach().exp().sum())
    assert abs(total - 1) < 1e-9, f"{where}, input {list(source)}: probabilities sum to {total:.9f}, not to 1"
    together = network(Sequences.of(INPUTS)).log_prob(_for_all(outputs))[row]
    same = torch.allclose(together, log_probs, rtol=0, atol=1e-9)
    assert same, f"{where}, input {list(source)}: other inputs of the batch, or padding, change the probabilities"
    if isinstance(alone, Sample):
        _check_draws(alone, outputs, log_probs, draws, f"{where}, input {list(source)}")


def _for_all(outputs: Sequences) -> Sequences:
    count = len(INPUTS)
    ended = None if outputs.ended is None else outputs.ended.expand(count, -1)
    return Sequences(outputs.labels.expand(count, -1, -1), outputs.lengths.expand(count, -1), ended)


def _check_draws(p: Sample, outputs: Sequences, log_probs: Tensor, draws: int, where: str) -> None:
    drawn = p.sample(draws, torch.Generator().manual_seed(0)).flatten().tolist()
    rows = outputs.flatten().tolist()
    place = {tuple(row): i for i, row in enumerate(rows)}
    observed = torch.zeros(len(rows), dtype=torch.float64)
    for each in drawn:
        observed[place[tuple(each)]] += 1
    expected = log_probs.detach().double().exp() * len(drawn)
    often = expected >= 5
    statistic = float(((observed - expected) ** 2 / expected)[often].sum())
    chance = float(chdtrc(max(int(often.sum()) - 1, 1), statistic))
    assert chance > FALSE_ALARM, f"{where}: draws do not follow the probabilities: χ² {statistic:.1f}"


def _check_gradient(network: nn.Module, longest: int, where: str) -> None:
    names = [name for name, _ in network.named_parameters()]
    inputs = Sequences.of(INPUTS[:1])
    outputs = every_output(network(inputs), len(INPUTS[0]), longest)

    def log_probs(*parameters: Tensor) -> Tensor:
        p: Any = torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), inputs)
        found: Tensor = p.log_prob(outputs)
        return found

    right = torch.autograd.gradcheck(log_probs, tuple(network.parameters()), fast_mode=True, raise_exception=False)
    assert right, f"{where}: the gradient is not that of finite differences"
