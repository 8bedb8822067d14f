"""Taggers small enough to list every output."""

import torch
from torch import nn

from structpred.models import CRF, LSTMTagger
from structpred.models.taggers import Tagger
from structpred.task import Sizes
from tests.support.tiny import double_precision

TAGGERS: tuple[type[Tagger], ...] = (LSTMTagger, CRF)


def tiny_tagger(
    kind: type[Tagger], labels: int = 2, *, seed: int = 4, sharpness: float = 3.0, **fields: object
) -> nn.Module:
    """A network in float64 for three input symbols of two characters.

    Its weights are scaled up, so that its probabilities are far from uniform.
    """
    torch.manual_seed(seed)
    settings = {"embedding": 3, "hidden": 4, "dropout": 0.0} | fields
    with double_precision():
        sizes = Sizes(num_inputs=3, num_labels=labels, label_counts=(1,) * labels, references=1, characters=2)
        module = kind(**settings).build(sizes)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(sharpness)
    return module
