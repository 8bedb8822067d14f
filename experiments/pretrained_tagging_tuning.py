"""Which value of its one number does dev choose for every arm of ``pretrained_tagging``?

Run with ``structpred compare structpred.experiments.pretrained_tagging_tuning``, with the same data and packages. Every
arm with each of the four values of its number, under seed 100, which is not compared there. Only the dev scores count;
test scores stand in the report because every report has them.
"""

from structpred.comparison.panels import Panel
from structpred.experiments.five_objectives_tuning import SEED, with_each_value
from structpred.experiments.pretrained_tagging import INPUTS, arms


def panels() -> dict[str, Panel]:
    """All arms with all values, by the kind of input."""
    return {name: Panel(arms=with_each_value(arms(inputs)), seeds=(SEED,)) for name, inputs in INPUTS.items()}
