"""Words as a model sees them: a vector for the word itself beside one for its spelling."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from structpred.config import Config, Count, Fraction, Interval
from structpred.models.inputs import Featurizer, SymbolTable
from structpred.registry import inputs, spellings
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies
from structpred.words import FlatWords, Words


@dataclass(frozen=True, kw_only=True)
class Spelling(Config):
    """A vector for each spelling. One's own is a subclass with a name.

    Attributes:
        embedding: size of character embeddings.
    """

    family = spellings

    embedding: Count = 30

    @abstractmethod
    def build(self, characters: int) -> nn.Module:
        """A module that takes `Sequences` of characters and returns ``[words, size]``; its ``size`` is that.

        Args:
            characters: number of known characters; the id of that number stands for an unknown one.
        """


@spellings.register("cnn")
@dataclass(frozen=True, kw_only=True)
class CharacterCNN(Spelling):
    """Convolution over characters, then the maximum over time (Ma and Hovy 2016, arXiv 1603.01354, section 2.1).

    Attributes:
        filters: size of the vector.
        width: characters a filter sees; odd, so that it has a middle.
    """

    filters: Count = 30
    width: Annotated[int, Interval(least=1)] = 3

    def build(self, characters: int) -> nn.Module:
        """The network."""
        return ConvolvedCharacters(self, characters)


class ConvolvedCharacters(nn.Module):
    """The network of `CharacterCNN`."""

    def __init__(self, settings: CharacterCNN, characters: int) -> None:
        super().__init__()
        self.size, self.width = settings.filters, settings.width
        self.table = nn.Embedding(characters + 1, settings.embedding)
        bound = (3 / settings.embedding) ** 0.5
        nn.init.uniform_(self.table.weight, -bound, bound)
        self.filters = nn.Linear(settings.width * settings.embedding, settings.filters)

    def forward(self, spellings: Sequences) -> Float[Tensor, "words size"]:
        """max over t of W [c_t−h; …; c_t+h] + b, with zeros outside the word; zero for an empty spelling."""
        labels = pad(spellings.labels, (0, int(spellings.labels.shape[1] == 0)))  # a window needs a place to stand
        mask = (torch.arange(labels.shape[1], device=labels.device) < spellings.lengths.unsqueeze(1)).unsqueeze(-1)
        characters = torch.where(mask, self.table(labels), 0.0)
        before = (self.width - 1) // 2
        windows = pad(characters, (0, 0, before, self.width - 1 - before)).unfold(1, self.width, 1).flatten(2)
        best = torch.where(mask, self.filters(windows), -torch.inf).amax(1)
        return torch.where(mask.any(1), best, 0.0)


@inputs.register("words")
@dataclass(frozen=True, kw_only=True)
class WordEmbedding(Featurizer):
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
        return WordTable(SymbolTable(sizes.num_inputs, self.size or features), characters, dropout=self.word_dropout)


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
