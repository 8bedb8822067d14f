"""Symbols to ids and back."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from structpred.errors import DataError

Symbols = tuple[str, ...]

COLUMN_MARK = "\uffe8"
"""What stands between the columns of an input symbol that has several, such as a word and its part of speech: ￨, as in
OpenNMT."""


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of one side of a task. Ids are 0..V-1; specials are the model's business and not among them.

    Attributes:
        symbols: each symbol once, in the order of their ids.
    """

    symbols: Symbols

    @classmethod
    def of(cls, sequences: Iterable[Symbols], *, min_count: int = 1) -> "Vocabulary":
        """The symbols that occur at least ``min_count`` times, in sorted order.

        Examples:
            >>> Vocabulary.of([("b", "a"), ("b",)]).symbols
            ('a', 'b')
        """
        counts = Counter(symbol for sequence in sequences for symbol in sequence)
        return cls(tuple(sorted(symbol for symbol, count in counts.items() if count >= min_count)))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each symbol."""
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    def unknown(self, sequence: Symbols) -> Symbols:
        """The symbols of a sequence that are not in the vocabulary."""
        return tuple(symbol for symbol in sequence if symbol not in self.ids)

    def encode(self, sequence: Symbols, *, unknown: int | None = None) -> list[int]:
        """Ids of symbols.

        Args:
            sequence: the symbols.
            unknown: the id for a symbol that is not in the vocabulary; None refuses such a symbol.

        Raises:
            DataError: a symbol is not in the vocabulary and ``unknown`` is None.
        """
        strange = self.unknown(sequence)
        if strange and unknown is None:
            raise DataError(
                f"the symbol {strange[0]!r} never occurs in the training data, which knows {len(self)} symbols"
            )
        return [self.ids.get(symbol, unknown) for symbol in sequence]  # type: ignore[misc]  # None was refused above

    def decode(self, ids: Sequence[int]) -> Symbols:
        """Symbols of ids."""
        return tuple(self.symbols[i] for i in ids)


@dataclass(frozen=True)
class Vocabularies:
    """Both sides of a task, from its training examples.

    Attributes:
        inputs: input symbols.
        labels: output labels.
        characters: what input symbols are spelt with.
    """

    inputs: Vocabulary
    labels: Vocabulary
    characters: Vocabulary = Vocabulary(())

    @classmethod
    def of(cls, sources: Sequence[Symbols], references: Iterable[Symbols], *, min_count: int = 1) -> "Vocabularies":
        """From the training examples; input symbols seen fewer than ``min_count`` times stay unknown."""
        characters = Vocabulary.of({symbol: tuple(symbol) for source in sources for symbol in source}.values())
        return cls(Vocabulary.of(sources, min_count=min_count), Vocabulary.of(references), characters)

    @cached_property
    def columns(self) -> "tuple[Vocabularies, ...]":
        """Those of each column of the input symbols, if all have equally many and more than one; else none.

        Examples:
            >>> known = Vocabularies.of([("a￨DT", "dog￨NN", "cat￨NN")], [("B", "I", "I")])
            >>> [column.inputs.symbols for column in known.columns]
            [('a', 'cat', 'dog'), ('DT', 'NN')]
        """
        rows = [tuple(symbol.split(COLUMN_MARK)) for symbol in self.inputs.symbols]
        if len({len(row) for row in rows}) != 1 or len(rows[0]) == 1:
            return ()
        return tuple(replace(self.of([column], ()), labels=self.labels) for column in zip(*rows, strict=True))
