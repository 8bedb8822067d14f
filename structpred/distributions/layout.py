"""Batches of outputs whose lengths the input decides, padded or packed by time step."""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from structpred.errors import ConfigError
from structpred.sequences import Sequences


def inside(lengths: Int[Tensor, "*batch"], time: int) -> Bool[Tensor, "*batch time"]:
    """True at positions within the length."""
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(-1)


def pad_or_trim(values: Float[Tensor, "batch given labels"], time: int) -> Float[Tensor, "batch time labels"]:
    """The table, padded with zeros or cut to ``time`` positions."""
    return pad(values, (0, 0, 0, max(0, time - values.shape[1])))[:, :time]


def pairs_of(lengths: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The number of neighbours in each output, in float64."""
    return (lengths - 1).clamp_(min=0).double()


def surely_finite(*tables: Tensor | None) -> bool:
    """True only if all numbers are finite, as their sums tell in one pass; False on a device, which would wait."""
    if torch.compiler.is_compiling():
        return False
    given = [each.detach() for each in tables if each is not None]
    return all(each.device.type == "cpu" and math.isfinite(each.sum().item()) for each in given)


def padded_labels(
    outputs: Sequences, lengths: Int[Tensor, " batch"], time: int
) -> Int[Tensor, "batch candidates time"]:
    """The labels of each candidate at ``time`` positions; 0 beyond the end of either.

    Values beyond a length are never read and may be anything, including −100.
    """
    labels = pad(outputs.labels, (0, max(0, time - outputs.labels.shape[-1])))[..., :time]
    return torch.where(inside(outputs.lengths.minimum(lengths.unsqueeze(1)), time), labels, 0)


def impossible_elsewhere(
    log_probs: Float[Tensor, "batch candidates"], outputs: Sequences, lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch candidates"]:
    """The values, with −inf for outputs whose length differs from the one that the input determines."""
    return torch.where(outputs.lengths == lengths.unsqueeze(1), log_probs, -torch.inf)


def chosen_scores(
    scores: Float[Tensor, "batch time labels"], labels: Int[Tensor, "batch candidates time"]
) -> Float[Tensor, "batch candidates time"]:
    """The score of each chosen label; the gradient takes no more memory than the scores."""
    return scores.gather(2, labels.transpose(1, 2)).transpose(1, 2)


@dataclass(frozen=True)
class Packing:
    """The index of each position of ``[batch, time]`` among packed rows: step by step, the longest example first.

    The examples that continue at a step are the first ones of the previous step, so recursions work on whole blocks
    without masks and never read padding.

    Attributes:
        shape: batch and time of the padded layout.
        counts: the number of rows at each step of the longest example, in descending order.
        positions: the index ``example · time + step`` of each row in the padded layout.
        examples: the example of each row.
        previous: for each row from the second step on, the row one step earlier.
        pairs: the number of neighbours in each example, in float64.
    """

    shape: tuple[int, int]
    counts: list[int]
    positions: Int[Tensor, " rows"]
    examples: Int[Tensor, " rows"]
    previous: Int[Tensor, " later"]
    pairs: Float[Tensor, " batch"]

    @classmethod
    def of(cls, lengths: Int[Tensor, " batch"], time: int) -> "Packing":
        """The layout for a batch padded to ``time`` positions, computed in main memory: one synchronisation.

        Raises:
            ConfigError: a length is larger than ``time``.
        """
        batch, device = len(lengths), lengths.device
        ordered, order = lengths.cpu().sort(descending=True, stable=True)
        longest = int(ordered[0]) if batch else 0
        if longest > time:
            raise ConfigError(f"lengths must be at most {time}, the number of positions with scores, but got {longest}")
        going = torch.arange(longest).unsqueeze(1) < ordered  # [steps, batch]
        counts = going.sum(1)
        places = going.flatten().nonzero().squeeze(1)
        steps = places // max(batch, 1)
        ranks = places - steps * batch
        examples, later = order.index_select(0, ranks), slice(int(ordered.count_nonzero()), None)
        previous = (counts.cumsum(0) - counts).index_select(0, steps[later] - 1) + ranks[later]
        here = examples * time + steps, examples, previous, pairs_of(lengths)
        return cls((batch, time), counts.tolist(), *(each.to(device, non_blocking=True) for each in here))

    @property
    def firsts(self) -> int:
        """The number of rows in the first step, which is the number of examples that are not empty."""
        return self.counts[0] if self.counts else 0

    def steps(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The rows of each time step, as views."""
        return rows.split_with_sizes(self.counts)

    def pack(self, padded: Float[Tensor, "batch time labels"]) -> Float[Tensor, "rows labels"]:
        """The rows of a padded table."""
        return padded.flatten(0, 1).index_select(0, self.positions)

    def unpack(self, rows: Float[Tensor, "rows labels"]) -> Float[Tensor, "batch time labels"]:
        """The padded table of some rows, 0 in the padding."""
        batch, time = self.shape
        padded = rows.new_zeros(batch * time, rows.shape[-1])
        return padded.index_copy_(0, self.positions, rows).view(batch, time, rows.shape[-1])

    def total(self, rows: Float[Tensor, " rows"]) -> Float[Tensor, " batch"]:
        """The sum over the rows of each example, in float64."""
        totals = torch.zeros(self.shape[0], dtype=torch.float64, device=rows.device)
        return totals.index_add_(0, self.examples, rows.double())

    def total_later(self, rows: Float[Tensor, " later"]) -> Float[Tensor, " batch"]:
        """The same for values that belong to the rows from the second step on."""
        totals = torch.zeros(self.shape[0], dtype=torch.float64, device=rows.device)
        return totals.index_add_(0, self.examples[self.firsts :], rows.double())


def at_least_float(scores: Tensor) -> Tensor:
    """float64 unchanged, everything else as float32."""
    return scores if scores.dtype == torch.float64 else scores.float()


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Within the block, matrix products keep the precision of their operands."""
    return torch.autocast(device.type, enabled=False)
