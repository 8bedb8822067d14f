"""log Z of a linear chain, the scores of given outputs, and their gradients on CUDA, each as one Triton kernel.

A recursion over time launches several kernels per position, and on a GPU these launches dominate the cost of a training
step. Here one program processes one output from its first position to its last. The ``[labels, labels]`` scores stay in
registers, and nothing is padded, packed or decided on the host, so the host never waits for the device.

With label scores u, transition scores T, and messages shifted to have a maximum of 0 at every position:

    a_t(j) = u_t(j) + ln Σ_i exp(a_t−1(i) + T_ij)       log Z = ln Σ_j exp(a_n(j)) + all shifts, in float64
    b_t−1(i) = ln Σ_j exp(T_ij + u_t(j) + b_t(j))       p_t = softmax(a_t + b_t)
    P_t(i, j) = p_t−1(i) exp(T_ij + u_t(j) + b_t(j) − b_t−1(i))

In log space any range of transitions is exact, including forbidden ones, at the price of one exponential per pair. If
the range is within the float32 limit of `structpred.distributions.scaled_messages`, exp(T) is computed once instead.
This module imports Triton, which comes with PyTorch on a machine with a GPU; `structpred.distributions.fused_chain`
decides whether it can be imported.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from structpred.distributions.log_space import IMPOSSIBLE
from structpred.distributions.scaled_messages import widest

LOWEST = tl.constexpr(IMPOSSIBLE)
WIDEST = tl.constexpr(widest(torch.float32))
PROGRAMS = 1056
"""Maximum number of programs: eight per multiprocessor of an H100. Each sums its own pair marginals."""
BLOCK = 128
"""Positions of an output that are scored at once."""


def forward(unary: Tensor, transitions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """log Z and the messages.

    Args:
        unary: u, ``[batch, time, labels]``, float32.
        transitions: T, ``[labels, labels]``, float32.
        lengths: ``[batch]``.

    Returns:
        log Z, ``[batch]``, in float64: 0 for an empty output, −inf if every output is forbidden, NaN for a length
        beyond ``time``; and a, ``[batch, time, labels]``, whose values beyond a length are arbitrary.
    """
    batch, time, labels = unary.shape
    log_z = torch.empty(batch, dtype=torch.float64, device=unary.device)
    alpha = torch.empty_like(unary)
    if batch:
        width = triton.next_power_of_2(max(labels, 2))
        _forward[(min(batch, PROGRAMS),)](
            unary, transitions, lengths, alpha, log_z, batch, time, labels, WIDTH=width, num_warps=max(1, width // 32)
        )
    return log_z, alpha


def backward(
    unary: Tensor, transitions: Tensor, lengths: Tensor, alpha: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient of Σ_b w_b log Z_b.

    Args:
        unary: as in `forward`.
        transitions: as in `forward`.
        lengths: as in `forward`.
        alpha: the messages that `forward` returned.
        weights: w, ``[batch]``, float32.

    Returns:
        w_b p_t(v), ``[batch, time, labels]``, 0 beyond each length; and Σ_b w_b Σ_t P_t(i, j), ``[labels, labels]``.
    """
    batch, time, labels = unary.shape
    if not batch:
        return torch.zeros_like(unary), torch.zeros_like(transitions)
    marginals = torch.empty_like(unary)
    programs = min(batch, PROGRAMS)
    pairs = torch.empty(programs, labels, labels, device=unary.device)
    width = triton.next_power_of_2(max(labels, 2))
    # transposed to [to, from], because sums along the first axis of a table are faster
    transposed = transitions.t().contiguous()
    _backward[(programs,)](
        unary, transposed, lengths, alpha, weights, marginals, pairs, batch, time, labels,
        WIDTH=width, num_warps=max(1, width * width // 1024),
    )  # fmt: skip
    return marginals, pairs.sum(0).t()


def score(unary: Tensor, transitions: Tensor, lengths: Tensor, outputs: Tensor) -> Tensor:
    """The scores of given outputs.

    Args:
        unary: as in `forward`.
        transitions: as in `forward`.
        lengths: as in `forward`.
        outputs: labels, ``[batch, candidates, given]``; those beyond a length may be anything.

    Returns:
        Σ_t u_t(y_t) + Σ_t T(y_t, y_t+1) over the positions within each length, ``[batch, candidates]``, in float64; a
        position that was not given counts as label 0. NaN for an invalid label.
    """
    batch, candidates, given = outputs.shape
    scores = torch.empty(batch, candidates, dtype=torch.float64, device=unary.device)
    if scores.numel():
        _score[(scores.numel(),)](
            unary, transitions, lengths, outputs, scores, candidates, given, *unary.shape[1:], BLOCK=BLOCK
        )
    return scores


def score_backward(
    weights: Tensor, unary: Tensor, transitions: Tensor, lengths: Tensor, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient of Σ_b Σ_c w_bc score(y_bc), which is how often each label and each pair occurs, weighted.

    Args:
        weights: w, ``[batch, candidates]``, in float64.
        unary: as in `score`; only its shape is read.
        transitions: as in `score`; only its shape is read.
        lengths: as in `score`.
        outputs: as in `score`.

    Returns:
        For u, ``[batch, time, labels]``; and for T, ``[labels, labels]``.
    """
    _, candidates, given = outputs.shape
    of_unary, of_pairs = torch.zeros_like(unary), torch.zeros_like(transitions)
    if weights.numel():
        _score_backward[(weights.numel(),)](
            weights, lengths, outputs, of_unary, of_pairs, candidates, given, *unary.shape[1:], BLOCK=BLOCK
        )
    return of_unary, of_pairs


def _kernel(function: Callable[..., Any]) -> Any:
    """Compile with Triton, which needs the original function if a run-time type checker has wrapped it."""
    return triton.jit(inspect.unwrap(function))


@_kernel
def _scores(unary, row, labels, WIDTH: tl.constexpr):
    """u_t minus its maximum, and the maximum."""
    label = tl.arange(0, WIDTH)
    u = tl.load(unary + row + label, mask=label < labels, other=LOWEST)
    u = tl.where(u == float("-inf"), LOWEST, u)
    peak = tl.max(u, 0)
    return u - peak, peak


@_kernel
def _table(transitions, labels, WIDTH: tl.constexpr):
    """exp(T − c), c and True, or T, 0 and False if the range of T is too wide; 0 or impossible beyond the labels."""
    label = tl.arange(0, WIDTH)
    inside = (label < labels)[:, None] & (label < labels)[None, :]
    pairs = tl.load(transitions + label[:, None] * labels + label[None, :], mask=inside, other=LOWEST)
    pairs = tl.where(pairs == float("-inf"), LOWEST, pairs)
    high = tl.max(tl.max(pairs, 0), 0)
    low = tl.min(tl.min(tl.where(inside, pairs, high), 0), 0)
    narrow = high - low <= WIDEST
    return tl.where(narrow, tl.exp(pairs - high), pairs), tl.where(narrow, high, 0.0), narrow


@_kernel
def _forward(unary, transitions, lengths, alpha, log_z, batch, time, labels, WIDTH: tl.constexpr):
    label = tl.arange(0, WIDTH)
    table, centre, narrow = _table(transitions, labels, WIDTH)
    size = tl.full((), 1, tl.int64) * time * labels
    for example in range(tl.program_id(0), batch, tl.num_programs(0)):
        length = tl.load(lengths + example)
        end = tl.minimum(length, time).to(tl.int32)
        start = example * size
        a, peak = _scores(unary, start, tl.where(end > 0, labels, 0), WIDTH)
        total = peak.to(tl.float64)
        tl.store(alpha + start + label, a, mask=(label < labels) & (end > 0))
        for t in range(1, end):
            u, peak = _scores(unary, start + t * labels, labels, WIDTH)
            if narrow:
                a = _log(tl.sum(tl.exp(a)[:, None] * table, 0)) + u
            else:
                moved = a[:, None] + table
                highest = tl.max(moved, 0)
                a = tl.log(tl.sum(tl.exp(moved - highest[None, :]), 0)) + highest + u
            shift = tl.max(a, 0)
            a -= shift
            total += shift.to(tl.float64) + peak.to(tl.float64) + centre.to(tl.float64)
            tl.store(alpha + start + t * labels + label, a, mask=label < labels)
        result = total + tl.log(tl.sum(tl.exp(a.to(tl.float64)), 0))
        result = tl.where(total > LOWEST / 2, result, float("-inf"))
        result = tl.where(length > 0, result, 0.0)
        tl.store(log_z + example, tl.where(length > time, float("nan"), result))


@_kernel
def _backward(
    unary, transposed, lengths, alpha, weights, marginals, pair_marginals, batch, time, labels, WIDTH: tl.constexpr
):
    label = tl.arange(0, WIDTH)
    table, _, narrow = _table(transposed, labels, WIDTH)
    flow = tl.zeros((WIDTH, WIDTH), dtype=tl.float32)
    size = tl.full((), 1, tl.int64) * time * labels
    for example in range(tl.program_id(0), batch, tl.num_programs(0)):
        end = tl.minimum(tl.load(lengths + example), time).to(tl.int32)
        weight = tl.load(weights + example)
        start = example * size
        for t in range(end, time):
            tl.store(marginals + start + t * labels + label, tl.zeros((WIDTH,), tl.float32), mask=label < labels)
        p = _marginal(alpha, start + (end - 1) * labels, tl.zeros((WIDTH,), tl.float32), weight, end > 0, labels, WIDTH)
        tl.store(marginals + start + (end - 1) * labels + label, p, mask=(label < labels) & (end > 0))
        b = tl.zeros((WIDTH,), dtype=tl.float32)
        for back in range(1, end):
            row = start + (end - back) * labels
            u, _ = _scores(unary, row, labels, WIDTH)
            ahead = u + b
            if narrow:
                moved = tl.exp(ahead - tl.max(ahead, 0))[:, None] + tl.zeros_like(table)
                mass = tl.sum(moved * table, 0)
                b = _log(mass)
            else:
                moved = ahead[:, None] + table
                highest = tl.max(moved, 0)
                moved = tl.exp(moved - highest[None, :])
                mass = tl.sum(moved, 0)
                b = tl.log(mass) + highest
            b -= tl.max(b, 0)
            p = _marginal(alpha, row - labels, b, weight, True, labels, WIDTH)
            tl.store(marginals + row - labels + label, p, mask=label < labels)
            flow += moved * tl.where(mass == 0, 0.0, p / tl.where(mass == 0, 1.0, mass))[None, :]
    if narrow:
        flow *= table
    inside = (label < labels)[:, None] & (label < labels)[None, :]
    cell = (tl.full((), 1, tl.int64) * tl.program_id(0) * labels + label[:, None]) * labels + label[None, :]
    tl.store(pair_marginals + cell, flow, mask=inside)


@_kernel
def _log(masses):
    """ln, finite at 0, which occurs beyond the labels."""
    return tl.log(tl.where(masses == 0, 1e-37, masses))


@_kernel
def _marginal(alpha, row, b, weight, there, labels, WIDTH: tl.constexpr):
    """The weight times softmax(a + b)."""
    label = tl.arange(0, WIDTH)
    a = tl.load(alpha + row + label, mask=(label < labels) & there, other=LOWEST)
    joint = tl.where(label < labels, a + b, LOWEST)
    p = tl.exp(joint - tl.max(joint, 0))
    return p * (weight / tl.sum(p, 0))


@_kernel
def _chosen(outputs, row, given, position, end):
    """The labels at some positions; 0 where none was given."""
    there = (position >= 0) & (position < tl.minimum(end, given))
    return tl.load(outputs + row * given + position, mask=there, other=0)


@_kernel
def _score(unary, transitions, lengths, outputs, scores, candidates, given, time, labels, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    example = row // candidates
    end = tl.minimum(tl.load(lengths + example), time).to(tl.int32)
    total = tl.zeros((BLOCK,), dtype=tl.float64)
    for first in range(0, end, BLOCK):
        position = first + tl.arange(0, BLOCK)
        label = _chosen(outputs, row, given, position, end)
        before = _chosen(outputs, row, given, position - 1, end)
        known = (label >= 0) & (label < labels)
        counted = position < end
        u = tl.load(unary + (example * time + position) * labels + label, mask=counted & known, other=0.0)
        paired = counted & (position > 0) & known & (before >= 0) & (before < labels)
        pair = tl.load(transitions + before * labels + label, mask=paired, other=0.0)
        total += tl.where(counted & (known == 0), float("nan"), u.to(tl.float64) + pair.to(tl.float64))
    tl.store(scores + row, tl.sum(total, 0))


@_kernel
def _score_backward(
    weights, lengths, outputs, of_unary, of_pairs, candidates, given, time, labels, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    example = row // candidates
    end = tl.minimum(tl.load(lengths + example), time).to(tl.int32)
    weight = tl.load(weights + row).to(tl.float32) + tl.zeros((BLOCK,), tl.float32)
    for first in range(0, end, BLOCK):
        position = first + tl.arange(0, BLOCK)
        label = _chosen(outputs, row, given, position, end)
        before = _chosen(outputs, row, given, position - 1, end)
        known = (position < end) & (label >= 0) & (label < labels)
        tl.atomic_add(of_unary + (example * time + position) * labels + label, weight, mask=known)
        paired = known & (position > 0) & (before >= 0) & (before < labels)
        tl.atomic_add(of_pairs + before * labels + label, weight, mask=paired)
