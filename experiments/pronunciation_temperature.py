"""Which temperature should RML take in `pronunciation`? Chosen once, on dev, with a seed that is not compared there.

Run with ``python -m structpred.experiments.pronunciation_temperature``; the answer stands in ``records/``.
"""

import sys
from dataclasses import replace

from structpred.cli import as_command
from structpred.cli.arguments import Parser
from structpred.comparison.runner import compare
from structpred.experiment import Experiment
from structpred.experiments.pronunciation import BASE
from structpred.objectives import RML
from structpred.payoffs import EditDistancePayoff, Temperature

SEED = 100
RATES = (0.02, 0.04, 0.08)


def experiments() -> dict[str, Experiment]:
    """One arm an edit rate, each twice the one before."""
    payoffs = {rate: EditDistancePayoff(temperature=Temperature(edit_rate=rate)) for rate in RATES}
    return {f"edit rate {rate}": replace(BASE, objective=RML(payoff=payoff)) for rate, payoff in payoffs.items()}


def main() -> None:
    """Compare, show and write."""
    Parser("python -m structpred.experiments.pronunciation_temperature", (__doc__ or "").partition("\n")[0]).read()
    report = compare(experiments(), seeds=(SEED,))
    report.show()
    report.write("reports/pronunciation_temperature")


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
