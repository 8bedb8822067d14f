"""The evidence against independent quadratures, and by simulation."""

from itertools import product

import numpy as np
import pytest
from scipy import integrate, stats

from structpred.statistics import critical, log_evidence
from tests.support.bayes import bayes_factor

LOOKS = 20


def evidence(t: float, seeds: int) -> float:
    """E_n of differences made to have this t."""
    shape = np.arange(seeds) - (seeds - 1) / 2
    differences = shape / stats.sem(shape) + t
    return float(np.exp(log_evidence(differences)[-1]))


@pytest.mark.parametrize("seeds", [2, 3, 5, 20, 80])
@pytest.mark.parametrize("t", [0.0, 0.5, -2.0, 5.0, 20.0])
def test_evidence_is_the_likelihood_ratio_of_noncentral_t(t: float, seeds: int) -> None:
    assert evidence(t, seeds) == pytest.approx(bayes_factor(t, seeds), rel=1e-8)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20, 200, 1000])
@pytest.mark.parametrize("t", [0.0, 1.0, 3.0, 8.0])
def test_evidence_is_the_published_jzs_bayes_factor(t: float, seeds: int) -> None:
    """Rouder et al. 2009, equation 1, an integral over g."""
    free = seeds - 1

    def integrand(log_g: float) -> float:
        g = np.exp(log_g)
        spread = (1 + t**2 / ((1 + seeds * g) * free)) ** (-seeds / 2) / np.sqrt(1 + seeds * g)
        return float(spread * np.exp(-1 / (2 * g)) / np.sqrt(2 * np.pi * g))

    numerator = sum(integrate.quad(integrand, *ends, epsrel=1e-11, limit=200)[0] for ends in ((-9, 0), (0, 50)))
    assert evidence(t, seeds) == pytest.approx(numerator / (1 + t**2 / free) ** (-seeds / 2), rel=1e-7)


def test_one_difference_says_nothing_and_scale_does_not_matter() -> None:
    differences = np.array([0.3, 0.1, -0.2, 0.7])
    found = log_evidence(differences)
    assert found[0] == 0
    assert log_evidence(1e6 * differences) == pytest.approx(found)
    assert log_evidence(-differences) == pytest.approx(found)


def test_the_mean_evidence_is_one_given_any_first_differences() -> None:
    """A martingale up to scale: under the null, E[E_3 | d_1, d_2 up to a common factor] = E_2.

    Given u = d_2/d_1, d_3/√(d_1² + d_2²) is t with two degrees of freedom over √2, exactly.
    """
    for ratio in (-0.7, 0.2, 3.0):
        first = np.array([1.0, ratio])
        before = np.exp(log_evidence(first)[-1])
        size = np.sqrt((first**2).sum())

        def integrand(t: float, first: np.ndarray = first, size: float = float(size)) -> float:
            third = np.append(first, size * t / np.sqrt(2))
            return float(np.exp(log_evidence(third)[-1]) * stats.t.pdf(t, 2))

        after = integrate.quad(integrand, -np.inf, np.inf, limit=200, epsrel=1e-7)[0]
        assert after == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("level", [0.05, 0.05 / 3, 0.05 / 20])
@pytest.mark.parametrize("seeds", [3, 5, 20, 1000])
def test_the_critical_t_has_evidence_of_one_over_the_level(seeds: int, level: float) -> None:
    assert evidence(critical(seeds, level, "anytime"), seeds) == pytest.approx(1 / level, rel=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 30])
def test_critical_values_stay_finite_or_are_infinite(seeds: int) -> None:
    values = [critical(seeds, level, "anytime") for level in (0.05, 1e-3, 1e-6, 1e-100)]
    assert values == sorted(values)
    assert (values[0] > critical(seeds, 0.05, "fixed"), np.isinf(values[-1])) == (True, seeds == 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_equal_differences_are_a_bet_on_the_sign(sign: int) -> None:
    """Over all sign patterns the bet has a mean of 1 at every number of seeds: it doubles or is lost."""
    found = log_evidence(np.full(6, sign * 0.3), rounding=1e-9)
    assert np.exp(found) == pytest.approx(2.0 ** np.arange(6))
    assert (log_evidence(np.zeros(4), rounding=1e-9) == 0).all()
    patterns = list(product((-1, 1), repeat=6))
    bets = [np.exp(found[-1]) if abs(sum(signs)) == 6 else 0.0 for signs in patterns]
    assert np.mean(bets) == pytest.approx(1.0)


def test_looking_at_every_seed_keeps_the_level() -> None:
    """4,000 null comparisons, seed 3, with looks at 2 to 20 seeds.

    At a chance of exactly 5 % the share would be over 0.0608 once in a thousand runs of this test; it is far lower, as
    20 looks are not infinitely many. Student's t rejects in a quarter of them, which shows that the test can fail.
    """
    draws = np.random.default_rng(3).normal(size=(4000, LOOKS))
    alarms: dict[str, list[np.ndarray]] = {"anytime": [], "fixed": []}
    for seeds in range(2, LOOKS + 1):
        t = np.abs(stats.ttest_1samp(draws[:, :seeds], 0, axis=1).statistic)
        alarms["anytime"].append(t >= critical(seeds, 0.05, "anytime"))
        alarms["fixed"].append(t >= critical(seeds, 0.05, "fixed"))
    assert np.mean(np.any(alarms["anytime"], 0)) <= 0.0608
    assert np.mean(np.any(alarms["fixed"], 0)) > 0.2
