"""Do verdicts hold, and how often are they reached? Simulated comparisons with normal differences; nothing is trained.

Expected before the run, for 10,000 comparisons each with looks at 2, 3, … 20 seeds, σ the standard deviation of paired
differences, and a family of three arms that share a baseline (correlation 0.5):

- no difference: *better* or *worse* at any look in at most 5 % of comparisons, one arm or any of three;
- a difference of σ: shown by 15 and 20 seeds in at least 60 and 80 % for one arm; for the only one of three arms that
  differs in at least 40 and 65 %;
- a difference of exactly δ = σ: called *within ±δ* in at most 5 %, at any look or, by two one-sided tests, at a number
  of seeds fixed beforehand; no difference: called so by 20 seeds in at least 65 %;
- intervals hold the true mean in 94 to 96 % at a fixed number of seeds, and at all looks together in at least 95 %.

Figures whose names end in ``_student`` or ``_tost`` are of tests for a fixed number of seeds that are looked at again
and again: what the anytime-valid test is there to avoid. ``_heavy`` and ``_skewed`` are of differences that are not
normal (t with three degrees of freedom; exponential), for which nothing is promised. A share of 5 % of 10,000
comparisons has a standard error of 0.22 %::

    python -m structpred.experiments.benchmarks.verdicts

It takes seconds. The last line of its output is the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from structpred.experiments.benchmarks.measuring import Figures, standalone, without_options
from structpred.statistics import LEVEL, Rule, critical

COMPARISONS, MOST, SEED = 10_000, 20, 17
FIXED = (5, 10, 20)
"""Numbers of seeds fixed beforehand."""


@dataclass(frozen=True)
class Looks:
    """Simulated comparisons at every number of seeds from 2 on.

    Attributes:
        means: running mean difference of each arm.
        errors: its estimated standard error.
    """

    means: Float[np.ndarray, "comparisons arms looks"]
    errors: Float[np.ndarray, "comparisons arms looks"]

    @classmethod
    def of(cls, differences: Float[np.ndarray, "comparisons arms seeds"]) -> "Looks":
        """What is seen of these differences."""
        seeds = np.arange(1, differences.shape[-1] + 1)
        means = differences.cumsum(-1) / seeds
        squares = (differences**2).cumsum(-1) - seeds * means**2
        return cls(means[..., 1:], np.sqrt(squares[..., 1:] / (seeds[1:] * (seeds[1:] - 1))))

    @classmethod
    def drawn(cls, effects: Sequence[float], comparisons: int, generator: np.random.Generator) -> "Looks":
        """Comparisons of arms with these true mean differences from one baseline, in standard deviations."""
        baseline = generator.normal(size=(comparisons, 1, MOST))
        arms = generator.normal(size=(comparisons, len(effects), MOST))
        return cls.of((arms - baseline) / np.sqrt(2) + np.reshape(effects, (1, -1, 1)))

    def beyond(self, mean: float, level: float, rule: Rule) -> Bool[np.ndarray, "comparisons arms looks 2"]:
        """Whether a test rejects a true mean, from below and from above; the anytime-valid one once it ever has."""
        thresholds = np.array([critical(seeds, level, rule) for seeds in range(2, self.means.shape[-1] + 2)])
        t = (self.means - mean) / self.errors
        sides = np.stack([t <= -thresholds, t >= thresholds], -1)
        return np.asarray(np.logical_or.accumulate(sides, -2)) if rule == "anytime" else sides

    def differs(self, level: float, rule: Rule) -> Bool[np.ndarray, "comparisons arms looks"]:
        """Whether a difference is shown; what spoke for the other direction does not count."""
        sides = self.beyond(0.0, level, rule)
        return np.asarray(np.where(self.means < 0, sides[..., 0], sides[..., 1]))

    def within(self, margin: float, level: float, rule: Rule) -> Bool[np.ndarray, "comparisons arms looks"]:
        """Whether the difference is shown to be within ±margin."""
        each = 2 * level if rule == "fixed" else level  # one-sided tests, or the interval that holds at all looks
        above, below = self.beyond(margin, each, rule)[..., 0], self.beyond(-margin, each, rule)[..., 1]
        return np.asarray(above & below)

    def holm(self, rule: Rule) -> Bool[np.ndarray, "comparisons arms looks"]:
        """Whether a difference is shown after Holm's correction: i arms need p ≤ level/(m − i + 1) for the i-th."""
        arms = self.means.shape[1]
        shown, open_still = np.zeros(self.means.shape, dtype=bool), np.ones(self.means[:, :1].shape, dtype=bool)
        for rank in range(1, arms + 1):
            passing = self.differs(LEVEL / (arms - rank + 1), rule)
            open_still = open_still & (passing.sum(1, keepdims=True) >= rank)
            shown |= passing & open_still
        return shown


def share(events: ArrayLike) -> float:
    """How often something happened, one value a comparison."""
    return round(float(np.asarray(events).mean()), 4)


def null(generator: np.random.Generator, comparisons: int) -> dict[str, float]:
    """False verdicts of better or worse."""
    one, three = (Looks.drawn([0.0] * arms, comparisons, generator) for arms in (1, 3))
    student = one.differs(LEVEL, "fixed")[:, 0]
    return {
        "false_difference": share(one.differs(LEVEL, "anytime").any((1, 2))),
        "false_difference_family": share(three.holm("anytime").any((1, 2))),
        "false_difference_student": share(student.any(1)),
        "false_difference_3_then_5_student": share(student[:, 1] | student[:, 3]),
        **{f"false_difference_at_{seeds}": share(student[:, seeds - 2]) for seeds in FIXED},
    }


def power(generator: np.random.Generator, comparisons: int) -> dict[str, float]:
    """Differences of one standard deviation that are found."""
    one = Looks.drawn([1.0], comparisons, generator).differs(LEVEL, "anytime")[:, 0]
    three = Looks.drawn([1.0, 0.0, 0.0], comparisons, generator).holm("anytime")[:, 0]
    every = Looks.drawn([1.0] * 3, comparisons, generator).holm("anytime").mean(1) > 0.99
    found: dict[str, float] = {}
    for seeds in (15, 20):
        until = slice(0, seeds - 1)
        found |= {
            f"found_by_{seeds}": share(one[:, until].any(1)),
            f"found_by_{seeds}_family": share(three[:, until].any(1)),
            f"all_three_found_by_{seeds}": share(every[:, until].any(1)),
        }
    return found


def equivalence(generator: np.random.Generator, comparisons: int) -> dict[str, float]:
    """Verdicts of equivalence, at a margin of one standard deviation."""
    at_margin, none = (Looks.drawn([effect], comparisons, generator) for effect in (1.0, 0.0))
    tost = at_margin.within(1.0, LEVEL, "fixed")[:, 0]
    return {
        "false_equivalence": share(at_margin.within(1.0, LEVEL, "anytime").any((1, 2))),
        "false_equivalence_tost": share(tost.any(1)),
        **{f"false_equivalence_at_{seeds}": share(tost[:, seeds - 2]) for seeds in FIXED},
        "equivalence_found_by_20": share(none.within(1.0, LEVEL, "anytime").any((1, 2))),
        "equivalence_found_at_20": share(none.within(1.0, LEVEL, "fixed")[:, 0, -1]),
    }


def coverage(generator: np.random.Generator, comparisons: int) -> dict[str, float]:
    """Intervals that hold the true mean."""
    looks = Looks.drawn([0.7], comparisons, generator)
    missed = np.asarray(looks.beyond(0.7, LEVEL, "fixed").any(-1))[:, 0]
    return {
        **{f"covered_at_{seeds}": share(~missed[:, seeds - 2]) for seeds in FIXED},
        "covered_at_all_looks": share(~looks.beyond(0.7, LEVEL, "anytime").any((1, 2, 3))),
        "covered_at_all_looks_student": share(~missed.any(1)),
    }


def not_normal(generator: np.random.Generator, comparisons: int) -> dict[str, float]:
    """False verdicts of better or worse where the tests' assumption does not hold."""
    shape = (comparisons, 1, MOST)
    heavy, skewed = Looks.of(generator.standard_t(3, shape)), Looks.of(generator.exponential(size=shape) - 1)
    return {
        "false_difference_heavy": share(heavy.differs(LEVEL, "anytime").any((1, 2))),
        "false_difference_skewed": share(skewed.differs(LEVEL, "anytime").any((1, 2))),
        "false_difference_at_5_skewed": share(skewed.differs(LEVEL, "fixed")[:, 0, 3]),
    }


def figures(comparisons: int, seed: int = SEED) -> dict[str, float]:
    """Everything that is measured."""
    generator = np.random.default_rng(seed)
    measured: dict[str, float] = {"comparisons": comparisons, "most_seeds": MOST, "seed": seed}
    for part in (null, power, equivalence, coverage, not_normal):
        measured |= part(generator, comparisons)
    return measured


def main() -> Figures:
    """Simulate them."""
    without_options()
    return {**figures(COMPARISONS)}


if __name__ == "__main__":
    standalone(main)
