"""Sentence GLEU on label ids against the definition of the paper, and NLTK's numbers."""

import itertools
import random
from collections import Counter

import pytest
import torch

from structpred.rewards import SentenceGleu
from structpred.sequences import Sequences

OUTPUT = "It is a guide to action which ensures that the military always obeys the commands of the party"
FIRST = "It is a guide to action that ensures that the military will forever heed Party commands"
SECOND = "It is the guiding principle which guarantees the military forces always being under the command of the Party"


def definition(output: list[int], reference: list[int], order: int) -> float:
    """Section 4.3 of Wu et al. 2016: recall and precision of all n-grams of 1 to ``order`` labels; the smaller one."""

    def all_ngrams(row: list[int]) -> Counter[tuple[int, ...]]:
        return Counter(tuple(row[i : i + n]) for n in range(1, order + 1) for i in range(len(row) - n + 1))

    own, right = all_ngrams(output), all_ngrams(reference)
    matching = (own & right).total()
    return min(matching / own.total(), matching / right.total()) if own and right else 0.0


def some_rows(source: random.Random, count: int) -> list[list[int]]:
    """Short over few labels, so that n-grams repeat, overlap and are clipped; empty ones among them."""
    return [[source.randrange(4) for _ in range(source.randint(0, 14))] for _ in range(count)]


def padded(rows: list[list[list[int]]]) -> Sequences:
    """``[batch, candidates, time]``, with garbage where nothing stands."""
    flat = Sequences.of([row for rows_of_one in rows for row in rows_of_one])
    labels = torch.where(flat.mask(), flat.labels, 1)
    shape = len(rows), len(rows[0])
    return Sequences(labels.reshape(*shape, labels.shape[1]), flat.lengths.reshape(shape))


@pytest.mark.parametrize("order", [1, 2, 4, 6])
@pytest.mark.parametrize("references", [1, 3])
def test_the_same_as_the_definition(order: int, references: int) -> None:
    source = random.Random(order)
    outputs, targets = [some_rows(source, 4) for _ in range(150)], [some_rows(source, references) for _ in range(150)]
    found = SentenceGleu(order=order).score(padded(outputs), padded(targets))
    expected = [
        [max(definition(output, target, order) for target in right) for output in rows]
        for rows, right in zip(outputs, targets, strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("references", "order", "expected"),
    [([FIRST], 4, 29 / 66), ([SECOND], 4, 12 / 66), ([FIRST, SECOND], 4, 29 / 66), ([FIRST], 2, 19 / 35)],
)
def test_the_same_as_nltk(references: list[str], order: int, expected: float) -> None:
    """What ``sentence_gleu`` of NLTK 3.10.4 returns for the sentences of its documentation."""
    texts = [OUTPUT.split(), *(each.split() for each in references)]
    ids = {word: i for i, word in enumerate(sorted({word for text in texts for word in text}))}
    output, *right = ([ids[word] for word in text] for text in texts)
    assert SentenceGleu(order=order).score(padded([[output]]), padded([right])).item() == pytest.approx(expected)


def test_what_each_symbol_adds_is_the_difference_of_prefixes() -> None:
    source = random.Random(5)
    outputs, references = [some_rows(source, 2) for _ in range(20)], [some_rows(source, 2) for _ in range(20)]
    reward = SentenceGleu()
    added = reward.increments(padded(outputs), padded(references))
    torch.testing.assert_close(added.sum(-1).double(), reward.score(padded(outputs), padded(references)))
    for i, rows in enumerate(outputs):
        for j, row in enumerate(rows):
            prefixes = [max(definition(row[:t], each, 4) for each in references[i]) for t in range(len(row) + 1)]
            assert added[i, j, : len(row)].tolist() == pytest.approx(
                [b - a for a, b in itertools.pairwise(prefixes)], abs=1e-6
            )
            assert not added[i, j, len(row) :].any()
