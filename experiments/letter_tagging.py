"""What does a letter's sound gain from the chain between labels, and what from an objective that knows the reward?

Data are embedded, so nothing is downloaded::

    structpred compare structpred.experiments.letter_tagging

The baseline labels every letter by itself. Beside it stand reward-augmented likelihood in closed form, which is label
smoothing there, and the same network under a linear chain by likelihood, by reward-augmented likelihood in closed form
and by a margin. The reward is Hamming's, and accuracy its complement. Sized for two processor cores and two minutes;
nothing was tuned.
"""

from dataclasses import replace

from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger
from structpred.objectives import RML, Exact, MaximumLikelihood, MaxMargin
from structpred.payoffs import HammingPayoff, Temperature
from structpred.rewards import Hamming
from structpred.tasks import LetterTagging
from structpred.training import Adam, Trainer

BASE = Experiment(
    task=LetterTagging(size=2000, held_out=1000),
    model=LSTMTagger(embedding=48, hidden=128),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=5e-3),
    trainer=Trainer(epochs=12, batch_tokens=384),
)


def experiments() -> dict[str, Experiment]:
    """The five arms, by name."""
    rml = RML(payoff=HammingPayoff(temperature=Temperature(edit_rate=0.04)), estimator=Exact())
    chain = replace(BASE, model=CRF(embedding=48, hidden=128))
    return {
        "tagger ML": BASE,
        "tagger RML": replace(BASE, objective=rml),
        "chain ML": chain,
        "chain RML": replace(chain, objective=rml),
        "chain max-margin": replace(chain, objective=MaxMargin(reward=Hamming())),
    }
