"""Does minimum risk after likelihood pronounce words better than likelihood that goes on as long?

Run with ``structpred compare structpred.experiments.warm_start``. Data are embedded, so nothing is downloaded.

All arms of a seed start from the same finished run, which is trained once, and train as long from there, with a fresh
optimiser. A third arm adds likelihood to risk. The learning rate of all three, out of 0.0003 and 0.001, was chosen on
dev with a seed that is not compared: it was the better one for likelihood and for risk.
"""

from dataclasses import replace

from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood, MinimumRisk, Weighted, WeightedSum
from structpred.tasks import Pronunciation
from structpred.training import Adam, Trainer

FIRST = Experiment(
    task=Pronunciation(size=1500, held_out=500),
    model=Seq2Seq(embedding=64, hidden=128),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=3e-3),
    trainer=Trainer(epochs=15, batch_tokens=384),
)
THEN = replace(FIRST, start=FIRST, optimiser=Adam(lr=1e-3), trainer=Trainer(epochs=10, batch_tokens=384))


def experiments() -> dict[str, Experiment]:
    """The three ways to go on, by name."""
    risk = MinimumRisk()
    parts = (Weighted(objective=MaximumLikelihood(), name="ML"), Weighted(objective=risk, name="risk"))
    return {
        "ML": THEN,
        "risk": replace(THEN, objective=risk),
        "risk and ML": replace(THEN, objective=WeightedSum(parts=parts)),
    }
