"""The table of prefix distances, against rapidfuzz and by hand, and the credit for single symbols made of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from structpred.rewards import EditDistance, FunctionReward, Hamming
from structpred.rewards.base import Incremental
from structpred.rewards.edit_distance import prefix_distances
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


# ------------------------------------------------------------------------------------------------ credit for symbols

LIMIT = 4


def best_reachable(prefix: list[int], references: list[list[int]]) -> int:
    """The least distance that any completion has, by trying all of them."""
    tails = strings(2, LIMIT)
    return min(Levenshtein.distance([*prefix, *tail], reference) for tail in tails for reference in references)


@pytest.mark.parametrize("references", [[[0, 1, 1]], [[]], [[1, 1], [0]]], ids=str)
def test_a_symbol_is_charged_what_it_takes_from_the_best_completion(references: list[list[int]]) -> None:
    rows = strings(2, 3)
    outputs, flat = as_candidates(rows), Sequences.of(references)
    several = Sequences(flat.labels.unsqueeze(0), flat.lengths.unsqueeze(0))
    increments = EditDistance().increments(outputs, several)
    assert increments.shape == (1, len(rows), 4)
    for row, found in zip(rows, increments[0].tolist(), strict=True):
        reachable = [best_reachable(row[:t], references) for t in range(len(row) + 1)]
        final = min(Levenshtein.distance(row, reference) for reference in references)
        expected = [before - now for before, now in zip(reachable, [*reachable[1:], final], strict=True)]
        assert found == expected + [0] * (4 - len(expected))


def test_wrong_symbols_and_what_the_end_leaves_out_by_hand() -> None:
    outputs = as_candidates([[0, 1, 2], [0, 2, 2], [0], []])
    found = EditDistance().increments(outputs, Sequences.of([[0, 1, 2]]))
    assert found.tolist() == [[[0, 0, 0, 0], [0, -1, 0, 0], [0, -2, 0, 0], [-3, 0, 0, 0]]]


@pytest.mark.parametrize("reward", [EditDistance(), Hamming()], ids=["edit distance", "Hamming"])
def test_increments_sum_to_the_score_and_see_no_later_symbol(reward: EditDistance | Hamming) -> None:
    rows = strings(3, 3, shortest=3)
    outputs, references = as_candidates(rows), Sequences.of([[0, 2, 1]])
    found = reward.increments(outputs, references)
    torch.testing.assert_close(found.sum(-1), reward.score(outputs, references))
    for t in range(3):
        by_prefix: dict[tuple[int, ...], list[float]] = {}
        for row, each in zip(rows, found[0].tolist(), strict=True):
            assert by_prefix.setdefault(tuple(row[: t + 1]), each[: t + 1]) == each[: t + 1]


@pytest.mark.parametrize("reward", [EditDistance(), Hamming()], ids=["edit distance", "Hamming"])
def test_padding_changes_no_increment(reward: EditDistance | Hamming) -> None:
    outputs = Sequences(torch.tensor([[[0, 1]], [[1, 0]]]), torch.tensor([[2], [1]]))
    references = Sequences.of([[1, 1], [1]])
    wide = Sequences(torch.nn.functional.pad(outputs.labels, (0, 1), value=1), outputs.lengths)
    noisy = torch.where(references.mask(), references.labels, 1)
    long = Sequences(torch.nn.functional.pad(noisy, (0, 2), value=1), references.lengths)
    found = reward.increments(outputs, references)
    torch.testing.assert_close(reward.increments(wide, long), torch.nn.functional.pad(found, (0, 1)))


def test_hamming_credit_takes_the_reference_that_is_nearest_so_far() -> None:
    several = Sequences(torch.tensor([[[0, 0, 0], [1, 1, 1]]]), torch.tensor([[3, 3]]))
    found = Hamming().increments(as_candidates([[0, 1, 1]]), several)
    assert found.tolist() == [[[0, -1, 0, 0]]]
    assert Hamming().increments(as_candidates([[0, 1, 1]]), Sequences.of([[0, 0, 1]])).tolist() == [[[0, -1, 0, 0]]]


def test_rewards_with_increments_say_so() -> None:
    assert isinstance(EditDistance(), Incremental)
    assert isinstance(Hamming(), Incremental)
    assert not isinstance(FunctionReward(function="json:dumps"), Incremental)
