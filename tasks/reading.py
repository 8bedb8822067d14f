"""What several tasks need to read their data."""

import hashlib
import json
from collections.abc import Iterable, Sequence

from structpred.task import Example, Splits
from structpred.vocabulary import Symbols


def splits_of(*, train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example]) -> Splits:
    """The splits of a task, with the digest of all their examples."""
    return Splits(tuple(train), tuple(dev), tuple(test), digest_of(train, dev, test))


def digest_of(*splits: Sequence[Example]) -> str:
    """SHA-256, in hexadecimal, over the sources and references of the given splits, in order.

    Where the examples were read does not count: a file may move or be named otherwise.

    >>> same = [Example(("a",), (("b",),), where="here")], [Example(("a",), (("b",),), where="there")]
    >>> digest_of(same[0]) == digest_of(same[1])
    True
    """
    content = [[(example.source, example.references) for example in split] for split in splits]
    return hashlib.sha256(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def in_hashed_order(sources: Iterable[Symbols]) -> list[Symbols]:
    """Sources in the order of the SHA-256 of their text: as good as shuffled, and the same everywhere.

    Taking splits from the front keeps a source's split when others are added behind it.
    """
    return sorted(sources, key=lambda source: (hashlib.sha256("".join(source).encode()).digest(), source))
