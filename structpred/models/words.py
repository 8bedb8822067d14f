"""Words as a model sees them: a vector for the word itself beside one for its spelling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.config import Count, Fraction
from structpred.models.inputs import InputEncoder, SymbolTable
from structpred.models.spelling import CharacterCNN, Spelling
from structpred.registry import inputs
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies
from structpred.words import FlatWords, Words


@inputs.register("words")
@dataclass(frozen=True, kw_only=True)
class WordEmbedding(InputEncoder):
    """One learned vector for each word, and one made of its characters, side by side.

    A word unknown from training has a vector of its own, learned as far as words are dropped or rare, and keeps its
    spelling. The spelling is computed once for each distinct word of a batch.

    Attributes:
        size: size of a word's vector; None takes what the model asks for.
        word_dropout: probability that a word is read as unknown in training; its spelling stays.
        characters: how spellings are read; None leaves them out.
    """

    open_vocabulary: ClassVar[bool] = True

    size: Count | None = None
    word_dropout: Fraction = 0.0
    characters: Spelling | None = CharacterCNN()

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatWords:
        """Word ids and spellings."""
        return FlatWords.of(sources, vocabularies)

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The tables and the network of characters."""
        characters = None if self.characters is None else self.characters.build(sizes.characters)
        return WordTable(SymbolTable(sizes.inputs, self.size or features), characters, dropout=self.word_dropout)


class WordTable(nn.Module):
    """The network of `WordEmbedding`.

    Args:
        words: vectors of words, the unknown one last.
        characters: from spellings to vectors; None for none.
        dropout: probability that a word is read as unknown in training, drawn from torch's global state.
    """

    def __init__(self, words: SymbolTable, characters: nn.Module | None, *, dropout: float) -> None:
        super().__init__()
        self.words, self.characters, self.dropout = words.table, characters, dropout
        spelt: int = 0 if characters is None else characters.size  # type: ignore[assignment]  # as in RecurrentEncoder
        self.size = words.size + spelt

    def forward(self, words: Words) -> Float[Tensor, "batch time size"]:
        """Look the words up and spell them."""
        ids, unknown = words.words.labels, self.words.num_embeddings - 1
        if self.training and self.dropout:
            ids = torch.where(torch.rand(ids.shape, device=ids.device) < self.dropout, unknown, ids)
        vectors: Tensor = self.words(ids)
        if self.characters is None:
            return vectors
        spelt = self.characters(words.spellings)
        spelt = spelt if len(spelt) else spelt.new_zeros(1, spelt.shape[1])  # padding alone still looks something up
        return torch.cat([vectors, spelt[words.kinds]], -1)
