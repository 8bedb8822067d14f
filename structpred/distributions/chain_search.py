"""Viterbi search (Viterbi 1967), k-best search and sampling for a linear chain, without gradient."""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from structpred.distributions.layout import Packing
from structpred.distributions.next_symbol import inverse_cdf


def viterbi(
    unary: Float[Tensor, "batch time labels"], transitions: Float[Tensor, "labels labels"], packing: Packing
) -> Int[Tensor, "batch time"]:
    """The most probable output, 0 in the padding.

    v_t(j) = u_t(j) + max_i v_t−1(i) + T_ij, minus its maximum, so that rounding does not grow with length. The label
    that attained the maximum is recomputed during backtracking, only for the label on the best path.
    """
    best = packing.pack(unary)
    lowest = torch.finfo(best.dtype).min
    labels = len(transitions)
    room = best.new_empty(labels * packing.firsts * labels)
    for before, now in pairwise(packing.steps(best)):
        before.sub_(before.amax(1, keepdim=True).clamp_(min=lowest))  # all scores may be −inf
        # [from, rows, to]: a maximum over the first dimension is ten times faster than over the others
        reached = room[: labels * now.numel()].view(labels, *now.shape)
        torch.add(before[: len(now)].t().unsqueeze(2), transitions.unsqueeze(1), out=reached)
        now.add_(reached.amax(0))
    return _trace(best, transitions.t().contiguous(), packing)


def _trace(best: Tensor, into: Tensor, packing: Packing) -> Tensor:
    """Follow the best path from the last label to the first; ``into`` is T from column to row."""
    path = torch.empty_like(packing.positions)
    ahead = path[:0]
    for now, scores in zip(packing.steps(path)[::-1], packing.steps(best)[::-1], strict=True):
        scores[: len(ahead)] += into[ahead]
        ahead = torch.argmax(scores, 1, out=now)
    return _padded(path.unsqueeze(1), packing).squeeze(1)


def sample(
    log_alpha: Float[Tensor, "rows labels"],
    transitions: Float[Tensor, "labels labels"],
    k: int,
    packing: Packing,
    generator: torch.Generator | None,
) -> Int[Tensor, "batch candidates time"]:
    """``k`` exact samples: the last label from α, then each earlier one given its successor, by α_t(i) exp T_ij.

    Args:
        log_alpha: ln α_t(j), each row up to a constant.
        transitions: T.
        k: samples per example.
        packing: the layout of the rows.
        generator: source of randomness.
    """
    into = transitions.t().contiguous()
    path = torch.empty(len(packing.positions), k, dtype=torch.long, device=log_alpha.device)
    ahead = path[:0]
    for now, scores in zip(packing.steps(path)[::-1], packing.steps(log_alpha)[::-1], strict=True):
        logits = scores.unsqueeze(1).repeat(1, k, 1)
        logits[: len(ahead)] += into[ahead]
        ahead = now.copy_(inverse_cdf(logits, generator))
    return _padded(path, packing)


def k_best(
    unary: Float[Tensor, "batch time labels"],
    transitions: Float[Tensor, "labels labels"],
    k: int,
    packing: Packing,
) -> tuple[Int[Tensor, "batch candidates time"], Float[Tensor, "batch candidates"]]:
    """The ``k`` best outputs and their scores, exactly; −inf and labels 0 if there are fewer.

    Viterbi with the k best prefixes per label instead of one. A prefix's index is label · k + its rank.
    """
    best: list[Tensor] = []  # per step, the scores of [rows, labels, k] prefixes
    parents: list[Tensor] = []  # per later step, the index of the prefix that each one extends
    into = transitions.t().unsqueeze(2)
    for now in packing.steps(packing.pack(unary)):
        tops = now.unsqueeze(2)
        if best:
            values, places = (best[-1][: len(now)].unsqueeze(1) + into.unsqueeze(0)).flatten(2).topk(k, dim=2)
            tops = tops + values
            parents.append(places)
        best.append(pad(tops, (0, k - tops.shape[2]), value=-torch.inf))
    return _trace_all(best, parents, k, packing)


def _trace_all(
    best: list[Tensor], parents: list[Tensor], k: int, packing: Packing
) -> tuple[Int[Tensor, "batch candidates time"], Float[Tensor, "batch candidates"]]:
    """Follow every path from its index at the last step back to the first."""
    path = torch.zeros(len(packing.positions), k, dtype=torch.long, device=packing.positions.device)
    scores = torch.full((packing.shape[0], k), -torch.inf, dtype=torch.float64, device=path.device)
    scores[:, :1] = 0.0  # the empty output
    ahead = path[:0]
    blocks = zip(packing.steps(path), packing.steps(packing.examples), best, strict=True)
    for step, (now, examples, beginnings) in reversed(list(enumerate(blocks))):
        going = len(ahead)
        final = beginnings[going:].flatten(1).topk(k, dim=1)
        scores[examples[going:]] = final.values.double()
        continued = parents[step].flatten(1).gather(1, ahead) if going else ahead
        ahead = torch.cat([continued, final.indices])
        now.copy_(ahead // k)
    return _padded(path, packing).masked_fill_(scores.isneginf().unsqueeze(2), 0), scores


def _padded(path: Int[Tensor, "rows candidates"], packing: Packing) -> Int[Tensor, "batch candidates time"]:
    """Packed labels as outputs, 0 in the padding."""
    batch, time = packing.shape
    padded = path.new_zeros(batch * time, path.shape[1])
    return padded.index_copy_(0, packing.positions, path).view(batch, time, path.shape[1]).transpose(1, 2).contiguous()
