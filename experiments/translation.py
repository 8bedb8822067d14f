"""Captions from German into English: do smoothed targets, or outputs drawn by edit distance, beat likelihood?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``multi30k/tok/*``, or let it be downloaded (research only)::

    structpred compare structpred.experiments.translation --seeds 1

Whole words in lower case, 29,000 pairs, a small network without input feeding and few epochs: sized for two processor
cores, not for the best BLEU. The length penalty was chosen for likelihood on dev, one seed: BLEU 28.0 by greedy search,
18.1 by a beam of 5 that ranks by probability alone and so prefers short outputs, 29.2 by one that ranks by the mean log
probability of a symbol.
"""

from dataclasses import replace

from structpred.distributions.protocols import Decoding
from structpred.experiment import Experiment
from structpred.models import Seq2Seq, SymbolEmbedding
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.tasks import Multi30k
from structpred.training import Adam, Trainer

BASE = Experiment(
    task=Multi30k(source="de", target="en"),
    model=Seq2Seq(inputs=SymbolEmbedding(min_count=2), embedding=128, hidden=256, dropout=0.3),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=2e-3),
    trainer=Trainer(epochs=6, batch_tokens=1024),
    decoding=Decoding(beam=5, length_penalty=1.0),
)


def experiments() -> dict[str, Experiment]:
    """The three arms, by name."""
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=0.04))
    return {
        "ML": BASE,
        "smoothing": replace(BASE, objective=LabelSmoothing(epsilon=0.1)),
        "RML": replace(BASE, objective=RML(payoff=payoff)),
    }
