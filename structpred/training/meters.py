"""Running state of training: sums, averages, best weights and skipped steps, kept on the device to avoid waiting."""

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from structpred.errors import RunError
from structpred.sequences import spelt
from structpred.training.batching import EpochPlan
from structpred.training.checkpoint import State
from structpred.training.data import EncodedData


class Average:
    """An exponential moving average of a network's weights: a ← a + (1 − d)(w − a) after each step.

    The decay d at step t is the smaller of ``decay`` and (1 + t) / (10 + t), as in TensorFlow's
    ExponentialMovingAverage, so that the random initial weights are soon forgotten.

    Args:
        model: the trained network.
        decay: the memory is about 1 / (1 − decay) steps.
        shared: parameters that never change, of which no second copy is made.

    Attributes:
        model: the network with the averaged weights.
    """

    def __init__(self, model: nn.Module, decay: float, shared: Iterable[nn.Parameter] = ()) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model, {id(each): each for each in shared}).requires_grad_(False).eval()
        pairs = zip(self.model.parameters(), model.parameters(), strict=True)
        self._pairs = [(average, current) for average, current in pairs if average is not current]
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def follow(self, steps: int) -> None:
        """Update the average after ``steps`` steps."""
        weight = 1 - min(self.decay, (1 + steps) / (10 + steps))
        for average, current in self._pairs:
            average.lerp_(current, weight)
        for buffer, content in self._buffers:
            buffer.copy_(content)


@dataclass
class Totals:
    """Sums over the epoch, on the device until they are read; a diagnostic may come with some steps only."""

    losses: Any = 0.0
    tokens: Any = 0
    sums: Any = None
    counts: Any = None

    def add(self, losses: Tensor, diagnostics: dict[str, Tensor], tokens: int, skip: Tensor | None = None) -> None:
        """Count one step, unless it was skipped.

        Args:
            losses: of its examples.
            diagnostics: each summed over the examples, 0-dim.
            tokens: target tokens of the examples.
            skip: see `to_skip`.
        """
        taken = 1 if skip is None else ~skip
        self.losses = self.losses + _unless(skip, losses.sum())
        self.tokens = self.tokens + tokens * taken
        sums, counts = self.sums or {}, self.counts or {}
        here = {name: _unless(skip, value) for name, value in diagnostics.items()}
        self.sums = sums | {name: sums.get(name, 0.0) + value for name, value in here.items()}
        self.counts = counts | {name: counts.get(name, 0) + len(losses) * taken for name in diagnostics}

    def loss(self) -> float:
        """Mean loss per target token."""
        return float(self.losses) / max(int(self.tokens), 1)

    def diagnostics(self) -> dict[str, float]:
        """Mean of each diagnostic over the examples that have it."""
        return {name: float(total) / max(int(self.counts[name]), 1) for name, total in (self.sums or {}).items()}

    def numbers(self) -> "Totals":
        """The same as plain numbers, for other processes."""
        sums, counts = self.sums or {}, self.counts or {}
        return Totals(
            float(self.losses),
            int(self.tokens),
            {name: float(each) for name, each in sums.items()},
            {name: int(each) for name, each in counts.items()},
        )

    @classmethod
    def of(cls, parts: Sequence["Totals"]) -> "Totals":
        """The sum over several processes, each given as `numbers`."""
        names = dict.fromkeys(name for part in parts for name in part.sums)
        return cls(
            sum(part.losses for part in parts),
            sum(part.tokens for part in parts),
            {name: sum(part.sums.get(name, 0.0) for part in parts) for name in names},
            {name: sum(part.counts.get(name, 0) for part in parts) for name in names},
        )


def _unless(skip: Tensor | None, value: Tensor) -> Tensor:
    """The value, or 0 if the step was skipped."""
    return value if skip is None else torch.where(skip, 0.0, value)


@dataclass
class Best:
    """The weights to keep.

    Attributes:
        epoch: the epoch after which they were taken.
        improved: the first epoch with these scores; later equal ones are kept, but do not count as progress.
        ranking: their dev scores, see `structpred.training.evaluation.ranking`.
        weights: the network's state.
    """

    epoch: int
    improved: int
    ranking: tuple[float, ...]
    weights: dict[str, Tensor]


@dataclass
class Clock:
    """Time spent, summed over all interruptions."""

    wall: float = 0.0
    cpu: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def start(self) -> None:
        """Start the clock."""
        self._began = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """Stop the clock."""
        state = self.state()
        self.wall, self.cpu, self._began = state["wall"], state["cpu"], None

    def seconds(self) -> float:
        """Wall-clock seconds so far."""
        return float(self.state()["wall"])

    def state(self) -> State:
        """The fields, updated to now."""
        wall, cpu = (time.monotonic() - self._began[0], time.process_time() - self._began[1]) if self._began else (0, 0)
        return {"wall": self.wall + wall, "cpu": self.cpu + cpu, "tokens": self.tokens}

    def pace(self, done: float) -> tuple[float, float]:
        """Target tokens per second, and seconds left if the share ``done`` of training is done."""
        seconds = max(self.seconds(), 1e-9)
        return self.tokens / seconds, seconds * (1 - done) / max(done, 1e-9)


class Every:
    """A timer that is due once an interval.

    Args:
        interval: seconds.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._last = 0.0

    def due(self) -> bool:
        """True once per interval, and the first time."""
        now = time.monotonic()
        if now - self._last < self.interval:
            return False
        self._last = now
        return True


class NotFinite(RunError):
    """Too many steps in a row whose loss or gradient was not finite.

    Args:
        what: the value that was not finite, such as ``"the loss of RML"``.
        steps: the number of such steps.
        epoch: the epoch, from 1.
        batch: the last batch, as plain values.
    """

    def __init__(self, what: str, steps: int, epoch: int, batch: State) -> None:
        super().__init__(
            f"{what} was not finite in {steps} steps in a row in epoch {epoch}; lower the learning rate or the "
            "clipping norm, or inspect the batch"
        )
        self.batch = batch


class NonfiniteGuard:
    """Counts steps skipped because their loss or gradient was not finite.

    Attributes:
        skipped: all skipped steps.
        in_a_row: skipped steps since the last step taken.
        longest: the longest run of skipped steps.
        position: position in the epoch of the last skipped step; -1 for none.
        by_loss: True if the loss of that step was not finite, False if only its gradient was not.
    """

    NAMES = ("skipped", "in_a_row", "longest", "position", "by_loss")

    def __init__(self, device: torch.device) -> None:
        self.skipped, self.in_a_row, self.longest = (torch.zeros((), dtype=torch.long, device=device) for _ in range(3))
        self.position = torch.tensor(-1, device=device)
        self.by_loss = torch.zeros((), dtype=torch.bool, device=device)

    def count(self, skip: Tensor | None, position: int, by_loss: Tensor) -> None:
        """Count a step, skipped or not; see `to_skip`. ``by_loss`` is True if its loss is not finite."""
        if skip is None:
            self.in_a_row = torch.zeros_like(self.in_a_row)
            return
        self.skipped = self.skipped + skip
        self.in_a_row = (self.in_a_row + 1) * skip
        self.longest = torch.maximum(self.longest, self.in_a_row)
        self.position = torch.where(skip, position, self.position)
        self.by_loss = torch.where(skip, by_loss, self.by_loss)

    def state(self) -> State:
        """All counts."""
        return {name: getattr(self, name) for name in self.NAMES}

    def restore(self, state: State) -> None:
        """Resume counting from what `state` returned."""
        for name in self.NAMES:
            setattr(self, name, state[name].to(self.skipped.device))


def not_finite(value: Tensor) -> Tensor:
    """Whether a number is infinite or NaN: x − x is 0 for any other. ``isfinite`` takes twice as many operations."""
    return (value - value).isnan()


def to_skip(doubtful: Tensor) -> Tensor | None:
    """None for a step that is certainly taken, which spares the operations that would undo it; else ``doubtful``.

    Args:
        doubtful: 0-dim; True if the step is to be skipped. It is only read in main memory, where nothing waits.
    """
    return None if doubtful.device.type == "cpu" and not doubtful else doubtful


def step_unless(skip: Tensor | None, optimizer: torch.optim.Optimizer) -> None:
    """One step of the optimiser, unless it is to be skipped; see `to_skip`.

    A fused optimiser reads ``skip`` on the device; any other synchronises with the device.
    """
    if all(group.get("fused") for group in optimizer.param_groups):
        inner = getattr(optimizer, "optimizer", optimizer)  # below Fabric's wrapper
        found = None if skip is None else skip.float()
        setattr(inner, "found_inf", found)  # noqa: B010 - as torch.amp.GradScaler does; it is not declared
        optimizer.step()
    elif skip is None or not skip:
        optimizer.step()


def give_back(buffers: Sequence[Tensor], before: Sequence[Tensor], skip: Tensor | None) -> None:
    """Restore the buffers that a skipped step has changed; see `to_skip`."""
    if skip is None:
        return
    for buffer, old in zip(buffers, before, strict=True):
        buffer.copy_(torch.where(skip, old, buffer))


def batch_in_symbols(plan: EpochPlan, position: int, prepared: EncodedData) -> State:
    """A batch in symbols, for users to read."""
    targets = plan[position].targets.tolist()
    rows = [
        (prepared.splits.train[row], target) for row, target in zip(plan.rows[position].tolist(), targets, strict=True)
    ]
    examples = [
        {"where": each.where, "source": list(spelt(each.source)), "target": list(prepared.codec.write(target))}
        for each, target in rows
    ]
    return {"position": position, "examples": examples}
