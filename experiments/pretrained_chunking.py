"""Do objectives differ on chunks of CoNLL-2000 once the words are read with GloVe or MiniLM?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``conll2000/{train,test}.txt.gz``, and with the packages of
``pretrained_tagging``::

    structpred compare structpred.experiments.pretrained_chunking

The arms, inputs, numbers and network of ``pretrained_tagging``, which dev chose there on Snips; as in ``chunking``, no
part-of-speech tags are read. Nothing was tuned on CoNLL-2000, so all arms are tuned alike. With GloVe alone all arms
train for eight epochs; with MiniLM for four, because on Snips F1 on dev hardly rose after the third, and these data are
more than half as many again. F1 is conlleval's.

Expected before any run: likelihood on the chain reaches 94.2 with GloVe and 95 with MiniLM, after 93.5 without
vectors; all other arms are within half a point of it.
"""

from structpred.comparison.panels import Panel
from structpred.experiments.pretrained_tagging import INPUTS, panel
from structpred.tasks import Conll2000


def panels() -> dict[str, Panel]:
    """A comparison for each kind of input, by name."""
    epochs = {"GloVe": 8, "MiniLM": 4}
    return {name: panel(Conll2000(), inputs, epochs=epochs[name]) for name, inputs in INPUTS.items()}
