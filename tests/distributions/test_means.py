"""Averages of distributions, as of an ensemble, by enumeration."""

from typing import Any

import pytest
import torch

from structpred.distributions import Autoregressive, Factorised, LinearChain
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.runs.reranked import RerankedDistribution
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, built, every_output, strings, tiny_models
from tests.support.tiny import tiny_p

LENGTHS = torch.tensor([2, 1])
SPACE = strings(2, 2, shortest=2)


def chain(seed: int) -> LinearChain:
    torch.manual_seed(seed)
    return LinearChain(torch.randn(2, 2, 2).double(), torch.randn(2, 2).double(), LENGTHS)


def tagger(seed: int) -> Factorised:
    torch.manual_seed(seed)
    return Factorised(torch.randn(2, 2, 2).double() * 2, LENGTHS)


def probabilities(p: Any, outputs: Sequences) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = p.log_prob(outputs).exp()[0]
    return found


def test_the_mean_of_taggers_is_that_of_their_probabilities_at_each_position() -> None:
    members = tagger(1), tagger(2), tagger(3)
    tables = [member.scores[0].softmax(-1) for member in members]
    mean = sum(tables) / 3
    wanted = [float(mean[0, first] * mean[1, second]) for first, second in SPACE]  # type: ignore[index]
    found = probabilities(Factorised.mean(members), as_candidates(SPACE, batch=2))
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_mean_of_chains_is_log_linear() -> None:
    members = chain(1), chain(2), chain(3)
    outputs = as_candidates(SPACE, batch=2)
    product = torch.stack([probabilities(member, outputs) for member in members]).prod(0) ** (1 / 3)
    found = probabilities(LinearChain.mean(members), outputs)
    assert found.tolist() == pytest.approx((product / product.sum()).tolist(), abs=1e-12)


def test_the_mean_of_decoders_is_that_of_every_next_symbol() -> None:
    """p(y) = Π_t Σ_m p_m(y_t | y_<t) / M over all outputs, the cut ones included."""
    members = tuple(tiny_p(longest=2, seed=seed) for seed in (1, 2, 3))
    one = every_output(members[0], 0, longest=2)
    assert one.ended is not None
    every = Sequences(one.labels.expand(2, -1, -1), one.lengths.expand(2, -1), one.ended.expand(2, -1))
    steps = [member.steps(every) for member in members]
    tables = [each.log_probs[0].exp().tolist() for each in steps]
    wanted = []
    for row, (targets, counted) in enumerate(zip(steps[0].targets[0].tolist(), steps[0].mask[0].tolist(), strict=True)):
        product = 1.0
        for time, symbol in enumerate(targets):
            if counted[time]:
                product *= sum(table[row][time][symbol] for table in tables) / 3
        wanted.append(product)
    found = probabilities(Autoregressive.mean(members), every)
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)
    assert float(found.sum()) == pytest.approx(1.0)


def test_a_mean_is_searched_as_its_probabilities_say() -> None:
    """By steps as along given outputs, also for some of the examples."""
    mean = Autoregressive.mean((tiny_p(longest=2, seed=1), tiny_p(longest=2, seed=2)))
    space = strings(2, 2)
    with torch.no_grad():
        log_probs = mean.log_prob(as_candidates(space, batch=2))
    ranked = mean.n_best(7)
    assert torch.allclose(ranked.log_probs, log_probs.sort(dim=1, descending=True).values)
    best = [space[int(row.argmax())] for row in log_probs]
    assert mean.decode(Decoding(beam=7)).tolist() == best
    alone = mean.decoder.select(torch.tensor([1]))
    assert Autoregressive(alone).n_best(7).log_probs[0].tolist() == pytest.approx(ranked.log_probs[1].tolist())


def test_members_may_have_other_limits() -> None:
    short, long = tiny_p(longest=2, seed=1), tiny_p(longest=3, seed=2)
    assert Autoregressive.mean((short, long)).decoder.limits.tolist() == [3, 3]


def test_a_reranked_list_is_in_the_order_of_the_other() -> None:
    p, q = tiny_p(longest=2, seed=1), tiny_p(longest=2, seed=2)
    listed = p.n_best(3)
    with torch.no_grad():
        scores = q.log_prob(Sequences(listed.outputs.labels, listed.outputs.lengths))
    found = RerankedDistribution(p, q, 3)
    assert torch.allclose(found.n_best(2).log_probs, scores.sort(dim=1, descending=True).values[:, :2])
    rows = torch.arange(2)
    best = listed.outputs.labels[rows, scores.argmax(1)], listed.outputs.lengths[rows, scores.argmax(1)]
    assert found.decode(Decoding()).tolist() == Sequences(*best).tolist()
    assert RerankedDistribution(p, p, 7).decode(Decoding()).tolist() == p.decode(Decoding(beam=7)).tolist()


def test_a_reranked_list_is_no_longer_than_there_are_outputs() -> None:
    found = RerankedDistribution(chain(1), tagger(2), 8).n_best(8)
    assert found.log_probs.isneginf().sum(1).tolist() == [4, 6]
    with pytest.raises(ConfigError, match="need `within`, which LinearChain does not offer"):
        RerankedDistribution(chain(1), tagger(2), 8).within(LENGTHS, None)


def test_decoders_of_several_kinds_are_averaged() -> None:
    """States of the LSTM keep their size, those of the Transformer grow; a search agrees with scores along outputs."""
    inputs = Sequences.of([[0, 1, 2], [2]])
    members = [built(tiny_models()[name])(inputs) for name in ("seq2seq", "transformer")]
    mean, space = Autoregressive.mean(tuple(members)), strings(2, 2)
    with torch.no_grad():
        log_probs = mean.log_prob(as_candidates(space, batch=2)).sort(dim=1, descending=True).values
    torch.testing.assert_close(mean.n_best(7).log_probs, log_probs)
    assert mean.sample(3, torch.Generator().manual_seed(0)).lengths.shape == (2, 3)
