"""Two steps of training of a tiny experiment, for tests of what is noticed in them."""

from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.training import Adam, Constant, Trainer
from structpred.training.data import EncodedData
from structpred.training.trainer import Training
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2, schedule=Constant()),
    trainer=Trainer(epochs=1, batch_tokens=40),
)
TAGGER, CHAIN = (model(embedding=8, hidden=8, dropout=0.0) for model in (LSTMTagger, CRF))


def one_step(experiment: Experiment) -> Training:
    run = Training(experiment, EncodedData.of(experiment.task.load(), experiment.model), device="cpu")
    for _ in range(2):  # at first a mixture asks no reward
        run._train(run._plan())
    return run
