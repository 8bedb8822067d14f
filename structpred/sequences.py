"""Sequences as tensors: padded with lengths, or end to end; and the sources that they are read from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.errors import ConfigError, DataError
from structpred.vocabulary import Symbols, Vocabularies

Content = str
"""What stands at the positions of a model's inputs: ``"symbols"`` (ids alone), ``"words"`` (ids with spellings),
``"vectors"`` (numbers), with a mark behind where they have an origin, or several of these: ``"words and vectors"``."""


@dataclass(frozen=True)
class Sequences:
    """Label sequences, padded: ``[batch, time]``, or ``[batch, candidates, time]`` for several per example.

    Labels are 0..V-1 with nothing special among them: no padding, start, end or unknown symbol. Cells at and
    beyond a sequence's length hold 0 and mean nothing.

    A model's inputs are the same ``[batch, time]``, with input symbols for labels. Words are spelt as well, and where
    inputs were measured, a vector stands at every position.

    Attributes:
        labels: label ids, ``[..., time]``.
        lengths: number of labels of each sequence, ``[...]``.
        ended: False where a draw was cut at a length limit before its end came, ``[...]``; None means that all
            ended. A cut sequence stands for all strings that begin with it.
        total: the sum of ``lengths``, where it is known without asking the device for it.
        weights: the weight of each candidate in an expectation, ``[batch, candidates]``; they sum to one
            for each example. None weighs all alike.
        examples: of references, the index of the example that each is of, ``[batch]`` and in main memory, where a
            reward asks for it; see `structpred.rewards.Context`.
        vectors: of inputs that were measured, the numbers at each position, ``[batch, time, features]``; zeros in the
            padding. Labels then mean nothing.
        spellings: of inputs that are words, the character ids of each distinct word of the batch,
            ``[distinct, characters]``; a character unknown from training has the id after the last.
        rows: which of ``spellings`` is that of each word, ``[batch, time]``.
        origin: tells inputs of equal form apart, such as pieces of words by one tokenizer and by another; 0 for the
            usual ones.
        parts: of inputs that are read in several ways, what each way reads at the same positions.
    """

    labels: Int[Tensor, "*batch time"]
    lengths: Int[Tensor, "*batch"]
    ended: Bool[Tensor, "*batch"] | None = None
    total: int | None = None
    weights: Float[Tensor, "*batch"] | None = None
    examples: Int[Tensor, " n"] | None = None
    vectors: Float[Tensor, "batch time features"] | None = None
    spellings: "Sequences | None" = None
    rows: Int[Tensor, "batch time"] | None = None
    origin: int = 0
    parts: "tuple[Sequences, ...]" = ()

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Sequences":
        """``[batch, time]`` from lists of ids.

        Examples:
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
        vectors: Tensor | None = None,
        rows: Tensor | None = None,
        characters: Tensor | None = None,
        spelt: Tensor | None = None,
        origin: int = 0,
        *parts: tuple[Any, ...],
    ) -> "Sequences":
        """What `tensors` took apart."""
        spellings = None if characters is None or spelt is None else cls(characters, spelt)
        together = tuple(cls.from_tensors(*part) for part in parts)
        return cls(labels, lengths, None, total, weights, examples, vectors, spellings, rows, origin, together)

    def tensors(self) -> tuple[Any, ...]:
        """All of it but ``ended``, for where only tensors, numbers, None and tuples of these may pass."""
        spelt = (None, None) if self.spellings is None else (self.spellings.labels, self.spellings.lengths)
        own = self.labels, self.lengths, self.total, self.weights, self.examples, self.vectors, self.rows
        return *own, *spelt, self.origin, *(part.tensors() for part in self.parts)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.labels.device

    @property
    def content(self) -> Content:
        """What a model reads at each position."""
        kind = "words" if self.spellings is not None else "symbols" if self.vectors is None else "vectors"
        return _content(kind, self.origin, self.parts)

    def mask(self) -> Bool[Tensor, "*batch time"]:
        """True at real labels."""
        time = torch.arange(self.labels.shape[-1], device=self.device)
        return time < self.lengths.unsqueeze(-1)

    def readable(self, num_labels: int) -> "Sequences":
        """The same sequences, with 0 wherever the padding held anything else, such as the −100 of PyTorch's losses.

        Raises:
            ConfigError: a label is not among 0..``num_labels``−1; labels are looked at in main memory only.
        """
        if self.device.type == "cpu":
            if _among(self.labels, num_labels):
                return self
            if not _among(real := self.labels[self.mask()], num_labels):
                raise ConfigError(
                    f"expected labels from 0 to {num_labels - 1}, since there are {num_labels}, but got "
                    f"{int(real.min())} to {int(real.max())}; number them from 0"
                )
        return replace(self, labels=torch.where(self.mask(), self.labels, 0))

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
        ended, weights, vectors, spelt = (
            None if each is None else each[rows] for each in (self.ended, self.weights, self.vectors, self.rows)
        )
        examples = None if self.examples is None else self.examples[rows.cpu() if isinstance(rows, Tensor) else rows]
        labels, lengths = self.labels[rows], self.lengths[rows]
        parts = tuple(part.select(rows) for part in self.parts)
        own = ended, None, weights, examples, vectors, self.spellings, spelt
        return Sequences(labels, lengths, *own, self.origin, parts)

    def to(self, device: torch.device | str) -> "Sequences":
        """The same sequences on another device."""
        names = ("labels", "lengths", "ended", "weights", "vectors", "spellings", "rows")
        return replace(self, **_moved(self, names, device), parts=tuple(part.to(device) for part in self.parts))


@dataclass(frozen=True)
class FlatSequences:
    """Many sequences end to end in one tensor; a batch of them is gathered by index, on any device.

    Attributes:
        labels: all labels, one sequence after another, ``[total]``.
        starts: where each sequence starts, ``[n]``.
        lengths: number of labels of each, ``[n]``.
        known: the lengths in main memory where ``lengths`` is on a device, so that gathering need not synchronise.
        table: of inputs that were measured, the distinct vectors, ``[distinct, features]``; of words, the spelling of
            each distinct one; None where labels say everything.
        rows: for each position the row of ``table`` that stands there, ``[total]``; None where labels are these rows.
        origin: tells inputs of equal form apart, as in `Sequences`.
        parts: of inputs that are read in several ways, what each way reads at the same positions.
    """

    labels: Int[Tensor, " total"]
    starts: Int[Tensor, " n"]
    lengths: Int[Tensor, " n"]
    known: Int[Tensor, " n"] | None = None
    table: "Float[Tensor, 'distinct features'] | FlatSequences | None" = None
    rows: Int[Tensor, " total"] | None = None
    origin: int = 0
    parts: "tuple[FlatSequences, ...]" = ()

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[int]], table: "Float[Tensor, 'distinct features'] | None" = None
    ) -> "FlatSequences":
        """From lists of ids, or of rows of a table of vectors."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        labels = torch.tensor([label for row in rows for label in row], dtype=torch.long)
        return cls(labels, lengths.cumsum(0) - lengths, lengths, table=table)

    @classmethod
    def of_words(cls, sentences: Sequence[Symbols], vocabularies: Vocabularies) -> "FlatSequences":
        """From words as text; one unknown from training has the id after the last and keeps its spelling."""
        words, characters = vocabularies.inputs, vocabularies.characters
        place = {word: i for i, word in enumerate(dict.fromkeys(word for sentence in sentences for word in sentence))}
        return replace(
            cls.of([words.encode(sentence, unknown=len(words)) for sentence in sentences]),
            table=cls.of([characters.encode(tuple(word), unknown=len(characters)) for word in place]),
            rows=torch.tensor([place[word] for sentence in sentences for word in sentence], dtype=torch.long),
        )

    @classmethod
    def beside(cls, parts: Sequence["FlatSequences"]) -> "FlatSequences":
        """The same sequences as read in several ways; labels are those of the first."""
        first = parts[0]
        return cls(first.labels, first.starts, first.lengths, parts=tuple(parts))

    @classmethod
    def packed(cls, padded: Sequences) -> "FlatSequences":
        """The labels of ``[n, time]`` without their padding."""
        lengths = padded.lengths
        return cls(padded.labels[padded.mask()], lengths.cumsum(0) - lengths, lengths)

    @classmethod
    def joined(cls, parts: Sequence["FlatSequences"]) -> "FlatSequences":
        """All label sequences of several, in order."""
        lengths = torch.cat([part.lengths for part in parts])
        return cls(torch.cat([part.labels for part in parts]), lengths.cumsum(0) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def content(self) -> Content:
        """What a model reads at each position."""
        kind = "symbols" if self.table is None else "vectors" if isinstance(self.table, Tensor) else "words"
        return _content(kind, self.origin, self.parts)

    def gather(self, rows: Int[Tensor, " batch"]) -> Sequences:
        """The given sequences, padded to the longest of them; rows in main memory spare waiting for the device.

        Of words only the spellings of those that occur in the batch are gathered, so that each is read once.
        """
        known = self.lengths if self.known is None else self.known
        wanted = known[rows.to(known.device)]
        longest, total = (int(wanted.max()), int(wanted.sum())) if len(rows) else (0, 0)
        parts = tuple(part.gather(rows) for part in self.parts)
        rows = rows.to(self.labels.device, non_blocking=True)
        lengths, time = self.lengths[rows], torch.arange(longest, device=self.labels.device)
        inside = time < lengths.unsqueeze(1)
        cells = torch.where(inside, self.starts[rows].unsqueeze(1) + time, 0)
        labels = self.labels[cells] if len(self.labels) else torch.zeros_like(cells)
        batch = Sequences(torch.where(inside, labels, 0), lengths, total=total, origin=self.origin, parts=parts)
        if isinstance(self.table, Tensor):
            vectors = self.table.index_select(0, batch.labels.flatten()).view(*cells.shape, self.table.shape[1])
            return replace(batch, vectors=vectors.masked_fill_(~inside.unsqueeze(-1), 0.0))
        return batch if self.table is None else self._spelt(self.table, cells, batch)

    def _spelt(self, table: "FlatSequences", cells: Int[Tensor, "batch time"], batch: Sequences) -> Sequences:
        """A batch of words with the spellings of those that occur in it, whose number a device is asked for."""
        assert self.rows is not None
        inside = batch.mask()
        present, rows = torch.unique(self.rows[cells[inside]], return_inverse=True)
        spread = torch.zeros_like(batch.labels).masked_scatter(inside, rows)
        return replace(batch, spellings=table.gather(present), rows=spread)

    def to(self, device: torch.device | str) -> "FlatSequences":
        """The same sequences on another device."""
        known = self.lengths.cpu() if self.known is None else self.known
        moved = _moved(self, ("labels", "starts", "lengths", "table", "rows"), device)
        return replace(self, **moved, known=known, parts=tuple(part.to(device) for part in self.parts))


def _among(labels: Tensor, num_labels: int) -> bool:
    """Whether all labels, if any, are among 0..``num_labels``−1."""
    if not labels.numel():
        return True
    least, most = labels.aminmax()
    return int(least) >= 0 and int(most) < num_labels


def _content(kind: Content, origin: int, parts: Sequence[Sequences | FlatSequences]) -> Content:
    if parts:
        return " and ".join(part.content for part in parts)
    return f"{kind} of {origin:08x}" if origin else kind


def _moved(sequences: Sequences | FlatSequences, names: Sequence[str], device: torch.device | str) -> dict[str, Any]:
    """The fields that are set, moved to another device."""
    values = {name: getattr(sequences, name) for name in names}
    return {name: value.to(device) for name, value in values.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Recording:
    """A measured source: frames of numbers, such as the spectrum of an utterance every ten milliseconds.

    Two recordings are equal where their frames are; names do not count.

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


Source = Symbols | Recording
"""What an output is predicted from."""


def spelt(source: Source) -> Symbols:
    """A source as symbols, for tables and messages; a recording is its name.

    Examples:
        >>> spelt(("a", "b")), spelt(Recording("utterance 1", np.zeros((2, 3))))
        (('a', 'b'), ('utterance 1',))
    """
    return (source.name,) if isinstance(source, Recording) else source


def fingerprint(source: Source) -> Symbols | str:
    """A source for a digest of data: its symbols, or the digest of a recording."""
    return source.digest if isinstance(source, Recording) else source
