"""One column of input symbols that have several, such as words with their parts of speech."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from torch import nn

from structpred.errors import ConfigError, DataError
from structpred.models.base import Featurizer, built, read_by
from structpred.registry import inputs
from structpred.sequences import FlatSequences
from structpred.task import Sizes
from structpred.values import Count, Interval
from structpred.vocabulary import COLUMN_MARK, Symbols, Vocabularies


@inputs.register("column")
@dataclass(frozen=True, kw_only=True)
class Column(Featurizer):
    """Another encoder, over one column of input symbols such as ``walks￨VBZ``, with a vocabulary of its own.

    The columns of a symbol are joined by ￨ (U+FFE8), and all symbols have equally many. Several columns are read side
    by side: ``Beside(parts=(Column(index=0, part=WordEmbedding()), Column(index=1, part=SymbolEmbedding())))``. These
    are the input features of Sennrich and Haddow 2016, arXiv 1606.02892, whose vectors are concatenated too.

    Attributes:
        index: which column, from 0.
        part: the encoder.
        size: what the part is asked for in place of the size that the model would like, where it has none of its own.
    """

    open_vocabulary: ClassVar[bool] = True
    strict: ClassVar[bool] = True

    index: Annotated[int, Interval(least=0)]
    part: Featurizer
    size: Count | None = None

    def check(self) -> None:
        """Refuse a part that cannot read symbols, or whose own vocabulary would be ignored."""
        name = type(self.part).__name__
        if self.part.recorded:
            raise ConfigError(f"Column.part must read symbols, but {name} reads recordings; use it alone")
        if self.part.min_count != 1:
            raise ConfigError(
                f"Column.part has no count of its own, but {name} has min_count {self.part.min_count}; leave it "
                "out, or set min_count of the model's inputs, which counts symbols with all their columns"
            )

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """What the part reads in this column.

        Raises:
            ConfigError: the input symbols of the training data do not have this column.
            DataError: a symbol has more or fewer columns than they.
        """
        columns = vocabularies.columns
        expected = len(columns)
        self._check_index(expected)
        rows = {symbol: symbol.split(COLUMN_MARK) for source in sources for symbol in source}
        for symbol, row in rows.items():
            if len(row) != expected:
                raise DataError(
                    f"the input symbol {symbol!r:.80} must have {expected} columns with {COLUMN_MARK!r} between them, "
                    f"as in the training data, but it has {len(row)}; write all columns"
                )
        found = [tuple(rows[symbol][self.index] for symbol in source) for source in sources]
        return read_by(self.part, found, columns[self.index])

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The network of the part.

        Raises:
            ConfigError: the input symbols of the training data do not have this column.
        """
        self._check_index(len(sizes.columns))
        symbols, characters = sizes.columns[self.index]
        return built(self.part, replace(sizes, num_inputs=symbols, characters=characters), self.size or features)

    def _check_index(self, count: int) -> None:
        if self.index >= count:
            found = f"have {count} columns" if count else "do not have several columns, all of them equally many"
            raise ConfigError(
                f"Column.index is {self.index}, counted from 0, but the input symbols of the training data {found}; "
                f"columns are joined by {COLUMN_MARK!r}, as Conll does with `beside`"
            )
