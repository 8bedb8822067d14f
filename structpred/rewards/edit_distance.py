"""The Levenshtein distance as a reward."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist
from torch import Tensor

from structpred.registry import rewards
from structpred.rewards.base import Reward
from structpred.sequences import Sequences

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
        hypotheses, targets = _strings(outputs, several)
        first = [text for text in hypotheses for _ in range(count)]
        second = [
            text for i in range(batch) for _ in range(candidates) for text in targets[i * count : (i + 1) * count]
        ]
        distances = cpdist(first, second, scorer=Levenshtein.distance, dtype=np.int32, workers=1)
        best = torch.from_numpy(distances).reshape(batch, candidates, count).amin(-1)
        return -best.to(outputs.device, torch.float32)


def _strings(*groups: Sequences) -> list[list[str]]:
    """Each sequence as a string with one character per label, over a code shared by all groups."""
    labels = [group.labels[group.mask()].cpu().numpy() for group in groups]
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
