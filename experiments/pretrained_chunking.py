"""Do objectives differ on chunks of CoNLL-2000 once the words are read with GloVe or MiniLM?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``conll2000/{train,test}.txt.gz``, and with the packages of
``pretrained_tagging``::

    structpred compare structpred.experiments.pretrained_chunking

The arms, inputs and numbers of ``pretrained_tagging``, which dev chose there on Snips, with a larger network; as in
``chunking``, no part-of-speech tags are read. Nothing was tuned on CoNLL-2000, so all arms are tuned alike. F1 is
conlleval's.

Expected before any run: likelihood on the chain reaches 94.2 with GloVe and 95 with MiniLM, after 93.5 without
vectors; all other arms are within half a point of it.
"""

from structpred.comparison.panels import Panel
from structpred.experiments.pretrained_tagging import INPUTS, panel
from structpred.tasks import Conll2000


def panels() -> dict[str, Panel]:
    """A comparison for each kind of input, by name."""
    return {name: panel(Conll2000(), inputs, hidden=300, epochs=8) for name, inputs in INPUTS.items()}
