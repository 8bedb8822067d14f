"""How a model reads the characters of a word: from spellings to one vector each."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from structpred.config import Config, Count, Interval
from structpred.registry import spellings
from structpred.sequences import Sequences


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
