"""What every payoff must satisfy."""

from dataclasses import replace

import torch

from structpred.distributions.protocols import Sample
from structpred.payoffs import Payoff, Temperature
from structpred.sequences import Sequences
from structpred.testing.draws import DRAWS, check_draws
from structpred.testing.spaces import as_candidates, strings

REFERENCES = ((), (1,), (0, 0, 1))


def check_payoff(payoff: Payoff, *, labels: int = 2, longest: int = 7) -> None:
    """Check that a payoff draws from q(y|y*) ∝ exp(r(y, y*)/τ), by χ² against all strings up to a length.

    Draws are for a batch of references that differ in length, and each row is tested against the law of its own
    reference; where draws are right, χ² exceeds its limit for one reference with probability 1e-6. Also: draws are
    labels and nothing else, the same generator gives the same draws, they keep their length where the payoff says so,
    and at a vanishing temperature they are the reference. A batch of one is drawn for as well, and only its form
    checked. Draws longer than ``longest`` are left out of the test, which compares the law given that a draw is not
    longer. That draws are independent of one another is not tested.

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
    references = Sequences.of(REFERENCES)
    drawn = _drawn(payoff, references, labels, DRAWS)
    cold = replace(payoff, temperature=Temperature(literal=1e-3))
    still = _drawn(cold, references, labels, 100)
    for row, reference in enumerate(REFERENCES):
        where, alone = _named(payoff, reference), torch.tensor([row])
        _drawn(payoff, Sequences.of([reference]), labels, 100)
        _check_law(payoff, drawn.select(alone), reference, labels, longest, where)
        assert all(each == list(reference) for each in still.select(alone).flatten().tolist()), (
            f"{where}: as τ vanishes every draw must be the reference"
        )


def _named(payoff: Payoff, reference: tuple[int, ...]) -> str:
    return f"{type(payoff).__name__}, reference {list(reference)}"


def _drawn(payoff: Payoff, references: Sequences, labels: int, count: int) -> Sequences:
    """Draws for a batch of references, their form checked."""
    q = payoff.distribution(references, labels)
    drawn: Sequences
    drawn, again = (q.sample(count, torch.Generator().manual_seed(0)) for _ in range(2))
    rows, found = references.tolist(), tuple(drawn.lengths.shape)
    name, shape = type(payoff).__name__, (len(rows), count)
    assert found == shape, f"{name}, references {rows}: expected draws [batch, k] = {list(shape)}, got {list(found)}"
    same = torch.equal(drawn.labels, again.labels) and torch.equal(drawn.lengths, again.lengths)
    assert same, f"{name}, references {rows}: the same generator must give the same draws"
    wrong = ((drawn.labels < 0) | (drawn.labels >= labels)) & drawn.mask()
    for row, reference in enumerate(rows):
        where = _named(payoff, tuple(reference))
        assert not wrong[row].any(), f"{where}: only the labels 0 to {labels - 1} may be drawn"
        if payoff.keeps_length:
            assert (drawn.lengths[row] == len(reference)).all(), f"{where}: draws must be as long as their reference"
    return drawn


def _check_law(
    payoff: Payoff, drawn: Sequences, reference: tuple[int, ...], labels: int, longest: int, where: str
) -> None:
    length = len(reference)
    rows = strings(labels, length, length) if payoff.keeps_length else strings(labels, longest)
    rewards = payoff.reward.score(as_candidates(rows), Sequences.of([reference]))[0].double()
    shares = (rewards / payoff.literal(labels)).softmax(0).tolist()
    check_draws(drawn.flatten().tolist(), rows, shares, "exp(r/τ)", where)
