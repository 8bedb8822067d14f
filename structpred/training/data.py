"""A task's examples as flat tensors."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from structpred.config import components, digest
from structpred.errors import DataError
from structpred.models.base import Featurizer, Model, read_by
from structpred.sequences import FlatSequences, Recording, Source, spelt
from structpred.task import Example, Sizes, Splits
from structpred.vocabulary import Symbols, Vocabularies, Vocabulary


class UnknownSymbolWarning(UserWarning):
    """Held-out inputs contain symbols that do not occur in training."""


@dataclass(frozen=True)
class Tokenizer:
    """Maps symbols to tensors and back.

    Attributes:
        vocabularies: the symbols of inputs and outputs.
        encoder: how the model reads its inputs.
    """

    vocabularies: Vocabularies
    encoder: Featurizer

    @classmethod
    def of(cls, examples: Sequence[Example], encoder: Featurizer, labels: Vocabulary | None = None) -> "Tokenizer":
        """From all labels of the training examples, and the input symbols that the encoder asks for.

        Args:
            examples: for training.
            encoder: how the model reads its inputs.
            labels: what outputs are made of, where the model decides.

        Raises:
            DataError: a reference has another label.
        """
        sources = _fitting([example.source for example in examples], encoder)
        references = (reference for example in examples for reference in example.references)
        known = sources if encoder.symbolic else []
        found = Vocabularies.of(known, references, min_count=encoder.min_count)
        return cls(
            found if labels is None else replace(found, labels=_covering(labels, found.labels, examples)), encoder
        )

    def read(self, sources: Sequence[Source]) -> FlatSequences:
        """Encode sources as a model's inputs.

        Raises:
            DataError: the encoder reads another kind of source.
        """
        return read_by(self.encoder, _fitting(sources, self.encoder), self.vocabularies)

    def write(self, labels: Sequence[int]) -> Symbols:
        """Decode an output to symbols."""
        return self.vocabularies.labels.decode(labels)


def _covering(labels: Vocabulary, found: Vocabulary, examples: Sequence[Example]) -> Vocabulary:
    """The labels of a model, once it is sure that they cover those of the references."""
    if strange := set(labels.unknown(found.symbols)):
        where, label = next(
            (example.where, label)
            for example in examples
            for reference in example.references
            for label in reference
            if label in strange
        )
        raise DataError(
            f"{where}: {label!r} is none of the {len(labels)} labels that the model can output; if the task is "
            "'pretrained-pieces', its tokenizer has no other piece for part of this reference, or the model's "
            "generation config forbids it, so remove the example; else let that task cut its text into the pieces of "
            "the same model, or set PretrainedSeq2Seq.symbols to 'task'"
        )
    return labels


def _fitting(sources: Sequence[Source], encoder: Featurizer) -> Sequence[Any]:
    """Check that the encoder reads this kind of source, and return the sources."""
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
        inputs: one sequence per example.
        references: all references of all examples, in order.
        first: index of each example's first reference, ``[n]``.
        variants: number of references of each example, ``[n]``.
        sizes: sizes for models and objectives.
    """

    inputs: FlatSequences
    references: FlatSequences
    first: Int[Tensor, " n"]
    variants: Int[Tensor, " n"]
    sizes: Sizes

    @classmethod
    def of(cls, examples: Sequence[Example], codec: Tokenizer) -> "TrainingData":
        """Encode the training examples.

        Raises:
            DataError: there are no training examples.
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
        """Length of each example's longest reference plus one for the end: the maximum cost of the example."""
        owner = torch.repeat_interleave(torch.arange(len(self)), self.variants)
        return torch.zeros_like(self.first).scatter_reduce(0, owner, self.references.lengths, "amax") + 1


def sizes_of(vocabularies: Vocabularies, references: FlatSequences) -> Sizes:
    """Sizes of the training data, for models and objectives."""
    labels = len(vocabularies.labels)
    sides = (vocabularies.inputs, vocabularies.labels, vocabularies.characters)
    return Sizes(
        num_inputs=len(vocabularies.inputs),
        num_labels=labels,
        label_counts=tuple(torch.bincount(references.labels, minlength=labels).tolist()),
        references=len(references),
        characters=len(vocabularies.characters),
        symbols=digest([list(side.symbols) for side in sides]),
        label_symbols=digest(list(vocabularies.labels.symbols)),
        columns=tuple((len(column.inputs), len(column.characters)) for column in vocabularies.columns),
    )


@dataclass(frozen=True)
class EncodedData:
    """A task's data, read and encoded for a model."""

    splits: Splits
    codec: Tokenizer
    training: TrainingData

    @classmethod
    def of(cls, splits: Splits, model: Model) -> "EncodedData":
        """Build vocabularies from the training examples and encode them.

        Raises:
            DataError: there are no training examples, or an output differs in length from an input that fixes it.
        """
        if model.distribution.fixed_length:
            _refuse_other_lengths(splits, model)
        codec = Tokenizer.of(splits.train, model.encoder(), model.labels())
        if any(part.strict for part in components(codec.encoder) if isinstance(part, Featurizer)):
            _refuse_unreadable((*splits.train, *splits.dev, *splits.test), codec)
        training = TrainingData.of(splits.train, codec)
        if model.distribution.fixed_length:
            _refuse_other_positions(splits.train, training, model)
        return cls(splits, codec, training)


def _refuse_unreadable(examples: Sequence[Example], codec: Tokenizer) -> None:
    """Refuse examples that the encoder refuses, naming the place of the first."""
    try:
        codec.read([example.source for example in examples])
    except DataError:
        for example in examples:
            try:
                codec.read([example.source])
            except DataError as error:
                raise DataError(f"{example.where}: {error}") from None
        raise


def _refuse_other_lengths(splits: Splits, model: Model) -> None:
    for example in (*splits.train, *splits.dev, *splits.test):
        for reference in example.references:
            if len(reference) != len(example.source):
                raise DataError(
                    f"{example.where}: {type(model).__name__} predicts one label per input symbol, but here "
                    f"{len(example.source)} symbols have {len(reference)} labels; use a model of free length such as "
                    "Seq2Seq, or a tagging task"
                )


def _refuse_other_positions(examples: Sequence[Example], training: TrainingData, model: Model) -> None:
    """Refuse an encoder that reads more or fewer positions than there are labels."""
    labels = training.references.lengths[training.first]
    if torch.equal(training.inputs.lengths, labels):
        return
    first = int((training.inputs.lengths != labels).nonzero()[0])
    raise DataError(
        f"{examples[first].where}: {type(model).__name__} predicts one label per input position, but "
        f"{type(model.encoder()).__name__} reads {int(training.inputs.lengths[first])} positions where there are "
        f"{int(labels[first])} labels; let it read each symbol, or use a model of free length such as Seq2Seq"
    )


def warn_of_unknown(splits: Splits, codec: Tokenizer) -> None:
    """Warn once about held-out inputs with symbols that training never saw, naming the first.

    Models with an open vocabulary expect them, so there is no warning.
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
