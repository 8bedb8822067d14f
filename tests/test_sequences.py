import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structpred.errors import ConfigError
from structpred.sequences import FlatSequences, Sequences
from structpred.vocabulary import Vocabularies

rows_of_ids = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=7)


@given(rows_of_ids)
def test_lists_go_in_and_come_out(rows: list[list[int]]) -> None:
    sequences = Sequences.of(rows)
    assert sequences.tolist() == rows
    assert len(sequences) == len(rows)
    assert sequences.labels.shape == (len(rows), max(map(len, rows), default=0))
    assert torch.equal(sequences.mask().sum(-1), sequences.lengths)
    assert not sequences.labels[~sequences.mask()].any(), "cells beyond the length hold 0"
    assert sequences.labels[sequences.mask()].tolist() == [label for row in rows for label in row]


@given(rows_of_ids, st.data())
def test_gathering_equals_padding_the_chosen_rows(rows: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(rows))), max_size=9)) if rows else []
    gathered = FlatSequences.of(rows).gather(torch.tensor(chosen, dtype=torch.long))
    expected = Sequences.of([rows[i] for i in chosen])
    assert torch.equal(gathered.labels, expected.labels)
    assert torch.equal(gathered.lengths, expected.lengths)
    assert gathered.labels.dtype == expected.labels.dtype == torch.long


def test_padding_of_any_kind_is_replaced_and_labels_that_are_none_are_refused() -> None:
    clean = Sequences.of([[1, 0], [2]])
    assert clean.readable(3) is clean
    padded = Sequences(torch.tensor([[1, 0], [2, -100]]), clean.lengths)
    assert padded.readable(3).labels.tolist() == clean.labels.tolist()
    for wrong, ends in ([[1, 3], [2, -100]], "1 to 3"), ([[-1, 0], [2, 0]], "-1 to 2"):
        with pytest.raises(ConfigError, match=rf"from 0 to 2, since there are 3, but got {ends}; number them from 0$"):
            Sequences(torch.tensor(wrong), clean.lengths).readable(3)
    nothing = Sequences.of([])
    assert nothing.readable(3) is nothing


def test_flat_sequences_lie_end_to_end() -> None:
    flat = FlatSequences.of([[3, 1], [], [2]])
    assert flat.labels.tolist() == [3, 1, 2]
    assert flat.starts.tolist() == [0, 2, 2]
    assert len(flat) == 3
    assert flat.to("cpu").lengths.tolist() == [2, 0, 1]


@pytest.mark.parametrize("ended", [None, torch.tensor([True, False, True])])
def test_candidates_and_flatten_undo_each_other(ended: torch.Tensor | None) -> None:
    sequences = Sequences.of([[3, 1], [2], []])
    sequences = Sequences(sequences.labels, sequences.lengths, ended)
    candidates = sequences.candidates()
    assert candidates.labels.shape == (3, 1, 2)
    assert candidates.mask().shape == (3, 1, 2)
    again = candidates.flatten()
    assert again.tolist() == sequences.tolist()
    assert (again.ended is None) == (ended is None)
    if ended is not None:
        assert again.ended is not None
        assert torch.equal(again.ended, ended)


def test_flatten_keeps_the_candidates_of_an_example_together() -> None:
    labels = torch.arange(12).reshape(2, 3, 2)
    flat = Sequences(labels, torch.tensor([[2, 1, 0], [2, 2, 1]])).flatten()
    assert flat.tolist() == [[0, 1], [2], [], [6, 7], [8, 9], [10]]


@pytest.mark.parametrize("rows", [torch.tensor([2, 0]), slice(0, 3, 2)])
def test_select_takes_examples_with_all_they_have(rows: torch.Tensor | slice) -> None:
    sequences = Sequences.of([[3, 1], [2], [5]])
    cut = Sequences(sequences.labels, sequences.lengths, torch.tensor([False, True, True])).select(rows)
    expected = [[5], [3, 1]] if isinstance(rows, torch.Tensor) else [[3, 1], [5]]
    assert cut.tolist() == expected
    assert cut.ended is not None
    assert cut.ended.tolist() == ([True, False] if isinstance(rows, torch.Tensor) else [False, True])


def test_moving_keeps_everything() -> None:
    sequences = Sequences.of([[3, 1], [2]])
    moved = Sequences(sequences.labels, sequences.lengths, torch.tensor([True, False])).to("meta")
    assert {moved.device.type, moved.lengths.device.type} == {"meta"}
    assert moved.ended is not None
    assert moved.ended.device.type == "meta"


def test_a_part_of_a_batch_of_words_or_vectors_is_that_of_the_data() -> None:
    words, vectors = FlatSequences.of_words(SENTENCES, KNOWN), FLAT
    part = words.gather(torch.tensor([0, 1, 2])).select(torch.tensor([2]))
    assert spelt(part)[0] == spelt(words.gather(torch.tensor([2])))[0]
    chosen = vectors.gather(torch.tensor([0, 1, 2])).select(slice(2, 3)).vectors
    assert chosen is not None
    assert torch.equal(chosen[0, :1], VALUES[[1]])


SENTENCES = [("ab", "a", "ab"), (), ("b",), ("ab",)]
KNOWN = Vocabularies.of(SENTENCES, [("X",)])

sentences_of_words = st.lists(st.lists(st.text("abz", max_size=4), max_size=5).map(tuple), max_size=6)


def spelt(words: Sequences) -> list[list[list[int]]]:
    """Character ids of every word of every sentence."""
    assert words.rows is not None
    assert words.spellings is not None
    rows = zip(words.rows.tolist(), words.lengths.tolist(), strict=True)
    spellings = words.spellings.tolist()
    return [[spellings[kind] for kind in row[:length]] for row, length in rows]


@given(sentences_of_words, st.data())
def test_gathering_gives_the_words_and_spellings_of_the_chosen_sentences(
    sentences: list[tuple[str, ...]], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(sentences))), max_size=9)) if sentences else []
    words = FlatSequences.of_words(sentences, KNOWN).gather(torch.tensor(chosen, dtype=torch.long))
    expected = [sentences[i] for i in chosen]
    assert words.tolist() == [[KNOWN.inputs.ids.get(word, 3) for word in each] for each in expected]
    assert spelt(words) == [[[KNOWN.characters.ids.get(c, 2) for c in word] for word in each] for each in expected]
    assert words.rows is not None
    assert words.spellings is not None
    assert len(words.spellings) == len({word for each in expected for word in each}), "each distinct word once"
    assert not words.rows[~words.mask()].any()


def test_an_unknown_word_keeps_its_spelling_and_an_unknown_character_has_an_id() -> None:
    words = FlatSequences.of_words([("ba", "äb")], KNOWN).gather(torch.tensor([0]))
    assert KNOWN.inputs.symbols == ("a", "ab", "b")
    assert words.tolist() == [[3, 3]]
    assert spelt(words) == [[[1, 0], [2, 1]]]


def test_rare_words_are_unknown_but_their_characters_are_not() -> None:
    known = Vocabularies.of(SENTENCES, [("X",)], min_count=2)
    assert known.inputs.symbols == ("ab",)
    assert known.characters.symbols == ("a", "b")


@pytest.mark.parametrize("rows", [[0, 1, 2], [1], []], ids=["ragged", "an empty sentence", "no sentence"])
def test_tensors_put_words_together_again(rows: list[int]) -> None:
    words = FlatSequences.of_words(SENTENCES, KNOWN).gather(torch.tensor(rows, dtype=torch.long))
    again = Sequences.from_tensors(*words.tensors())
    assert again.tolist() == words.tolist()
    assert spelt(again) == spelt(words)
    assert len(again) == len(rows)


def test_moving_words_keeps_everything() -> None:
    flat = FlatSequences.of_words(SENTENCES, KNOWN).to("meta")
    assert len(flat) == 4
    words = FlatSequences.of_words(SENTENCES, KNOWN).gather(torch.tensor([0, 2])).to("meta")
    assert words.device == torch.device("meta")
    assert {part.device.type for part in words.tensors() if isinstance(part, torch.Tensor)} == {"meta"}
    assert words.content == flat.content == "words"
    assert flat.lengths.device.type == "meta"


VALUES = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
FLAT = FlatSequences.of([[0, 2, 0], [], [1]], VALUES)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 2], [1], []], ids=["ragged", "twice", "an empty one", "none"])
def test_gathering_gives_the_chosen_vectors(rows: list[int]) -> None:
    frames = FLAT.gather(torch.tensor(rows, dtype=torch.long))
    assert frames.vectors is not None
    kinds = [[[0, 2, 0], [], [1]][row] for row in rows]
    assert frames.lengths.tolist() == [len(each) for each in kinds]
    for values, length, each in zip(frames.vectors, frames.lengths.tolist(), kinds, strict=True):
        assert torch.equal(values[:length], VALUES[each])
        assert not values[length:].any(), "zeros in the padding"
    assert len(frames) == len(rows)
    assert frames.mask().sum(1).tolist() == frames.lengths.tolist()
    again = Sequences.from_tensors(*frames.tensors())
    assert again.vectors is not None
    assert torch.equal(again.vectors, frames.vectors)


def test_moving_vectors_keeps_everything() -> None:
    assert len(FLAT.to("meta")) == 3
    frames = FLAT.gather(torch.tensor([0, 2])).to("meta")
    assert frames.vectors is not None
    assert frames.vectors.shape == (2, 3, 2)
    assert frames.content == "vectors"
    assert frames.device.type == "meta"


def test_inputs_without_a_single_frame_keep_the_size_of_frames() -> None:
    nothing = FlatSequences.of([[], []], torch.zeros(0, 2))
    vectors = nothing.gather(torch.tensor([1, 0])).vectors
    assert vectors is not None
    assert vectors.shape == (2, 0, 2)
