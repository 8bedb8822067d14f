"""What the test examples say of the models of a comparison, from the statistics that every run keeps."""

import numpy as np

from structpred.comparison.design import Pair
from structpred.comparison.plan import Plan
from structpred.errors import ConfigError
from structpred.metrics import Counts, score
from structpred.runs.folder import read_arrays
from structpred.statistics import ExamplesTest, over_examples


def of_examples(plan: Plan) -> dict[Pair, ExamplesTest]:
    """Every pair of a finished comparison over the test examples, on its first metric.

    Nothing where a run kept no statistics of the metric, as for one that was chosen later, or where the metric makes no
    number of some of the examples alone: what over seeds is tested needs neither.
    """
    metric = next(iter(plan.arms.values())).reported[0]
    place = f"test/{metric.name}"
    counts: dict[str, list[Counts]] = {arm: [] for arm in plan.arms}
    for run in plan.runs:
        kept = read_arrays(run.folder.counts)
        if place not in kept:
            return {}
        counts[run.arm].append(kept[place].astype(float))

    def scored(totals: np.ndarray) -> float:
        return score(metric, totals[np.newaxis])

    pairs = plan.design.family(list(plan.arms), plan.baseline)
    try:
        return {(one, other): over_examples(counts[one], counts[other], scored) for one, other in pairs}
    except ConfigError:
        return {}
