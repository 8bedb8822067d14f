"""Inputs other than plain symbols: words with their spellings, frames such as the spectrum of speech, and pictures."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from structpred.config import Config
from structpred.errors import DataError
from structpred.models.base import Featurizer, SymbolTable, vectors_of
from structpred.registry import inputs, spellings
from structpred.sequences import FlatSequences, Recording, Sequences
from structpred.task import Sizes
from structpred.values import Count, Fraction, Interval
from structpred.vocabulary import Symbols, Vocabularies


@dataclass(frozen=True, kw_only=True)
class Spelling(Config):
    """A vector for each spelling. A user's own is a registered subclass.

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


def spelt_by(spelling: Spelling | None, characters: int) -> nn.Module | None:
    """The network of a spelling, ``[words, size]``, checked as `vectors_of` does; None where there is none."""
    return None if spelling is None else vectors_of(spelling, lambda: spelling.build(characters), "[words, size]")


@spellings.register("cnn")
@dataclass(frozen=True, kw_only=True)
class CharacterCNN(Spelling):
    """Convolution over characters, then the maximum over time (Ma and Hovy 2016, arXiv 1603.01354, section 2.1).

    Attributes:
        filters: size of the vector.
        width: characters a filter sees, around the one in its middle; of an even number, one more lies behind.
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
        before, time = (self.width - 1) // 2, labels.shape[1]
        padded = pad(characters, (0, 0, before, self.width - 1 - before))
        # not unfold: its gradient is slow
        windows = torch.stack([padded[:, i : i + time] for i in range(self.width)], -1).flatten(2)
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

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """Word ids and spellings."""
        return FlatSequences.of_words(sources, vocabularies)

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The tables and the network of characters."""
        characters = spelt_by(self.characters, sizes.characters)
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

    def forward(self, words: Sequences) -> Float[Tensor, "batch time size"]:
        """Look the words up and spell them."""
        ids, unknown = words.labels, self.words.num_embeddings - 1
        if self.training and self.dropout:
            ids = torch.where(torch.rand(ids.shape, device=ids.device) < self.dropout, unknown, ids)
        vectors: Tensor = self.words(ids)
        if self.characters is None or words.spellings is None:
            return vectors
        spelt = self.characters(words.spellings)
        spelt = spelt if len(spelt) else spelt.new_zeros(1, spelt.shape[1])  # padding alone still looks something up
        return torch.cat([vectors, spelt[words.rows]], -1)


@inputs.register("frames")
@dataclass(frozen=True, kw_only=True)
class FrameFeatures(Featurizer):
    """The numbers of a `Recording`, some frames side by side at every position: position i sees frames i·stride on.

    Fewer positions make a recurrent encoder faster and attention easier. Where the last frames do not fill a position,
    zeros do.

    Attributes:
        features: numbers in a frame; 120 for 40 filters and their first and second derivatives.
        stack: frames side by side.
        stride: frames from one position to the next; None takes ``stack``, so that none is seen twice.
    """

    symbolic: ClassVar[bool] = False
    recorded: ClassVar[bool] = True
    open_vocabulary: ClassVar[bool] = True

    features: Count = 120
    stack: Count = 1
    stride: Count | None = None

    def read(self, sources: Sequence[Recording], vocabularies: Vocabularies) -> FlatSequences:
        """The stacked frames of every recording.

        Raises:
            DataError: a recording has frames of another size.
        """
        del vocabularies
        stacked = [self._stacked(source) for source in sources]
        values = np.concatenate(stacked) if stacked else np.zeros((0, self.stack * self.features), np.float32)
        ends = np.cumsum([len(each) for each in stacked])
        rows = [range(end - len(each), end) for each, end in zip(stacked, ends.tolist(), strict=True)]
        return FlatSequences.of(rows, torch.from_numpy(values))

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """What passes the numbers on."""
        del sizes, features
        return VectorReader(self.stack * self.features)

    def _stacked(self, source: Recording) -> Float[np.ndarray, "positions stacked"]:
        if source.frames.shape[1] != self.features:
            raise DataError(
                f"{source.name} must have {self.features} numbers in a frame, but it has {source.frames.shape[1]}; set "
                "FrameFeatures.features of the model's inputs"
            )
        stride = self.stride or self.stack
        positions = -(-len(source) // stride)
        stacked = np.zeros((positions, self.stack, self.features), np.float32)
        for place in range(self.stack):
            frames = source.frames[place::stride]
            stacked[: len(frames), place] = frames
        return stacked.reshape(positions, self.stack * self.features)


class VectorReader(nn.Module):
    """The network of `FrameFeatures` and `BitImages`: a hidden layer over the numbers at each position, if any."""

    def __init__(self, numbers: int, hidden: int | None = None) -> None:
        super().__init__()
        self.size = numbers if hidden is None else hidden
        self.layer = nn.Identity() if hidden is None else nn.Sequential(nn.Linear(numbers, hidden), nn.ReLU())

    def forward(self, inputs: Sequences) -> Float[Tensor, "batch time size"]:
        """One vector at every position."""
        seen: Tensor = self.layer(inputs.vectors)
        return seen


@inputs.register("bits")
@dataclass(frozen=True, kw_only=True)
class BitImages(Featurizer):
    """Pictures in black and white: a symbol is a text of 0 and 1, one for each pixel, and the model sees their values.

    Attributes:
        pixels: pixels of a picture, 128 for the 16 rows of 8 of OCR letters.
        hidden: size of a layer of rectified linear units over the pixels; None shows the model the pixels themselves.
    """

    symbolic: ClassVar[bool] = False
    open_vocabulary: ClassVar[bool] = True

    pixels: Count = 128
    hidden: Count | None = None

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """The pixels of every symbol.

        Raises:
            DataError: a symbol is no picture of ``pixels`` pixels.
        """
        del vocabularies
        kinds = {symbol: i for i, symbol in enumerate(dict.fromkeys(each for source in sources for each in source))}
        for symbol in kinds:
            if len(symbol) != self.pixels or symbol.strip("01"):
                raise DataError(
                    f"an input symbol must be a picture of {self.pixels} pixels, each 0 or 1, but one is "
                    f"{symbol[:40]!r} of {len(symbol)} characters; set BitImages.pixels, or take another input encoder"
                )
        bits = torch.frombuffer(bytearray("".join(kinds).encode()), dtype=torch.uint8) if kinds else torch.empty(0)
        values = (bits.view(-1, self.pixels) - ord("0")).float()
        return FlatSequences.of([[kinds[symbol] for symbol in source] for source in sources], values)

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The layer, if there is one."""
        del sizes, features
        return VectorReader(self.pixels, self.hidden)
