"""Words as tensors: what each word is, and how it is spelt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from structpred.sequences import FlatSequences, Sequences
from structpred.vocabulary import Symbols, Vocabularies


@dataclass(frozen=True)
class Words:
    """Sentences, padded, with every distinct word of the batch spelt once.

    Attributes:
        words: word ids, ``[batch, time]``; a word unknown from training has the id after the last.
        kinds: which row of ``spellings`` spells each word, ``[batch, time]``.
        spellings: character ids of each distinct word, ``[kinds, characters]``; an unknown character likewise.
    """

    words: Sequences
    kinds: Int[Tensor, "batch time"]
    spellings: Sequences

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Words of each sentence."""
        return self.words.lengths

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.kinds.device

    def __len__(self) -> int:
        return len(self.words)

    def mask(self) -> Bool[Tensor, "batch time"]:
        """True at real words."""
        return self.words.mask()

    @classmethod
    def from_tensors(cls, words: Tensor, lengths: Tensor, kinds: Tensor, characters: Tensor, spelt: Tensor) -> "Words":
        """What `tensors` took apart."""
        return cls(Sequences(words, lengths), kinds, Sequences(characters, spelt))

    def tensors(self) -> tuple[Tensor, ...]:
        """Words, lengths, kinds, characters and the lengths of spellings, for where only tensors may pass."""
        return *self.words.tensors(), self.kinds, *self.spellings.tensors()

    def to(self, device: torch.device | str) -> "Words":
        """The same sentences on another device."""
        return Words(self.words.to(device), self.kinds.to(device), self.spellings.to(device))


@dataclass(frozen=True)
class FlatWords:
    """Many sentences end to end; a batch of them is gathered by index, on any device.

    Attributes:
        words: word ids.
        kinds: which row of ``spellings`` spells each word, sentence by sentence like ``words``.
        spellings: character ids of each distinct word of all sentences.
    """

    padded: ClassVar[type[Words]] = Words

    words: FlatSequences
    kinds: FlatSequences
    spellings: FlatSequences

    @classmethod
    def of(cls, sentences: Sequence[Symbols], vocabularies: Vocabularies) -> "FlatWords":
        """From words as text; one unknown from training keeps its spelling."""
        words, characters = vocabularies.inputs, vocabularies.characters
        kinds = {word: i for i, word in enumerate(dict.fromkeys(word for sentence in sentences for word in sentence))}
        return cls(
            FlatSequences.of([words.encode(sentence, unknown=len(words)) for sentence in sentences]),
            FlatSequences.of([[kinds[word] for word in sentence] for sentence in sentences]),
            FlatSequences.of([characters.encode(tuple(word), unknown=len(characters)) for word in kinds]),
        )

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """Words of each sentence."""
        return self.words.lengths

    def __len__(self) -> int:
        return len(self.words)

    def gather(self, rows: Int[Tensor, " batch"]) -> Words:
        """The given sentences, padded to the longest of them, with the spellings that occur in them."""
        words, kinds = self.words.gather(rows), self.kinds.gather(rows)
        mask = kinds.mask()
        present, places = torch.unique(kinds.labels[mask], return_inverse=True)
        return Words(words, torch.zeros_like(kinds.labels).masked_scatter(mask, places), self.spellings.gather(present))

    def to(self, device: torch.device | str) -> "FlatWords":
        """The same sentences on another device."""
        return FlatWords(self.words.to(device), self.kinds.to(device), self.spellings.to(device))
