"""Do objectives differ on chunks of CoNLL-2000 once the words are read with GloVe or MiniLM?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``conll2000/{train,test}.txt.gz``, and with the packages of
``pretrained_tagging``::

    structpred compare structpred.experiments.pretrained_chunking

The arms, inputs, numbers and network of ``pretrained_tagging``, which dev chose there on Snips; as in ``chunking``, no
part-of-speech tags are read. Nothing was tuned on CoNLL-2000, so all arms are tuned alike. All train for eight epochs:
with four, as Snips suggests, likelihood with MiniLM had 93.5, 94.6, 94.9 and 95.2 on dev after each, which still rises,
and 94.5 on test in one run under seed 0. F1 is conlleval's.

Expected before any run: likelihood on the chain reaches 94.2 with GloVe and 95 with MiniLM, after 93.5 without
vectors; all other arms are within half a point of it. After the run of four epochs the same is expected of eight.

After the record, where likelihood has 93.4 with GloVe and 94.7 with MiniLM, one run with each under seed 100 read them
in the network of ``chunking``, with its settings and an average of the weights: 94.6 on dev with GloVe after twelve
epochs, as without vectors there, and 95.8 with MiniLM, 0.1 above the mean of the record. Neither promises what was
expected.
"""

from structpred.comparison.panels import Panel
from structpred.experiments.pretrained_tagging import INPUTS, panel
from structpred.tasks import Conll2000


def panels() -> dict[str, Panel]:
    """A comparison for each kind of input, by name."""
    return {name: panel(Conll2000(), inputs, epochs=8) for name, inputs in INPUTS.items()}
