"""Which value of its one number does dev choose for every arm of ``pretrained_tagging``?

Run with ``structpred compare structpred.experiments.pretrained_tagging_tuning``, with the same data and packages. Every
arm with each of the four values of its number, on Snips with GloVe's vectors, for four epochs and by half the LSTM,
under seed 100, which is not compared there. Only the dev scores count; test scores stand in the report because every
report has them.
"""

from structpred.comparison.panels import Panel
from structpred.experiments.five_objectives_tuning import SEED, with_each_value
from structpred.experiments.pretrained_tagging import INPUTS, arms
from structpred.tasks import Snips


def panels() -> dict[str, Panel]:
    """All arms with all values."""
    tuned = arms(Snips(), INPUTS["GloVe"], epochs=4, hidden=128, lr=3e-3)
    return {"GloVe": Panel(arms=with_each_value(tuned), seeds=(SEED,))}
