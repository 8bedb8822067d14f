import numpy as np
import pytest
from scipy.stats import binned_statistic

from structpred.statistics.calibration import BINS, calibration_error


def test_it_is_the_gap_of_each_bin_weighted_by_its_predictions() -> None:
    generator = np.random.default_rng(0)
    confidences = generator.beta(4, 2, size=500)
    right = generator.random(500) < confidences**2
    edges = np.linspace(0, 1, BINS + 1)
    counts = binned_statistic(confidences, confidences, "count", bins=edges).statistic
    means, shares = (
        np.nan_to_num(binned_statistic(confidences, values, "mean", bins=edges).statistic)
        for values in (confidences, right.astype(float))
    )
    assert calibration_error(confidences, right) == pytest.approx((counts * abs(shares - means)).sum() / 500)


def test_bins_are_closed_above_and_the_ends_are_in() -> None:
    confidences, right = np.array([0.0, 0.5, 0.5 + 1e-9, 1.0]), np.array([False, True, False, True])
    # {0, 0.5 right} and {0.5 wrong, 1 right}: gaps of 1 − 0.5 and 1 − 1.5
    assert calibration_error(confidences, right, bins=2) == pytest.approx((0.5 + 0.5) / 4)
    assert calibration_error(np.ones(3), np.ones(3, dtype=bool)) == 0.0
    assert calibration_error(np.ones(4), np.zeros(4, dtype=bool)) == 1.0
    assert calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_what_is_right_as_often_as_it_says_has_none_but_for_chance() -> None:
    generator = np.random.default_rng(1)
    confidences = generator.random(40_000)
    right = generator.random(40_000) < confidences
    # by chance each bin of 2,667 is off by 0.4/√2667 on average; four standard deviations of that mean are 0.0105
    assert 0 < (calibration_error(confidences, right) or 0) < 0.0105
