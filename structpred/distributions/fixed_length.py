"""What distributions have in common whose input decides the length of the output."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from structpred.sequences import Sequences


def inside(lengths: Int[Tensor, "*batch"], time: int) -> Bool[Tensor, "*batch time"]:
    """True at positions that count."""
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(-1)


def fitted(values: Float[Tensor, "batch given labels"], time: int) -> Float[Tensor, "batch time labels"]:
    """Padded with zeros or cut to ``time`` positions."""
    return pad(values, (0, 0, 0, max(0, time - values.shape[1])))[:, :time]


def fitted_labels(
    outputs: Sequences, lengths: Int[Tensor, " batch"], time: int
) -> Int[Tensor, "batch candidates time"]:
    """The labels of each candidate at the ``time`` positions there are; 0 where either of the two ends before.

    What stands beyond a length is never read: it may hold anything, −100 included.
    """
    labels = pad(outputs.labels, (0, max(0, time - outputs.labels.shape[-1])))[..., :time]
    return torch.where(inside(outputs.lengths.minimum(lengths.unsqueeze(1)), time), labels, 0)


def impossible_elsewhere(
    log_probs: Float[Tensor, "batch candidates"], outputs: Sequences, lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch candidates"]:
    """−inf for outputs of another length than the input says."""
    return torch.where(outputs.lengths == lengths.unsqueeze(1), log_probs, -torch.inf)


def chosen_scores(
    scores: Float[Tensor, "batch time labels"], labels: Int[Tensor, "batch candidates time"]
) -> Float[Tensor, "batch candidates time"]:
    """The score of each label that was chosen; the gradient takes no more memory than the scores."""
    return scores.gather(2, labels.transpose(1, 2)).transpose(1, 2)
