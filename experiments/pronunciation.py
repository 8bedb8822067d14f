"""Does reward-augmented maximum likelihood pronounce English words better than likelihood or label smoothing?

Run with ``structpred compare structpred.experiments.pronunciation``. Data are embedded, so nothing is downloaded. This
was the main job before there was `five_objectives`.

Sized for two processor cores and ten minutes: 3,000 training words, a small network, 20 epochs. The edit rate was
chosen once on dev, with a seed that is not compared (see ``pronunciation_temperature``); ε is the value the literature
uses.
"""

from dataclasses import replace

from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.tasks import Pronunciation
from structpred.training import Adam, Trainer

BASE = Experiment(
    task=Pronunciation(size=3000, held_out=1000),
    model=Seq2Seq(embedding=96, hidden=192),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=3e-3),
    trainer=Trainer(epochs=20, batch_tokens=384),
)


def experiments() -> dict[str, Experiment]:
    """The three arms, by name."""
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=0.04))
    return {
        "ML": BASE,
        "smoothing": replace(BASE, objective=LabelSmoothing(epsilon=0.1)),
        "RML": replace(BASE, objective=RML(payoff=payoff)),
    }
