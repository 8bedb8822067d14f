"""The table of prefix distances, against rapidfuzz and by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from structpred.rewards.edit_table import prefix_distances
from structpred.sequences import Sequences
from tests.support.tiny import as_candidates, strings


def test_the_table_of_a_small_pair_by_hand() -> None:
    table = prefix_distances(as_candidates([[1, 0]]), Sequences.of([[0, 1, 1]]))
    assert table.tolist() == [[[[0, 1, 2, 3], [1, 1, 1, 2], [2, 1, 2, 2]]]]


rows = st.lists(st.integers(0, 2), max_size=6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(rows, rows, rows), min_size=1, max_size=3))
def test_every_cell_is_the_distance_of_two_prefixes(examples: list[tuple[list[int], list[int], list[int]]]) -> None:
    flat = Sequences.of([output for first, second, _ in examples for output in (first, second)])
    outputs = Sequences(flat.labels.view(len(examples), 2, -1), flat.lengths.view(-1, 2))
    references = Sequences.of([reference for _, _, reference in examples])
    table = prefix_distances(outputs, references)
    assert table.shape == (len(examples), 2, outputs.labels.shape[-1] + 1, references.labels.shape[-1] + 1)
    for example, (*candidates, reference) in enumerate(examples):
        for candidate, output in enumerate(candidates):
            for t in range(len(output) + 1):
                for j in range(len(reference) + 1):
                    expected = Levenshtein.distance(output[:t], reference[:j])
                    assert table[example, candidate, t, j] == expected


@pytest.mark.parametrize("reference", [[], [0], [0, 1, 1, 0]], ids=str)
def test_all_short_strings_at_once(reference: list[int]) -> None:
    outputs = strings(2, 4)
    candidates = as_candidates(outputs)
    table = prefix_distances(candidates, Sequences.of([reference]))
    last = table[0, torch.arange(len(outputs)), candidates.lengths[0], len(reference)]
    assert last.tolist() == [Levenshtein.distance(output, reference) for output in outputs]


def test_padding_changes_no_cell_that_counts() -> None:
    outputs, references = as_candidates([[0, 1], [1]]), Sequences.of([[1, 1]])
    table = prefix_distances(outputs, references)
    wide = Sequences(torch.nn.functional.pad(outputs.labels, (0, 2), value=1), outputs.lengths)
    long = Sequences(torch.nn.functional.pad(references.labels, (0, 1), value=1), references.lengths)
    torch.testing.assert_close(prefix_distances(wide, long)[:, :, :3, :3], table)
