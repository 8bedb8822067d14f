"""Chains small enough to list every output."""

import itertools
import math

import torch
from torch import Tensor

from structpred.distributions import LinearChain
from structpred.sequences import Sequences

LENGTHS = torch.tensor([3, 0, 1, 4, 2])
TIME, LABELS = 4, 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_scores(seed: int = 0, *, scale: float = 1.0, labels: int = LABELS) -> tuple[Tensor, Tensor]:
    """u, with NaN beyond each length, and T."""
    source = generator(seed)
    unary = torch.randn(len(LENGTHS), TIME, labels, generator=source, dtype=torch.float64) * scale
    transitions = torch.randn(labels, labels, generator=source, dtype=torch.float64) * scale
    return torch.where(inside().unsqueeze(-1), unary, math.nan), transitions


def inside() -> Tensor:
    return torch.arange(TIME) < LENGTHS.unsqueeze(1)


def forbidding(transitions: Tensor) -> Tensor:
    """The same, but label 0 cannot follow label 1."""
    forbidden = transitions.clone()
    forbidden[1, 0] = -math.inf
    return forbidden


def chain(kind: str = "plain", seed: int = 0) -> LinearChain:
    """One of every kind that is computed in a way of its own."""
    scale = {"wide": 60.0, "widest": 400.0}.get(kind, 1.0)
    unary, transitions = random_scores(seed, scale=scale, labels=1 if kind == "one label" else LABELS)
    if kind == "forbidden label":
        unary[0, 1, 2] = unary[3, 0, 1] = -math.inf
    return LinearChain(unary, forbidding(transitions) if kind == "forbidden pair" else transitions, LENGTHS)


KINDS = ("plain", "one label", "forbidden label", "wide", "widest", "forbidden pair")


def row(p: LinearChain, example: int) -> LinearChain:
    one = slice(example, example + 1)
    return LinearChain(p.unary[one], p.transitions, p.lengths[one])


def every(length: int, labels: int = LABELS) -> Sequences:
    """``[1, candidates, time]``, with −100 in the padding, as some data loaders have it."""
    rows = torch.tensor(list(itertools.product(range(labels), repeat=length)), dtype=torch.long)
    padded = torch.nn.functional.pad(rows.view(-1 if length else 1, length), (0, TIME - length), value=-100)
    return Sequences(padded.unsqueeze(0), torch.full((1, len(padded)), length))


def outputs(p: LinearChain, example: int) -> Sequences:
    return every(int(p.lengths[example]), p.num_labels)


def scores_by_hand(p: LinearChain, example: int) -> Tensor:
    """The score of each of `outputs`, label by label."""
    unary, pairs = p.unary[example].tolist(), p.transitions.tolist()
    length, listed = int(p.lengths[example]), outputs(p, example).labels[0].tolist()
    totals = [
        math.fsum(
            [unary[t][y[t]] for t in range(length)] + [pairs[a][b] for a, b in itertools.pairwise(y[:length])],
        )
        for y in listed
    ]
    return torch.tensor(totals, dtype=torch.float64)


def log_probs_by_hand(p: LinearChain, example: int) -> Tensor:
    scores = scores_by_hand(p, example)
    return scores - scores.logsumexp(0)


def agree(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=1e-12)
