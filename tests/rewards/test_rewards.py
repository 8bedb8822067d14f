import itertools
import random
import sys

import editdistance
import pytest
import torch
from torch import Tensor

from structpred.errors import ConfigError
from structpred.rewards import EditDistance, FunctionReward, Hamming, Reward
from structpred.rewards.base import costs_of, increments_of, scores_of
from structpred.sequences import Sequences


def brute_distance(first: list[int], second: list[int]) -> int:
    row = list(range(len(second) + 1))
    for i, symbol in enumerate(first):
        new = [i + 1]
        for j, other in enumerate(second):
            new.append(min(new[-1] + 1, row[j + 1] + 1, row[j] + (symbol != other)))
        row = new
    return row[-1]


def random_rows(count: int, longest: int, labels: int, seed: int) -> list[list[int]]:
    source = random.Random(seed)
    return [[source.randrange(labels) for _ in range(source.randint(0, longest))] for _ in range(count)]


def candidates(rows: list[list[int]], batch: int) -> Sequences:
    flat = Sequences.of(rows)
    each = len(rows) // batch
    return Sequences(flat.labels.reshape(batch, each, flat.labels.shape[1]), flat.lengths.reshape(batch, each))


def garbage(sequences: Sequences) -> Sequences:
    return Sequences(torch.where(sequences.mask(), sequences.labels, 7), sequences.lengths)


def test_edit_distance_agrees_with_brute_force_and_editdistance() -> None:
    outputs, references = random_rows(1000, 12, 4, 0), random_rows(250, 12, 4, 1)
    scores = EditDistance().score(garbage(candidates(outputs, 250)), garbage(Sequences.of(references)))
    pairs = [(output, references[i // 4]) for i, output in enumerate(outputs)]
    assert scores.flatten().tolist() == [-brute_distance(a, b) for a, b in pairs]
    assert scores.flatten().tolist() == [-editdistance.eval(a, b) for a, b in pairs]


@pytest.mark.parametrize(
    ("output", "reference", "expected"),
    [([], [], 0), ([], [1, 2], -2), ([5], [], -1), ([3, 3], [3, 3], 0), ([0], [0, 0], -1), ([1, 2, 3], [2, 3, 1], -2)],
)
def test_edit_distance_of_degenerate_pairs(output: list[int], reference: list[int], expected: int) -> None:
    assert EditDistance().score(candidates([output], 1), Sequences.of([reference])).item() == expected


@pytest.mark.parametrize("label", [0xD7FF, 0xD800, 0xDFFF, 0xE000, 0x10FFFF, 10**9])
def test_every_label_has_a_character(label: int) -> None:
    outputs = candidates([[label, 1], [label - 1, 1]], 1)
    assert EditDistance().score(outputs, Sequences.of([[label, 1]])).tolist() == [[0, -1]]


def test_the_best_of_several_references_counts() -> None:
    references = candidates([[1, 2, 3], [1], [], [4, 4, 4]], 2)
    outputs = candidates([[1], [1, 2, 4], [4], []], 2)
    assert EditDistance().score(outputs, references).tolist() == [[0, -1], [-1, 0]]
    equal = candidates([[1, 2, 3], [3, 2, 1]], 1)
    assert Hamming().score(candidates([[1, 2, 1], [3, 2, 1]], 1), equal).tolist() == [[-1, 0]]


def test_hamming_agrees_with_counting() -> None:
    references = random_rows(200, 9, 3, 3)
    source = random.Random(5)
    outputs = [[source.randrange(3) for _ in row] for row in references]
    given = candidates(outputs, 200)
    wide = Sequences(torch.nn.functional.pad(given.labels, (0, 4), value=9), given.lengths)
    expected = [-sum(map(int.__ne__, a, b)) for a, b in zip(outputs, references, strict=True)]
    assert Hamming().score(wide, garbage(Sequences.of(references))).flatten().tolist() == expected


def test_hamming_refuses_unequal_lengths() -> None:
    with pytest.raises(ConfigError, match="in example 1 an output of length 2 meets a reference of length 1"):
        Hamming().score(candidates([[1], [1, 2]], 2), Sequences.of([[1], [1]]))


class Scribbling(Hamming):
    """Somebody's reward that uses its arguments as scratch paper."""

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        return self._spoilt(super().score(outputs, references), outputs, references)

    def costs(self, references: Sequences, labels: int) -> Tensor:
        return self._spoilt(super().costs(references, labels), references)

    def increments(self, outputs: Sequences, references: Sequences) -> Tensor:
        return self._spoilt(super().increments(outputs, references), outputs, references)

    @staticmethod
    def _spoilt(found: Tensor, *sequences: Sequences) -> Tensor:
        for each in sequences:
            each.labels.zero_()
            each.lengths.zero_()
        return found


def test_a_reward_of_ones_own_that_writes_into_what_it_is_given_changes_nothing() -> None:
    outputs, references = candidates([[1, 2], [3, 2]], 1), Sequences.of([[1, 2]])
    for reward in (Hamming(), Scribbling()):
        assert scores_of(reward, outputs, references).tolist() == [[0, -1]]
        assert costs_of(reward, references, 3).tolist() == [[[1, 0, 1], [1, 1, 0]]]
        assert increments_of(reward, outputs, references).sum(2).tolist() == [[0, -1]]
    assert (outputs.labels.tolist(), outputs.lengths.tolist()) == ([[[1, 2], [3, 2]]], [[2, 2]])
    assert (references.labels.tolist(), references.lengths.tolist()) == ([[1, 2]], [2])


def test_hamming_costs_add_up_to_the_reward() -> None:
    references = garbage(Sequences.of([[0, 2, 1], [1], []]))
    costs = Hamming().costs(references, 3)
    assert Hamming.decomposes
    assert costs.shape == (3, 3, 3)
    assert costs[~references.mask()].sum() == 0
    for output in itertools.product(range(3), repeat=3):
        total = costs[0, range(3), list(output)].sum()
        assert -total == Hamming().score(candidates([list(output)], 1), references.select(slice(0, 1))).item()


def overlap(output: list[int], reference: list[int]) -> float:
    return len(set(output) & set(reference))


def text(output: list[int], reference: list[int]) -> str:
    return "high"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "own_rewards", sys.modules[__name__])
    return "own_rewards"


def test_a_function_is_a_reward(own: str) -> None:
    reward = FunctionReward(function=f"{own}:overlap")
    outputs = garbage(candidates([[1, 2, 9], [3], [], [5]], 2))
    assert reward.score(outputs, Sequences.of([[1, 2], [5, 6]])).tolist() == [[2, 0], [0, 1]]
    assert reward.score(outputs, candidates([[9], [1, 2], [5], []], 2)).tolist() == [[2, 0], [0, 1]]
    assert reward.fingerprint()[0].startswith("def overlap(")
    assert Reward.from_json(reward.to_json()) == reward


@pytest.mark.parametrize("name", ["", "module", "module:", ":name", "a b:c", "a:b:c", "1a:b"])
def test_a_malformed_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigError, match="module:name"):
        FunctionReward(function=name)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("no_such_module:f", "cannot be imported"),
        ("math:no_such_name", "cannot be imported"),
        ("math:pi", "must be callable"),
        ("own_rewards:text", "must return a number, but returned 'high'"),
    ],
)
def test_a_useless_function_is_refused_at_use(own: str, function: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FunctionReward(function=function).score(candidates([[1]], 1), Sequences.of([[1]]))


def test_a_function_without_source_cannot_identify_a_run() -> None:
    with pytest.raises(ConfigError, match="no Python source"):
        FunctionReward(function="math:dist").fingerprint()
