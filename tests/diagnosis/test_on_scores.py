"""Signal and noise with respect to scores: the closed forms against every tuple of outputs, and known points."""

import itertools

import pytest
import torch
from torch import Tensor

from structpred.diagnosis import reinforce_on_scores, rml_on_scores
from structpred.diagnosis.on_scores import Moments
from structpred.distributions import Factorised, LinearChain
from structpred.errors import ConfigError
from structpred.payoffs import HammingPayoff, Temperature
from structpred.rewards import EditDistance, Hamming
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings

PAYOFF = HammingPayoff(temperature=Temperature(edit_rate=0.1))
V = 3
TARGETS = Sequences.of([[0, 2, 1], [1, 1]])

P = Factorised | LinearChain


def made(kind: str, seed: int = 1) -> P:
    """A batch of two examples of unequal length, with garbage in the padding."""
    source = torch.Generator().manual_seed(seed)
    unary = torch.randn(2, 3, V, generator=source, dtype=torch.float64)
    unary[1, 2] = 50.0
    if kind == "factorised":
        return Factorised(unary, TARGETS.lengths)
    return LinearChain(unary, torch.randn(V, V, generator=source, dtype=torch.float64), TARGETS.lengths)


def scores_and_outputs(p: P, row: int) -> tuple[Tensor, Tensor, Sequences]:
    """Of one example: ∇log p(y) with respect to all scores for every output y, log p(y), and the outputs."""
    length = int(p.lengths[row])
    outputs = as_candidates(strings(V, length, shortest=length))
    given = [p.scores] if isinstance(p, Factorised) else [p.unary, p.transitions]
    leaves = [each.detach().requires_grad_() for each in given]
    one, lengths = leaves[0][row : row + 1], p.lengths[row : row + 1]
    narrow = Factorised(one, lengths) if isinstance(p, Factorised) else LinearChain(one, leaves[1], lengths)
    log_probs = narrow.log_prob(outputs)[0]
    rows = [torch.autograd.grad(each, leaves, retain_graph=True) for each in log_probs]
    return torch.stack([torch.cat([part.flatten() for part in parts]) for parts in rows]), log_probs.detach(), outputs


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("kind", ["factorised", "chain"])
def test_reinforce_agrees_with_every_tuple_of_outputs(kind: str, samples: int) -> None:
    """Of the second example, whose nine outputs make 729 triples; the chain's moments are within five errors."""
    p = made(kind)
    score, log_probs, outputs = scores_and_outputs(p, row=1)
    reward = scores_of(Hamming(), outputs, TARGETS.select(slice(1, 2)))[0].double()
    tuples = torch.tensor(list(itertools.product(range(len(reward)), repeat=samples)))
    weight = log_probs[tuples].sum(1).exp()
    earned = reward[tuples]
    baseline = (earned.sum(1, keepdim=True) - earned) / (samples - 1)
    estimates = ((earned - baseline).unsqueeze(-1) * score[tuples]).mean(1)
    mean = weight @ estimates
    noise = weight @ (estimates - mean).square().sum(1)
    narrow = type(p)(*(part[1:2] if part.ndim != 2 else part for part in vars(p).values() if isinstance(part, Tensor)))
    found = reinforce_on_scores(
        narrow, TARGETS.select(slice(1, 2)), samples=samples, generator=torch.Generator().manual_seed(2)
    )
    assert found.strength == pytest.approx(float(mean.square().sum()), abs=1e-12)
    if kind == "factorised":
        assert found.noise == pytest.approx(float(noise), abs=1e-12)
    assert abs(found.noise - float(noise)) <= 5 * found.error + 1e-12


@pytest.mark.parametrize("kind", ["factorised", "chain"])
def test_rml_agrees_with_every_output_of_the_payoff(kind: str) -> None:
    p, q = made(kind), PAYOFF.distribution(TARGETS, V)
    mean = torch.zeros(())
    noise = torch.zeros(())
    for row in range(2):
        score, _, outputs = scores_and_outputs(p, row)
        weight = PAYOFF.distribution(TARGETS.select(slice(row, row + 1)), V).log_prob(outputs)[0].exp()
        own = weight @ score
        mean, noise = mean + own, noise + weight @ (score - own).square().sum(1)
    found = rml_on_scores(p, q, samples=2)
    assert found.strength == pytest.approx(float(mean.square().sum()), abs=1e-12)
    assert found.noise == pytest.approx(float(noise) / 2, abs=1e-12)


# At uniform p, with ten positions: 4.07 and 4.26 for one draw of RML. Four draws of REINFORCE have nearly 3/(10 V).
@pytest.mark.parametrize(("labels", "rml", "reinforce"), [(26, 4.0714, 0.012024), (10_000, 4.2627, 3.0003e-5)])
def test_known_points_of_a_factorised_model(labels: int, rml: float, reinforce: float) -> None:
    targets = Sequences.of([list(range(10))])
    p = Factorised(torch.zeros(1, 10, labels, dtype=torch.float64), targets.lengths)
    assert rml_on_scores(p, PAYOFF.distribution(targets, labels)).snr == pytest.approx(rml, rel=1e-4)
    assert reinforce_on_scores(p, targets).snr == pytest.approx(reinforce, rel=1e-4)


def test_known_points_of_a_chain() -> None:
    """2.71 and .0094 within 15 %, with scores from N(0, .3²) under the seed 0."""
    source = torch.Generator().manual_seed(0)
    unary = 0.3 * torch.randn(1, 8, 26, generator=source, dtype=torch.float64)
    transitions = 0.3 * torch.randn(26, 26, generator=source, dtype=torch.float64)
    targets = Sequences(torch.randint(26, (1, 8), generator=source), torch.tensor([8]))
    p = LinearChain(unary, transitions, targets.lengths)
    assert rml_on_scores(p, PAYOFF.distribution(targets, 26)).snr == pytest.approx(2.71, rel=0.15)
    assert reinforce_on_scores(p, targets, generator=source).snr == pytest.approx(0.0094, rel=0.15)


def test_the_signal_of_rml_vanishes_as_p_approaches_q_and_that_of_reinforce_grows() -> None:
    targets = Sequences.of([list(range(10))])
    q = PAYOFF.distribution(targets, 26)
    shares = (0.0, 0.5, 0.9, 1.0)
    path = [Factorised(share * q.local_log_prob().unary, targets.lengths) for share in shares]
    rml = [rml_on_scores(p, q).snr for p in path]
    reinforce = [reinforce_on_scores(p, targets).snr for p in path]
    assert rml == sorted(rml, reverse=True)
    assert rml[0] > 300 * reinforce[0]
    assert rml[-1] == pytest.approx(0.0, abs=1e-20)
    assert reinforce[-1] > 7 * reinforce[0]


def test_moments_refuse_a_single_sample_and_a_reward_of_whole_outputs() -> None:
    p = made("factorised")
    with pytest.raises(ConfigError, match="samples must be at least 2, but got 1"):
        reinforce_on_scores(p, TARGETS, samples=1)
    with pytest.raises(ConfigError, match="a sum over positions, but got EditDistance"):
        reinforce_on_scores(p, TARGETS, reward=EditDistance())


def test_the_error_of_a_signal_shrinks_with_samples() -> None:
    one, two = (torch.tensor([each], dtype=torch.float64) for each in (0.5, 0.25))
    moments = Moments(one, one, one, one, errors=(two, two))
    assert moments.signal(4).error < moments.signal(2).error
