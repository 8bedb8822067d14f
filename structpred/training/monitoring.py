"""Monitoring of training: progress for observers, numbers for loggers, and warnings of collapse."""

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from structpred.errors import ConfigError
from structpred.files import naming, write_atomically
from structpred.protocols import Checkable
from structpred.results import Epoch
from structpred.task import Example
from structpred.training.meters import Clock, Every, NonfiniteGuard, Totals
from structpred.vocabulary import Symbols

if TYPE_CHECKING:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        phase: ``"preparing"``, ``"training"``, ``"testing"`` or ``"done"``.
        epoch, epochs: the current epoch, from 1, and the maximum number of epochs.
        done: fraction of training done, 0 to 1.
        rate: target tokens per second.
        seconds_left: estimated seconds of training left.
        loss: mean loss per target token of the epoch so far.
        dev: the latest dev metrics, in percent.
        step: optimiser steps taken.
        memory: bytes that training keeps, without activations, known once everything is prepared; 0 before and after.
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
    memory: int = 0


@runtime_checkable
class Observer(Checkable, Protocol):
    """Receives progress about twice a second and at every change of phase or epoch."""

    def __call__(self, progress: Progress) -> None:
        """Show, store or ignore it."""


def ignore(progress: Progress) -> None:
    """An observer that does nothing."""
    del progress


@runtime_checkable
class Logger(Checkable, Protocol):
    """Receives numbers by name, like every logger of Lightning Fabric."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log numbers at a step; Fabric's loggers do not agree on a type for them."""


@runtime_checkable
class Ends(Checkable, Protocol):
    """A logger to finalise at the end, like those of Lightning Fabric, which then flush their buffers."""

    def finalize(self, status: str) -> None:
        """Flush; the status is ``"success"`` or ``"failed"``."""


GivenLogger = Logger | Callable[[Path], Logger]
"""A logger, or a function from the run's folder to one: the folder's name is known only once the data are read."""


@contextlib.contextmanager
def opened(loggers: Sequence[GivenLogger], folder: Path) -> Iterator[tuple[Logger, ...]]:
    """Within the block, the loggers of the run in a folder."""
    made = tuple(each(folder) if callable(each) else each for each in loggers)
    status = "failed"
    try:
        yield made
        status = "success"
    finally:
        for each in made:
            if isinstance(each, Ends):
                each.finalize(status)


class JsonlLogger:
    """Logs one JSON object per line, with its ``"step"``; numbers that are not finite become null.

    Args:
        path: the file to append to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int, epochs: int) -> None:
        """Remove a half-written line, and entries after the step and the finished epochs from which training resumes.

        An epoch with all its steps may still be unfinished; its end is logged again.
        """
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and _happened(line, step, epochs)]
            write_atomically(self.path, "".join(kept))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        with naming(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **finite}, ensure_ascii=False) + "\n")


class TensorBoard:
    """A logger that writes into ``tensorboard/`` of a run's folder; ``train(loggers=[TensorBoard])`` makes one.

    Entries after the step that an interrupted run resumes from are marked as purged, because they are logged again.

    Args:
        folder: the run's folder.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError(
                "the logger tensorboard needs a package that is not installed: pip install structpred[tensorboard]"
            )
        self.folder = folder
        self._inner: TensorBoardLogger | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at a step."""
        if self._inner is None:
            from lightning_fabric.loggers.tensorboard import TensorBoardLogger  # as slow to import as PyTorch

            self._inner = TensorBoardLogger(self.folder, name="tensorboard", version="", purge_step=step)
        self._inner.log_metrics(dict(metrics), step)

    def finalize(self, status: str) -> None:
        """Flush the event file."""
        if self._inner is not None:
            self._inner.finalize(status)


def of_epoch(epoch: Epoch) -> dict[str, float]:
    """An epoch's numbers by name."""
    dev = {f"dev/{name}": value for name, value in epoch.dev.items()}
    diagnostics = {f"diagnostic/{name}": value for name, value in epoch.diagnostics.items()}
    return {"epoch": epoch.epoch, "loss": epoch.loss, "seconds": epoch.seconds, **epoch.costs, **dev, **diagnostics}


def _happened(line: str, step: int, epochs: int) -> bool:
    """True for entries up to then; False for later ones, and for lines that are no entry, as on a damaged disk."""
    try:
        said = json.loads(line)
        return bool(said["step"] <= step) and not _ends_after(said, epochs)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _ends_after(said: Mapping[str, float], epochs: int) -> bool:
    """True for the `of_epoch` of a later epoch; entries within an epoch have no dev scores."""
    return said["epoch"] > epochs and any(name.startswith("dev/") for name in said)


LEAST_REFERENCES = 20
"""The fewest distinct dev references from which anything is concluded about dev outputs."""

FEW, MANY = 0.1, 0.3
"""Distinct outputs per distinct reference: a fall below ``FEW`` from ``MANY`` or more is a collapse."""

SHORT, LONG = 0.25, 4.0
"""Relative length of dev outputs: leaving this range after it was between half and twice is a collapse."""

TIED, VARIED = 0.95, 0.5
"""Share of groups with equal rewards: a rise above ``TIED`` from below ``VARIED`` with a worse reward is a collapse."""

REMEDY = "lower the learning rate, warm up with maximum likelihood, or mix it in"


class CollapseWarning(UserWarning):
    """Training has collapsed."""


def shape_of(predictions: Sequence[Symbols], examples: Sequence[Example]) -> dict[str, float]:
    """Number and length of dev predictions relative to the first references, regardless of correctness.

    The numbers of ``outputs``, ``distinct`` outputs and ``distinct_references``, and the ``length_ratio`` of all
    outputs to all references, with ends counted so that it is always defined.
    """
    references = [example.references[0] for example in examples]
    lengths = [sum(len(each) + 1 for each in side) for side in (predictions, references)]
    return {
        "outputs": float(len(predictions)),
        "distinct": float(len(set(predictions))),
        "distinct_references": float(len(set(references))),
        "length_ratio": lengths[0] / max(lengths[1], 1),
    }


def warn_of_collapse(history: Sequence[Epoch], epochs: int) -> None:
    """Warn if the last epoch is the first that shows a collapse.

    Args:
        history: the epochs so far; no other state is needed, so a resumed run also warns only once.
        epochs: the budget.
    """
    *before, now = (collapsed(history[: i + 1], epochs) for i in range(len(history)))
    if now is not None and not any(before):
        warnings.warn(f"{now}: training has collapsed; {REMEDY}", CollapseWarning, stacklevel=2)


def collapsed(history: Sequence[Epoch], epochs: int) -> str | None:
    """The sign of a collapse at the end of a history, as a message; None without one.

    A bad state counts if training fell into it from a better one. If the objective learns from samples, few or short
    outputs also count without a better state before: from the middle of the budget on, and not before the third epoch.
    Long outputs do not: a model that has learnt little may just not have learnt to end.
    """
    late = len(history) >= max(3, epochs / 2) and "zero_variance" in _diagnostics(history[-1])
    shapes = [epoch.shape for epoch in history if epoch.shape.get("distinct_references", 0) >= LEAST_REFERENCES]
    return (_few_outputs(shapes, late) or _lost_length(shapes, late) if shapes else None) or _certain_and_worse(history)


def _few_outputs(shapes: Sequence[dict[str, float]], late: bool) -> str | None:
    shares = [shape["distinct"] / shape["distinct_references"] for shape in shapes]
    if shares[-1] < FEW and (late or max(shares) >= MANY):
        distinct, outputs, references = (int(shapes[-1][key]) for key in ("distinct", "outputs", "distinct_references"))
        return f"{distinct} of {outputs} dev outputs are distinct, but {references} references are"
    return None


def _lost_length(shapes: Sequence[dict[str, float]], late: bool) -> str | None:
    ratios = [shape["length_ratio"] for shape in shapes]
    fell = any(0.5 <= ratio <= 2 for ratio in ratios)
    if (ratios[-1] < SHORT and (late or fell)) or (ratios[-1] > LONG and fell):
        return f"dev outputs are {ratios[-1]:.2g} times as long as their references"
    return None


def _certain_and_worse(history: Sequence[Epoch]) -> str | None:
    found = [_diagnostics(epoch) for epoch in history]
    watched = [each for each in found if {"zero_variance", "reward"} <= each.keys()]
    if not watched or found[-1] is not watched[-1]:
        return None
    first, last = watched[0], watched[-1]
    if first["zero_variance"] < VARIED and last["zero_variance"] > TIED and last["reward"] < first["reward"]:
        return (
            f"in {last['zero_variance']:.0%} of groups all samples have the same reward, at a mean reward "
            f"of {last['reward']:.3g}, compared with {first['reward']:.3g} at first"
        )
    return None


def _diagnostics(epoch: Epoch) -> dict[str, float]:
    """Diagnostics by their last names, without the prefixes of a sum of objectives."""
    return {name.rpartition("/")[2]: value for name, value in epoch.diagnostics.items()}


SHOW_EVERY = 0.5
"""Seconds between reports of progress; reading a loss synchronises the device, so it is not done every step."""
LOG_EVERY = 10.0
"""Seconds between entries of the log within an epoch."""


POOR = 0.1
"""Mean of (effective sample size − 1)/(k − 1) below which one draw has nearly all the weight."""


class DiagnosticWarning(UserWarning):
    """A diagnostic of the objective is not finite."""


def warn_of_diagnostics(objective: str, history: Sequence[Epoch]) -> None:
    """Warn about each diagnostic whose mean is not finite for the first time in the last epoch.

    The mean is over steps with a finite loss, so only the diagnostic is at fault.
    """
    *before, now = (_not_finite(epoch) for epoch in history)
    for name in sorted(now.difference(*before)):
        warnings.warn(
            f"the diagnostic {name!r} of {objective} is not finite in epoch {len(history)}, although the loss is; "
            "correct the diagnostic that the objective returns",
            DiagnosticWarning,
            stacklevel=2,
        )


def _not_finite(epoch: Epoch) -> set[str]:
    return {name for name, value in epoch.diagnostics.items() if not math.isfinite(value)}


class PoorWeightsWarning(UserWarning):
    """One of an example's draws has nearly all the weight, so the other draws are wasted."""


def warn_of_poor_weights(history: Sequence[Epoch]) -> None:
    """Warn if the last epoch is the first with poor importance weights.

    Args:
        history: the epochs so far; no other state is needed, so a resumed run also warns only once.
    """
    *before, now = ([name for name, share in _effective_shares(epoch).items() if share < POOR] for epoch in history)
    if not now or any(before):
        return
    prefix = now[0].removesuffix("effective_share")
    effective = history[-1].diagnostics[f"{prefix}effective_samples"]
    warnings.warn(
        f"importance weights are poor: the effective sample size is {effective:.2f} on average, so one of an "
        "example's samples has nearly all the weight; raise the payoff's temperature, choose a base measure that "
        "proposes more different outputs of high reward, or increase k",
        PoorWeightsWarning,
        stacklevel=2,
    )


def _effective_shares(epoch: Epoch) -> dict[str, float]:
    """By full name, with the prefixes of a sum of objectives."""
    return {name: value for name, value in epoch.diagnostics.items() if name.split("/")[-1] == "effective_share"}


class Reporter:
    """Passes progress to the observer and numbers to the loggers.

    Args:
        observer: receives progress.
        loggers: receive numbers every few seconds and after every epoch.
        epochs: the budget of epochs.
    """

    def __init__(self, observer: Observer, loggers: Sequence[Logger], epochs: int) -> None:
        self.observer, self.loggers, self.epochs = observer, loggers, epochs
        self._show, self._log = Every(SHOW_EVERY), Every(LOG_EVERY)

    def due(self) -> bool:
        """True when it is time to report progress."""
        return self._show.due()

    def tell(
        self,
        totals: Totals,
        clock: Clock,
        guard: NonfiniteGuard,
        history: Sequence[Epoch],
        *,
        epoch: int,
        steps: int,
        share: float,
    ) -> None:
        """Report progress in an epoch after ``steps`` steps, when the share ``share`` of training is done."""
        dev = history[-1].dev if history else {}
        loss, (rate, left) = totals.loss(), clock.pace(share)
        self.observer(Progress("training", epoch, self.epochs, share, rate, left, loss, dev, steps))
        if self._log.due():
            skipped, seconds = float(guard.skipped), clock.seconds()
            within = {"loss": loss, "tokens_per_second": rate, "skipped": skipped, "seconds": seconds}
            self._write({"epoch": epoch, **within}, steps)

    def end_epoch(self, epoch: Epoch, steps: int) -> None:
        """Log an epoch once it is scored."""
        self._write(of_epoch(epoch), steps)

    def _write(self, numbers: dict[str, float], steps: int) -> None:
        for logger in self.loggers:
            logger.log_metrics(numbers, steps)
