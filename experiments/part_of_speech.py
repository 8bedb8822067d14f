"""Part-of-speech tags of English web text: does smoothing the targets, much or little, beat likelihood?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``ud_english_ewt/*.conllu``, or let it be downloaded::

    structpred compare structpred.experiments.part_of_speech --seeds 3

A bidirectional LSTM reads words and their characters and labels every word by itself; there are no embeddings from
elsewhere. Nothing was tuned. On such a model RML in closed form under the Hamming payoff is label smoothing over the
other tags, with the edit rate as ε. So the arms *smoothing* (ε = 0.1) and *RML* (ε = 0.02) are one method at two
strengths.
"""

from dataclasses import replace

from structpred.experiment import Experiment
from structpred.models import CharacterCNN, LSTMTagger, WordEmbedding
from structpred.objectives import RML, Exact, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import HammingPayoff, Temperature
from structpred.tasks import EnglishWebTreebank
from structpred.training import Adam, Trainer

WORDS = WordEmbedding(size=100, word_dropout=0.25, characters=CharacterCNN(filters=100))

BASE = Experiment(
    task=EnglishWebTreebank(),
    model=LSTMTagger(inputs=WORDS, hidden=200, dropout=0.5),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=3e-3),
    trainer=Trainer(epochs=8, batch_tokens=512),
)


def experiments() -> dict[str, Experiment]:
    """The three arms, by name."""
    payoff = HammingPayoff(temperature=Temperature(edit_rate=0.02))
    return {
        "ML": BASE,
        "smoothing": replace(BASE, objective=LabelSmoothing(epsilon=0.1)),
        "RML": replace(BASE, objective=RML(payoff=payoff, estimator=Exact())),
    }
