"""Power and numbers of seeds, against scipy, published tables and simulation."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from structpred.statistics import (
    MOST_SEEDS,
    Rule,
    critical,
    detectable_difference,
    equivalence_power,
    power,
    seeds_for_equivalence,
    seeds_needed,
)


@pytest.mark.parametrize(("effect", "seeds"), [(0.0, 5), (0.5, 5), (1.3, 5), (3.0, 2), (-0.4, 30)])
def test_power_agrees_with_simulated_tests(effect: float, seeds: int) -> None:
    draws = 100_000
    differences = np.random.default_rng(0).normal(effect, 1, (draws, seeds))
    share = np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue <= 0.05)
    found = power(effect * sqrt(seeds), seeds)
    assert found == pytest.approx(share, abs=4 * sqrt(0.25 / draws))  # four standard errors at most


@pytest.mark.parametrize("seeds", [2, 3, 5, 30, MOST_SEEDS])
@pytest.mark.parametrize("noncentrality", [0.0, 1e-9, 1.0, 30.0, 1e4])
def test_power_is_a_probability_everywhere(seeds: int, noncentrality: float) -> None:
    assert 0.05 - 5e-5 <= power(noncentrality, seeds) <= 1


@pytest.mark.parametrize("level", [0.05, 0.0025])
@pytest.mark.parametrize("seeds", [2, 3, 5, 30, MOST_SEEDS])
@pytest.mark.parametrize("noncentrality", [0.5, 2.8, 28.0])
def test_power_agrees_with_scipys_noncentral_f(noncentrality: float, seeds: int, level: float) -> None:
    critical = stats.t.ppf(1 - level / 2, seeds - 1)
    expected = stats.ncf.sf(critical**2, 1, seeds - 1, noncentrality**2)
    assert power(noncentrality, seeds, level=level) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_agree_with_published_tables(effect: float, seeds: int) -> None:
    assert seeds_needed(effect, 1.0) == seeds  # paired t test, 80 % power, two-sided 5 %: G*Power's answers
    assert seeds_needed(-3 * effect, 3.0) == seeds


@pytest.mark.parametrize("level", [0.05, 0.0125])
@pytest.mark.parametrize("effect", [0.12, 0.37, 1.0, 4.0])
def test_seeds_needed_are_the_first_that_are_enough(effect: float, level: float) -> None:
    needed = seeds_needed(effect, 1.0, level=level)
    assert needed is not None
    assert power(effect * sqrt(needed), needed, level=level) >= 0.8
    fewer = range(2, needed)[-20:]
    assert all(power(effect * sqrt(n), n, level=level) < 0.8 for n in fewer)


def test_seeds_needed_without_spread_or_difference() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.0, 0.0) is None
    assert seeds_needed(1e-6, 1.0) is None
    assert seeds_needed(0.1, 0.0) == 6  # 2^(1−6) = 0.03 is the first below 0.05
    assert seeds_needed(1e9, 1.0) == 2


@pytest.mark.parametrize("seeds", [2, 5, 199])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_detectable_difference_has_the_power(seeds: int, level: float) -> None:
    difference = detectable_difference(0.7, seeds, level=level)
    assert power(difference / 0.7 * sqrt(seeds), seeds, level=level) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("rule", ["fixed", "anytime"])
@pytest.mark.parametrize(("difference", "seeds"), [(0.0, 10), (0.5, 20), (1.0, 10), (1.3, 15)])
def test_equivalence_power_agrees_with_simulated_tests(difference: float, seeds: int, rule: Rule) -> None:
    draws = 100_000
    differences = np.random.default_rng(1).normal(difference, 1, (draws, seeds))
    if rule == "fixed":
        upper = stats.ttest_1samp(differences, 1, axis=1, alternative="less").pvalue
        lower = stats.ttest_1samp(differences, -1, axis=1, alternative="greater").pvalue
        share = np.mean(np.maximum(upper, lower) <= 0.05)
    else:
        half_width = critical(seeds, 0.05, rule) * stats.sem(differences, axis=1)
        share = np.mean(abs(differences.mean(1)) + half_width <= 1)
    found = equivalence_power(difference, 1.0, 1.0, seeds, rule=rule)
    assert found == pytest.approx(share, abs=4 * sqrt(0.25 / draws))  # four standard errors at most


@pytest.mark.parametrize("rule", ["fixed", "anytime"])
@pytest.mark.parametrize("difference", [0.0, 0.4])
def test_seeds_for_equivalence_are_the_first_that_are_enough(difference: float, rule: Rule) -> None:
    needed = seeds_for_equivalence(difference, 1.0, 1.0, rule=rule)
    assert needed is not None
    assert equivalence_power(difference, 1.0, 1.0, needed, rule=rule) >= 0.8
    assert all(equivalence_power(difference, 1.0, 1.0, seeds, rule=rule) < 0.8 for seeds in range(2, needed))


def test_seeds_for_equivalence_without_spread_or_beyond_the_margin() -> None:
    assert seeds_for_equivalence(1.0, 0.5, 1.0) is None
    assert seeds_for_equivalence(-2.0, 0.0, 1.0) is None
    assert seeds_for_equivalence(0.99, 3.0, 1.0) is None  # more than 1,000
    assert (seeds_for_equivalence(0.0, 0.0, 1.0), seeds_for_equivalence(0.0, 0.0, 1.0, rule="anytime")) == (5, 6)


def test_the_anytime_test_needs_more_seeds() -> None:
    assert [seeds_needed(1.0, 1.0, rule=rule) for rule in ("fixed", "anytime")] == [10, 21]
