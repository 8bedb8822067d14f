"""Draws of the next symbol, and the most likely symbols, for many symbols and few rows.

Tables are ``[symbols, rows]``: then the product with the output layer is fastest on a CPU, and sums or maxima of blocks
of symbols read memory in order. A decoder that returns its scores in this layout saves a copy.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from structpred.distributions.layout import at_least_float

BLOCK = 32
"""Symbols per block: the search first finds a block, then a symbol in it."""
SLICE = 64
"""Blocks whose exponentials are computed at once."""


class Likeliest(NamedTuple):
    """The ``k`` likeliest next symbols, best first, and the log-probability of the last symbol, the end."""

    log_probs: Float[Tensor, "*rows k"]
    symbols: Int[Tensor, "*rows k"]
    end: Float[Tensor, "*rows"]


def likeliest(logits: Float[Tensor, "*rows symbols"], k: int) -> Likeliest:
    """The ``k`` symbols of the largest scores, for k up to the number of symbols, with their log-softmax.

    The k largest scores lie in the k blocks of the largest maxima: only these are sorted.
    """
    table, rows = _symbols_first(logits), logits.shape[:-1]
    maxima = _blocks(table, torch.amax)
    top = _largest(maxima)
    mass = _masses(table, top).sum(0, keepdim=True)
    log_mass = mass.clamp(min=torch.finfo(mass.dtype).tiny).log()  # of a row of which everything is impossible
    cells = _cells(maxima.topk(min(k, len(maxima)), 0).indices)
    scores, places = _pick(table, cells, torch.arange(table.shape[1], device=table.device)).topk(k, 0)
    return Likeliest(
        log_probs=(scores - top - log_mass).t().reshape(*rows, k),
        symbols=cells.gather(0, places).clamp(max=len(table) - 1).t().reshape(*rows, k),
        end=(table[-1:] - top - log_mass).view(rows),
    )


def inverse_cdf(
    logits: Float[Tensor, "*rows symbols"], generator: torch.Generator | None = None
) -> Int[Tensor, "*rows"]:
    """One sample per row from softmax(logits), by inverting the cumulative distribution; exact up to rounding.

    Exponentials and sums of half-precision scores are computed in float32 or better. On a CPU, for many symbols, this
    is many times faster than ``torch.multinomial``: probabilities are summed in blocks, and a block is drawn first,
    then a symbol in it. A GPU sums whole rows in less time than the kernel launches for blocks would take. A symbol
    with probability 0 is never drawn.
    """
    uniform = torch.rand((*logits.shape[:-1], 1), generator=generator, device=logits.device, dtype=torch.float64)
    if logits.shape[-1] <= BLOCK or logits.is_cuda:
        return _among_few(at_least_float(logits).softmax(-1), uniform).squeeze(-1)
    kinds = torch.arange(uniform.numel(), device=logits.device)
    return by_inversion(_symbols_first(logits), uniform.flatten(0, -2), kinds).symbols.view(logits.shape[:-1])


class Inverted(NamedTuple):
    """Symbols drawn for each row, and log Σ exp(score) of every table, in float32 or better."""

    symbols: Int[Tensor, " rows"]
    log_mass: Float[Tensor, " kinds"]


def by_inversion(
    table: Float[Tensor, "symbols kinds"], uniform: Float[Tensor, "rows 1"], kinds: Int[Tensor, " rows"]
) -> Inverted:
    """What `inverse_cdf` draws on a CPU, for rows of which several may have the same scores.

    Args:
        table: scores, each kind of row once.
        uniform: a number in [0, 1) for each row, in float64.
        kinds: the column of each row.
    """
    top = _largest(table)
    if len(table) <= BLOCK:
        scores = at_least_float(table.t())
        return Inverted(_among_few(scores.softmax(-1)[kinds], uniform).squeeze(-1), scores.logsumexp(-1))
    masses = _masses(table, top).t().cumsum(-1, dtype=torch.float64)
    log_mass = (top + masses[:, -1].log()).squeeze(0).to(top.dtype)
    masses = masses[kinds]
    sought = uniform * masses[:, -1:]
    block = _place(masses, sought)
    cells = _cells(block.t())
    inside = (_pick(table, cells, kinds) - top[:, kinds]).exp_().t().cumsum(-1, dtype=torch.float64)
    sought = sought - pad(masses, (1, 0)).gather(-1, block)
    drawn = cells.gather(0, _place(inside, sought).t()).squeeze(0)
    return Inverted(drawn.clamp(max=len(table) - 1), log_mass)


def _among_few(shares: Float[Tensor, "*rows symbols"], uniform: Float[Tensor, "*rows 1"]) -> Int[Tensor, "*rows 1"]:
    cumulative = shares.cumsum(-1, dtype=torch.float64)
    return _place(cumulative, uniform * cumulative[..., -1:])


def _symbols_first(logits: Float[Tensor, "*rows symbols"]) -> Float[Tensor, "symbols rows"]:
    return logits.flatten(0, -2).t().contiguous()


def _largest(table: Float[Tensor, "symbols rows"]) -> Float[Tensor, "1 rows"]:
    """The largest score of each row, finite even if all are impossible."""
    largest = at_least_float(table.amax(0, keepdim=True))
    return largest.clamp(min=torch.finfo(largest.dtype).min)


def _blocks(table: Float[Tensor, "symbols rows"], reduce: Callable[..., Tensor]) -> Float[Tensor, "blocks rows"]:
    """The sum or maximum of every block of symbols; the last block may be shorter."""
    full, rest = divmod(len(table), BLOCK)
    parts = [reduce(table[: full * BLOCK].view(full, BLOCK, table.shape[1]), 1)]
    if rest:
        parts.append(reduce(table[full * BLOCK :], 0, keepdim=True))
    return torch.cat(parts)


def _masses(table: Float[Tensor, "symbols rows"], top: Float[Tensor, "1 rows"]) -> Float[Tensor, "blocks rows"]:
    """Σ exp(score - top) of every block, in slices that fit into the CPU's cache."""
    return torch.cat([_blocks((part - top).exp_(), torch.sum) for part in torch.split(table, SLICE * BLOCK)])


def _cells(blocks: Int[Tensor, "found rows"]) -> Int[Tensor, "cells rows"]:
    """The symbol ids of some blocks, including ids past the last symbol."""
    return (blocks.unsqueeze(1) * BLOCK + torch.arange(BLOCK, device=blocks.device).unsqueeze(1)).flatten(0, 1)


def _pick(
    table: Float[Tensor, "symbols kinds"], cells: Int[Tensor, "cells rows"], kinds: Int[Tensor, " rows"]
) -> Float[Tensor, "cells rows"]:
    """The scores of cells, each row's in the column of its kind; impossible past the last symbol."""
    last = len(table) - 1
    return torch.where(cells <= last, table[cells.clamp(max=last), kinds], -torch.inf)


def _place(cumulative: Float[Tensor, "*rows n"], sought: Float[Tensor, "*rows 1"]) -> Int[Tensor, "*rows 1"]:
    """The first index where the cumulative weights exceed the value; clamped to the last one against rounding."""
    end = cumulative[..., -1:]
    sought = sought.minimum(end.nextafter(torch.zeros_like(end)))
    return torch.searchsorted(cumulative, sought, right=True).clamp(max=cumulative.shape[-1] - 1)
