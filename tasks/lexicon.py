"""The lexicon that needs no download: what its tasks share."""

import sqlite3
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import ClassVar

from structpred.config import Count
from structpred.errors import ConfigError, DataError
from structpred.task import Example, Splits, Task
from structpred.tasks.reading import in_hashed_order, splits_of
from structpred.vocabulary import Symbols

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
        words = in_hashed_order(lexicon)
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

    def _examples(self, words: list[Symbols], lexicon: dict[Symbols, list[str]]) -> list[Example]:
        examples = []
        for word in words:
            entries = lexicon[word] if self.stress else [entry.translate(_NO_STRESS) for entry in lexicon[word]]
            references = tuple(self.reference(entry) for entry in dict.fromkeys(entries))
            examples.append(Example(word, references, where=f"gruut lexicon: {''.join(word)!r}"))
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


def _lexicon(query: str) -> dict[Symbols, list[str]]:
    """The kept words with what the lexicon says of them."""
    words: dict[Symbols, list[str]] = defaultdict(list)
    for word, entry in _rows(query):
        if LETTERS.issuperset(word):
            words[tuple(word)].append(entry)
    return words


def _rows(query: str) -> Iterator[tuple[str, str]]:
    try:
        with as_file(files("gruut_lang_en") / "lexicon.db") as path:
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
