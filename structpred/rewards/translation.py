"""Rewards of machine translation on text: sentence BLEU, chrF and TER, as sacrebleu computes them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from structpred.registry import rewards
from structpred.rewards.reading import TextReward
from structpred.values import Count, Interval


@rewards.register("text-bleu")
@dataclass(frozen=True, kw_only=True)
class TextBleu(TextReward):
    """r(y, y*) = sacrebleu's ``sentence_bleu`` over 100, between 0 and 1, of the text that the task renders.

    `SentenceBleu` counts n-grams of labels, which are pieces of words in the task `structpred.tasks.Subwords`; this
    reward counts n-grams of sacrebleu's tokens, as the metric does. Smoothing is exponential and the order effective,
    sacrebleu's defaults for sentences. Several references count together.

    Attributes:
        tokenize: how sacrebleu cuts sentences into tokens: ``"13a"`` for plain text, ``"none"`` for text in tokens.
        lowercase: ignore letter case.
    """

    pools_references: ClassVar[bool] = True

    tokenize: Literal["13a", "none", "intl", "char"] = "13a"
    lowercase: bool = False

    def value(self, output: str, references: tuple[str, ...]) -> float:
        """BLEU of one output."""
        return float(self._theirs.sentence_score(output, references).score) / 100

    @cached_property
    def _theirs(self) -> BLEU:
        return BLEU(tokenize=self.tokenize, lowercase=self.lowercase, force=True, effective_order=True)


@rewards.register("chrf")
@dataclass(frozen=True, kw_only=True)
class SentenceChrf(TextReward):
    """r(y, y*) = (1 + β²)·P·R / (β²·P + R), between 0 and 1: sentence chrF of the text that the task renders.

    P and R are precision and recall of character n-grams, averaged over the orders that both texts have (Popović
    2015). The same number as sacrebleu's ``sentence_chrf`` over 100; of several references the best counts.

    Attributes:
        character_order: the longest n-grams of characters.
        word_order: the longest n-grams of words; 2 is chrF++ (Popović 2017).
        beta: β, how many times recall weighs as much as precision.
        lowercase: ignore letter case.
        whitespace: whether n-grams of characters may hold spaces.
    """

    character_order: Count = 6
    word_order: Annotated[int, Interval(least=0)] = 0
    beta: Count = 2
    lowercase: bool = False
    whitespace: bool = False

    def value(self, output: str, references: tuple[str, ...]) -> float:
        """ChrF of one output."""
        return float(self._theirs.sentence_score(output, references).score) / 100

    @cached_property
    def _theirs(self) -> CHRF:
        return CHRF(
            char_order=self.character_order,
            word_order=self.word_order,
            beta=self.beta,
            lowercase=self.lowercase,
            whitespace=self.whitespace,
        )


@rewards.register("ter")
@dataclass(frozen=True, kw_only=True)
class SentenceTer(TextReward):
    """r(y, y*) = −edits(y, y*) / |y*|, 0 is perfect: minus the translation edit rate of the text that the task renders.

    Edits are insertions, deletions and substitutions of words and shifts of phrases, found by tercom's greedy search
    (Snover et al. 2006). The same number as sacrebleu's ``sentence_ter`` over −100. With several references the fewest
    edits count, over the references' mean length. Any output for an empty reference is −1.

    Attributes:
        normalized: separate punctuation from words and undo XML entities first.
        punctuation: False removes it.
        asian_support: treat Chinese and Japanese characters as words, with ``normalized`` or without ``punctuation``.
        case_sensitive: whether letter case counts.
    """

    pools_references: ClassVar[bool] = True

    normalized: bool = False
    punctuation: bool = True
    asian_support: bool = False
    case_sensitive: bool = False

    def value(self, output: str, references: tuple[str, ...]) -> float:
        """Minus TER of one output."""
        return 0.0 - float(self._theirs.sentence_score(output, references).score) / 100

    @cached_property
    def _theirs(self) -> TER:
        return TER(
            normalized=self.normalized,
            no_punct=not self.punctuation,
            asian_support=self.asian_support,
            case_sensitive=self.case_sensitive,
        )
