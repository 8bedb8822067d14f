"""Several input encoders side by side, such as features of a pretrained model beside a spelling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.errors import ConfigError
from structpred.models.base import Featurizer, built, read_by
from structpred.registry import inputs
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies


@inputs.register("beside")
@dataclass(frozen=True, kw_only=True)
class Beside(Featurizer):
    """Every part reads the same words, and their vectors are concatenated at every position.

    Attributes:
        parts: the encoders; the model asks each for the size that it would like of one alone.
    """

    open_vocabulary: ClassVar[bool] = True

    parts: tuple[Featurizer, ...]

    def check(self) -> None:
        """Refuse parts that cannot read the same input, or whose own vocabulary would be ignored."""
        if not self.parts:
            raise ConfigError("Beside.parts must hold at least one input encoder, but it is empty")
        for part in self.parts:
            if part.recorded:
                raise ConfigError(
                    f"Beside.parts must read symbols, but {type(part).__name__} reads recordings; use it alone"
                )
            if part.min_count != 1:
                raise ConfigError(
                    f"Beside.parts share one vocabulary, but {type(part).__name__} has min_count {part.min_count}; set "
                    "Beside.min_count instead"
                )

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """What every part reads."""
        read = [read_by(part, sources, vocabularies) for part in self.parts]
        for part, each in zip(self.parts, read, strict=True):
            if not torch.equal(each.lengths, read[0].lengths):
                raise ConfigError(
                    f"Beside.parts must read the same positions, but {type(self.parts[0]).__name__} and "
                    f"{type(part).__name__} read inputs of other lengths; use one of them alone"
                )
        return FlatSequences.beside(read)

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The networks of all parts."""
        return Concatenated([built(part, sizes, features) for part in self.parts])


class Concatenated(nn.Module):
    """The network of `Beside`.

    Args:
        readers: the network of each part, in order.
    """

    def __init__(self, readers: Sequence[Any]) -> None:
        super().__init__()
        self.readers = nn.ModuleList(readers)
        self.size = sum(int(reader.size) for reader in readers)

    def forward(self, inputs: Sequences) -> Float[Tensor, "batch time size"]:
        """The vectors of all parts at every position."""
        return torch.cat([reader(part) for reader, part in zip(self.readers, inputs.parts, strict=True)], -1)
