"""Which value of its one number does dev choose for every arm of ``five_objectives``?

Run with ``structpred compare structpred.experiments.five_objectives_tuning``; data are embedded. Every arm of the main
job with each of the four values of its number, under seed 100, which is not compared there. Only the dev scores count;
test scores stand in the report because every report has them.
"""

from structpred.comparison.panels import Panel
from structpred.experiment import Experiment
from structpred.experiments.five_objectives import Tuned, pronunciation, tagging

SEED = 100


def panels() -> dict[str, Panel]:
    """All arms with all values, by the panel."""
    return {
        name: Panel(arms=with_each_value(arms), seeds=(SEED,))
        for name, arms in {"tagging": tagging(), "pronunciation": pronunciation()}.items()
    }


def with_each_value(arms: dict[str, Tuned]) -> dict[str, Experiment]:
    """An arm for every value that was tried."""
    return {
        f"{arm}, {tuned.number} {value:g}": tuned.arm(value) for arm, tuned in arms.items() for value in tuned.tried
    }
