"""Against scipy, enumeration and simulation."""

from itertools import permutations, product
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from structpred.statistics import (
    MOST_SEEDS,
    Estimate,
    detectable_difference,
    estimate,
    fixed,
    holm,
    paired_test,
    power,
    seeds_needed,
)

ARM = np.array([11.8, 12.1, 11.5, 11.9, 12.4])
BASELINE = np.array([12.0, 12.6, 11.9, 12.0, 12.5])


def test_interval_agrees_with_scipy() -> None:
    found = estimate(ARM)
    low, high = stats.t.interval(0.95, df=4, loc=ARM.mean(), scale=stats.sem(ARM))
    assert found.half_width is not None
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high), abs=1e-12)


def test_interval_of_two_values_by_hand() -> None:
    found = estimate(np.array([1.0, 3.0]))  # s = √2, s/√n = 1, t(0.975, 1) = tan(0.475 π)
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(np.tan(0.475 * np.pi))


def test_one_value_has_no_interval() -> None:
    assert estimate(np.array([12.3])) == Estimate(12.3, None)


@pytest.mark.parametrize(
    ("value", "text", "signed"),
    [
        (Estimate(12.344, 0.555), "12.34 ± 0.56", "+12.34 ± 0.56"),
        (Estimate(-0.001, None), "0.00", "0.00"),
        (Estimate(-1.5, 0.0), "-1.50 ± 0.00", "-1.50 ± 0.00"),
    ],
)
def test_estimates_as_text(value: Estimate, text: str, signed: str) -> None:
    assert (str(value), value.signed) == (text, signed)


def test_a_negative_zero_has_no_sign() -> None:
    assert fixed(-0.004) == fixed(0.004) == "0.00"


def test_paired_test_agrees_with_scipy() -> None:
    found, expected = paired_test(ARM, BASELINE), stats.ttest_rel(ARM, BASELINE)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    low, high = expected.confidence_interval(0.95)
    assert found.difference.mean == pytest.approx(-0.26)
    assert found.difference.half_width == pytest.approx((high - low) / 2, rel=1e-10)
    assert found.deviation == pytest.approx(np.std(ARM - BASELINE, ddof=1))


def test_equal_scores_have_p_one() -> None:
    found = paired_test(ARM, ARM.copy())
    assert (found.p, found.deviation, found.difference) == (1.0, 0.0, Estimate(0.0, 0.0))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_constant_difference_has_the_p_of_all_sign_flips(seeds: int) -> None:
    baseline = BASELINE[:seeds]
    found = paired_test(baseline - 0.3, baseline)  # the differences differ by rounding, as real scores do
    sums = [abs(sum(signs)) for signs in product((-1, 1), repeat=seeds)]
    assert found.p == np.mean([total >= seeds for total in sums])
    assert found.difference.mean == pytest.approx(-0.3)
    assert (found.difference.half_width, found.deviation) == (None, 0.0)


def test_rounding_alone_is_no_difference() -> None:
    assert paired_test(ARM + 1e-13 * np.array([1, -2, 3, 0, 1]), ARM).p == 1.0


def test_one_seed_has_a_difference_and_no_test() -> None:
    found = paired_test(ARM[:1], BASELINE[:1])
    assert (found.p, found.deviation) == (None, None)
    assert found.difference.mean == pytest.approx(-0.2)


def test_scores_must_be_finite() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        paired_test(np.array([1.0, np.nan]), np.array([1.0, 2.0]))


def test_holm_by_hand() -> None:
    # 0.01·4, 0.02·3, max(0.06, 0.03·2), max(0.06, 0.2·1), in the order given
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx((0.06, 0.04, 0.2, 0.06))
    assert holm([0.6, 0.5]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_rejects_what_the_closed_test_with_bonferroni_rejects() -> None:
    values = (0.004, 0.013, 0.021, 0.03, 0.2)
    for p_values in permutations(values, 3):
        subsets = [subset for subset in product((False, True), repeat=3) if any(subset)]
        for index, corrected in enumerate(holm(p_values)):
            closed = max(
                min(1.0, sum(s) * min(p for p, inside in zip(p_values, s, strict=True) if inside))
                for s in subsets
                if s[index]
            )
            assert corrected == pytest.approx(closed)


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
