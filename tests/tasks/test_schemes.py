import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import IOB1, IOB2, IOBES, Tokens

from structpred.errors import DataError
from structpred.metrics import chunks
from structpred.tasks.schemes import Scheme, from_iob2, to_iob2
from structpred.vocabulary import Symbols

SEQEVAL = {"iob1": IOB1, "iob2": IOB2, "iobes": IOBES}
SCHEMES: tuple[Scheme, ...] = ("iob1", "iob2", "iobes")


def place(position: int) -> str:
    return f"line {position + 1}"


def valid(pieces: list[tuple[str, int]]) -> Symbols:
    """Valid IOB2 from kinds and lengths of chunks; kind O stands outside."""
    return tuple(
        "O" if kind == "O" else f"{'I' if i else 'B'}-{kind}" for kind, length in pieces for i in range(length)
    )


valid_tags = st.lists(st.tuples(st.sampled_from(["O", "X", "Y", "A-B"]), st.integers(1, 3)), max_size=6).map(valid)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(tags=valid_tags)
def test_there_and_back_changes_nothing(scheme: Scheme, tags: Symbols) -> None:
    assert to_iob2(from_iob2(tags, scheme), scheme, place) == tags


@pytest.mark.parametrize("scheme", SCHEMES)
def test_chunks_are_those_that_seqeval_finds_in_the_scheme(scheme: Scheme) -> None:
    generator = random.Random(2)
    for _ in range(300):
        pieces = [(generator.choice(["O", "X", "Y"]), generator.randint(1, 3)) for _ in range(generator.randint(0, 6))]
        tags = valid(pieces)
        found = Tokens(list(from_iob2(tags, scheme)), SEQEVAL[scheme]).entities
        assert {(entity.tag, entity.start, entity.end) for entity in found} == chunks(tags)


@pytest.mark.parametrize(
    ("scheme", "tags", "expected"),
    [
        ("iob1", ("I-X", "I-Y", "I-Y", "B-Y"), ("B-X", "B-Y", "I-Y", "B-Y")),
        ("iob1", ("O", "B-X", "I-X"), ("O", "B-X", "I-X")),  # B where I would do
        ("iobes", ("S-X", "B-X", "I-X", "E-X", "S-Y"), ("B-X", "B-X", "I-X", "I-X", "B-Y")),
        ("iob2", (), ()),
        ("iobes", (), ()),
    ],
)
def test_examples_by_hand(scheme: Scheme, tags: Symbols, expected: Symbols) -> None:
    assert to_iob2(tags, scheme, place) == expected


def test_an_i_that_goes_on_with_nothing_begins_a_chunk_elsewhere() -> None:
    tags = ("I-X", "O", "B-X", "I-Y", "I-Y")
    assert from_iob2(tags, "iobes") == ("S-X", "O", "S-X", "B-Y", "E-Y")
    assert from_iob2(tags, "iob1") == ("I-X", "O", "I-X", "I-Y", "I-Y")
    assert from_iob2(tags, "iob2") == tags


@pytest.mark.parametrize(
    ("scheme", "tags", "expected"),
    [
        ("iob2", ("O", "I-X"), "line 2: 'I-X' must continue a chunk of its kind in IOB2, but it follows 'O'"),
        ("iob2", ("B-X", "I-Y"), "line 2: 'I-Y' must continue a chunk of its kind in IOB2, but it follows 'B-X'"),
        ("iob2", ("S-X",), "line 1: the tag must be O or one of B-…, I-… in IOB2, but it is 'S-X'"),
        ("iob1", ("E-X",), "line 1: the tag must be O or one of B-…, I-… in IOB1, but it is 'E-X'"),
        ("iob2", ("",), "line 1: the tag must be O or one of B-…, I-… in IOB2, but it is ''"),
        ("iob2", ("B",), "line 1: the tag must be O or one of"),
        ("iob2", ("B-",), "line 1: the tag must be O or one of"),
        ("iob2", ("NN",), "line 1: the tag must be O or one of"),
        ("iobes", ("B-X", "O"), "line 2: 'B-X' must be followed by I-X or E-X in IOBES, but here comes 'O'"),
        ("iobes", ("B-X", "B-X", "E-X"), "line 2: 'B-X' must be followed by I-X or E-X in IOBES, but here comes 'B-X'"),
        ("iobes", ("O", "I-X"), "line 2: 'I-X' must continue a chunk of its kind in IOBES, but it follows 'O'"),
        ("iobes", ("S-X", "E-X"), "line 2: 'E-X' must continue a chunk of its kind in IOBES, but it follows 'S-X'"),
        ("iobes", ("B-X", "E-X", "E-X"), "line 3: 'E-X' must continue a chunk of its kind in IOBES"),
        ("iobes", ("B-X",), "line 1: 'B-X' must be followed by I-X or E-X in IOBES, but here comes the end of the"),
    ],
)
def test_tags_that_cannot_be_are_refused_where_they_stand(scheme: Scheme, tags: Symbols, expected: str) -> None:
    with pytest.raises(DataError) as error:
        to_iob2(tags, scheme, place)
    assert str(error.value).startswith(expected)
