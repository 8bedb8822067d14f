"""Whether draws follow a law that is known for every output: by χ²."""

import math
from collections import Counter
from collections.abc import Sequence

from scipy.special import chdtrc

FALSE_ALARM = 1e-6
"""Probability, by the χ² law, that draws which are right fail for one input or one reference; the seed is fixed, so a
check fails always or never."""

DRAWS = 20_000
"""How many outputs are drawn for each."""

FEWEST = 10.0
"""Draws that a cell of χ² expects at least, without which chance exceeds the limit more often than stated; outputs that
expect fewer share one cell."""


def check_draws(
    drawn: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]], shares: Sequence[float], law: str, where: str
) -> None:
    """Check draws against the law of their kind, given that they are among the outputs.

    Args:
        drawn: what was drawn; others than the outputs are left out.
        outputs: all outputs, each once.
        shares: their probabilities, which sum to one.
        law: what draws should follow, for the message.
        where: what the message begins with.

    Raises:
        AssertionError: an output of probability 0 was drawn, or χ² is larger than chance makes it.
    """
    counts = Counter(map(tuple, drawn))
    observed = [counts[tuple(each)] for each in outputs]
    total = sum(observed)
    for output, count, share in zip(outputs, observed, shares, strict=True):
        assert share > 0 or not count, f"{where}: draws do not follow {law}: {list(output)} has probability 0"
    cells = _cells(observed, [share * total for share in shares])
    statistic = math.fsum((seen - expected) ** 2 / expected for seen, expected in cells)
    chance = float(chdtrc(len(cells) - 1, statistic)) if len(cells) > 1 else 1.0
    assert chance > FALSE_ALARM, f"{where}: draws do not follow {law}: χ² {statistic:.1f} on {len(cells) - 1} degrees"


def _cells(observed: Sequence[int], expected: Sequence[float]) -> list[tuple[float, float]]:
    """What was drawn and what is expected in each cell; the rarest outputs stand together in the first."""
    cells = list[tuple[float, float]]()
    for rate, seen in sorted(zip(expected, observed, strict=True)):
        if cells and min(cells[0][1], rate) < FEWEST:
            cells[0] = cells[0][0] + seen, cells[0][1] + rate
        else:
            cells.append((seen, rate))
    return cells
