"""What training tells whoever watches it."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from structpred.protocols import Checkable


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        phase: ``"preparing"``, ``"training"``, ``"testing"`` or ``"done"``.
        epoch, epochs: the epoch under way, from 1, and how many there may be.
        done: share of the training done, 0 to 1.
        rate: target tokens per second.
        seconds_left: estimated seconds of training left.
        loss: mean loss per target token of the epoch so far.
        dev: the latest dev metrics, in percent.
        step: optimiser steps taken.
    """

    phase: str
    epoch: int = 0
    epochs: int = 0
    done: float = 0.0
    rate: float = 0.0
    seconds_left: float = 0.0
    loss: float = 0.0
    dev: dict[str, float] = field(default_factory=dict)
    step: int = 0


@runtime_checkable
class Observer(Checkable, Protocol):
    """Told of progress about twice a second and at every change of phase or epoch."""

    def __call__(self, progress: Progress) -> None:
        """Show it, store it, or ignore it."""


def ignore(progress: Progress) -> None:
    """The observer that does nothing."""
    del progress
