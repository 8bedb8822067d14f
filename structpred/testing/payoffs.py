"""What every payoff must satisfy."""

import math
from collections import Counter
from dataclasses import replace

import torch
from scipy.special import chdtrc

from structpred.distributions.protocols import Sample
from structpred.payoffs import Payoff, Temperature
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings

FALSE_ALARM = 1e-6
"""Probability that a check of a payoff whose draws are right fails; the seed is fixed, so it fails always or never."""

DRAWS = 20_000
REFERENCES = ((), (0,), (0, 0, 1))


def check_payoff(payoff: Payoff, *, labels: int = 2, longest: int = 7) -> None:
    """Check that a payoff draws from q(y|y*) ∝ exp(r(y, y*)/τ), by χ² against all strings up to a length.

    Also: draws are labels and nothing else, the same generator gives the same draws, they keep their length where the
    payoff says so, and at a vanishing temperature they are the reference. Draws longer than ``longest`` are left out
    of the test, which compares the law given that a draw is not longer.

    Args:
        payoff: what to check; at its temperature a draw should differ from its reference often, but not always.
        labels: V; small, so that strings can be listed.
        longest: the longest string listed.

    Raises:
        AssertionError: a property does not hold; the message says which, and for which reference.
    """
    assert issubclass(payoff.distribution_class, Sample), (
        f"{type(payoff).__name__} must offer plain draws for this check, but its distribution has no `sample`; compare "
        "weighted draws with an enumeration of your own"
    )
    for reference in REFERENCES:
        where = f"{type(payoff).__name__}, reference {list(reference)}"
        references = Sequences.of([reference])
        q = payoff.distribution(references, labels)
        drawn, again = (q.sample(DRAWS, torch.Generator().manual_seed(0)) for _ in range(2))
        assert drawn.lengths.shape == (1, DRAWS), f"{where}: expected [1, {DRAWS}] draws, got {drawn.lengths.shape}"
        assert torch.equal(drawn.labels, again.labels), f"{where}: the same generator must give the same draws"
        real = drawn.labels[drawn.mask()]
        assert ((real >= 0) & (real < labels)).all(), f"{where}: only the labels 0 to {labels - 1} may be drawn"
        if payoff.keeps_length:
            assert (drawn.lengths == len(reference)).all(), f"{where}: draws must be as long as their reference"
        _check_law(payoff, drawn, references, labels, longest, where)
        cold = replace(payoff, temperature=Temperature(literal=1e-3)).distribution(references, labels)
        still = cold.sample(100, torch.Generator().manual_seed(0)).flatten().tolist()
        assert all(each == list(reference) for each in still), (
            f"{where}: as τ vanishes every draw must be the reference"
        )


def _check_law(payoff: Payoff, drawn: Sequences, references: Sequences, labels: int, longest: int, where: str) -> None:
    length = int(references.lengths[0])
    rows = strings(labels, length, length) if payoff.keeps_length else strings(labels, longest)
    rewards = payoff.reward.score(as_candidates(rows), references)[0].double()
    law = (rewards / payoff.literal(labels)).softmax(0).tolist()
    counts = Counter(map(tuple, drawn.flatten().tolist()))
    observed = [counts[tuple(row)] for row in rows]
    total = sum(observed)
    statistic, cells = _chi_square(observed, [share * total for share in law])
    chance = float(chdtrc(cells - 1, statistic)) if cells > 1 else 1.0
    assert chance > FALSE_ALARM, f"{where}: draws do not follow exp(r/τ): χ² {statistic:.1f} on {cells - 1} degrees"


def _chi_square(observed: list[int], expected: list[float]) -> tuple[float, int]:
    """The statistic and the number of cells, those that expect fewer than five draws taken together."""
    common = [(o, e) for o, e in zip(observed, expected, strict=True) if e >= 5]
    rest = sum(observed) - sum(o for o, _ in common), math.fsum(expected) - math.fsum(e for _, e in common)
    cells = [*common, rest] if rest[1] >= 1e-9 else common
    return math.fsum((o - e) ** 2 / e for o, e in cells), len(cells)
