"""What training keeps as it goes: sums on the device, the best weights, and time over all interruptions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from structpred.training.checkpoint import State

TAKEN = torch.tensor(False)


@dataclass
class Totals:
    """Sums over the epoch, on the device until somebody reads them; a diagnostic may come with some steps only."""

    losses: Any = 0.0
    tokens: Any = 0
    sums: Any = None
    counts: Any = None

    def add(self, losses: Tensor, diagnostics: dict[str, Tensor], tokens: int, skip: Tensor = TAKEN) -> None:
        """Count one step, unless ``skip``, a 0-dim tensor, says that it was none."""
        taken = ~skip
        self.losses = self.losses + torch.where(skip, 0.0, losses.sum())
        self.tokens = self.tokens + tokens * taken
        sums, counts = self.sums or {}, self.counts or {}
        here = {name: torch.where(skip, 0.0, values.sum()) for name, values in diagnostics.items()}
        self.sums = sums | {name: sums.get(name, 0.0) + value for name, value in here.items()}
        self.counts = counts | {name: counts.get(name, 0) + len(losses) * taken for name in diagnostics}

    def loss(self) -> float:
        """Mean loss per target token."""
        return float(self.losses) / max(int(self.tokens), 1)

    def diagnostics(self) -> dict[str, float]:
        """Mean of each diagnostic per example that it was given for."""
        return {name: float(total) / max(int(self.counts[name]), 1) for name, total in (self.sums or {}).items()}

    def numbers(self) -> "Totals":
        """The same as plain numbers, which every process can read."""
        sums, counts = self.sums or {}, self.counts or {}
        return Totals(
            float(self.losses),
            int(self.tokens),
            {name: float(each) for name, each in sums.items()},
            {name: int(each) for name, each in counts.items()},
        )

    @classmethod
    def of(cls, parts: Sequence["Totals"]) -> "Totals":
        """What several processes have counted, together; each of them as `numbers`."""
        names = dict.fromkeys(name for part in parts for name in part.sums)
        return cls(
            sum(part.losses for part in parts),
            sum(part.tokens for part in parts),
            {name: sum(part.sums.get(name, 0.0) for part in parts) for name in names},
            {name: sum(part.counts.get(name, 0) for part in parts) for name in names},
        )


@dataclass
class Best:
    """The weights to keep.

    Attributes:
        epoch: the epoch after which they were taken.
        improved: the first epoch with these scores; later ones that only equal them are kept, but are no progress.
        ranking: their dev scores as `structpred.training.evaluation.ranking` has them.
        weights: the network's state.
    """

    epoch: int
    improved: int
    ranking: tuple[float, ...]
    weights: dict[str, Tensor]


@dataclass
class Clock:
    """Time spent, over all interruptions."""

    wall: float = 0.0
    cpu: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def start(self) -> None:
        """Begin counting."""
        self._began = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """Stop counting."""
        state = self.state()
        self.wall, self.cpu, self._began = state["wall"], state["cpu"], None

    def seconds(self) -> float:
        """Wall-clock seconds so far."""
        return float(self.state()["wall"])

    def state(self) -> State:
        """The fields, brought up to date."""
        wall, cpu = (time.monotonic() - self._began[0], time.process_time() - self._began[1]) if self._began else (0, 0)
        return {"wall": self.wall + wall, "cpu": self.cpu + cpu, "tokens": self.tokens}

    def pace(self, done: float) -> tuple[float, float]:
        """Target tokens per second, and seconds left when ``done`` of the training is done."""
        seconds = max(self.seconds(), 1e-9)
        return self.tokens / seconds, seconds * (1 - done) / max(done, 1e-9)


class Every:
    """Says once an interval that it is time.

    Args:
        interval: seconds.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._last = 0.0

    def due(self) -> bool:
        """True once an interval, and the first time."""
        now = time.monotonic()
        if now - self._last < self.interval:
            return False
        self._last = now
        return True
