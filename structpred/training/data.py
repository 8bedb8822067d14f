"""A task's examples as flat tensors, ready to be gathered into batches."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from structpred.config import digest
from structpred.errors import DataError
from structpred.models.base import Model
from structpred.models.inputs import InputEncoder
from structpred.recordings import Recording, Source, spelt
from structpred.sequences import FlatInputs, FlatSequences
from structpred.task import Example, Sizes, Splits
from structpred.vocabulary import Symbols, Vocabularies


class UnknownSymbolWarning(UserWarning):
    """Held-out inputs hold symbols that training never saw."""


@dataclass(frozen=True)
class Codec:
    """From symbols to tensors and back.

    Attributes:
        vocabularies: the symbols of both sides.
        encoder: how a model reads its inputs.
    """

    vocabularies: Vocabularies
    encoder: InputEncoder

    @classmethod
    def of(cls, examples: Sequence[Example], encoder: InputEncoder) -> "Codec":
        """Every label that occurs in the training examples, and every input symbol that the encoder wants to know."""
        sources = _fitting([example.source for example in examples], encoder)
        references = (reference for example in examples for reference in example.references)
        known = sources if encoder.symbolic else []
        return cls(Vocabularies.of(known, references, min_count=encoder.min_count), encoder)

    def read(self, sources: Sequence[Source]) -> FlatInputs:
        """Sources as a model's inputs.

        Raises:
            DataError: they are not what the encoder reads.
        """
        return self.encoder.read(_fitting(sources, self.encoder), self.vocabularies)

    def write(self, labels: Sequence[int]) -> Symbols:
        """The symbols of an output."""
        return self.vocabularies.labels.decode(labels)


def _fitting(sources: Sequence[Source], encoder: InputEncoder) -> Sequence[Any]:
    """The same sources, once it is sure that the encoder reads their kind."""
    for source in sources:
        if isinstance(source, Recording) != encoder.recorded:
            symbols, recording = ("symbols", "'symbols' or 'words'"), ("a recording", "'frames'")
            expected, (found, advice) = (recording[0], symbols) if encoder.recorded else (symbols[0], recording)
            raise DataError(
                f"the input {' '.join(spelt(source))[:40]!r} must be {expected} for a model whose inputs are "
                f"{type(encoder).__name__}, but it is {found}; give the model inputs such as {advice}"
            )
    return sources


@dataclass(frozen=True)
class TrainingData:
    """Encoded training examples.

    Attributes:
        inputs: one sequence an example.
        references: all references of all examples, in order.
        first: index of each example's first reference, ``[n]``.
        variants: number of references of each example, ``[n]``.
        sizes: what models and objectives must know.
    """

    inputs: FlatInputs
    references: FlatSequences
    first: Int[Tensor, " n"]
    variants: Int[Tensor, " n"]
    sizes: Sizes

    @classmethod
    def of(cls, examples: Sequence[Example], codec: Codec) -> "TrainingData":
        """Encode the training examples.

        Raises:
            DataError: there are none.
        """
        if not examples:
            raise DataError("expected training examples, but the task has none; check its files and its size")
        variants = torch.tensor([len(example.references) for example in examples])
        encode = codec.vocabularies.labels.encode
        references = FlatSequences.of([encode(each) for example in examples for each in example.references])
        inputs = codec.read([example.source for example in examples])
        sizes = sizes_of(codec.vocabularies, references)
        return cls(inputs, references, variants.cumsum(0) - variants, variants, sizes)

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "TrainingData":
        """The same data on another device."""
        return TrainingData(
            self.inputs.to(device),
            self.references.to(device),
            self.first.to(device),
            self.variants.to(device),
            self.sizes,
        )

    @cached_property
    def longest(self) -> Int[Tensor, " n"]:
        """Labels of each example's longest reference, plus one for the end: what an example costs at most."""
        owner = torch.repeat_interleave(torch.arange(len(self)), self.variants)
        return torch.zeros_like(self.first).scatter_reduce(0, owner, self.references.lengths, "amax") + 1


def sizes_of(vocabularies: Vocabularies, references: FlatSequences) -> Sizes:
    """What models and objectives must know of the training data."""
    labels = len(vocabularies.labels)
    sides = (vocabularies.inputs, vocabularies.labels, vocabularies.characters)
    return Sizes(
        inputs=len(vocabularies.inputs),
        labels=labels,
        label_counts=tuple(torch.bincount(references.labels, minlength=labels).tolist()),
        references=len(references),
        characters=len(vocabularies.characters),
        symbols=digest([list(side.symbols) for side in sides]),
        label_symbols=digest(list(vocabularies.labels.symbols)),
    )


@dataclass(frozen=True)
class Prepared:
    """A task's data, read and encoded for one kind of model."""

    splits: Splits
    codec: Codec
    training: TrainingData

    @classmethod
    def of(cls, splits: Splits, model: Model) -> "Prepared":
        """Build vocabularies from the training examples and encode them.

        Raises:
            DataError: there are no training examples, or the input should decide the length of the output and does not.
        """
        if model.distribution.fixed_length:
            _refuse_other_lengths(splits, model)
        codec = Codec.of(splits.train, model.encoder())
        return cls(splits, codec, TrainingData.of(splits.train, codec))


def _refuse_other_lengths(splits: Splits, model: Model) -> None:
    for example in (*splits.train, *splits.dev, *splits.test):
        for reference in example.references:
            if len(reference) != len(example.source):
                raise DataError(
                    f"{example.where}: {type(model).__name__} gives one label to every input symbol, but here "
                    f"{len(example.source)} symbols have {len(reference)} labels; use a model of free length such as "
                    "Seq2Seq, or a tagging task"
                )


def warn_of_unknown(splits: Splits, codec: Codec) -> None:
    """One warning for all held-out inputs with symbols that training never saw; the first is named.

    None where unknown symbols are nothing unusual.
    """
    strange = [] if codec.encoder.open_vocabulary else list(_unknown(splits, codec.vocabularies))
    if strange:
        example, symbols = strange[0]
        warnings.warn(
            f"{example.where}: the symbol {symbols[0]!r} never occurs in the training inputs and is read as unknown "
            f"({len(strange)} held-out inputs have such symbols)",
            UnknownSymbolWarning,
            stacklevel=2,
        )


def _unknown(splits: Splits, vocabularies: Vocabularies) -> Iterator[tuple[Example, Symbols]]:
    for example in (*splits.dev, *splits.test):
        if symbols := vocabularies.inputs.unknown(spelt(example.source)):
            yield example, symbols
