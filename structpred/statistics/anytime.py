"""The t test whose level holds however often one looks: evidence against a mean difference, seed by seed.

The evidence E_n is the likelihood ratio of the t statistic of n differences with mean μ and standard deviation σ: of
μ/σ drawn from Cauchy(0, 1), against μ/σ = 0. It is the Bayes factor of Rouder et al. (Psychonomic Bulletin & Review 16,
2009) with scale 1. With ρ² = t²/(t² + n − 1),

    E_n = E_z[ √(z²/(z² + n)) · (1 − ρ² n/(z² + n))^(−n/2) ],  z ~ N(0, 1),

as Cauchy(0, 1) is a mixture of N(0, 1/z²). E_1 is 1. Under μ = 0 and any σ, E_n is a martingale in the differences up
to scale (Hendriksen, de Heide and Grünwald, Bayesian Analysis 16, 2021; Pérez-Ortiz et al., Annals of Statistics 52,
2024). By Ville's inequality it ever reaches 1/α with a chance of at most α, whatever makes one stop. The law is Cauchy
because E_n then has no ceiling from two seeds on; under a normal law it has one, 36 at five seeds.
"""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy  # scipy.optimize takes half a second to import, and is imported where it is first used
from jaxtyping import Float
from scipy import special

Scores = Float[np.ndarray, " seeds"]
Rule = Literal["fixed", "anytime"]
"""Whether the number of seeds was fixed before the first result was seen, or seeds were added after a look."""

# The trapezoidal rule in ln z converges geometrically: at this step its error is below 1e-12. Beyond the ends the
# integrand is below e^-38 of its mass: it falls as z² to the left of √(1 − ρ²), and as e^(−z²/2) to the right.
_STEP, _LEFT, _RIGHT = 0.12, 19.0, math.log(40)
_FARTHEST = -700.0  # ln(1 − ρ²) beyond which t would overflow


def log_evidence(differences: Scores, *, rounding: float = 0.0) -> Float[np.ndarray, " seeds"]:
    """ln E_m against a mean of zero, for the first m differences, m = 1 … n, in the order in which seeds were run.

    While all differences so far are equal there is no t. A bet of everything that the sign repeats takes its place:
    2^(m−1), a martingale for any law that is symmetric about zero; or 1 while all are zero.

    Args:
        differences: arm minus baseline, one a seed.
        rounding: differences no further apart than this are equal, and those no further from zero are zero.
    """
    return np.array([_of_first(differences[:seeds], rounding) for seeds in range(1, len(differences) + 1)])


def _of_first(differences: Scores, rounding: float) -> float:
    seeds, mean = len(differences), float(differences.mean())
    if np.ptp(differences) <= rounding:
        return 0.0 if abs(mean) <= rounding else (seeds - 1) * math.log(2)
    within, between = float(((differences - mean) ** 2).sum()), seeds * mean**2
    return _log_evidence(seeds, math.log(within) - math.log(within + between))


def _log_evidence(seeds: int, unexplained: float) -> float:
    """ln E_n from ``unexplained`` = ln(1 − ρ²), the logarithm of what the mean leaves of Σd².

    In z = e^x the integrand is 2 φ(z) z² (z² + n)^((n−1)/2) (z² + n(1 − ρ²))^(−n/2).
    """
    left = unexplained / 2 - _LEFT
    x = np.linspace(left, _RIGHT, math.ceil((_RIGHT - left) / _STEP))
    squares = np.exp(2 * x)
    logs = (
        0.5 * math.log(2 / math.pi)
        - squares / 2
        + 2 * x
        + (seeds - 1) / 2 * np.log(squares + seeds)
        - seeds / 2 * np.logaddexp(2 * x, math.log(seeds) + unexplained)
    )
    return float(special.logsumexp(logs)) + math.log(x[1] - x[0])


def critical(seeds: int, level: float, rule: Rule) -> float:
    """The |t| of ``seeds`` differences from which a two-sided test rejects; inf where no number is that large."""
    return float(special.stdtrit(seeds - 1, 1 - level / 2)) if rule == "fixed" else _critical(seeds, level)


@lru_cache(maxsize=4096)
def _critical(seeds: int, level: float) -> float:
    """The |t| at which E_n is 1/level; E_n grows with |t|."""

    def short_of(unexplained: float) -> float:
        return _log_evidence(seeds, unexplained) + math.log(level)

    if short_of(_FARTHEST) < 0:
        return math.inf
    root = scipy.optimize.brentq(short_of, _FARTHEST, 0.0, xtol=1e-10)
    return math.sqrt((seeds - 1) * math.expm1(-root))
