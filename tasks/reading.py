"""What several tasks need to read their data."""

import hashlib
import json
import os.path
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from structpred.errors import DataError
from structpred.recordings import Recording, Source, spelt
from structpred.task import Example, Splits
from structpred.vocabulary import Symbols


def splits_of(*, train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example]) -> Splits:
    """The splits of a task, with the digest of all their examples."""
    return Splits(tuple(train), tuple(dev), tuple(test), digest_of(train, dev, test))


def with_unknown(splits: Splits) -> Splits:
    """The same splits; dev and test say at each position whether its word is missing from the training sources.

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


def digest_of(*splits: Sequence[Example]) -> str:
    """SHA-256, in hexadecimal, over the sources and references of the given splits, in order.

    Where the examples were read does not count: a file may move or be named otherwise.

    >>> same = [Example(("a",), (("b",),), where="here")], [Example(("a",), (("b",),), where="there")]
    >>> digest_of(same[0]) == digest_of(same[1])
    True
    """
    hashed = hashlib.sha256(b"[")
    for i, split in enumerate(splits):  # piece by piece: the text of all together may be larger than the data
        hashed.update(b",[" if i else b"[")
        for j, example in enumerate(split):
            source = example.source.digest if isinstance(example.source, Recording) else example.source
            node = [source, example.references]
            text = json.dumps(node, separators=(",", ":"), ensure_ascii=False)
            hashed.update(f",{text}".encode() if j else text.encode())
        hashed.update(b"]")
    hashed.update(b"]")
    return hashed.hexdigest()


def shared(symbols: Iterable[str]) -> Symbols:
    """Symbols as a tuple; equal ones are one object in memory, however often they occur in the data."""
    return tuple(map(sys.intern, symbols))


def in_hashed_order(sources: Iterable[Source]) -> list[Source]:
    """Sources in the order of the SHA-256 of their text: as good as shuffled, and the same everywhere.

    Taking splits from the front keeps a source's split when others are added behind it.
    """

    def place(source: Source) -> tuple[bytes, Symbols]:
        symbols = spelt(source)
        return hashlib.sha256("".join(symbols).encode()).digest(), symbols

    return sorted(sources, key=place)


def place_of(path: str) -> Path:
    """A path with ``~`` and variables expanded.

    Raises:
        DataError: it begins with a variable that is not set.
    """
    expanded = os.path.expandvars(path)
    if unset := re.match(r"\$\{?(\w+)", expanded):
        raise DataError(
            f"{path} must be a path, but the variable {unset[1]} is not set; set ${unset[1]} to the folder that holds "
            "the data"
        )
    return Path(expanded).expanduser()


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
