"""Static word vectors as an input encoder."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.config import digest
from structpred.errors import DataError
from structpred.models.base import Featurizer
from structpred.models.inputs import CharacterCNN, Spelling, spelt_by
from structpred.pretrained.places import sha256
from structpred.pretrained.tables import existing, word_vectors
from structpred.registry import inputs
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies

MANY = 50
"""Different words of which some should have a vector."""


class UnknownWordsWarning(UserWarning):
    """A file of word vectors has none of the words of the data."""


@inputs.register("vectors")
@dataclass(frozen=True, kw_only=True)
class Vectors(Featurizer):
    """A word's vector from a file, and one made of its characters, side by side.

    The file is read, never written into a run: a word's vector is part of the data. A word that is not in the file has
    the zero vector and keeps its spelling. A run's identity holds the digest of the files, not their place.

    Attributes:
        path: ``.npy`` or ``.safetensors`` (one row for each of ``words``), ``.bin`` (word2vec), or text (GloVe,
            word2vec, fastText; also ``.gz``); ``package:NAME/FILE`` names a file of an installed package.
        words: the list of words for the first two: one on each line, or the first column of a ``.parquet`` file (needs
            pyarrow).
        lower: a word that is not in the file is looked up in lower case.
        tune: learn a change of each training word's vector, which starts at zero; a word unknown from training keeps
            its vector from the file. Weight decay pulls the vectors towards those of the file, not to zero.
        characters: how spellings are read; None leaves them out.
    """

    open_vocabulary: ClassVar[bool] = True
    outside: ClassVar[tuple[str, ...]] = ("path", "words")

    path: str
    words: str | None = None
    lower: bool = True
    tune: bool = False
    characters: Spelling | None = CharacterCNN()

    def fingerprint(self) -> tuple[str, ...]:
        """The digests of the files.

        Raises:
            DataError: one is absent.
        """
        vectors = existing(self.path, "a file of word vectors")
        words = () if self.words is None else (existing(self.words, "a list of words"),)
        return tuple(sha256(place) for place in (vectors, *words))

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """Ids and spellings of words, and their vectors.

        Raises:
            DataError: a file is absent, holds something else, or has a number that is not finite.
        """
        known = word_vectors(self.path, self.words)
        kinds = {word: i for i, word in enumerate(dict.fromkeys(word for source in sources for word in source))}
        places = [known.index.get(word, known.index.get(word.lower()) if self.lower else None) for word in kinds]
        if len(kinds) >= MANY and all(place is None for place in places):
            warnings.warn(
                f"{self.path} has a vector for none of the {len(kinds)} words read, such as {next(iter(kinds))!r}; is "
                "it of another language, or of words in another form?",
                UnknownWordsWarning,
                stacklevel=2,
            )
        table = np.zeros((len(kinds), known.size), np.float32)
        table[[place is not None for place in places]] = known.take([place for place in places if place is not None])
        if not np.isfinite(table).all():
            word = list(kinds)[int(np.isfinite(table).all(1).argmin())]
            raise DataError(f"{self.path} must hold finite numbers, but the vector of {word!r} has others")
        vectors = FlatSequences.of([[kinds[word] for word in source] for source in sources], torch.from_numpy(table))
        vectors = replace(vectors, origin=int(digest(list(self.fingerprint()))[:8], 16))
        return FlatSequences.beside([FlatSequences.of_words(sources, vocabularies), vectors])

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The changes of vectors, and the network of characters.

        Raises:
            DataError: a file is absent or holds something else.
        """
        del features
        size = word_vectors(self.path, self.words).size
        changes = nn.Embedding(sizes.num_inputs + 1, size, padding_idx=sizes.num_inputs) if self.tune else None
        if changes is not None:
            nn.init.zeros_(changes.weight)
        characters = spelt_by(self.characters, sizes.characters)
        return VectorTable(size, changes, characters)


class VectorTable(nn.Module):
    """The network of `Vectors`.

    Args:
        size: numbers in a vector.
        changes: what is added to each training word's vector, with a last row of zeros for all others, which is never
            trained; None leaves the vectors as they are.
        characters: from spellings to vectors; None for none.
    """

    like: Tensor

    def __init__(self, size: int, changes: nn.Embedding | None, characters: nn.Module | None) -> None:
        super().__init__()
        self.changes, self.characters = changes, characters
        spelt: int = 0 if characters is None else characters.size  # type: ignore[assignment]  # as in RecurrentEncoder
        self.size = size + spelt
        self.register_buffer("like", torch.zeros(()), persistent=False)  # follows the model's precision

    def forward(self, inputs: Sequences) -> Float[Tensor, "batch time size"]:
        """The vectors and the spellings of all words."""
        words, measured = inputs.parts
        assert measured.vectors is not None
        vectors = measured.vectors.to(self.like.dtype)
        if self.changes is not None:
            vectors = vectors + self.changes(words.labels)
        if self.characters is None or words.spellings is None:
            return vectors
        spelt = self.characters(words.spellings)
        spelt = spelt if len(spelt) else spelt.new_zeros(1, spelt.shape[1])  # padding alone still looks something up
        return torch.cat([vectors, spelt[words.rows]], -1)
