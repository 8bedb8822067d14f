import math
from collections import Counter

import pytest
import torch
from scipy.stats import chi2

from structpred.errors import ConfigError
from structpred.experiments.claims.sampler import published_law
from structpred.payoffs import PublishedEditDistancePayoff, Temperature
from structpred.payoffs.published import log_counts
from structpred.sequences import Sequences


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def published(temperature: float) -> PublishedEditDistancePayoff:
    return PublishedEditDistancePayoff(temperature=Temperature(rescaled=temperature))


def test_the_poster_five_to_nine_edits() -> None:
    edits = published(0.9).distribution(Sequences.of([list(range(20))]), 60).edits()[0]
    assert [e for e, p in enumerate(edits.tolist()) if p > 0.1] == [5, 6, 7, 8, 9]
    expected = torch.tensor([0.067, 0.106, 0.137, 0.149, 0.141, 0.118, 0.089], dtype=torch.float64)
    torch.testing.assert_close(edits[4:11], expected, atol=6e-4, rtol=0)


@pytest.mark.parametrize(
    ("temperature", "mean", "unchanged"), [(0.6, 0.50, 0.605), (0.75, 2.61, 0.068), (1.0, 13.0, 0.0)]
)
def test_published_table(temperature: float, mean: float, unchanged: float) -> None:
    edits = published(temperature).distribution(Sequences.of([list(range(20))]), 60).edits()[0]
    assert (edits @ torch.arange(20.0, dtype=torch.float64)).item() == pytest.approx(mean, abs=0.06)
    assert edits[0].item() == pytest.approx(unchanged, abs=6e-4)


def test_counts_are_the_published_sum() -> None:
    counts = log_counts(torch.tensor([5, 1, 0]), 3).logsumexp(-1)
    expected = [sum(math.comb(5, s) * math.comb(5 + e - 2 * s, e - s) for s in range(e + 1)) * 3**e for e in range(5)]
    torch.testing.assert_close(counts[0].exp(), torch.tensor(expected, dtype=torch.float64))
    assert counts[1:].tolist() == [[0.0, *[-math.inf] * 4]] * 2


@pytest.mark.parametrize("reference", [(0,), (0, 0, 1), (1, 0, 1)], ids=str)
def test_draws_follow_the_published_program(reference: tuple[int, ...]) -> None:
    labels, draws = 2, 20_000
    payoff = published(1.2)
    law = published_law(reference, labels, payoff.literal(labels))
    counts = Counter(
        map(tuple, payoff.distribution(Sequences.of([reference]), labels).sample(draws, generator()).flatten().tolist())
    )
    assert set(counts) <= set(law)
    statistic = sum((counts[s] - draws * p) ** 2 / (draws * p) for s, p in law.items())
    assert len(law) == 1 or chi2.sf(statistic, len(law) - 1) > 1e-4


def test_ragged_references_with_garbage_in_the_padding() -> None:
    references = Sequences.of([[3, 1, 2, 0, 1], [], [2]])
    garbage = Sequences(torch.where(references.mask(), references.labels, 99), references.lengths)
    drawn = published(0.9).distribution(garbage, 4).sample(300, generator())
    assert drawn.labels.max() < 4
    assert (drawn.lengths >= references.lengths.unsqueeze(1)).all()
    assert (drawn.lengths[1] == 0).all()
    assert drawn.select(slice(2, 3)).flatten().tolist() == [[2]] * 300


def test_a_temperature_near_zero_gives_the_reference() -> None:
    payoff = PublishedEditDistancePayoff(temperature=Temperature(literal=1e-310))
    assert (
        payoff.distribution(Sequences.of([[3, 1, 2]]), 4).sample(20, generator()).flatten().tolist() == [[3, 1, 2]] * 20
    )


def test_an_edit_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match="got an edit_rate"):
        PublishedEditDistancePayoff(temperature=Temperature(edit_rate=0.1))


def test_conversions() -> None:
    payoff = published(0.9)
    assert payoff.literal(60) == pytest.approx(0.9 / (1 + math.log(60)))
    assert payoff.rescaled(60) == pytest.approx(0.9)
