"""Sentence BLEU on label ids: the numbers of sacrebleu, for whole outputs and for every prefix."""

import itertools
import random

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU

from structpred.errors import ConfigError
from structpred.rewards import SentenceBleu
from structpred.rewards.bleu import Smoothing, bleu, prefix_matches
from structpred.sequences import Sequences

SMOOTHINGS: tuple[Smoothing, ...] = ("exp", "floor", "add-k", "none")


def padded(rows: list[list[list[int]]]) -> Sequences:
    """``[batch, candidates, time]``, with garbage where nothing stands."""
    flat = Sequences.of([row for rows_of_one in rows for row in rows_of_one])
    labels = torch.where(flat.mask(), flat.labels, 1)
    shape = len(rows), len(rows[0])
    return Sequences(labels.reshape(*shape, labels.shape[1]), flat.lengths.reshape(shape))


def text(row: list[int]) -> str:
    return " ".join(f"w{label}" for label in row)


def expected(output: list[int], references: list[list[int]], smoothing: Smoothing, order: int = 4) -> float:
    metric = BLEU(tokenize="none", smooth_method=smoothing, effective_order=True, max_ngram_order=order, force=True)
    return float(metric.sentence_score(text(output), [text(each) for each in references]).score) / 100


def some_rows(source: random.Random, count: int) -> list[list[int]]:
    """Short over few labels, so that n-grams repeat, overlap and are clipped."""
    return [[source.randrange(4) for _ in range(source.randint(1, 14))] for _ in range(count)]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_the_same_as_sacrebleu(smoothing: Smoothing, order: int) -> None:
    source = random.Random(order)
    outputs = [some_rows(source, 4) for _ in range(250)]
    references = [some_rows(source, 1 + i % 2 * 2) for i in range(250)]
    for kept in (0, 1):  # one reference, then three
        theirs = references[kept::2]
        ours = outputs[kept::2]
        several = padded(theirs)
        matches = prefix_matches(padded(ours), several, order)
        lengths = padded(ours).lengths
        whole = matches.gather(2, lengths[..., None, None].expand(-1, -1, 1, order))
        found = bleu(whole, lengths.unsqueeze(-1), several.lengths, smoothing).squeeze(-1)
        right = torch.tensor(
            [[expected(y, refs, smoothing, order) for y in ys] for ys, refs in zip(ours, theirs, strict=True)],
            dtype=torch.float64,
        )
        torch.testing.assert_close(found, right, rtol=0, atol=1e-13)
        reward = SentenceBleu(order=order, smoothing=smoothing).score(padded(ours), several)
        torch.testing.assert_close(reward.double(), right, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("output", "reference", "score"),
    [
        ([], [], 0.0),
        ([], [1], 0.0),
        ([1], [], 0.0),
        ([2], [1], 0.0),
        ([1], [1], 1.0),
        ([1, 2], [1, 2], 1.0),
        ([1, 1, 1, 1], [1], 0.25**0.25 * (1 / 2 / 3) ** 0.25 * (1 / 4 / 2) ** 0.25 * (1 / 8) ** 0.25),
        ([1], [1, 2, 3], 2.718281828459045**-2),
    ],
)
def test_degenerate_pairs_by_hand(output: list[int], reference: list[int], score: float) -> None:
    found = SentenceBleu().score(padded([[output]]), Sequences.of([reference])).item()
    assert found == pytest.approx(score, abs=1e-7)


def test_the_nearest_length_counts_and_of_two_the_shorter() -> None:
    references = padded([[[1, 2], [1, 2, 3, 4]]])
    three = SentenceBleu().score(padded([[[1, 2, 3]]]), references).item()
    assert three == pytest.approx(1.0)  # of the lengths 2 and 4 the shorter: nothing is missing
    assert three == pytest.approx(expected([1, 2, 3], [[1, 2], [1, 2, 3, 4]], "exp"))


def test_what_each_symbol_adds_is_the_difference_of_prefixes() -> None:
    source = random.Random(5)
    outputs, references = [some_rows(source, 2) for _ in range(20)], [some_rows(source, 1) for _ in range(20)]
    reward = SentenceBleu()
    added = reward.increments(padded(outputs), padded(references))
    torch.testing.assert_close(added.sum(-1).double(), reward.score(padded(outputs), padded(references)))
    for i, rows in enumerate(outputs):
        for j, row in enumerate(rows):
            prefixes = [expected(row[:t], references[i], "exp") if t else 0.0 for t in range(len(row) + 1)]
            steps = [b - a for a, b in itertools.pairwise(prefixes)]
            assert added[i, j, : len(row)].tolist() == pytest.approx(steps, abs=1e-6)
            assert not added[i, j, len(row) :].any()


def test_the_reference_has_the_highest_reward() -> None:
    source = random.Random(6)
    references = some_rows(source, 50)
    scores = SentenceBleu().score(
        padded([[row, row[:-1], [*row, 9], row[::-1]] for row in references]), Sequences.of(references)
    )
    assert scores[:, 0].tolist() == pytest.approx([1.0] * 50)
    assert (scores <= scores[:, :1] + 1e-6).all()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="order"):
        SentenceBleu(order=0)
    with pytest.raises(ConfigError, match="smoothing"):
        SentenceBleu(smoothing="laplace")  # type: ignore[arg-type]  # what is refused
