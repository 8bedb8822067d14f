"""Text that stays on one line: what users wrote, cells of tables, and tables of predictions."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from structpred.errors import ConfigError, DataError
from structpred.reading import read_lines

# Control characters, lone surrogates, noncharacters, and marks that reverse the text: XML cannot represent the first
# three, and terminals execute the first.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SPACE = re.compile(r"[ \t]*[\r\n\t]\s*")


def plain(text: str) -> str:
    r"""The text on one line, with invisible characters escaped.

    Examples:
        >>> plain("two\nlines"), plain("red \x1b[31m")
        ('two lines', 'red \\x1b[31m')
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), _SPACE.sub(" ", text))


def refuse_unseen(name: object, what: str) -> None:
    """Refuse a name that is not one line of text.

    Raises:
        ConfigError: it is empty, not a string, or contains control characters.
    """
    if not isinstance(name, str) or not name.strip() or plain(name) != name:
        raise ConfigError(f"{what} must be one line of text without control characters, but got {name!r:.80}")


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and its noun, ``plural`` where that is not the noun with an s.

    Examples:
        >>> counted(1, "seed"), counted(12, "seed"), counted(2, "process", "processes")
        ('1 seed', '12 seeds', '2 processes')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {plural or f'{noun}s'}"


def file_stems(names: list[str]) -> dict[str, str]:
    """A distinct file-name stem for each name, even on file systems that ignore case.

    Examples:
        >>> file_stems(["Learning rate", "learning-rate", "日本", "?"])
        {'Learning rate': 'learning_rate', 'learning-rate': 'learning_rate_2', '日本': '日本', '?': 'experiment'}
    """
    stems: dict[str, str] = {}
    for name in names:
        words = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", name).casefold()).strip("_")
        stem = _cut(words) or "experiment"
        number = 1
        while (numbered := stem if number == 1 else f"{stem}_{number}") in stems.values():
            number += 1
        stems[name] = numbered
    return stems


def _cut(words: str) -> str:
    """At most 100 bytes, which leaves room in a file name of 255."""
    return words.encode()[:100].decode(errors="ignore").strip("_")


_HEADING = "source\tprediction\treferences"
_SEPARATOR = " | "
_SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "|": "\\|"}
_LONG = {written: text for text, written in _SHORT.items()}
_SPECIAL = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]|(?<![^ ])\|(?![^ ])")
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")


def escaped(text: str) -> str:
    r"""Escape a text for a cell of a table.

    A backslash becomes ``\\``, a tab ``\t``, a line feed ``\n``, a carriage return ``\r``, and any other character
    that controls or ends a line ``\u`` and its four digits. A bar between spaces, which separates references, becomes
    ``\|``. Everything else stays unchanged.

    Examples:
        >>> print(escaped("a | b|c\td"))
        a \| b|c\td
    """
    return _SPECIAL.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def unescaped(cell: str) -> str:
    r"""The inverse of `escaped`.

    Examples:
        >>> unescaped(escaped("a | b\t\\t")) == "a | b\t\\t"
        True

    Raises:
        DataError: a backslash does not begin one of its escapes.
    """
    return _ESCAPE.sub(lambda found: _character(found[0]), cell)


def _character(escape: str) -> str:
    if len(escape) == len(r"\u0000"):
        return chr(int(escape[2:], 16))
    if escape not in _LONG:
        raise DataError(f"a cell must hold no backslash but in {' '.join(_LONG)} and \\u0000, but it has {escape!r}")
    return _LONG[escape]


@dataclass(frozen=True)
class Outcome:
    """A row of a table of predictions.

    Attributes:
        source: the input.
        prediction: the output.
        references: the correct outputs.
    """

    source: str
    prediction: str
    references: tuple[str, ...]


def predictions_table(rows: Iterable[Outcome]) -> str:
    """A table of predictions: a heading, then one row per line; references are separated by ``" | "``."""
    lines = [
        f"{escaped(row.source)}\t{escaped(row.prediction)}\t{_SEPARATOR.join(map(escaped, row.references))}"
        for row in rows
    ]
    return "".join(f"{line}\n" for line in (_HEADING, *lines))


def read_predictions(path: str | Path) -> list[Outcome]:
    """Read a table of predictions, such as the ``test.predictions.tsv`` of a run.

    Raises:
        DataError: it cannot be read or is no such table; the message names the line.
    """
    (heading, where), *lines = read_lines(path)
    if heading != _HEADING:
        raise DataError(f"{where} must be the heading {_HEADING!r}, but it is {heading[:60]!r}; name another file")
    return [_outcome(line, where) for line, where in lines]


def _outcome(line: str, where: str) -> Outcome:
    cells = line.split("\t")
    if len(cells) != 3:
        raise DataError(f"{where} must be a source, a prediction and references, but it has {len(cells)} columns")
    try:
        source, prediction = map(unescaped, cells[:2])
        return Outcome(source, prediction, tuple(map(unescaped, cells[2].split(_SEPARATOR))))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
