import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structpred.vocabulary import Vocabularies
from structpred.words import FlatWords, Words

SENTENCES = [("ab", "a", "ab"), (), ("b",), ("ab",)]
KNOWN = Vocabularies.of(SENTENCES, [("X",)])

sentences_of_words = st.lists(st.lists(st.text("abz", max_size=4), max_size=5).map(tuple), max_size=6)


def spelt(words: Words) -> list[list[list[int]]]:
    """Character ids of every word of every sentence."""
    rows = zip(words.kinds.tolist(), words.lengths.tolist(), strict=True)
    spellings = words.spellings.tolist()
    return [[spellings[kind] for kind in row[:length]] for row, length in rows]


@given(sentences_of_words, st.data())
def test_gathering_gives_the_words_and_spellings_of_the_chosen_sentences(
    sentences: list[tuple[str, ...]], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(sentences))), max_size=9)) if sentences else []
    words = FlatWords.of(sentences, KNOWN).gather(torch.tensor(chosen, dtype=torch.long))
    expected = [sentences[i] for i in chosen]
    assert words.words.tolist() == [[KNOWN.inputs.ids.get(word, 3) for word in each] for each in expected]
    assert spelt(words) == [[[KNOWN.characters.ids.get(c, 2) for c in word] for word in each] for each in expected]
    assert len(words.spellings) == len({word for each in expected for word in each}), "each distinct word once"
    assert not words.kinds[~words.mask()].any()


def test_an_unknown_word_keeps_its_spelling_and_an_unknown_character_has_an_id() -> None:
    words = FlatWords.of([("ba", "äb")], KNOWN).gather(torch.tensor([0]))
    assert KNOWN.inputs.symbols == ("a", "ab", "b")
    assert words.words.tolist() == [[3, 3]]
    assert spelt(words) == [[[1, 0], [2, 1]]]


def test_rare_words_are_unknown_but_their_characters_are_not() -> None:
    known = Vocabularies.of(SENTENCES, [("X",)], min_count=2)
    assert known.inputs.symbols == ("ab",)
    assert known.characters.symbols == ("a", "b")


@pytest.mark.parametrize("rows", [[0, 1, 2], [1], []], ids=["ragged", "an empty sentence", "no sentence"])
def test_tensors_put_a_batch_together_again(rows: list[int]) -> None:
    words = FlatWords.of(SENTENCES, KNOWN).gather(torch.tensor(rows, dtype=torch.long))
    again = Words.from_tensors(*words.tensors())
    assert again.words.tolist() == words.words.tolist()
    assert spelt(again) == spelt(words)
    assert len(again) == len(rows)


def test_moving_keeps_everything() -> None:
    flat = FlatWords.of(SENTENCES, KNOWN).to("meta")
    assert len(flat) == 4
    words = FlatWords.of(SENTENCES, KNOWN).gather(torch.tensor([0, 2])).to("meta")
    assert words.device == torch.device("meta")
    assert {tensor.device.type for tensor in words.tensors()} == {"meta"}
    assert flat.lengths.device.type == "meta"
