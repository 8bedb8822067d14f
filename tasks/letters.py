"""Letters of handwritten words, and an invented task of tagging letters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import DataError
from structpred.metrics import Accuracy, Metric, WordErrorRate
from structpred.reading import Line, read_lines
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.lexicon import LexiconTask
from structpred.tasks.published import SETS
from structpred.tasks.reading import in_hashed_order, sentence_of, splits_of
from structpred.values import Interval
from structpred.vocabulary import Symbols

PIXELS = 128
FILE = "letter.data"


@tasks.register("letters")
@dataclass(frozen=True, kw_only=True)
class Letters(Task):
    """Pictures of letters to letters: 6,877 handwritten words, 52,152 letters, ten folds (Taskar et al. 2003).

    A source symbol is a picture of 16 rows of 8 pixels, written row by row as 128 characters 0 and 1, for models with
    the input `bits`. There are only 55 distinct words: a model can learn them by heart, so compare numbers within one
    protocol only. A tenth of the training words is dev, the first in the order of the SHA-256 of their pictures.

    Attributes:
        protocol: ``"small"`` trains on one fold and tests on the other nine, ``"large"`` the reverse.
        fold: the one fold, 0 to 9.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Accuracy(), WordErrorRate())
    origin: ClassVar[DataSet] = SETS["letters"]

    protocol: Literal["small", "large"] = "small"
    fold: Annotated[int, Interval(least=0, most=9)] = 0

    def load(self) -> Splits:
        """Find the file and read it.

        Raises:
            DataError: it cannot be found or read, or is damaged.
        """
        return self.read(self.origin.path(FILE))

    def read(self, path: Path) -> Splits:
        """The splits of a file.

        Raises:
            DataError: it cannot be read, a line is not a letter, a word does not end, or a side has too few words.
        """
        words = list(_words(read_lines(path)))
        one = [example for fold, example in words if fold == self.fold]
        others = [example for fold, example in words if fold != self.fold]
        train, test = (one, others) if self.protocol == "small" else (others, one)
        if len(train) < 10 or not test:
            raise DataError(
                f"{path.name} must have 10 words to train on and some to test by, but fold {self.fold} has {len(one)} "
                f"of {len(words)} words; name another fold"
            )
        chosen = set(in_hashed_order({example.source for example in train})[: len(train) // 10])
        dev = [example for example in train if example.source in chosen]
        return splits_of(train=[each for each in train if each.source not in chosen], dev=dev, test=test)

    def parse(self, text: str) -> Symbols:
        """Pictures between spaces, each of 128 characters 0 and 1.

        Raises:
            DataError: the text is something else.
        """
        pictures = sentence_of(text, 1000)
        for picture in pictures:
            if len(picture) != PIXELS or picture.strip("01"):
                raise DataError(
                    f"the input must be pictures of {PIXELS} characters 0 and 1, but one is {picture[:40]!r}"
                )
        return pictures

    def render(self, output: Symbols) -> str:
        """The letters as one word."""
        return "".join(output)


@dataclass(frozen=True)
class _Letter:
    """One line: a letter of a word."""

    number: str
    letter: str
    following: str
    fold: int
    picture: str
    where: str


def _letter(line: Line) -> _Letter:
    """A line's ``id, letter, next_id, word_id, position, fold`` and 128 pixels, row by row, between tabs."""
    text, where = line
    columns = text.removesuffix("\t").split("\t")
    if len(columns) != 6 + PIXELS:
        raise DataError(
            f"{where} must have {6 + PIXELS} columns between tabs, but it has {len(columns)}; fetch it again"
        )
    number, letter, following, _, _, fold, *pixels = columns
    if len(letter) != 1 or not "a" <= letter <= "z":
        raise DataError(f"{where} must have a letter a-z in its second column, but it has {letter!r}; fetch it again")
    if len(fold) != 1 or not "0" <= fold <= "9":
        raise DataError(f"{where} must have a fold 0-9 in its sixth column, but it has {fold!r}; fetch it again")
    if not {"0", "1"}.issuperset(pixels):
        raise DataError(f"{where} must have pixels 0 and 1 behind its sixth column, but it has others; fetch it again")
    return _Letter(number, letter, following, int(fold), "".join(pixels), where)


def _words(lines: Sequence[Line]) -> Iterator[tuple[int, Example]]:
    """Fold and word, for every run of letters of which each names the next; −1 ends it."""
    word: list[_Letter] = []
    for line in lines:
        letter = _letter(line)
        if word and (letter.number != word[-1].following or letter.fold != word[-1].fold):
            raise DataError(
                f"{letter.where} must be letter {word[-1].following} in fold {word[-1].fold}, to continue the word "
                f"before, but it is letter {letter.number!r} in fold {letter.fold}; fetch the file again"
            )
        word.append(letter)
        if letter.following == "-1":
            source, reference = (tuple(getattr(each, name) for each in word) for name in ("picture", "letter"))
            yield letter.fold, Example(source, (reference,), word[0].where)
            word = []
    if word:
        raise DataError(f"{word[-1].where} must be followed by the rest of its word, but the file ends; fetch it again")


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

    Examples:
        >>> letter_labels("t}t h|e}ə"), letter_labels("f}f o}ɑ x}k|s e}_ s|h}ʃ")
        (('t', 'ə', '+'), ('f', 'ɑ', 'k|s', '_', 'ʃ', '+'))
    """
    labels: list[str] = []
    for pair in alignment.split():
        letters, _, phones = pair.partition("}")
        labels += [phones] + [CONTINUED] * letters.count("|")
    return tuple(labels)
