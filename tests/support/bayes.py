"""An independent Bayes factor of a t statistic."""

import numpy as np
from scipy import integrate, stats


def bayes_factor(t: float, seeds: int) -> float:
    """The density of t with effect sizes from Cauchy(0, 1) over that without effect, by scipy's noncentral t."""

    def integrand(effect: float) -> float:
        return float(stats.nct.pdf(t, seeds - 1, np.sqrt(seeds) * effect) * stats.cauchy.pdf(effect))

    peak = float(t / np.sqrt(seeds))
    width = float(12 / np.sqrt(seeds) * max(1.0, abs(peak)))
    pieces = ((-np.inf, peak - width), (peak - width, peak), (peak, peak + width), (peak + width, np.inf))
    alternative = sum(
        integrate.quad(integrand, low, high, epsabs=1e-14, epsrel=1e-11, limit=200)[0] for low, high in pieces
    )
    return float(alternative / stats.t.pdf(t, seeds - 1))
