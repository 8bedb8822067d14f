"""Which temperature should RML take in the main job? Chosen once, on dev, with a seed that is not compared there.

Run with ``python -m structpred.experiments.pronunciation_temperature``; the answer stands in ``records/``.
"""

from dataclasses import replace
from pathlib import Path

from structpred.comparison.runner import compare
from structpred.experiment import Experiment
from structpred.experiments.pronunciation import BASE
from structpred.objectives import RML
from structpred.payoffs import EditDistancePayoff, Temperature

SEED = 100
RATES = (0.025, 0.05, 0.1, 0.2)
RECORD = Path(__file__).parent / "records" / "pronunciation_temperature"


def experiments() -> dict[str, Experiment]:
    """One arm an edit rate, each twice the one before."""
    return {
        f"edit rate {rate:g}": replace(
            BASE, objective=RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=rate)))
        )
        for rate in RATES
    }


if __name__ == "__main__":
    report = compare(experiments(), seeds=(SEED,))
    report.show()
    report.write(RECORD)
