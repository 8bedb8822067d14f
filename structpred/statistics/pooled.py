"""Which of many groups of seeds are shown to be worse than the best one, as settings after a search.

Groups are too small for a spread of their own, often a single seed, so all share one: the standard deviation within
groups, pooled.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from structpred.statistics.estimates import LEVEL


@dataclass(frozen=True)
class Noise:
    """How much a score varies from seed to seed at the same settings.

    Attributes:
        deviation: pooled standard deviation within groups, in the unit of the scores.
        freedom: its degrees of freedom.
    """

    deviation: float
    freedom: int

    @classmethod
    def of(cls, groups: Iterable[Sequence[float]]) -> "Noise | None":
        """Pooled over the groups of two scores or more; None where there are none, or nothing varies.

        Args:
            groups: the scores of each setting, one a seed.
        """
        several = [group for group in groups if len(group) > 1]
        freedom = sum(len(group) - 1 for group in several)
        squares = sum(float(np.var(group)) * len(group) for group in several)
        return cls(math.sqrt(squares / freedom), freedom) if squares > 0 else None

    def threshold(self, best: Sequence[float], other: Sequence[float], compared: int) -> float:
        """How much worse than the best a group's mean must be to count as shown.

        t(1 − 5 %/m; ν) · s · √(1/n + 1/n'), one-sided, with s and ν of the noise and m groups compared with the best
        (Bonferroni). If the seeds of the best did not choose it, the chance of any false claim is below 5 %.

        Args:
            best: the n scores of the best group.
            other: the n' scores of the other.
            compared: m.
        """
        quantile = float(special.stdtrit(self.freedom, 1 - LEVEL / max(compared, 1)))
        return quantile * self.deviation * math.sqrt(1 / len(best) + 1 / len(other))
