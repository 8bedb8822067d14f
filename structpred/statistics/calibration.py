"""Whether predictions are right as often as their probabilities say."""

import numpy as np
from jaxtyping import Bool, Float

BINS = 15
"""Bins of equal width, as in Guo et al. 2017."""


def calibration_error(
    confidences: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = BINS
) -> float | None:
    """The expected calibration error, Σ_m |B_m|/n · |acc(B_m) − conf(B_m)|, from 0 to 1; None of no prediction.

    B_m holds the predictions whose probability is in ((m − 1)/M, m/M]; acc is the share of them that are right, conf
    their mean probability (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599, equation 3). Of few predictions it
    is biased upwards: some are right by chance more or less often than they say.

    Args:
        confidences: the probability of each prediction.
        right: whether it is right.
        bins: M.
    """
    if not len(confidences):
        return None
    places = np.clip(np.ceil(confidences * bins) - 1, 0, bins - 1).astype(int)
    gaps = np.bincount(places, weights=right - confidences, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidences))
