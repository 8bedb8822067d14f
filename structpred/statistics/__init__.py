"""Statistics of a comparison over seeds.

The unit is the run: one seed of one arm. Tests over the examples within runs ask whether two *given* models differ;
a claim about an objective must survive a new seed, so verdicts take one number per seed. `over_seeds_and_examples` asks
whether it would survive new examples too.
"""

from structpred.statistics.anytime import Rule, Scores, critical, log_evidence
from structpred.statistics.estimates import FEW, LEVEL, Estimate, Noise, estimate, fixed
from structpred.statistics.examples import (
    CrossedTest,
    ExamplesTest,
    over_examples,
    over_examples_of_pairs,
    over_seeds_and_examples,
    over_seeds_and_examples_of_pairs,
)
from structpred.statistics.paired import MARGIN, PairedTest, holm, paired_test
from structpred.statistics.planning import (
    CLEAR,
    MOST_SEEDS,
    POWER,
    detectable_difference,
    equivalence_power,
    fewest_seeds,
    power,
    seeds_for_equivalence,
    seeds_needed,
)

__all__ = [
    "CLEAR",
    "FEW",
    "LEVEL",
    "MARGIN",
    "MOST_SEEDS",
    "POWER",
    "CrossedTest",
    "Estimate",
    "ExamplesTest",
    "Noise",
    "PairedTest",
    "Rule",
    "Scores",
    "critical",
    "detectable_difference",
    "equivalence_power",
    "estimate",
    "fewest_seeds",
    "fixed",
    "holm",
    "log_evidence",
    "over_examples",
    "over_examples_of_pairs",
    "over_seeds_and_examples",
    "over_seeds_and_examples_of_pairs",
    "paired_test",
    "power",
    "seeds_for_equivalence",
    "seeds_needed",
]
