"""The phones of TIMIT, and the smaller sets that recognisers are trained and scored on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from structpred.metrics import SymbolErrorRate
from structpred.vocabulary import Symbols

PhoneSet = Literal[61, 48, 39]
"""TIMIT's own phones, those of Lee and Hon (1989) for training, and theirs for scoring."""

_TRANSCRIBED = """
aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy jh k kcl l m n
ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh
"""
PHONES: Symbols = tuple(_TRANSCRIBED.split())
"""The 61 phones that TIMIT is transcribed in."""

GLOTTAL_STOP = "q"
"""The one phone that both smaller sets leave out."""

_TO_48 = {
    "ax-h": "ax", "axr": "er", "hv": "hh", "em": "m", "nx": "n", "eng": "ng", "ux": "uw", "h#": "sil", "pau": "sil",
    "bcl": "vcl", "dcl": "vcl", "gcl": "vcl", "pcl": "cl", "tcl": "cl", "kcl": "cl",
}  # fmt: skip
_TO_39 = {
    "ao": "aa", "ax": "ah", "ix": "ih", "el": "l", "en": "n", "zh": "sh", "cl": "sil", "vcl": "sil", "epi": "sil",
}  # fmt: skip


def folded(phones: Sequence[str], to: PhoneSet) -> Symbols:
    """Phones of TIMIT in one of its smaller sets; those of a smaller set may be folded further.

    Lee and Hon 1989: Speaker-independent phone recognition using hidden Markov models, table II, as Kaldi's recipe for
    TIMIT has it. Neighbours that become the same phone stay two.

    >>> folded(("h#", "q", "ao", "bcl", "b", "h#"), 48), folded(("sil", "ao", "vcl", "b", "sil"), 39)
    (('sil', 'ao', 'vcl', 'b', 'sil'), ('sil', 'aa', 'sil', 'b', 'sil'))
    """
    if to == 61:
        return tuple(phones)
    kept = [_TO_48.get(phone, phone) for phone in phones if phone != GLOTTAL_STOP]
    return tuple(kept if to == 48 else [_TO_39.get(phone, phone) for phone in kept])


@dataclass(frozen=True)
class PhoneErrorRate(SymbolErrorRate):
    """PER as recognisers of TIMIT are scored: edits per reference phone, both sides folded into 39 phones.

    Silence and closures are phones like any other.
    """

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return f"{super().signature}|phones:39"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Edits to the closest reference, and its length."""
        return super().counts(folded(prediction, 39), tuple(folded(reference, 39) for reference in references))
