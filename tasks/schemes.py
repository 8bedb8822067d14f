"""Chunks as tags: IOB1, IOB2 and IOBES."""

import re
from collections.abc import Callable
from typing import Literal

from structpred.errors import DataError
from structpred.vocabulary import Symbols

Scheme = Literal["iob1", "iob2", "iobes"]

_PREFIXES: dict[Scheme, str] = {"iob1": "BI", "iob2": "BI", "iobes": "BIES"}
_TAG = {scheme: re.compile(rf"O|[{prefixes}]-.+", re.DOTALL) for scheme, prefixes in _PREFIXES.items()}


def is_tag(tag: str, scheme: Scheme) -> bool:
    """Whether a tag is one of the scheme, wherever it stands."""
    return _TAG[scheme].fullmatch(tag) is not None


def to_iob2(tags: Symbols, scheme: Scheme, where: Callable[[int], str]) -> Symbols:
    """The tags of one sentence in IOB2: the first word of every chunk has B, its others I, a word outside O.

    In IOB1 a chunk begins with I, or with B where it follows one of its kind directly; B is taken
    for a beginning anywhere. In IOBES a chunk ends with E, and S is one of a single word.

    Examples:
        >>> to_iob2(("I-NP", "I-NP", "B-NP", "O"), "iob1", "word {}".format)
        ('B-NP', 'I-NP', 'B-NP', 'O')

    Args:
        tags: as the file writes them.
        scheme: how it writes them.
        where: says where a tag stands, given its position, for messages.

    Raises:
        DataError: a tag is none of the scheme, or cannot follow the one before it.
    """
    converted, before = [], "O"
    for position, tag in enumerate(tags):
        if not is_tag(tag, scheme):
            raise _unknown(tag, scheme, where(position))
        goes_on = tag[0] in "IE" and before[0] in "BI" and tag[2:] == before[2:]
        if not goes_on:
            if scheme == "iobes" and before[0] in "BI":
                raise _unfinished(before, repr(tag), where(position))
            if scheme != "iob1" and tag[0] in "IE":
                raise DataError(
                    f"{where(position)}: {tag!r} must continue a chunk of its kind in {scheme.upper()}, but it "
                    f"follows {before!r}; correct the tag or name another scheme"
                )
        converted.append(tag if tag == "O" else f"{'I' if goes_on else 'B'}-{tag[2:]}")
        before = tag
    if scheme == "iobes" and before[0] in "BI":
        raise _unfinished(before, "the end of the sentence", where(len(tags) - 1))
    return tuple(converted)


def from_iob2(tags: Symbols, scheme: Scheme) -> Symbols:
    """IOB2 tags in another scheme; an I that continues no chunk begins one there.

    Examples:
        >>> from_iob2(("B-NP", "I-NP", "B-NP", "O"), "iobes")
        ('B-NP', 'E-NP', 'S-NP', 'O')
    """
    if scheme == "iob2":
        return tags
    places = zip(("O", *tags), tags, (*tags[1:], "O"), strict=False)
    return tuple(_WRITERS[scheme](*neighbours) for neighbours in places)


def _iob1(before: str, tag: str, after: str) -> str:
    del after
    needs_b = tag[0] == "B" and before[2:] == tag[2:]
    return tag if tag == "O" or needs_b else f"I-{tag[2:]}"


def _iobes(before: str, tag: str, after: str) -> str:
    if tag == "O":
        return tag
    begins = tag[0] == "B" or before[2:] != tag[2:]
    ends = after != f"I-{tag[2:]}"
    return f"{('S' if ends else 'B') if begins else ('E' if ends else 'I')}-{tag[2:]}"


_WRITERS = {"iob1": _iob1, "iobes": _iobes}


def _unknown(tag: str, scheme: Scheme, place: str) -> DataError:
    ways = ", ".join(f"{prefix}-…" for prefix in _PREFIXES[scheme])
    return DataError(
        f"{place}: the tag must be O or one of {ways} in {scheme.upper()}, but it is {tag!r}; name its column or its "
        "scheme"
    )


def _unfinished(before: str, what: str, place: str) -> DataError:
    return DataError(
        f"{place}: {before!r} must be followed by I-{before[2:]} or E-{before[2:]} in IOBES, but here comes {what}; "
        "correct the tags or name another scheme"
    )
