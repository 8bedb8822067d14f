"""Batched rejection sampling of sequences."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from structpred.errors import ConfigError
from structpred.sequences import Sequences

ROUND = 8192
"""Maximum number of proposals per round."""

FEW = 256
"""Minimum number of proposals per round: pending samples get several attempts in parallel."""

WINDOW = 20_000
"""Number of proposals after which the acceptance rate is checked."""

WINDOW_CELLS = 2**26
"""The same in cells of edit tables, because long proposals cost more, but after at least a tenth of the proposals."""

HOPELESS = 5e-3
"""The lowest tolerated acceptance rate: 200 proposals per sample, so that 1,000 samples take seconds."""


@dataclass(frozen=True)
class Drawing:
    """How to propose, and what to report on failure.

    Attributes:
        attempt: makes one proposal for each given row, and says whether it is accepted.
        lengths: the length of each row's reference.
        temperature: τ, literal.
        workable: finds a literal temperature with a sufficient acceptance rate for the reference of a row.
    """

    attempt: Callable[[Int[Tensor, " draws"]], tuple[Sequences, Bool[Tensor, " draws"]]]
    lengths: Int[Tensor, " batch"]
    temperature: float
    workable: Callable[[int], float]


def reject(drawing: Drawing, rows: Int[Tensor, " draws"], most: int) -> Sequences:
    """One accepted proposal for each row, ``[draws, time]``.

    Only rejected rows are drawn again. If few are pending, each gets several attempts at once, and the first accepted
    one counts, so the distribution is the same as with one attempt after another.

    Args:
        drawing: makes proposals.
        rows: the rows to sample around; a row may occur many times.
        most: maximum number of proposals per round.

    Raises:
        ConfigError: fewer than one proposal in two hundred is accepted.
    """
    parts: list[tuple[Tensor, Sequences]] = []
    pending = torch.arange(len(rows), device=rows.device)
    watch = _Watch(drawing)
    while pending.numel():
        now, later = pending[: min(ROUND, most)], pending[min(ROUND, most) :]
        tries = max(1, min(FEW, most) // len(now))
        proposals, accepted = drawing.attempt(rows[now].repeat_interleave(tries))
        table = accepted.reshape(-1, tries)
        done = table.any(1)
        first = torch.arange(len(now), device=rows.device) * tries + table.int().argmax(1)
        parts.append((now[done], proposals.select(first[done])))
        pending = torch.cat([now[~done], later])
        watch.record(accepted, proposals, rows[pending])
    return joined(parts, len(rows), rows.device)


class _Watch:
    """Raises an error if almost nothing is accepted."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self.columns = 1 + (int(drawing.lengths.max()) if len(drawing.lengths) else 0)
        self.attempts = self.accepted = self.cells = 0

    def record(self, accepted: Tensor, proposals: Sequences, pending: Tensor) -> None:
        """Count one round, and check the acceptance rate after enough proposals."""
        self.attempts += len(accepted)
        self.accepted += int(accepted.sum())
        self.cells += proposals.labels.numel() * self.columns
        if self.attempts < WINDOW and (self.cells < WINDOW_CELLS or self.attempts < WINDOW // 10):
            return
        if pending.numel() and self.accepted < HOPELESS * self.attempts:
            worst = int(pending[self.drawing.lengths[pending].argmax()])
            longest = int(self.drawing.lengths[worst])
            raise ConfigError(
                f"at a literal temperature of {self.drawing.temperature:g} only {self.accepted} of {self.attempts} "
                f"proposals were accepted around references of length up to {longest}, too few for exact sampling; "
                f"lower the temperature, to a literal {self.drawing.workable(worst):.3g} or less, or use "
                "PublishedEditDistancePayoff"
            )
        self.attempts = self.accepted = self.cells = 0


def joined(parts: list[tuple[Tensor, Sequences]], count: int, device: torch.device) -> Sequences:
    """The parts in their positions, padded to the longest."""
    longest = max((int(part.lengths.max()) for _, part in parts if len(part)), default=0)
    labels = torch.zeros(count, longest, dtype=torch.long, device=device)
    lengths = torch.zeros(count, dtype=torch.long, device=device)
    for places, part in parts:
        width = min(longest, part.labels.shape[1])
        labels[places, :width] = part.labels[:, :width]
        lengths[places] = part.lengths
    return Sequences(labels, lengths)
