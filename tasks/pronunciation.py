"""English pronunciation: letters to phones, from a lexicon that needs no download."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.registry import tasks
from structpred.tasks.lexicon import LexiconTask
from structpred.vocabulary import Symbols


@tasks.register("pronunciation")
@dataclass(frozen=True, kw_only=True)
class Pronunciation(LexiconTask):
    """Letters to phones in American English; see `LexiconTask` for fields and splits.

    Kept are 124,359 of the 124,392 words in the lexicon's version 2.0.1 (left out: 31 with accented letters such as
    *zoë*, and *a.m.* and *p.m.*). A word's pronunciations are all references, the lexicon's first one first; there
    are 40 phones without stress and 70 with it.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())
    query: ClassVar[str] = "SELECT word, phonemes FROM word_phonemes ORDER BY pron_order, id"

    def reference(self, entry: str) -> Symbols:
        """The phones of a pronunciation."""
        return tuple(entry.split())
