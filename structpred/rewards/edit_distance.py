"""The edit distance as a reward, and the distances between all prefixes, on any device."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist
from torch import Tensor

from structpred.registry import rewards
from structpred.rewards.base import Reward, added_by_each
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


SURROGATES = range(0xD800, 0xE000)
"""Code points that are not characters: no string can be decoded from them."""

CODE_POINTS = 0x110000 - len(SURROGATES)
"""How many different labels the characters of a string can stand for."""


@rewards.register("edit-distance")
@dataclass(frozen=True, kw_only=True)
class EditDistance(Reward):
    """r(y, y*) = −Levenshtein(y, y*): insertions, deletions and substitutions, 1 each; 0 is perfect."""

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """Minus the distance to the nearest reference."""
        several = references if references.lengths.ndim == 2 else references.candidates()
        batch, candidates, count = *outputs.lengths.shape, several.lengths.shape[1]
        hypotheses, targets = _strings(_here(outputs), _here(several))
        first = [text for text in hypotheses for _ in range(count)]
        second = [
            text for i in range(batch) for _ in range(candidates) for text in targets[i * count : (i + 1) * count]
        ]
        distances = cpdist(first, second, scorer=Levenshtein.distance, dtype=np.int32, workers=1)
        best = torch.from_numpy(distances).reshape(batch, candidates, count).amin(-1)
        return -best.to(outputs.device, torch.float32, non_blocking=True)

    def increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """What each symbol costs of the best score still within reach, Φ_t = −min_j D(y_1..t, y*_1..j).

        A right completion of y_1..t keeps Φ_t, so a symbol is charged for the damage it does and the end for what it
        leaves out: score − Φ_length. Φ_0 = 0. An output that was cut is scored as if it ended there, and what that
        costs stands in the end's place, which comes after all of its symbols.
        """
        several = references if references.lengths.ndim == 2 else references.candidates()
        one_by_one = zip(several.labels.unbind(1), several.lengths.unbind(1), strict=True)
        reachable = [_reachable(outputs, Sequences(*each)) for each in one_by_one]
        potentials = -torch.stack(reachable).amin(0).float()
        return added_by_each(potentials, self.score(outputs, references), outputs)


def _reachable(outputs: Sequences, references: Sequences) -> Int[Tensor, "batch candidates prefixes"]:
    """The least distance that a completion of each prefix can have: min_j D[t, j]."""
    table = prefix_distances(outputs, references)
    columns = torch.arange(table.shape[-1], device=outputs.device)
    beyond = (columns > references.lengths.unsqueeze(1))[:, None, None]
    return table.masked_fill(beyond, torch.iinfo(table.dtype).max).amin(-1)


def _here(sequences: Sequences) -> Sequences:
    """Computed in main memory; a device synchronises twice."""
    return Sequences(sequences.labels.cpu(), sequences.lengths.cpu())


def _strings(*groups: Sequences) -> list[list[str]]:
    """Each sequence in main memory as a string with one character per label, over a code shared by all groups."""
    labels = [group.labels[group.mask()].numpy() for group in groups]
    together = np.concatenate(labels)
    if together.size and (together.min() < 0 or together.max() >= CODE_POINTS):
        together = np.unique(together, return_inverse=True)[1]
    codes = np.where(together < SURROGATES.start, together, together + len(SURROGATES)).astype("<u4")
    text = codes.tobytes().decode("utf-32-le")
    strings: list[list[str]] = []
    start = 0
    for group in groups:
        ends = start + np.cumsum([0, *group.lengths.flatten().tolist()])
        strings.append([text[i:j] for i, j in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)])
        start = int(ends[-1])
    return strings
