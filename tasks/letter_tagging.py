"""English letter-to-phone tagging: one label a letter, from a lexicon that needs no download."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.metrics import Accuracy, Metric, WordErrorRate
from structpred.registry import tasks
from structpred.tasks.lexicon import LexiconTask
from structpred.vocabulary import Symbols

CONTINUED = "+"
"""Label of a letter that belongs to the one before it."""


@tasks.register("letter-tagging")
@dataclass(frozen=True, kw_only=True)
class LetterTagging(LexiconTask):
    """The sound of every letter of an American English word; see `LexiconTask` for fields and splits.

    The lexicon aligns each word with one pronunciation, one or two letters with one or two phones at a time, and some
    letters with none. The label of a letter is the phones it is aligned with: joined by ``|`` where there are two
    (the x of *box*: ``k|s``), ``_`` where there is none, and ``+`` for the second letter of a pair whose first has the
    pair's label (*sh*: ``ʃ +``). Nothing is lost: alignments can be had back from labels.

    Kept are 124,337 of the 124,368 aligned words in the lexicon's version 2.0.1 (left out: 31 with accented letters
    such as *zoë*). There are 161 labels without stress and 210 with it, ``_`` and ``+`` included; many of those with
    two phones occur once or twice, in names of letters (*bbc*).
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Accuracy(), WordErrorRate())
    query: ClassVar[str] = "SELECT word, alignment FROM g2p_alignments ORDER BY id"

    def reference(self, entry: str) -> Symbols:
        """A label for each letter of an alignment."""
        return letter_labels(entry)


def letter_labels(alignment: str) -> Symbols:
    """One label a letter.

    >>> letter_labels("t}t h|e}ə"), letter_labels("f}f o}ɑ x}k|s e}_ s|h}ʃ")
    (('t', 'ə', '+'), ('f', 'ɑ', 'k|s', '_', 'ʃ', '+'))
    """
    labels: list[str] = []
    for pair in alignment.split():
        letters, _, phones = pair.partition("}")
        labels += [phones] + [CONTINUED] * letters.count("|")
    return tuple(labels)
