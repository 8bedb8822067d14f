"""Inputs that are a vector of numbers at every position, such as the pixels of a letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.sequences import FlatSequences, Sequences


@dataclass(frozen=True)
class Frames:
    """Sequences of vectors, padded by zeros.

    Attributes:
        values: the vectors, ``[batch, time, features]``.
        lengths: vectors of each sequence, ``[batch]``.
    """

    values: Float[Tensor, "batch time features"]
    lengths: Int[Tensor, " batch"]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.values.device

    def __len__(self) -> int:
        return len(self.lengths)

    def mask(self) -> Bool[Tensor, "batch time"]:
        """True at real vectors."""
        return torch.arange(self.values.shape[1], device=self.device) < self.lengths.unsqueeze(1)

    @classmethod
    def from_tensors(cls, values: Tensor, lengths: Tensor) -> "Frames":
        """What `tensors` took apart."""
        return cls(values, lengths)

    def tensors(self) -> tuple[Tensor, ...]:
        """Vectors and lengths, for where only tensors may pass."""
        return self.values, self.lengths

    def to(self, device: torch.device | str) -> "Frames":
        """The same sequences on another device."""
        return Frames(self.values.to(device), self.lengths.to(device))


@dataclass(frozen=True)
class FlatFrames:
    """Many sequences end to end; a batch of them is gathered by index, on any device.

    Attributes:
        kinds: for each position the row of ``values`` that stands there.
        values: the distinct vectors, ``[kinds, features]``.
    """

    padded: ClassVar[type[Frames]] = Frames

    kinds: FlatSequences
    values: Float[Tensor, "kinds features"]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], values: Float[Tensor, "kinds features"]) -> "FlatFrames":
        """From rows of indices into ``values``."""
        return cls(FlatSequences.of(rows), values)

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """Vectors of each sequence."""
        return self.kinds.lengths

    def __len__(self) -> int:
        return len(self.kinds)

    def gather(self, rows: Int[Tensor, " batch"]) -> Frames:
        """The given sequences, padded to the longest of them."""
        kinds: Sequences = self.kinds.gather(rows)
        values = torch.where(kinds.mask().unsqueeze(-1), self.values[kinds.labels], 0.0)
        return Frames(values, kinds.lengths)

    def to(self, device: torch.device | str) -> "FlatFrames":
        """The same sequences on another device."""
        return FlatFrames(self.kinds.to(device), self.values.to(device))
