import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structpred.sequences import FlatSequences, Sequences

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
