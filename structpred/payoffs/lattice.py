"""Acceptance probabilities for proposals of the canonical edit transducer, by sweeping the edit lattice."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.payoffs.transducer import EditWeights
from structpred.sequences import Sequences

CELLS = {"cpu": 2**14}
"""Cells of one anti-diagonal held at once, over all draws of a chunk: few enough to stay in a CPU's cache."""

CELLS_ELSEWHERE = 2**22


def acceptance(outputs: Sequences, references: Sequences, weights: EditWeights) -> Float[Tensor, " batch"]:
    """a^d(y,y*) / F(y), at most 1 up to rounding.

    Samples of similar size share a chunk, so that little of the lattice is padding and memory is bounded.

    Args:
        outputs: proposals, ``[batch, time]``.
        references: their references, ``[batch, time]``.
        weights: the operation weights of the transducer that proposed them.
    """
    probabilities = torch.empty(len(outputs), dtype=torch.float64, device=outputs.device)
    width = references.labels.shape[1] + 1
    size = max(1, CELLS.get(outputs.device.type, CELLS_ELSEWHERE) // width)
    order = outputs.lengths.argsort() if len(outputs) > size else torch.arange(len(outputs), device=outputs.device)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        probabilities[rows] = _Lattice(outputs.select(rows), references.select(rows), weights).acceptance()
    return probabilities


class _Lattice:
    """Cells (i, j): i symbols of the output and j of the reference are aligned; diagonal i + j, indexed by j.

    Each cell holds F_ij / a^D_ij, separately for each kind of last operation: C for a keep or a substitution, I for an
    insertion, D for a deletion, with D_ij the edit distance of the two prefixes. So the values stay near 1 at any
    length and τ. Costs are held as D_ij · ln a, and exponentiated differences give the factors
    a^(D_before + cost − D_here).
    """

    def __init__(self, outputs: Sequences, references: Sequences, weights: EditWeights) -> None:
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

    def acceptance(self) -> Float[Tensor, " batch"]:
        sizes = self.output_lengths + self.reference_lengths
        result = torch.ones(len(sizes), dtype=torch.float64, device=sizes.device)
        first_end = int(sizes.min()) if len(sizes) else 0
        self.buffers[0].start()
        for diagonal in range(1, self.rows + self.columns + 1):
            before, previous, here = (self.buffers[(diagonal + shift) % 3] for shift in (1, 2, 0))
            here.begin(diagonal)
            self._sweep(diagonal, before, previous, here)
            if diagonal >= first_end:
                result = torch.where(sizes == diagonal, here.total(self.reference_lengths).reciprocal(), result)
        return result

    def _sweep(self, diagonal: int, before: "_Diagonal", previous: "_Diagonal", here: "_Diagonal") -> None:
        """All inner cells of a diagonal."""
        low, high = max(1, diagonal - self.rows), min(self.columns, diagonal - 1)
        if low > high:
            return
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
        quantities = torch.zeros(7, *shape, dtype=torch.float64, device=device)
        self.cost, self.more, self.kept, self.insertion, self.deletion = quantities[:5]
        self.not_deleted, self.not_inserted = quantities[5:]
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

    def total(self, columns: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """C + I + D of each sample at its own column."""
        every: Tensor = self.not_deleted + self.deletion
        return every.gather(0, columns.unsqueeze(0)).squeeze(0)


def _longest(sequences: Sequences) -> int:
    return int(sequences.lengths.max()) if len(sequences) else 0
