"""A task's examples as ids in NumPy arrays, from which the rows of a batch are gathered."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from weakref import WeakValueDictionary

import numpy as np
from jaxtyping import Int

from structpred.errors import DataError
from structpred.sequences import Recording, spelt
from structpred.task import Example, Splits, Task, loaded
from structpred.vocabulary import Vocabularies, Vocabulary


@dataclass(frozen=True)
class Ragged:
    """Sequences of ids end to end in one array.

    Attributes:
        ids: all ids, one sequence after another, ``[total]``.
        starts: where each sequence starts, ``[n]``.
        lengths: ids of each, ``[n]``.
    """

    ids: Int[np.ndarray, " total"]
    starts: Int[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Ragged":
        """From lists of ids; one cell follows the last, so that an empty sequence has somewhere to point to."""
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = np.fromiter(chain(chain.from_iterable(rows), [0]), np.int64)
        return cls(ids, lengths.cumsum() - lengths, lengths)

    def gather(self, rows: Int[np.ndarray, "*batch"], width: int, padding: int) -> Int[np.ndarray, "*batch width"]:
        """The given sequences, padded to ``width``."""
        time = np.arange(width)
        inside = time < self.lengths[rows][..., None]
        cells = np.where(inside, self.starts[rows][..., None] + time, 0)
        padded: Int[np.ndarray, "*batch width"] = np.where(inside, self.ids[cells], padding)
        return padded


@dataclass(frozen=True)
class EncodedSplit:
    """The examples of one split.

    Attributes:
        examples: as the task gave them.
        sources: one sequence an example.
        references: all references of all examples, in order.
        first: index of each example's first reference, ``[n]``.
        variants: number of references of each example, ``[n]``.
        labels: the symbols of references; those that training does not know come last, and no action writes them.
    """

    examples: tuple[Example, ...]
    sources: Ragged
    references: Ragged
    first: Int[np.ndarray, " n"]
    variants: Int[np.ndarray, " n"]
    labels: Vocabulary

    def references_of(self, rows: Int[np.ndarray, " batch"], count: int) -> Int[np.ndarray, "batch count"]:
        """The indices of ``count`` references of each example; its first stands for those it does not have."""
        places = np.arange(count)
        own = np.where(places < self.variants[rows][:, None], places, 0)
        indices: Int[np.ndarray, "batch count"] = self.first[rows][:, None] + own
        return indices


@dataclass(frozen=True, eq=False)
class EncodedTask:
    """A task's data with the ids of its symbols; one object serves all environments of a task.

    Attributes:
        splits: the examples.
        vocabularies: the symbols of the training examples.
    """

    splits: Splits
    vocabularies: Vocabularies

    @classmethod
    def of(cls, task: Task) -> "EncodedTask":
        """Load a task, or take what another environment of it holds.

        Raises:
            DataError: the data cannot be read, have no training examples, no labels, or recordings for sources.
        """
        known = _LOADED.get(task)
        if known is None:
            known = _LOADED[task] = cls._loaded(task)
        return known

    @classmethod
    def _loaded(cls, task: Task) -> "EncodedTask":
        splits = loaded(task)
        examples = (*splits.train, *splits.dev, *splits.test)
        recorded = next((example for example in examples if isinstance(example.source, Recording)), None)
        if recorded is not None:
            raise DataError(
                f"{recorded.where}: an environment shows its agent symbols, but this input is a recording; use a task "
                "whose inputs are symbols"
            )
        references = (reference for example in splits.train for reference in example.references)
        vocabularies = Vocabularies.of([spelt(example.source) for example in splits.train], references)
        if not len(vocabularies.labels):
            raise DataError(
                f"an environment needs training examples with labels to choose from, but {type(task).__name__} has "
                f"{len(splits.train)} training examples without any label; check its files and its size"
            )
        return cls(splits, vocabularies)

    def split(self, name: str) -> EncodedSplit:
        """One split; input symbols unknown from training become the id after the last, labels the ids after the last.

        Raises:
            DataError: the split is empty.
        """
        examples: tuple[Example, ...] = getattr(self.splits, name)
        if not examples:
            raise DataError(f"the split {name!r} of this task is empty; use another, or check its files")
        inputs, known = self.vocabularies.inputs, self.vocabularies.labels
        references = [reference for example in examples for reference in example.references]
        news = {symbol for reference in references for symbol in known.unknown(reference)}
        labels = Vocabulary((*known.symbols, *sorted(news)))
        variants = np.array([len(example.references) for example in examples], np.int64)
        return EncodedSplit(
            examples=examples,
            sources=Ragged.of([inputs.encode(spelt(example.source), unknown=len(inputs)) for example in examples]),
            references=Ragged.of(list(map(labels.encode, references))),
            first=variants.cumsum() - variants,
            variants=variants,
            labels=labels,
        )

    @cached_property
    def longest_source(self) -> int:
        """Symbols of the longest input of all splits."""
        return max(len(example.source) for example in self._examples())

    @cached_property
    def longest_reference(self) -> int:
        """Labels of the longest reference of all splits."""
        return max(len(reference) for example in self._examples() for reference in example.references)

    @cached_property
    def misfit(self) -> Example | None:
        """The first example that cannot be tagged: without symbols, or with a reference of another length."""
        for example in self._examples():
            lengths = {len(reference) for reference in example.references}
            if not len(example.source) or lengths != {len(example.source)}:
                return example
        return None

    def _examples(self) -> tuple[Example, ...]:
        return (*self.splits.train, *self.splits.dev, *self.splits.test)


_LOADED: WeakValueDictionary[Task, EncodedTask] = WeakValueDictionary()
"""What environments that are in use have loaded: a lexicon takes seconds, and evaluation wants a second environment."""
