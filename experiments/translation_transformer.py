"""Captions from German into English: does a Transformer under likelihood reach what tutorials reach, 36 BLEU?

Run on a GPU, with ``STRUCTPRED_DATA`` set to a folder that holds ``multi30k/tok/*``::

    structpred compare structpred.experiments.translation_transformer --seeds 1 --device cuda --workers 5

Hypothesis, before the run: the arm that is best on dev has at least 36.0 BLEU on the test set of 2016, where the small
LSTM of `structpred.experiments.translation` has 30.1. Rule of tuning: dev BLEU, by a beam of 5, chooses among four
pairs of dropout and learning rate, one seed each; an LSTM of about the same size stands beside them. Sized for two
minutes on one card with all arms at once, so training ends after 13 epochs or 120 seconds, and where the seconds
decide, another card would train longer. Words in lower case; nothing is claimed about objectives.
"""

from dataclasses import replace

from structpred.distributions.protocols import Decoding
from structpred.experiment import Experiment
from structpred.models import Seq2Seq, SymbolEmbedding, Transformer
from structpred.objectives import MaximumLikelihood
from structpred.tasks import Multi30k
from structpred.training import Adam, Cosine, Trainer

WORDS = SymbolEmbedding(min_count=2)
TRANSFORMER = Transformer(inputs=WORDS, hidden=256, heads=4, feedforward=1024, dropout=0.3, tied=True)
ADAM = Adam(lr=1e-3, schedule=Cosine(warmup=0.1))
BASE = Experiment(
    task=Multi30k(source="de", target="en"),
    model=TRANSFORMER,
    objective=MaximumLikelihood(),
    optimiser=ADAM,
    trainer=Trainer(epochs=13, batch_tokens=3072, average=0.99, max_seconds=120),
    decoding=Decoding(beam=5, length_penalty=1.0),
)


def experiments() -> dict[str, Experiment]:
    """Four Transformers and an LSTM, by name."""
    arms = {
        f"Transformer, dropout {dropout:g}, lr {rate:g}": replace(
            BASE,
            model=replace(TRANSFORMER, dropout=dropout),
            optimiser=replace(ADAM, lr=rate),
        )
        for dropout in (0.2, 0.3)
        for rate in (1e-3, 2e-3)
    }
    lstm = Seq2Seq(inputs=WORDS, embedding=256, hidden=384, dropout=0.3)
    arms["LSTM"] = replace(BASE, model=lstm, optimiser=replace(ADAM, lr=2e-3))
    return arms
