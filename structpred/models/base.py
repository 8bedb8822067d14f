"""What a model is."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from structpred.config import Config
from structpred.distributions.protocols import Distribution
from structpred.models.inputs import Featurizer, SymbolEmbedding
from structpred.registry import models
from structpred.task import Sizes


@dataclass(frozen=True, kw_only=True)
class Model(Config):
    """The specification of a network; the network itself is made by `build`.

    One's own ``nn.Module`` becomes a model by a subclass whose ``build`` returns it. Its ``forward`` takes the inputs
    as `encoder` reads them, by default a `Sequences` ``[batch, time]`` in which id ``sizes.num_inputs`` stands for a
    symbol unknown from training, and returns a distribution.

    Attributes:
        distribution: the class of that distribution; objectives are checked against its verbs.
    """

    family = models
    distribution: ClassVar[type[Distribution]]

    def encoder(self) -> Featurizer:
        """How inputs are read: as symbols, unless the model says otherwise."""
        return SymbolEmbedding()

    @abstractmethod
    def build(self, sizes: Sizes) -> nn.Module:
        """A freshly initialised network, from torch's global random state."""
