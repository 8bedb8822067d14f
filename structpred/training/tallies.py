"""What training adds up as it goes: losses on the device, and time over all interruptions."""

import time
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from structpred.training.checkpoint import State


@dataclass
class Totals:
    """Sums over the epoch, on the device until somebody reads them; a diagnostic may come with some steps only."""

    losses: Any = 0.0
    tokens: int = 0
    sums: Any = None
    counts: Any = None

    def add(self, losses: Tensor, diagnostics: dict[str, Tensor], tokens: int) -> None:
        """Count one step."""
        self.losses = self.losses + losses.sum()
        self.tokens += tokens
        sums, counts = self.sums or {}, self.counts or {}
        self.sums = sums | {name: sums.get(name, 0.0) + values.sum() for name, values in diagnostics.items()}
        self.counts = counts | {name: counts.get(name, 0) + len(losses) for name in diagnostics}

    def loss(self) -> float:
        """Mean loss per target token."""
        return float(self.losses) / max(self.tokens, 1)

    def diagnostics(self) -> dict[str, float]:
        """Mean of each diagnostic per example that it was given for."""
        return {name: float(total) / self.counts[name] for name, total in (self.sums or {}).items()}


@dataclass
class Clock:
    """Time spent, over all interruptions."""

    wall: float = 0.0
    cpu: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self._shown = 0.0

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

    def due(self, interval: float) -> bool:
        """True once an interval."""
        now = time.monotonic()
        if now - self._shown < interval:
            return False
        self._shown = now
        return True

    def pace(self, done: float) -> tuple[float, float]:
        """Target tokens per second, and seconds left when ``done`` of the training is done."""
        seconds = max(self.seconds(), 1e-9)
        return self.tokens / seconds, seconds * (1 - done) / max(done, 1e-9)
