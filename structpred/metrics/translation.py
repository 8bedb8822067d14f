"""Corpus BLEU and chrF as sacrebleu computes them, from its own statistics of each example."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from structpred.metrics.base import Metric, Totals
from structpred.registry import metrics
from structpred.vocabulary import Symbols

Tokens = Literal["13a", "none", "intl", "char"]


@metrics.register("bleu")
@dataclass(frozen=True, kw_only=True)
class Bleu(Metric):
    """Corpus BLEU of symbols joined by spaces, in percent (Papineni et al. 2002; sacrebleu: Post 2018).

    Attributes:
        tokenize: how sacrebleu cuts sentences into tokens: ``"13a"`` for plain text, ``"none"`` where the symbols are
            tokens already.
        lowercase: ignore letter case.
    """

    name: ClassVar[str] = "BLEU"
    higher_is_better: ClassVar[bool] = True

    tokenize: Tokens = "13a"
    lowercase: bool = False

    @property
    def signature(self) -> str:
        """Sacrebleu's signature; ``var`` references, as their number may differ between examples."""
        case = "lc" if self.lowercase else "mixed"
        return f"BLEU|nrefs:var|case:{case}|eff:no|tok:{self.tokenize}|smooth:exp|version:{sacrebleu.__version__}"

    @cached_property
    def _theirs(self) -> BLEU:
        return BLEU(tokenize=self.tokenize, lowercase=self.lowercase, force=True)

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, ...]:
        """Tokens of output and closest reference, right n-grams of each order, and all of them."""
        return _statistics(self._theirs, prediction, references)

    def score(self, totals: Totals) -> float:
        """BLEU with exponential smoothing, in percent."""
        return float(self._theirs._compute_score_from_stats(totals.astype(int).tolist()).score)


@metrics.register("chrf")
@dataclass(frozen=True, kw_only=True)
class Chrf(Metric):
    """Corpus chrF of symbols joined by spaces, in percent: character 6-grams, β = 2 (Popović 2015)."""

    name: ClassVar[str] = "chrF"
    higher_is_better: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Sacrebleu's signature; ``var`` references, as their number may differ between examples."""
        return f"chrF2|nrefs:var|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{sacrebleu.__version__}"

    @cached_property
    def _theirs(self) -> CHRF:
        return CHRF()

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, ...]:
        """For each order the n-grams of output and of best reference, and those they share."""
        return _statistics(self._theirs, prediction, references)

    def score(self, totals: Totals) -> float:
        """ChrF, in percent."""
        return float(self._theirs._compute_score_from_stats(totals.astype(int).tolist()).score)


def _statistics(theirs: BLEU | CHRF, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, ...]:
    """What sacrebleu's own bootstrap adds up. It has no public name for that; tests hold it to the public score."""
    streams = [[" ".join(reference)] for reference in references]
    (statistics,) = theirs._extract_corpus_statistics([" ".join(prediction)], streams)
    return tuple(map(float, statistics))
