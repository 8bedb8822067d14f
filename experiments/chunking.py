"""Do exact reward-augmented likelihood or a margin beat likelihood on a CRF: chunks of CoNLL-2000 from words alone?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``conll2000/{train,test}.txt.gz``::

    structpred compare structpred.experiments.chunking --seeds 3

A bidirectional LSTM under a linear chain reads words and their characters, no part-of-speech tags and no embeddings
from elsewhere. Both other objectives know the Hamming distance of the tags, not the F1 that is reported. Sizes,
dropout and learning rate were chosen for likelihood, on dev and with a seed that is not compared; what the other two
add, the edit rate and the scale of the margin, was not tuned.
"""

from dataclasses import replace

from structpred.experiment import Experiment
from structpred.models import CRF, CharacterCNN, WordEmbedding
from structpred.objectives import RML, Exact, MaximumLikelihood, MaxMargin
from structpred.payoffs import HammingPayoff, Temperature
from structpred.rewards import Hamming
from structpred.tasks import Conll2000
from structpred.training import Adam, Trainer

WORDS = WordEmbedding(size=100, word_dropout=0.3, characters=CharacterCNN(filters=100))

BASE = Experiment(
    task=Conll2000(),
    model=CRF(inputs=WORDS, hidden=400, dropout=0.6),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=4e-3),
    trainer=Trainer(epochs=12, batch_tokens=512),
)


def experiments() -> dict[str, Experiment]:
    """The three arms, by name."""
    payoff = HammingPayoff(temperature=Temperature(edit_rate=0.02))
    return {
        "ML": BASE,
        "RML": replace(BASE, objective=RML(payoff=payoff, estimator=Exact())),
        "max-margin": replace(BASE, objective=MaxMargin(reward=Hamming())),
    }
