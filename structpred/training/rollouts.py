"""What several updates on one batch share: what the first one kept for the others, and its dropout."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from structpred.errors import ConfigError


@dataclass(frozen=True)
class Noise:
    """The state of torch's global random stream, from which dropout is drawn.

    Attributes:
        device: the device that trains.
        cpu: the state in main memory.
        cuda: that of the device, if it has its own.
    """

    device: torch.device
    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> "Noise":
        """The present state."""
        return cls(device, torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same numbers again within the block; after it the stream goes on where it was before."""
        with torch.random.fork_rng(devices=[] if self.cuda is None else [self.device]):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda, self.device)
            yield


@dataclass(frozen=True)
class Rollout:
    """What the first update on a batch leaves to those that follow on this process's share of it.

    Attributes:
        kept: the objective's `Losses.kept`, a row for each example.
        pieces: in how many the batch was processed. As many get the same dropout again.
        noise: the random state before it.
    """

    kept: dict[str, Tensor]
    pieces: int
    noise: Noise

    @classmethod
    def of(cls, kept: Sequence[dict[str, Tensor]], noise: Noise) -> "Rollout":
        """From what was kept of each piece, padded with zeros to the largest.

        Raises:
            ConfigError: other names were kept of one piece than of another, or tensors with other numbers of axes.
        """
        forms = [{name: values.ndim for name, values in piece.items()} for piece in kept]
        for form in forms[1:]:
            if form != forms[0]:
                raise ConfigError(
                    "Losses.kept must have the same names and numbers of axes for every piece of a batch, but has "
                    f"{forms[0]} and {form}; return the same for any number of examples"
                )
        names = kept[0] if kept else {}
        return cls({name: _joined([piece[name] for piece in kept]) for name in names}, max(len(kept), 1), noise)

    def split(self, pieces: int) -> list[dict[str, Tensor]]:
        """The rows of each piece, if the batch is divided among so many."""
        parts = {name: values.tensor_split(pieces) for name, values in self.kept.items()} if pieces else {}
        return [{name: values[i] for name, values in parts.items()} for i in range(pieces)]


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    largest = [max(sizes) for sizes in zip(*(piece.shape[1:] for piece in pieces), strict=True)]
    return torch.cat([_padded(piece, largest) for piece in pieces])


def _padded(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Zeros behind each axis but the first."""
    missing = [size - have for size, have in zip(sizes, values.shape[1:], strict=True)]
    return pad(values, [number for axis in reversed(missing) for number in (0, axis)]) if any(missing) else values
