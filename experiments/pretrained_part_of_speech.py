"""Do objectives differ on part-of-speech tags of English web text once MiniLM reads the words?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``ud_english_ewt/*.conllu``, or let it be downloaded, and with
the packages of ``pretrained_tagging``::

    structpred compare structpred.experiments.pretrained_part_of_speech

The arms, numbers and network of ``pretrained_tagging``, which dev chose there on Snips; nothing was tuned on this
treebank, so all arms are tuned alike. They train for four epochs, because these data are more than half as many again.

Expected before any run: likelihood on the chain reaches 96, after the 94.80 of ``part_of_speech``, whose tagger has no
vectors from elsewhere; all other arms are within half a point of it. The first run, likelihood on the chain under seed
0, had 96.4 on test, and 95.7, 96.2, 96.3 and 96.3 on dev after each epoch.
"""

from structpred.comparison.panels import Panel
from structpred.experiments.pretrained_tagging import INPUTS, panel
from structpred.tasks import EnglishWebTreebank


def panels() -> dict[str, Panel]:
    """One comparison."""
    return {"MiniLM": panel(EnglishWebTreebank(), INPUTS["MiniLM"], epochs=4)}
