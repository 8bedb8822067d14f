"""What the runs in ``tests/data/runs_before_the_house`` are of: they were written at commit f27aadf.

Written there by ``compare`` of ``ARMS`` under two seeds and of each of ``OTHERS`` under one, and by ``tune`` of `rate`
on a grid of three points, into a journal and into SQLite (kept as SQL). ``interrupted.journal`` holds a study of five
trials, one of them finished, whose worker was killed within the second. Nothing here may change: a run that is no
longer found is a broken promise.
"""

from dataclasses import replace
from pathlib import Path

from structpred import Experiment, Trainer
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.tasks.synthetic import HiddenMarkov, SpellingVariants
from structpred.training import Adam
from structpred.tuning import Suggest

PLACE = Path(__file__).parents[1] / "data" / "runs_before_the_house"
TAGGING = Experiment(
    task=HiddenMarkov(size=60, held_out=12),
    model=CRF(embedding=4, hidden=8),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=0.03),
    trainer=Trainer(epochs=12, batch_tokens=40),
)
SPELLING = Experiment(
    task=SpellingVariants(size=60, held_out=12),
    model=Seq2Seq(embedding=4, hidden=8),
    objective=RML(),
    optimiser=Adam(lr=0.03),
    trainer=Trainer(epochs=12, batch_tokens=40),
)
ARMS = {"CRF": TAGGING}
"""Under two seeds."""
OTHERS = {"tagger": replace(TAGGING, model=LSTMTagger(embedding=4, hidden=8)), "seq2seq": SPELLING}
"""Under one, each by itself: they share no task."""


def rate(trial: Suggest) -> Experiment:
    """The space of the stored studies."""
    return replace(OTHERS["tagger"], optimiser=Adam(lr=trial.suggest_float("lr", 0.01, 0.09)))
