import pytest
from hypothesis import given
from hypothesis import strategies as st

from structpred.errors import DataError
from structpred.vocabulary import Vocabulary

symbol_rows = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "", "ˈɑ", "\u0301"]), max_size=5).map(tuple), max_size=6
)


@given(symbol_rows)
def test_symbols_go_to_ids_and_back(rows: list[tuple[str, ...]]) -> None:
    vocabulary = Vocabulary.of(rows)
    assert len(vocabulary) == len({symbol for row in rows for symbol in row})
    for row in rows:
        ids = vocabulary.encode(row)
        assert all(0 <= i < len(vocabulary) for i in ids)
        assert vocabulary.decode(ids) == row
    assert vocabulary == Vocabulary.of(rows[::-1]), "the order of the examples does not matter"


def test_rare_symbols_are_left_out() -> None:
    rows = [("a", "b"), ("b", "c", "c"), ("b",)]
    assert Vocabulary.of(rows, min_count=2).symbols == ("b", "c")
    assert Vocabulary.of(rows, min_count=4).symbols == ()
    assert len(Vocabulary.of([])) == 0


def test_an_unknown_symbol_is_refused_unless_it_has_an_id() -> None:
    vocabulary = Vocabulary(("a", "b"))
    assert vocabulary.unknown(("b", "x", "a", "y")) == ("x", "y")
    assert vocabulary.encode(("b", "x"), unknown=2) == [1, 2]
    with pytest.raises(DataError, match=r"^the symbol 'x' never occurs in the training data, which knows 2 symbols$"):
        vocabulary.encode(("b", "x"))


def test_equal_vocabularies_are_equal_values() -> None:
    one, other = Vocabulary(("a", "b")), Vocabulary(("a", "b"))
    assert one.ids == {"a": 0, "b": 1}
    assert one == other, "what one of them has cached does not count"
    assert hash(one) == hash(other)
    assert one != Vocabulary(("b", "a"))
