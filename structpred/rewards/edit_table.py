"""The edit distances between all prefixes of outputs and of references, on any device."""

import torch
from jaxtyping import Int
from torch import Tensor

from structpred.sequences import Sequences


def prefix_distances(outputs: Sequences, references: Sequences) -> Int[Tensor, "batch candidates outputs references"]:
    """D[t, j] = Levenshtein(y_1..t, y*_1..j): ``[batch, candidates, time + 1, reference time + 1]``.

    Row t of the table follows from row t − 1 without a loop over j: with
    B[j] = min(D[t−1, j] + 1, D[t−1, j−1] + [y_t ≠ y*_j]), the best that does not end by leaving out y*_j, leaving out
    costs one each, so that D[t, j] = min over i ≤ j of B[i] + j − i = j + cummin(B − i)[j].

    Args:
        outputs: ``[batch, candidates, time]``.
        references: ``[batch, time]``.

    Returns:
        Distances; rows beyond an output's length and columns beyond a reference's mean nothing.
    """
    time, reference_time = outputs.labels.shape[-1], references.labels.shape[-1]
    columns = torch.arange(reference_time + 1, dtype=torch.int32, device=outputs.device)
    row = columns.expand(*outputs.lengths.shape, -1)
    rows = [row]
    for t in range(time):
        differ = outputs.labels[..., t, None] != references.labels.unsqueeze(1)
        best = row + 1
        best[..., 1:] = torch.minimum(best[..., 1:], row[..., :-1] + differ)
        row = torch.cummin(best - columns, -1).values + columns
        rows.append(row)
    return torch.stack(rows, -2)
