"""Acceptance probabilities for proposals of the canonical edit transducer, by sweeping the edit lattice."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from structpred.payoffs.transducer import EditWeights
from structpred.sequences import Sequences

CELLS = {"cpu": 2**14}
"""Cells of one anti-diagonal held at once, over all draws of a chunk: few enough to stay in a CPU's cache."""

CELLS_ELSEWHERE = 2**22

ROUNDING = -53 * math.log(2)
"""ln of the share of a sum that a float64 does not hold."""


def acceptance(outputs: Sequences, references: Sequences, weights: EditWeights) -> Float[Tensor, " batch"]:
    """a^d(y,y*) / F(y), at most 1 up to rounding.

    Around long references only the cells (i, j) with |i − j| ≤ b are swept. A path that leaves this band has at least
    2 (b + 1) − |n − m| edits, no more than C(n + m, e) 3^e paths have e of them, and F(y) ≥ a^d. Where these bounds do
    not show that the band leaves out less than the last bit of F, the whole lattice is swept.

    Args:
        outputs: proposals, ``[batch, time]``.
        references: their references, ``[batch, time]``.
        weights: the operation weights of the transducer that proposed them.
    """
    whole = max(outputs.labels.shape[1], references.labels.shape[1])
    band = band_around(references, weights)
    if 2 * band > references.labels.shape[1]:  # there is little to leave out
        return swept(outputs, references, weights, whole)
    probabilities = swept(outputs, references, weights, band)
    rest = probabilities.isnan().nonzero().squeeze(1)
    probabilities[rest] = swept(outputs.select(rest), references.select(rest), weights, whole)
    return probabilities


def swept(outputs: Sequences, references: Sequences, weights: EditWeights, band: int) -> Float[Tensor, " batch"]:
    """By the cells with |i − j| ≤ ``band`` alone; NaN where these may be too few.

    Samples of similar size share a chunk, so that little of the lattice is padding and memory is bounded.
    """
    probabilities = torch.empty(len(outputs), dtype=torch.float64, device=outputs.device)
    width = min(references.labels.shape[1], band) + 1
    size = max(1, CELLS.get(outputs.device.type, CELLS_ELSEWHERE) // width)
    order = outputs.lengths.argsort() if len(outputs) > size else torch.arange(len(outputs), device=outputs.device)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        probabilities[rows] = _Lattice(outputs.select(rows), references.select(rows), weights, band).acceptance()
    return probabilities


def band_around(references: Sequences, weights: EditWeights) -> int:
    """A b that is enough for most proposals: for two standard deviations of edits more than expected."""
    longest = _longest(references)
    expected = longest * (1 - 1 / (1 + weights.substitution + weights.inserting + weights.edit))
    edits = math.ceil(expected + 2 * math.sqrt(expected))
    left_out = _log_weight_from(2 * longest + edits, weights.log_edit) - edits * weights.log_edit
    fewest = int((left_out > ROUNDING).sum())
    return max(1, math.ceil((fewest + edits / 2) / 2) - 1)


def _log_weight_from(symbols: int, log_edit: float) -> Float[Tensor, " edits"]:
    """ln Σ_{i ≥ e} C(N, i) (3a)^i for e = 0 … N, no less than the weight of all paths of e edits or more.

    N symbols, of output and reference together, leave room for N operations, and an edit is one of three.
    """
    edits = torch.arange(symbols + 1, dtype=torch.float64)
    ways = math.lgamma(symbols + 1) - torch.lgamma(edits + 1) - torch.lgamma(symbols - edits + 1)
    each = ways + edits * (math.log(3) + log_edit)
    return each.flip(0).logcumsumexp(0).flip(0)


class _Lattice:
    """Cells (i, j): i symbols of the output and j of the reference are aligned; diagonal i + j, indexed by j.

    Each cell holds F_ij / a^D_ij, separately for each kind of last operation: C for a keep or a substitution, I for an
    insertion, D for a deletion, with D_ij the edit distance of the two prefixes. So the values stay near 1 at any
    length and τ. Costs are held as D_ij · ln a, and exponentiated differences give the factors
    a^(D_before + cost − D_here).
    """

    def __init__(self, outputs: Sequences, references: Sequences, weights: EditWeights, band: int) -> None:
        self.band = band
        self.output_lengths, self.reference_lengths = outputs.lengths, references.lengths
        self.rows, self.columns = _longest(outputs), _longest(references)
        labels = outputs.labels[:, : self.rows].T
        reversed_labels = labels.flip(0).contiguous()  # so that a diagonal is a slice of it, as of the reference
        self.outputs = reversed_labels.int()
        self.references = references.labels[:, : self.columns].T.contiguous().int()
        # 1 if the symbol may be kept after an insertion, because it differs from the one before it in the output
        self.fresh = torch.ones_like(self.outputs, dtype=torch.float64)
        self.fresh[:-1] = self.outputs[:-1] != self.outputs[1:]
        self.changes = torch.ones_like(self.references, dtype=torch.float64)
        self.changes[1:] = self.references[1:] != self.references[:-1]
        self.log_edit = weights.log_edit
        shape = (self.columns + 1, len(outputs))
        self.buffers = [_Diagonal(shape, self.log_edit, self.outputs.device) for _ in range(3)]
        for buffer in self.buffers:
            buffer.leave_out(slice(band + 1, None))

    def acceptance(self) -> Float[Tensor, " batch"]:
        sizes = self.output_lengths + self.reference_lengths
        result = torch.ones(len(sizes), dtype=torch.float64, device=sizes.device)
        cost = torch.zeros_like(result)
        first_end = int(sizes.min()) if len(sizes) else 0
        self.buffers[0].start()
        for diagonal in range(1, self.rows + self.columns + 1):
            before, previous, here = (self.buffers[(diagonal + shift) % 3] for shift in (1, 2, 0))
            here.begin(diagonal)
            self._sweep(diagonal, before, previous, here)
            if diagonal >= first_end:
                ended, columns = sizes == diagonal, self.reference_lengths.unsqueeze(0)
                result = torch.where(ended, here.total.gather(0, columns).squeeze(0).reciprocal(), result)
                cost = torch.where(ended, here.cost.gather(0, columns).squeeze(0), cost)
        return torch.where(self._suffices(cost), result, torch.nan)

    def _suffices(self, cost: Float[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Whether the band leaves out less than the last bit of F ≥ a^D, with ``cost`` = D ln a."""
        if self.band >= max(self.rows, self.columns):
            return torch.ones_like(cost, dtype=torch.bool)
        aside = (self.output_lengths - self.reference_lengths).abs()
        log_weight = _log_weight_from(self.rows + self.columns, self.log_edit).to(cost.device)
        left_out = log_weight[(2 * (self.band + 1) - aside).clamp(0, len(log_weight) - 1)]
        return (aside <= self.band) & (left_out - cost <= ROUNDING)

    def _sweep(self, diagonal: int, before: "_Diagonal", previous: "_Diagonal", here: "_Diagonal") -> None:
        """All inner cells of a diagonal."""
        first, last = (diagonal - self.band + 1) // 2, (diagonal + self.band) // 2  # within the band
        low, high = max(1, diagonal - self.rows, first), min(self.columns, diagonal - 1, last)
        if low > high:
            return
        if low == first:  # columns beyond the last one have been outside from the start
            here.leave_out(slice(first - 1, first))
        flipped = slice(self.rows - diagonal + low, self.rows - diagonal + high + 1)
        left, at, size = low - 1, low, high - low + 1
        differs = self.outputs[flipped] != self.references.narrow(0, left, size)
        across = torch.where(differs, before.more.narrow(0, left, size), before.cost.narrow(0, left, size))
        above, beside = previous.more.narrow(0, at, size), previous.more.narrow(0, left, size)
        cost = torch.maximum(above, beside, out=here.cost.narrow(0, at, size))
        torch.maximum(cost, across, out=cost)
        torch.add(cost, self.log_edit, out=here.more.narrow(0, at, size))
        before_kept = before.kept.narrow(0, left, size)
        keeping = torch.addcmul(before_kept, before.insertion.narrow(0, left, size), self.fresh[flipped])
        keeping.addcmul_(before.deletion.narrow(0, left, size), self.changes.narrow(0, left, size))
        reached = torch.where(differs, before_kept, keeping)
        kept = torch.mul(across.sub_(cost).exp_(), reached, out=here.kept.narrow(0, at, size))
        factor = torch.sub(above, cost, out=keeping).exp_()
        insertion = torch.mul(factor, previous.not_deleted.narrow(0, at, size), out=here.insertion.narrow(0, at, size))
        torch.add(kept, insertion, out=here.not_deleted.narrow(0, at, size))
        factor = torch.sub(beside, cost, out=keeping).exp_()
        deletion = torch.mul(factor, previous.not_inserted.narrow(0, left, size), out=here.deletion.narrow(0, at, size))
        torch.add(kept, deletion, out=here.not_inserted.narrow(0, at, size))


class _Diagonal:
    """One anti-diagonal: seven quantities ``[columns + 1, batch]``.

    Initialised with cells (0, j) everywhere, which have one path of only deletions: each column starts as such a cell.

    Attributes:
        cost: D · ln a.
        more: (D + 1) · ln a.
        kept: C.
        insertion: I.
        deletion: D.
        not_deleted: C + I.
        not_inserted: C + D.
    """

    def __init__(self, shape: tuple[int, int], log_edit: float, device: torch.device) -> None:
        self.all = torch.zeros(7, *shape, dtype=torch.float64, device=device)
        self.cost, self.more, self.kept, self.insertion, self.deletion, self.not_deleted, self.not_inserted = self.all
        self.outside = self.all.new_zeros(7, 1, 1)
        self.outside[:2] = -torch.inf
        self.log_edit = log_edit
        self.cost += log_edit * torch.arange(shape[0], dtype=torch.float64, device=device).unsqueeze(1)
        torch.add(self.cost, log_edit, out=self.more)
        self.deletion.fill_(1.0)
        self.not_inserted.fill_(1.0)
        self._first(kept=0.0, insertion=1.0)

    def _first(self, *, kept: float, insertion: float) -> None:
        self.kept[0], self.insertion[0], self.deletion[0] = kept, insertion, 0.0
        self.not_deleted[0], self.not_inserted[0] = kept + insertion, kept

    def begin(self, diagonal: int) -> None:
        """Cell (i, 0), with one path of only insertions."""
        self.cost[0] = diagonal * self.log_edit
        self.more[0] = (diagonal + 1) * self.log_edit
        if diagonal == 3:  # the buffer of cell (0, 0) holds such a cell from now on
            self._first(kept=0.0, insertion=1.0)

    def start(self) -> None:
        """Cell (0, 0)."""
        self._first(kept=1.0, insertion=0.0)

    def leave_out(self, columns: slice) -> None:
        """Make the cells of these columns ones that no path goes through."""
        self.all[:, columns] = self.outside

    @property
    def total(self) -> Float[Tensor, "columns batch"]:
        """C + I + D."""
        every: Tensor = self.not_deleted + self.deletion
        return every


def _longest(sequences: Sequences) -> int:
    return int(sequences.lengths.max()) if len(sequences) else 0
