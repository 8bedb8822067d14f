"""Which temperature should RML take in `pronunciation`, and can the data tell?

Run with ``python -m structpred.experiments.pronunciation_tuning``; data are embedded. 20 trials by TPE over the edit
rate on a log scale, one seed each, none of those that are compared; then the best three under three more seeds.
Nothing is pruned, so that every trial has a final score. What was found best is compared with likelihood, under seeds
that took no part, by ``structpred compare structpred.experiments.pronunciation_tuning``; both answers stand in
``records/``.
"""

import sys
from dataclasses import replace

from structpred.cli import as_command
from structpred.cli.arguments import Parser
from structpred.experiment import Experiment
from structpred.experiments.pronunciation import BASE
from structpred.objectives import RML
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.tuning import Suggest, tune

LOW, HIGH = 0.003, 0.3
BEST = 0.0066
"""The best edit rate on dev, rounded; not distinguishable from it were 0.0031 to 0.12."""


def arm(edit_rate: float) -> Experiment:
    """`pronunciation` by RML at an edit rate."""
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=edit_rate))
    return replace(BASE, objective=RML(payoff=payoff))


def space(trial: Suggest) -> Experiment:
    """What is searched."""
    return arm(trial.suggest_float("edit_rate", LOW, HIGH, log=True))


def experiments() -> dict[str, Experiment]:
    """Likelihood, and RML as it was tuned."""
    return {"ML": BASE, "tuned RML": arm(BEST)}


def main() -> None:
    """Search, show and write."""
    Parser("python -m structpred.experiments.pronunciation_tuning", (__doc__ or "").partition("\n")[0]).read()
    tuning = tune(space, pruner="none", workers=2, name="pronunciation")
    tuning.show()
    tuning.write("reports/pronunciation_tuning")


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
