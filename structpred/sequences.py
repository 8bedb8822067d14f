"""Label sequences as tensors: padded labels with lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.protocols import Checkable


@dataclass(frozen=True)
class Sequences:
    """Label sequences, padded: ``[batch, time]``, or ``[batch, candidates, time]`` for several per example.

    Labels are 0..V-1 with nothing special among them: no padding, start, end or unknown symbol. Cells at and
    beyond a sequence's length hold 0 and mean nothing.

    Attributes:
        labels: label ids, ``[..., time]``.
        lengths: number of labels of each sequence, ``[...]``.
        ended: False where a draw was cut at a length limit before its end came, ``[...]``; None means that all
            ended. A cut sequence stands for all strings that begin with it.
        total: the sum of ``lengths``, where it is known without asking the device for it.
        weights: the weight of each candidate in an expectation, ``[batch, candidates]``; those of an example sum to
            one. None weighs all alike.
        examples: of references, the index of the example that each is of, ``[batch]`` and in main memory, where a
            reward asks for it; see `structpred.rewards.Context`.
    """

    labels: Int[Tensor, "*batch time"]
    lengths: Int[Tensor, "*batch"]
    ended: Bool[Tensor, "*batch"] | None = None
    total: int | None = None
    weights: Float[Tensor, "*batch"] | None = None
    examples: Int[Tensor, " n"] | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Sequences":
        """``[batch, time]`` from lists of ids.

        >>> Sequences.of([[3, 1], [2]]).labels.tolist()
        [[3, 1], [2, 0]]
        """
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        longest = max((len(row) for row in rows), default=0)
        labels = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            labels[i, : len(row)] = torch.tensor(list(row), dtype=torch.long)
        return cls(labels, lengths)

    def tolist(self) -> list[list[int]]:
        """The sequences of ``[batch, time]`` as lists of ids."""
        assert self.lengths.ndim == 1, "flatten() candidates first"
        rows = zip(self.labels.tolist(), self.lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]

    @classmethod
    def from_tensors(
        cls,
        labels: Tensor,
        lengths: Tensor,
        total: int | None = None,
        weights: Tensor | None = None,
        examples: Tensor | None = None,
    ) -> "Sequences":
        """What `tensors` took apart."""
        return cls(labels, lengths, total=total, weights=weights, examples=examples)

    def tensors(self) -> tuple[Tensor, ...]:
        """Labels and lengths, for where only tensors may pass."""
        return self.labels, self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.labels.device

    def mask(self) -> Bool[Tensor, "*batch time"]:
        """True at real labels."""
        time = torch.arange(self.labels.shape[-1], device=self.device)
        return time < self.lengths.unsqueeze(-1)

    def candidates(self) -> "Sequences":
        """``[batch, time]`` as ``[batch, 1, time]``: one candidate per example."""
        ended = None if self.ended is None else self.ended.unsqueeze(1)
        labels, lengths = self.labels.unsqueeze(1), self.lengths.unsqueeze(1)
        return Sequences(labels, lengths, ended, self.total, examples=self.examples)

    def flatten(self) -> "Sequences":
        """``[batch, candidates, time]`` as ``[batch * candidates, time]``."""
        ended = None if self.ended is None else self.ended.flatten()
        return Sequences(self.labels.flatten(0, -2), self.lengths.flatten(), ended, self.total)

    def select(self, rows: Tensor | slice) -> "Sequences":
        """The examples at the given indices along batch."""
        ended = None if self.ended is None else self.ended[rows]
        weights = None if self.weights is None else self.weights[rows]
        examples = None if self.examples is None else self.examples[rows.cpu() if isinstance(rows, Tensor) else rows]
        return Sequences(self.labels[rows], self.lengths[rows], ended, weights=weights, examples=examples)

    def to(self, device: torch.device | str) -> "Sequences":
        """The same sequences on another device."""
        ended = None if self.ended is None else self.ended.to(device)
        weights = None if self.weights is None else self.weights.to(device)
        return Sequences(self.labels.to(device), self.lengths.to(device), ended, self.total, weights, self.examples)


@runtime_checkable
class Inputs(Checkable, Protocol):
    """One batch of a model's inputs: `Sequences` of symbols, or something richer that has lengths too."""

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Positions of each input."""

    def tensors(self) -> tuple[Tensor, ...]:
        """All of it as tensors; the class puts them together again by ``from_tensors``."""

    def to(self, device: torch.device | str) -> "Inputs":
        """The same inputs on another device."""


@runtime_checkable
class FlatInputs(Checkable, Protocol):
    """Many inputs, of which a batch is gathered by index.

    Attributes:
        padded: the class of a batch.
    """

    padded: ClassVar[type]

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """Positions of each input."""

    def __len__(self) -> int: ...

    def gather(self, rows: Int[Tensor, " batch"]) -> Inputs:
        """The given inputs, padded to the longest of them; the rows are in main memory or where the inputs are."""

    def to(self, device: torch.device | str) -> "FlatInputs":
        """The same inputs on another device."""


@dataclass(frozen=True)
class FlatSequences:
    """Many sequences end to end in one tensor; a batch of them is gathered by index, on any device.

    Attributes:
        labels: all labels, one sequence after another, ``[total]``.
        starts: where each sequence starts, ``[n]``.
        lengths: number of labels of each, ``[n]``.
        known: the lengths in main memory, where those are on a device, which then need not be waited for.
    """

    padded: ClassVar[type[Sequences]] = Sequences

    labels: Int[Tensor, " total"]
    starts: Int[Tensor, " n"]
    lengths: Int[Tensor, " n"]
    known: Int[Tensor, " n"] | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "FlatSequences":
        """From lists of ids."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        labels = torch.tensor([label for row in rows for label in row], dtype=torch.long)
        return cls(labels, lengths.cumsum(0) - lengths, lengths)

    @classmethod
    def packed(cls, padded: Sequences) -> "FlatSequences":
        """The sequences of ``[n, time]`` without their padding."""
        lengths = padded.lengths
        return cls(padded.labels[padded.mask()], lengths.cumsum(0) - lengths, lengths)

    @classmethod
    def joined(cls, parts: Sequence["FlatSequences"]) -> "FlatSequences":
        """All sequences of several, in order."""
        lengths = torch.cat([part.lengths for part in parts])
        return cls(torch.cat([part.labels for part in parts]), lengths.cumsum(0) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, rows: Int[Tensor, " batch"]) -> Sequences:
        """The given sequences, padded to the longest of them; rows in main memory spare waiting for the device."""
        known = self.lengths if self.known is None else self.known
        wanted = known[rows.to(known.device)]
        longest, total = (int(wanted.max()), int(wanted.sum())) if len(rows) else (0, 0)
        rows = rows.to(self.labels.device, non_blocking=True)
        lengths, time = self.lengths[rows], torch.arange(longest, device=self.labels.device)
        inside = time < lengths.unsqueeze(1)
        cells = torch.where(inside, self.starts[rows].unsqueeze(1) + time, 0)
        labels = self.labels[cells] if len(self.labels) else torch.zeros_like(cells)
        return Sequences(torch.where(inside, labels, 0), lengths, total=total)

    def to(self, device: torch.device | str) -> "FlatSequences":
        """The same sequences on another device."""
        known = self.lengths.cpu() if self.known is None else self.known
        return FlatSequences(self.labels.to(device), self.starts.to(device), self.lengths.to(device), known)
