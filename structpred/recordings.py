"""Inputs that were measured, not written: a vector of numbers at every moment."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from structpred.errors import DataError
from structpred.vocabulary import Symbols


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames of numbers, such as the spectrum of an utterance every ten milliseconds.

    Two recordings are equal where their frames are, whatever their names.

    Attributes:
        name: what tables and messages call it; one line.
        frames: ``[time, features]``, single precision.

    Raises:
        DataError: a number is not finite.
    """

    name: str
    frames: Float[np.ndarray, "time features"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", np.ascontiguousarray(self.frames, np.float32))
        if not np.isfinite(self.frames).all():
            raise DataError(f"{self.name} must have finite numbers in every frame, but it has others; record it again")

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape and numbers, in hexadecimal."""
        shape = f"{self.frames.shape} <f4 ".encode()
        return hashlib.sha256(shape + self.frames.astype("<f4").tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recording) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


if TYPE_CHECKING:
    Source = Symbols | Any  # what reads or makes symbols, as most tasks do, need not ask which of the two it has
else:
    Source = Symbols | Recording
"""What an output is predicted from."""


def spelt(source: Source) -> Symbols:
    """A source as symbols, for tables and messages; a recording is its name.

    >>> spelt(("a", "b")), spelt(Recording("utterance 1", np.zeros((2, 3))))
    (('a', 'b'), ('utterance 1',))
    """
    return (source.name,) if isinstance(source, Recording) else source
