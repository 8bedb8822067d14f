"""Slots of spoken commands: does a chain of labels, or one trained for the Hamming reward, find more of them?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``snips/{train,valid,test}/seq.*``, or let it be downloaded::

    structpred compare structpred.experiments.slots --seeds 3

A bidirectional LSTM reads words and their characters; intents and embeddings from elsewhere are not used. Nothing was
tuned.
"""

from dataclasses import replace

from structpred.experiment import Experiment
from structpred.models import CRF, CharacterCNN, LSTMTagger, WordEmbedding
from structpred.objectives import RML, Exact, MaximumLikelihood
from structpred.payoffs import HammingPayoff, Temperature
from structpred.tasks import Snips
from structpred.training import Adam, Trainer

WORDS = WordEmbedding(size=100, word_dropout=0.2, characters=CharacterCNN(filters=50))

BASE = Experiment(
    task=Snips(),
    model=LSTMTagger(inputs=WORDS, hidden=200, dropout=0.5),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=3e-3),
    trainer=Trainer(epochs=8, batch_tokens=384),
)


def experiments() -> dict[str, Experiment]:
    """The three arms, by name."""
    payoff = HammingPayoff(temperature=Temperature(edit_rate=0.02))
    chain = replace(BASE, model=CRF(inputs=WORDS, hidden=200, dropout=0.5))
    return {
        "tagger ML": BASE,
        "chain ML": chain,
        "chain RML": replace(chain, objective=RML(payoff=payoff, estimator=Exact())),
    }
