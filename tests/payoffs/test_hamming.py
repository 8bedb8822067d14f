import itertools
import math
from collections import Counter

import pytest
import torch
from scipy.stats import binom, chi2

from structpred.distributions import Factorised
from structpred.errors import ConfigError
from structpred.payoffs import HammingPayoff, Payoff, Temperature
from structpred.sequences import Sequences

FALSE_ALARM = 1e-4
CONVENTIONS = [Temperature(literal=0.7), Temperature(rescaled=1.1), Temperature(edit_rate=0.3)]
CONVENTION_NAMES = ["literal", "rescaled", "edit-rate"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def p_value(observed: list[int], expected: list[float]) -> float:
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    return float(chi2.sf(statistic, len(expected) - 1))


@pytest.mark.parametrize("temperature", CONVENTIONS, ids=CONVENTION_NAMES)
@pytest.mark.parametrize("reference", [(0,), (0, 0, 1), (2, 1, 2)], ids=str)
def test_draws_follow_the_law_over_all_strings(temperature: Temperature, reference: tuple[int, ...]) -> None:
    labels, draws = 3, 40_000
    payoff = HammingPayoff(temperature=temperature)
    every = list(itertools.product(range(labels), repeat=len(reference)))
    weights = [math.exp(-sum(map(int.__ne__, s, reference)) / payoff.literal(labels)) for s in every]
    drawn = payoff.distribution(Sequences.of([reference]), labels).sample(draws, generator(2))
    counts = Counter(map(tuple, drawn.flatten().tolist()))
    expected = [draws * weight / sum(weights) for weight in weights]
    assert p_value([counts[s] for s in every], expected) > FALSE_ALARM


def test_edits_are_binomial_and_others_equally_likely() -> None:
    size, labels, draws = 12, 1000, 30_000
    payoff = HammingPayoff(temperature=Temperature(edit_rate=0.2))
    references = Sequences.of([[7] * size])
    drawn = payoff.distribution(references, labels).sample(draws, generator(5))
    edits = (-payoff.reward.score(drawn, references)).long().flatten()
    observed = torch.bincount(edits, minlength=size + 1).tolist()
    expected = [float(draws * binom.pmf(d, size, payoff.edit_rate(labels))) for d in range(size + 1)]
    assert p_value([*observed[:7], sum(observed[7:])], [*expected[:7], sum(expected[7:])]) > FALSE_ALARM
    changed = drawn.labels[drawn.labels != 7]
    others = [label for label in range(labels) if label != 7]
    tally = torch.bincount(changed, minlength=labels)[others].tolist()
    assert p_value(tally, [len(changed) / (labels - 1)] * (labels - 1)) > FALSE_ALARM


@pytest.mark.parametrize(
    ("epsilon", "labels", "temperature"), [(0.1, 10, 0.2217), (0.1, 50, 0.1637), (0.1, 10_000, 0.0877)]
)
def test_is_label_smoothing(epsilon: float, labels: int, temperature: float) -> None:
    # mass ε over all V labels, the reference's included (the convention of Szegedy et al. and PyTorch)
    literal = 1 / math.log(1 + labels * (1 - epsilon) / epsilon)
    assert literal == pytest.approx(temperature, abs=1e-4)
    q = HammingPayoff(temperature=Temperature(literal=literal)).distribution(Sequences.of([[3, 1]]), labels)
    smoothed = torch.full((1, 2, labels), epsilon / labels, dtype=torch.float64)
    smoothed[0, 0, 3] += 1 - epsilon
    smoothed[0, 1, 1] += 1 - epsilon
    torch.testing.assert_close(q.marginals(), smoothed)
    # mass over the V − 1 others
    assert q.change == pytest.approx(epsilon * (labels - 1) / labels)


@pytest.mark.parametrize(
    ("labels", "published", "expected"), [(60, 0.75, 0.063), (26, 0.9, 0.187), (10_000, 0.85, 0.057)]
)
def test_published_temperatures(labels: int, published: float, expected: float) -> None:
    assert HammingPayoff(temperature=Temperature(rescaled=published)).edit_rate(labels) == pytest.approx(
        expected, abs=6e-4
    )


def test_verbs_agree_with_the_factorised_distribution() -> None:
    references = Sequences.of([[0, 2, 1], [1], []])
    garbage = Sequences(torch.where(references.mask(), references.labels, 99), references.lengths)
    q = HammingPayoff(temperature=Temperature(literal=0.8)).distribution(garbage, 4)
    log_probs = q.marginals().log().where(garbage.mask().unsqueeze(-1), torch.tensor(torch.nan, dtype=torch.float64))
    same = Factorised(log_probs, references.lengths)
    outputs = same.sample(20, generator())
    torch.testing.assert_close(q.log_prob(outputs), same.log_prob(outputs))
    torch.testing.assert_close(q.entropy(), same.entropy())
    torch.testing.assert_close(q.expected_edits(), torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64) * q.change)
    assert q.entropy()[2] == 0
    drawn = q.sample(7, generator())
    assert (drawn.labels[~drawn.mask()] == 0).all()
    assert torch.equal(drawn.lengths, references.lengths.unsqueeze(1).repeat(1, 7))


def test_another_length_is_impossible() -> None:
    q = HammingPayoff(temperature=Temperature(literal=0.8)).distribution(Sequences.of([[0, 2]]), 4)
    assert q.log_prob(Sequences.of([[0, 2, 1]]).candidates()).item() == -math.inf


@pytest.mark.parametrize("literal", [1e-3, 1e-12, 1e-310])
@pytest.mark.parametrize("labels", [1, 2, 10_000])
def test_a_temperature_near_zero_gives_the_reference(literal: float, labels: int) -> None:
    references = Sequences.of([[0] * 50] * 20)
    q = HammingPayoff(temperature=Temperature(literal=literal)).distribution(references, labels)
    assert torch.equal(q.sample(3, generator()).labels, references.labels.unsqueeze(1).repeat(1, 3, 1))
    assert (q.log_prob(references.candidates()) == 0).all()
    assert (q.entropy() == 0).all()
    assert q.marginals().sum() == 1000


def test_a_high_temperature_is_uniform() -> None:
    q = HammingPayoff(temperature=Temperature(literal=1e9)).distribution(Sequences.of([[0]]), 5)
    torch.testing.assert_close(q.marginals(), torch.full((1, 1, 5), 0.2, dtype=torch.float64))


@pytest.mark.parametrize(
    "temperature", [Temperature(literal=5.0), Temperature(rescaled=0.9)], ids=["literal", "rescaled"]
)
def test_a_single_label_leaves_the_reference(temperature: Temperature) -> None:
    q = HammingPayoff(temperature=temperature).distribution(Sequences.of([[0, 0], []]), 1)
    assert q.change == 0
    assert q.sample(5, generator()).labels.sum() == 0
    assert (q.entropy() == 0).all()


@pytest.mark.parametrize("labels", [2, 3, 10_000])
def test_conversions_go_round(labels: int) -> None:
    payoff = HammingPayoff(temperature=Temperature(edit_rate=0.07))
    for same in (Temperature(literal=payoff.literal(labels)), Temperature(rescaled=payoff.rescaled(labels))):
        assert HammingPayoff(temperature=same).edit_rate(labels) == pytest.approx(0.07, rel=1e-12)
        assert HammingPayoff(temperature=same).rescaled(labels) == pytest.approx(payoff.rescaled(labels))


@pytest.mark.parametrize(("labels", "words"), [(4, "= 0.75 for Hamming over 4"), (1, "= 0 .*nothing to edit")])
def test_an_unreachable_rate_names_the_largest(labels: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HammingPayoff(temperature=Temperature(edit_rate=0.75)).literal(labels)


def test_same_generator_same_draws() -> None:
    q = HammingPayoff(temperature=Temperature(edit_rate=0.3)).distribution(Sequences.of([[0, 2, 1]] * 30), 4)
    first, again, other = (q.sample(4, generator(seed)).labels for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_json_gives_an_equal_payoff_back() -> None:
    payoff = HammingPayoff(temperature=Temperature(rescaled=0.85))
    assert Payoff.from_json(payoff.to_json()) == payoff
