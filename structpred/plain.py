"""Text of users as it may stand in a page, a file name or on a terminal."""

import re
import unicodedata

from structpred.errors import ConfigError

# Control characters, lone surrogates, what is no character, and what reverses the text after it: XML has no way to
# write the first three, and a terminal obeys the first.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SPACE = re.compile(r"[ \t]*[\r\n\t]\s*")


def plain(text: str) -> str:
    r"""The text on one line, with characters that cannot be seen spelt out.

    >>> plain("two\nlines"), plain("red \x1b[31m")
    ('two lines', 'red \\x1b[31m')
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), _SPACE.sub(" ", text))


def refuse_unseen(name: object, what: str) -> None:
    """Refuse a name that is not one line of text.

    Raises:
        ConfigError: it is empty, no text, or has control characters.
    """
    if not isinstance(name, str) or not name.strip() or plain(name) != name:
        raise ConfigError(f"{what} must be one line of text without control characters, but got {name!r:.80}")


def file_stems(names: list[str]) -> dict[str, str]:
    """A part of a file name for each name, different ones also where the file system does not tell case apart.

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
    """At most 100 bytes, which leaves room for what else stands in a file name of 255."""
    return words.encode()[:100].decode(errors="ignore").strip("_")
