"""What several tasks need to read their data."""

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from structpred.errors import DataError
from structpred.sequences import Source, fingerprint, spelt
from structpred.task import Example, Splits, Wording
from structpred.vocabulary import Symbols

AnySource = TypeVar("AnySource", bound=Source)


def splits_of(*, train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example]) -> Splits:
    """The splits of a task, with the digest of all their examples."""
    return Splits(tuple(train), tuple(dev), tuple(test), digest_of(train, dev, test))


def with_unknown(splits: Splits) -> Splits:
    """The same splits; dev and test say at each position whether its word is missing from the training sources.

    Examples:
        >>> one = Example(("a", "b"), (("X", "Y"),), where="here")
        >>> with_unknown(splits_of(train=[Example(("b",), (("Y",),), where="here")], dev=[one], test=[])).dev[0].unknown
        (True, False)
    """
    known = {word for example in splits.train for word in spelt(example.source)}
    dev, test = (
        tuple(replace(each, unknown=tuple(word not in known for word in spelt(each.source))) for each in split)
        for split in (splits.dev, splits.test)
    )
    return replace(splits, dev=dev, test=test)


def in_pieces(
    examples: Sequence[Example],
    sources: Sequence[Symbols],
    targets: Iterable[Symbols],
    words: Callable[[Symbols], Symbols],
) -> list[Example]:
    """The same examples in pieces of words; metrics go on comparing the references as they were written.

    Args:
        examples: in words.
        sources: the pieces of each source.
        targets: the pieces of all references of all examples, in order.
        words: makes words of an output's pieces.
    """
    following = iter(targets)
    return [
        replace(
            example,
            source=source,
            references=tuple(next(following) for _ in example.references),
            wording=Wording(example.references, words),
            unknown=(),
        )
        for example, source in zip(examples, sources, strict=True)
    ]


def digest_of(*splits: Sequence[Example]) -> str:
    """SHA-256, in hexadecimal, over the sources, references, metadata and wording of the given splits, in order.

    Where the examples were read does not count: a file may move or be named otherwise.

    Examples:
        >>> same = [Example(("a",), (("b",),), where="here")], [Example(("a",), (("b",),), where="there")]
        >>> digest_of(same[0]) == digest_of(same[1])
        True
    """
    hashed = hashlib.sha256(b"[")
    for i, split in enumerate(splits):  # piece by piece: the text of all together may be larger than the data
        hashed.update(b",[" if i else b"[")
        for j, example in enumerate(split):
            known = [json.dumps(dict(example.metadata), sort_keys=True)] if example.metadata else []
            written = [] if example.wording is None else [["wording", example.wording.references]]
            content = [fingerprint(example.source), example.references, *known, *written]
            text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
            hashed.update(f",{text}".encode() if j else text.encode())
        hashed.update(b"]")
    hashed.update(b"]")
    return hashed.hexdigest()


def shared(symbols: Iterable[str]) -> Symbols:
    """Symbols as a tuple; equal ones are one object in memory, no matter how often they occur in the data."""
    return tuple(map(sys.intern, symbols))


_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b\u2060\ufeff]")  # \s has U+00A0 and other spaces
_UNSEEN_IN_TAG = re.compile(_UNSEEN.pattern[:-1] + r"\u00ad\u200c-\u200f\u202a-\u202e\u2061-\u2069]")


def tags_of(tags: Symbols, where: Callable[[int], str]) -> Symbols:
    """The tags of one sentence, checked for white space and invisible characters.

    Args:
        tags: as the file writes them, without spaces around.
        where: says where a tag stands, given its position.

    Raises:
        DataError: one holds white space or an invisible character, and would be a label of its own.
    """
    for position, tag in enumerate(tags):
        if found := _UNSEEN_IN_TAG.search(tag):
            raise DataError(_unseen(f"{where(position)}: the tag", tag, found[0]))
    return tags


def label_of(text: str, where: str) -> str:
    """A label, once it is sure that it holds no white space and nothing else that is not seen.

    What joins letters (U+200C, U+200D) and what says their direction may be part of a label.

    Raises:
        DataError: it holds white space or an invisible character; the message begins with ``where``.
    """
    if found := _UNSEEN.search(text):
        raise DataError(_unseen(where, text, found[0]))
    return text


def _unseen(what: str, text: str, character: str) -> str:
    name = unicodedata.name(character, "a control character")
    return (
        f"{what} must be without white space and invisible characters, but {text[:40]!r} holds U+{ord(character):04X} "
        f"({name}); remove that"
    )


def in_hashed_order(sources: Iterable[AnySource]) -> list[AnySource]:
    """Sources in the order of the SHA-256 of their text: as good as shuffled, and the same everywhere.

    Taking splits from the front keeps a source's split when others are added behind it.
    """

    def place(source: Source) -> tuple[bytes, Symbols]:
        symbols = spelt(source)
        return hashed("".join(symbols)), symbols

    return sorted(sources, key=place)


def hashed(text: str) -> bytes:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()


def sentence_of(text: str, longest: int) -> Symbols:
    """The words of a sentence, separated by spaces (not by U+00A0, which may be part of a word).

    Raises:
        DataError: there is none, or there are more than ``longest``.
    """
    words = tuple(filter(None, re.split(r"[ \t\r\n]+", text)))
    if not words:
        raise DataError("the input must be a sentence, but it is empty; write words separated by spaces")
    if len(words) > longest:
        raise DataError(f"the input must have at most {longest} words, but it has {len(words)}; split it")
    return words
