"""The number of positions that are right, as a reward."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from structpred.errors import ConfigError
from structpred.registry import rewards
from structpred.returned import may_look
from structpred.rewards.base import Reward, added_by_each
from structpred.sequences import Sequences


@rewards.register("hamming")
@dataclass(frozen=True, kw_only=True)
class Hamming(Reward):
    """r(y, y*) = −Σ_t [y_t ≠ y*_t], in positions; 0 is perfect.

    Outputs must be as long as their references: a string of another length has no Hamming distance.
    """

    decomposes: ClassVar[bool] = True
    same_length: ClassVar[bool] = True

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """Minus the number of positions that differ from the nearest reference.

        Raises:
            ConfigError: an output and its reference differ in length.
        """
        return -_wrong(outputs, references).sum(-1).amin(-1).float()

    def increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """−1 at each position that is wrong; the end adds nothing. Of several references the best so far counts.

        Raises:
            ConfigError: an output and its reference differ in length.
        """
        so_far = -_wrong(outputs, references).cumsum(-1).amin(2).float()
        time = outputs.labels.shape[-1]
        return added_by_each(pad(so_far, (1, 0))[..., : time + 1], self.score(outputs, references), outputs)

    def costs(self, references: Sequences, labels: int) -> Float[Tensor, "batch time labels"]:
        """−r as a sum over positions: 1 for every label but the reference's, 0 beyond the reference's end."""
        every = torch.arange(labels, device=references.device)
        wrong: Bool[Tensor, "batch time labels"] = references.labels.unsqueeze(-1) != every
        return (wrong & references.mask().unsqueeze(-1)).float()


def _wrong(outputs: Sequences, references: Sequences) -> Bool[Tensor, "batch candidates references time"]:
    """True where an output differs from a reference of the same length.

    Raises:
        ConfigError: lengths differ.
    """
    several = references if references.lengths.ndim == 2 else references.candidates()
    _refuse_unequal_lengths(outputs, several)
    width = max(outputs.labels.shape[-1], several.labels.shape[-1])
    wrong = _widened(outputs, width).unsqueeze(2) != _widened(several, width).unsqueeze(1)
    inside = torch.arange(width, device=outputs.device) < outputs.lengths.unsqueeze(-1)
    return wrong & inside.unsqueeze(2)


def _widened(sequences: Sequences, width: int) -> Tensor:
    return pad(sequences.labels, (0, width - sequences.labels.shape[-1]))


def _refuse_unequal_lengths(outputs: Sequences, references: Sequences) -> None:
    if not may_look(outputs.device):
        return
    unequal = outputs.lengths.unsqueeze(-1) != references.lengths.unsqueeze(1)
    if not unequal.any():
        return
    example, candidate, reference = unequal.nonzero()[0].tolist()
    raise ConfigError(
        "the Hamming reward needs outputs as long as their references, but in example "
        f"{example} an output of length {int(outputs.lengths[example, candidate])} meets a reference of length "
        f"{int(references.lengths[example, reference])}; use EditDistance where lengths may differ"
    )
