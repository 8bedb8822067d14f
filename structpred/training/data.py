"""A task's examples as flat tensors, ready to be gathered into batches."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from structpred.errors import DataError
from structpred.sequences import FlatSequences
from structpred.task import Example, Sizes, Splits
from structpred.vocabulary import Symbols, Vocabulary


class UnknownSymbolWarning(UserWarning):
    """Held-out inputs hold symbols that training never saw."""


@dataclass(frozen=True)
class Vocabularies:
    """The two sides of a task, from its training examples."""

    inputs: Vocabulary
    labels: Vocabulary

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Vocabularies":
        """Every symbol that occurs in training."""
        sources = Vocabulary.of(example.source for example in examples)
        references = Vocabulary.of(reference for example in examples for reference in example.references)
        return cls(sources, references)

    def encode_inputs(self, sources: Sequence[Symbols]) -> FlatSequences:
        """Input ids; a symbol unknown from training becomes id ``len(inputs)``."""
        return FlatSequences.of([self.inputs.encode(source, unknown=len(self.inputs)) for source in sources])

    @classmethod
    def of_symbols(cls, inputs: Sequence[str], labels: Sequence[str]) -> "Vocabularies":
        """From saved symbol lists."""
        return cls(Vocabulary(tuple(inputs)), Vocabulary(tuple(labels)))


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

    inputs: FlatSequences
    references: FlatSequences
    first: Int[Tensor, " n"]
    variants: Int[Tensor, " n"]
    sizes: Sizes

    @classmethod
    def of(cls, examples: Sequence[Example], vocabularies: Vocabularies) -> "TrainingData":
        """Encode the training examples.

        Raises:
            DataError: there are none.
        """
        if not examples:
            raise DataError("expected training examples, but the task has none; check its files and its size")
        variants = torch.tensor([len(example.references) for example in examples])
        encode = vocabularies.labels.encode
        references = FlatSequences.of([encode(each) for example in examples for each in example.references])
        labels = len(vocabularies.labels)
        counts = torch.bincount(references.labels, minlength=labels).tolist()
        sizes = Sizes(len(vocabularies.inputs), labels, tuple(counts), len(references))
        inputs = vocabularies.encode_inputs([example.source for example in examples])
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


def warn_of_unknown(splits: Splits, vocabularies: Vocabularies) -> None:
    """One warning for all held-out inputs with symbols that training never saw; the first is named."""
    strange = list(_unknown(splits, vocabularies))
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
        if symbols := vocabularies.inputs.unknown(example.source):
            yield example, symbols
