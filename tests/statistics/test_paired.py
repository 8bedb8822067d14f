"""Paired tests, against scipy, enumeration and simulation."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from structpred.statistics import MARGIN, Estimate, Rule, holm, paired_test
from tests.support.bayes import bayes_factor

ARM = np.array([11.8, 12.1, 11.5, 11.9, 12.4])
BASELINE = np.array([12.0, 12.6, 11.9, 12.0, 12.5])
RULES: tuple[Rule, ...] = ("fixed", "anytime")


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


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.9, 2.0])
def test_equivalence_by_two_one_sided_tests_of_scipy(shift: float) -> None:
    differences = ARM + shift - BASELINE
    upper = stats.ttest_1samp(differences, MARGIN, alternative="less").pvalue
    lower = stats.ttest_1samp(differences, -MARGIN, alternative="greater").pvalue
    assert paired_test(ARM + shift, BASELINE).equivalence_p == pytest.approx(max(upper, lower), rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("difference", "within"), [(0.0, True), (0.3, True), (-0.3, True), (0.5, False), (0.9, False)])
def test_equal_differences_show_equivalence_by_their_signs(rule: Rule, difference: float, within: bool) -> None:
    found = paired_test(BASELINE + difference, BASELINE, rule=rule)
    fewest = 2.0 ** (-5 if rule == "fixed" else -4)  # one-sided; the bet on signs is two-sided
    assert found.equivalence_p == pytest.approx(fewest if within else 1.0)


def test_an_anytime_p_is_one_over_the_largest_evidence_so_far() -> None:
    """The evidence by quadrature of scipy's noncentral t, at each number of seeds."""
    differences = np.array([-0.5, -0.6, -0.52, -0.55, -0.1])
    largest = 1.0
    for seeds in range(2, 6):
        some = differences[:seeds]
        t = some.mean() / (some.std(ddof=1) / np.sqrt(seeds))
        largest = max(largest, bayes_factor(t, seeds))
    arm = BASELINE + differences
    assert paired_test(arm, BASELINE, rule="anytime").p == pytest.approx(1 / largest, rel=1e-7)
    assert paired_test(arm[:4], BASELINE[:4], rule="anytime").p == pytest.approx(1 / largest, rel=1e-7)


def test_evidence_for_the_other_direction_does_not_count() -> None:
    differences = np.array([1.0, 1.01, 0.99, 1.005, -30.0])
    assert paired_test(BASELINE + differences, BASELINE, rule="anytime").p == 1.0


def test_an_anytime_interval_holds_the_means_with_too_little_evidence_against_them() -> None:
    found = paired_test(ARM, BASELINE, rule="anytime")
    low = found.difference.mean - (found.difference.half_width or 0)
    differences = ARM - BASELINE - low
    t = differences.mean() / (differences.std(ddof=1) / np.sqrt(5))
    assert bayes_factor(t, 5) == pytest.approx(20, rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_two_tests_of_zeros_and_of_one_seed(rule: Rule) -> None:
    assert paired_test(ARM, ARM.copy(), rule=rule).p == 1.0
    assert paired_test(ARM[:1], BASELINE[:1], rule=rule).equivalence_p is None


@pytest.mark.parametrize("rule", RULES)
def test_swapping_the_arms_changes_the_sign_alone(rule: Rule) -> None:
    one, other = paired_test(ARM, BASELINE, rule=rule), paired_test(BASELINE, ARM, rule=rule)
    assert (one.p, one.equivalence_p) == pytest.approx((other.p, other.equivalence_p))
    assert one.difference.mean == -other.difference.mean


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="a margin must be above 0"):
        paired_test(ARM, BASELINE, margin=margin)
