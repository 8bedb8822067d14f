"""What every model must satisfy."""

from typing import Any

import torch
from torch import Tensor, nn

from structpred.distributions.protocols import Argmax, Decode, Decoding, Sample
from structpred.models import Model
from structpred.sequences import Sequences
from structpred.testing.draws import DRAWS, check_draws
from structpred.testing.spaces import built, every_output
from structpred.testing.verbs import CLOSE, Space, check_verbs, for_all

INPUTS = ((0, 1), (2,), (1, 1))

NARROW = Decoding(beam=2)
"""A search that need not find the most probable output."""


def check_model(model: Model, *, labels: int = 2, longest: int = 2, draws: int = DRAWS) -> None:
    """Check that a model returns the distribution it declares, and that this is one.

    The probabilities of all outputs sum to one; batching an input with others, the order of a batch and what stands in
    the padding change nothing; gradients are those of finite differences. For a batch of inputs, and where the
    distribution offers these verbs, draws follow the probabilities by χ², whose limit right draws exceed for one input
    with probability 1e-6; `argmax`, `decode` with a beam as wide as there are outputs, `n_best` of so many and
    `token_log_probs` are those of all outputs listed, and where the input decides the length so are `entropy`,
    `marginals` and `decode` by the rule ``"hamming"``; a narrow beam finds what it finds for each input alone. Other
    verbs are not checked, nor that draws are independent of one another.

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
    each = [network(Sequences(torch.tensor([[*source, 1, 0]]), torch.tensor([len(source)]))) for source in INPUTS]
    spaces = [_space(p, row, alone, longest, where) for row, alone in enumerate(each)]
    if isinstance(p, Sample):
        _check_draws(p, spaces, draws)
    check_verbs(p, spaces)
    if isinstance(p, Decode) and not isinstance(p, Argmax):
        _check_narrow(p, each, spaces)
    _check_gradient(network, longest, where)


def _space(p: Any, row: int, alone: Any, longest: int, where: str) -> Space:
    """All outputs for one input, whose probabilities alone and in the batch are found to be those of a distribution."""
    source = INPUTS[row]
    where = f"{where}, input {list(source)}"
    outputs = every_output(alone, len(source), longest)
    log_probs = alone.log_prob(outputs)[0].detach()
    total = float(log_probs.exp().sum())
    assert abs(total - 1) < CLOSE, f"{where}: probabilities sum to {total:.9f}, not to 1"
    together = p.log_prob(for_all(outputs, len(INPUTS)))[row]
    same = torch.allclose(together, log_probs, rtol=0, atol=CLOSE)
    assert same, f"{where}: other inputs of the batch, or padding, change the probabilities"
    return Space(outputs, log_probs.double(), alone.fixed_length, where)


def _check_draws(p: Sample, spaces: list[Space], draws: int) -> None:
    drawn = p.sample(draws, torch.Generator().manual_seed(0))
    shape, came = [len(spaces), draws], list(drawn.lengths.shape)
    assert came == shape, f"{spaces[0].where}: sample must return outputs [batch, k] = {shape}, but got {came}"
    for row, space in enumerate(spaces):
        outputs, found = space.outputs.flatten().tolist(), drawn.select(torch.tensor([row])).flatten().tolist()
        foreign = {tuple(each) for each in found}.difference(map(tuple, outputs))
        assert not foreign, f"{space.where}: sample draws {list(min(foreign))}, which is no output for this input"
        check_draws(found, outputs, space.log_probs.exp().tolist(), "the probabilities", space.where)


def _check_narrow(p: Decode, each: list[Any], spaces: list[Space]) -> None:
    verb = f"decode with a beam of {NARROW.beam}"
    for found, alone, space in zip(p.decode(NARROW).tolist(), each, spaces, strict=True):
        expected = alone.decode(NARROW).tolist()[0]
        same = abs(space.log_prob(found, verb) - space.log_prob(expected, verb)) < CLOSE
        assert same, f"{space.where}: other inputs of the batch change what {verb} returns, {found} and not {expected}"


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
