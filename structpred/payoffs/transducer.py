"""The canonical edit transducer: proposals around a reference, with few paths per string, among them a best one.

Before every reference symbol and at the end, the machine may insert symbols; it keeps, substitutes or deletes each
reference symbol. With a = exp(−1/τ), a path has weight a^edits. Of the many alignments of a string it allows only the
canonical ones: insertions only at the start or after a keep or a substitution, never next to a deletion; no insertion
directly before a substitution; no insertion of x directly before a keep of x; no deletion directly before a
substitution; no deletion of x directly before a keep of x. An alignment of lowest cost is always among them: edits
between two keeps can be reordered to substitutions, then insertions or deletions, without changing their number, and a
keep can be moved in front of an equal symbol that was inserted or deleted before it. Hence a^d(y,y*) ≤ F(y), the total
weight of all paths to y.

Positions are coupled only by whether the last operation was a deletion, so there are two states: C (it was not) and D
(it was).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.sequences import Sequences

STEEPEST = 1e4
"""Maximum of 1/τ: here exp(−1/τ) is far below the float64 range; larger values change nothing but overflow."""


@dataclass(frozen=True)
class EditWeights:
    """The weights of the operations; needs V·a < 1, otherwise insertions have infinite weight.

    Attributes:
        num_labels: V.
        temperature: τ, literal.
    """

    num_labels: int
    temperature: float

    @property
    def log_edit(self) -> float:
        """ln a = −1/τ, in nats."""
        return -min(1 / max(self.temperature, 1 / STEEPEST), STEEPEST)

    @property
    def edit(self) -> float:
        """a: one particular insertion, deletion or substitution."""
        return math.exp(self.log_edit)

    @property
    def log_insertion(self) -> float:
        """ln V·a, the weight of one insertion of any label."""
        return math.log(self.num_labels) + self.log_edit

    @property
    def finished(self) -> float:
        """1 − V·a: the share left for not inserting once more."""
        return -math.expm1(self.log_insertion)

    @property
    def substitution(self) -> float:
        """S = (V − 1)·a: any substitution."""
        return (self.num_labels - 1) * self.edit

    @property
    def insertions(self) -> float:
        """V·a / (1 − V·a): one or more insertions of any labels."""
        return math.exp(self.log_insertion) / self.finished

    @property
    def inserting(self) -> float:
        """T: one or more insertions, then a keep of anything but the label just inserted."""
        return self.insertions * (self.num_labels - 1) / self.num_labels


@dataclass(frozen=True)
class Completions:
    """The weight of all continuations from each state, as ratios, so that no length overflows.

    Attributes:
        deletions: a·ρ_{j+1}, the weight of deleting symbol j relative to keeping it, ``[time, batch]``.
        totals: g_j, the weight of all completions from C at j relative to those from C at j + 1, ``[time, batch]``.
        changes: True if symbol j differs from the one before it, so that it may be kept after a deletion.
        log_weight: ln Σ_y F(y), ``[batch]``.
    """

    deletions: Float[Tensor, "time batch"]
    totals: Float[Tensor, "time batch"]
    changes: Bool[Tensor, "time batch"]
    log_weight: Float[Tensor, " batch"]


def completions(references: Sequences, weights: EditWeights) -> Completions:
    """The backward recursion over each reference.

    With β^C_j and β^D_j the weights of all completions from the two states after j symbols, and ρ_j = β^D_j / β^C_j:
    g_j = β^C_j / β^C_{j+1} = T + 1 + S + a·ρ_{j+1} and ρ_j = ([y*_{j+1} ≠ y*_j] + a·ρ_{j+1}) / g_j, from
    ρ_m = 1 − V·a.
    """
    labels = references.labels.T  # [time, batch]
    inside = references.mask().T
    changes = torch.ones_like(inside)
    changes[1:] = labels[1:] != labels[:-1]
    deletions = torch.empty(labels.shape, dtype=torch.float64, device=labels.device)
    ratio = torch.full((labels.shape[1],), weights.finished, dtype=torch.float64, device=labels.device)
    certain = weights.inserting + 1 + weights.substitution
    for time in reversed(range(len(labels))):
        deletions[time] = weights.edit * ratio
        ratio = torch.where(inside[time], (changes[time] + deletions[time]) / (certain + deletions[time]), ratio)
    totals = certain + deletions
    log_weight = torch.where(inside, totals.log(), 0.0).sum(0) - math.log(weights.finished)
    return Completions(deletions, totals, changes, log_weight)


def propose(
    references: Sequences,
    weights: EditWeights,
    ahead: Completions,
    rows: Int[Tensor, " draws"],
    generator: torch.Generator | None = None,
) -> Sequences:
    """``[draws, time]``: one exact sample from F(y) / Σ F for each of the references in ``rows``."""
    labels = references.labels.T[:, rows]
    inside = references.mask().T[:, rows]
    uniform = _rand(inside.shape, labels, generator)
    # from C: below 0 the symbol is deleted, then follow keep, substitute, and insert and keep
    point = uniform * ahead.totals[:, rows] - ahead.deletions[:, rows]
    deleted, after_deletion, ended_deleting = _deletions(point, uniform, inside, ahead, rows)
    emitted = inside & ~deleted
    free = emitted & ~after_deletion  # after a deletion, a symbol that is not deleted is kept
    inserted = free & (point >= 1 + weights.substitution)
    substituted = free & (point >= 1) & ~inserted
    more = (torch.log1p(-_rand((len(labels) + 1, len(rows)), labels, generator)) / weights.log_insertion).long()
    insertions = torch.cat([torch.where(inserted, 1 + more[:-1], 0), torch.where(ended_deleting, 0, more[-1:])])
    others = (
        labels + 1 + uniform_labels(labels.shape, max(weights.num_labels - 1, 1), labels, generator)
    ) % weights.num_labels
    symbols = torch.where(substituted, others, labels)
    before_keep = torch.where(inserted, others, -1)
    return assemble(symbols, emitted, insertions, weights.num_labels, generator, before=before_keep)


def _deletions(
    point: Tensor, uniform: Tensor, inside: Tensor, ahead: Completions, rows: Tensor
) -> tuple[Bool[Tensor, "time draws"], Bool[Tensor, "time draws"], Bool[Tensor, " draws"]]:
    """Which symbols are deleted, which of them come after a deletion, and whether the last operation was one."""
    deletions = ahead.deletions[:, rows]
    from_kept = (point < 0) & inside
    from_deleted = (uniform * (1 + deletions) < deletions) | ~ahead.changes[:, rows] | ~inside
    state = torch.zeros_like(rows, dtype=torch.bool)
    deleted, after = torch.empty_like(inside), torch.empty_like(inside)
    for time in range(len(inside)):
        after[time] = state
        state = torch.where(state, from_deleted[time], from_kept[time])  # beyond the end the state does not change
        deleted[time] = state
    return deleted & inside, after, state


def assemble(
    symbols: Int[Tensor, "time draws"],
    emitted: Bool[Tensor, "time draws"],
    insertions: Int[Tensor, "slots draws"],
    num_labels: int,
    generator: torch.Generator | None = None,
    *,
    before: Int[Tensor, "time draws"] | None = None,
) -> Sequences:
    """Write out edited strings, with uniformly drawn insertions before each symbol and at the end.

    Args:
        symbols: the replacement of each reference symbol.
        emitted: False if the symbol is deleted.
        insertions: number of labels inserted before each symbol and at the end: time + 1 slots.
        num_labels: V.
        generator: source of the inserted labels.
        before: the label to insert directly before a symbol, or −1 for a uniform one.
    """
    ends = insertions.cumsum(0)
    ends[:-1] += emitted.cumsum(0)
    ends[-1] += emitted.sum(0)
    longest = int(ends[-1].max()) if ends.shape[1] else 0
    written = uniform_labels((longest + 1, symbols.shape[1]), num_labels, symbols, generator)
    written.scatter_(0, torch.where(emitted, ends[:-1] - 1, longest), symbols)  # row `longest` is discarded
    if before is not None:
        written.scatter_(0, torch.where(before >= 0, ends[:-1] - 2, longest), before)
    lengths = ends[-1].clone()
    time = torch.arange(longest, device=symbols.device)
    return Sequences(torch.where(time < lengths.unsqueeze(1), written[:-1].T, 0), lengths)


def grouped(drawn: Sequences, batch: int, k: int) -> Sequences:
    """``[batch * k, time]`` as ``[batch, k, time]``."""
    return Sequences(drawn.labels.reshape(batch, k, drawn.labels.shape[1]), drawn.lengths.reshape(batch, k))


def uniform_labels(
    shape: tuple[int, ...], num_labels: int, like: Tensor, generator: torch.Generator | None
) -> Int[Tensor, "..."]:
    """Labels 0..V−1, equally likely to within 2^−53 (torch.randint takes a remainder, which is less uniform)."""
    return (_rand(shape, like, generator) * num_labels).long().clamp_(max=num_labels - 1)


def _rand(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Float[Tensor, "..."]:
    return torch.rand(shape, generator=generator, device=like.device, dtype=torch.float64)
