"""Words and their pronunciations."""

import sqlite3
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import ConfigError, DataError
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.reading import note_file
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.pairs import Tsv
from structpred.tasks.published import SETS, Place, PublishedTask, warn_of_new_labels
from structpred.tasks.reading import hashed, in_hashed_order, splits_of
from structpred.values import Count
from structpred.vocabulary import Symbols

PhoneSet = Literal[61, 48, 39]
"""TIMIT's own phones, and Lee and Hon's (1989) for training and for scoring."""

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
    """Phones of TIMIT in one of its smaller sets; phones of a smaller set may be folded further.

    Lee and Hon 1989: Speaker-independent phone recognition using hidden Markov models, table II, as Kaldi's recipe for
    TIMIT has it. Neighbours that become the same phone stay two.

    Examples:
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


LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz'")
_NO_STRESS = str.maketrans("", "", "ˈˌ")


@dataclass(frozen=True, kw_only=True)
class LexiconTask(Task):
    """Words of the lexicon in the package ``gruut-lang-en`` (MIT licence), as far as they are of a-z and apostrophes.

    Words are put in the order of their SHA-256: the first ``held_out`` are the test words, the next are the dev words,
    then come the training words. So ``size`` never moves a word, and a larger training set contains the smaller
    ones. An inflected form and its base (*abbot*, *abbot's*) may fall on different sides.

    Attributes:
        query: the SQL that gives words with what belongs to them, in the order of preference.
        size: number of training words; None takes all that are left.
        held_out: number of dev words, and of test words.
        stress: keep the marks ˈ and ˌ on stressed vowels. Without them, as in most work on CMUdict, what differs only
            in stress is merged.
    """

    query: ClassVar[str]

    size: Count | None = None
    held_out: Count = 1000
    stress: bool = False

    @property
    def terms(self) -> str:
        """Those of the package that the words come from."""
        return "the package gruut-lang-en, MIT licence"

    @abstractmethod
    def reference(self, entry: str) -> Symbols:
        """The output symbols of what the lexicon says of a word."""

    def load(self) -> Splits:
        """Read the lexicon and split it.

        Raises:
            DataError: the lexicon is missing or cannot be read.
            ConfigError: it has fewer words than asked for.
        """
        lexicon = _lexicon(self.query)
        words = sorted(lexicon, key=hashed)
        left = len(words) - 2 * self.held_out
        if left < (self.size or 1):
            raise ConfigError(self._too_many(len(words), left))
        test, dev = words[: self.held_out], words[self.held_out : 2 * self.held_out]
        train = words[2 * self.held_out :][: self.size]
        return splits_of(
            train=self._examples(train, lexicon), dev=self._examples(dev, lexicon), test=self._examples(test, lexicon)
        )

    def _too_many(self, words: int, left: int) -> str:
        name = type(self).__name__
        if left < 1:
            return (
                f"{name}.held_out must be at most {(words - 1) // 2}, so that of {words} words some are left "
                f"for training, but got {self.held_out}"
            )
        return (
            f"{name}.size must be at most {left}, the words left beside two times held_out={self.held_out}, "
            f"but got {self.size}; size=None takes them all"
        )

    def _examples(self, words: list[str], lexicon: dict[str, list[str]]) -> list[Example]:
        examples = []
        for word in words:
            entries = lexicon[word] if self.stress else [entry.translate(_NO_STRESS) for entry in lexicon[word]]
            references = tuple(self.reference(entry) for entry in dict.fromkeys(entries))
            examples.append(Example(tuple(word), references, where=f"gruut lexicon: {word!r}"))
        return examples

    def parse(self, text: str) -> Symbols:
        """The letters of one word, in lower case.

        Raises:
            DataError: the text is empty, or holds more than one word or anything but a-z and apostrophes.
        """
        word = text.strip().lower()
        if not word:
            raise DataError("the input must be one word, but it is empty; write its letters")
        for letter in word:
            if letter not in LETTERS:
                raise DataError(
                    f"the input must be one word of the letters a-z and apostrophes, but {text!r} holds {letter!r}; "
                    "the lexicon knows no other letters"
                )
        return tuple(word)

    def render(self, output: Symbols) -> str:
        """Symbols separated by spaces."""
        return " ".join(output)


def _lexicon(query: str) -> dict[str, list[str]]:
    """The kept words with what the lexicon says of them."""
    words: dict[str, list[str]] = defaultdict(list)
    for word, entry in _rows(query):
        if LETTERS.issuperset(word):
            words[word].append(entry)
    return words


def _rows(query: str) -> Iterator[tuple[str, str]]:
    try:
        with resources.as_file(resources.files("gruut_lang_en") / "lexicon.db") as path:
            note_file(path)
            for word, entry in _results(query, path):
                if not (isinstance(word, str) and isinstance(entry, str) and word and entry.strip()):
                    raise _damaged(f"has {word!r:.40} with {entry!r:.40}, not two texts")
                yield word, entry
    except (ModuleNotFoundError, FileNotFoundError):
        raise DataError("the gruut lexicon must be installed, but it is not; pip install gruut-lang-en") from None
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _damaged(f"cannot be read ({error})") from None


def _results(query: str, path: Path) -> list[tuple[object, object]]:
    # immutable: site-packages may be read-only, and many processes may read at once
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute(query).fetchall()


def _damaged(how: str) -> DataError:
    return DataError(
        f"lexicon.db of gruut-lang-en must be a lexicon, but it {how}; pip install --force-reinstall gruut-lang-en"
    )


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


TRAIN, TEST = "g014b2b.train", "g014b2b.test"


@tasks.register("cmudict")
@dataclass(frozen=True, kw_only=True)
class Cmudict(PublishedTask):
    """Letters to phones without stress, on the training part g014b2b of CMUdict: 106,837 words, 39 phones.

    A twentieth of these words (5,341) is dev: the first, or where the test words are held out too the second, in the
    order of their SHA-256. A word with several pronunciations is scored against the closest.

    Attributes:
        test: ``"published"``, the 12,000 words of g014b2b's own test file, which is not downloaded; or ``"held-out"``,
            another twentieth of the training words, for work where that file is missing. Numbers on the two are not
            the same benchmark.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())
    origin: ClassVar[DataSet] = SETS["cmudict_g2p"]

    test: Literal["published", "held-out"] = "published"

    def reader(self, place: Place) -> Tsv:
        """Pairs of a word and its phones."""
        return Tsv(train=place(TRAIN))

    def load(self) -> Splits:
        """Find the files, read them and hold words out.

        Raises:
            DataError: a file cannot be found, downloaded or read.
        """
        reader = self.reader(self.place)
        published = reader.examples(self.place(TEST)) if self.test == "published" else None
        examples = reader.examples(reader.train)
        if len(examples) < 20:
            raise DataError(f"{reader.train} must have at least 20 words, so that some can be held out; fetch it again")
        of = {example.source: example for example in examples}
        order, part = [of[source] for source in in_hashed_order(of)], len(of) // 20
        test: list[Example] = order[:part] if published is None else published
        start = part if published is None else 0
        dev = order[start : start + part]
        splits = splits_of(train=order[start + part :], dev=dev, test=test)
        warn_of_new_labels(splits)
        return splits
