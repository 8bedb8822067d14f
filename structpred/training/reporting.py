"""What a run says of itself as it goes: progress for people and numbers for loggers."""

import math
import warnings
from collections.abc import Sequence

from structpred.results import Epoch
from structpred.training.care import Care
from structpred.training.logbook import Logger, of_epoch
from structpred.training.progress import Observer, Progress
from structpred.training.tallies import Clock, Every, Totals

SHOW_EVERY = 0.5
"""Seconds between reports of progress; reading a loss makes the device wait, so it is not done every step."""
LOG_EVERY = 10.0
"""Seconds between entries of the log within an epoch."""


POOR = 0.1
"""Mean of (effective sample size − 1)/(k − 1) below which weights are poor: one draw has nearly all the weight."""


class DiagnosticWarning(UserWarning):
    """A diagnostic of the objective is not finite."""


def warn_of_diagnostics(objective: str, history: Sequence[Epoch]) -> None:
    """Warn of each diagnostic whose mean is not finite in the last epoch, and was in all before it.

    The loss was finite in every step that the mean is of, so it is the diagnostic alone that says nothing.
    """
    *before, now = (_not_finite(epoch) for epoch in history)
    for name in sorted(now.difference(*before)):
        warnings.warn(
            f"the diagnostic {name!r} of {objective} is not finite in epoch {len(history)}, where the loss is; correct "
            "what the objective returns",
            DiagnosticWarning,
            stacklevel=2,
        )


def _not_finite(epoch: Epoch) -> set[str]:
    return {name for name, value in epoch.diagnostics.items() if not math.isfinite(value)}


class PoorWeightsWarning(UserWarning):
    """Nearly all of the weight falls on one of an example's draws, so that the other draws are wasted."""


def warn_of_poor_weights(history: Sequence[Epoch]) -> None:
    """Warn where the last epoch is the first whose weights are poor.

    Args:
        history: the run so far; that is all there is to remember, so a run that is resumed warns once as well.
    """
    *before, now = ([name for name, share in _effective_shares(epoch).items() if share < POOR] for epoch in history)
    if not now or any(before):
        return
    prefix = now[0].removesuffix("effective_share")
    effective = history[-1].diagnostics[f"{prefix}effective_samples"]
    warnings.warn(
        f"importance weights are poor: the effective sample size is {effective:.2f} on average, so of an example's "
        "draws one output has nearly all the weight; raise the payoff's temperature, choose a base measure that draws "
        "more different outputs of high reward, or draw more",
        PoorWeightsWarning,
        stacklevel=2,
    )


def _effective_shares(epoch: Epoch) -> dict[str, float]:
    """By the full name: a sum of objectives puts the names of its parts before it."""
    return {name: value for name, value in epoch.diagnostics.items() if name.split("/")[-1] == "effective_share"}


class Reporter:
    """Tells the observer and the loggers.

    Args:
        observer: told of progress.
        loggers: given numbers every few seconds and at the end of every epoch.
        epochs: how many there may be.
    """

    def __init__(self, observer: Observer, loggers: Sequence[Logger], epochs: int) -> None:
        self.observer, self.loggers, self.epochs = observer, loggers, epochs
        self._show, self._log = Every(SHOW_EVERY), Every(LOG_EVERY)

    def due(self) -> bool:
        """True when it is time to tell how training stands."""
        return self._show.due()

    def tell(
        self, totals: Totals, clock: Clock, care: Care, history: Sequence[Epoch], *, steps: int, share: float
    ) -> None:
        """How training stands after so many steps; ``share`` of it is done."""
        epoch, dev = len(history) + 1, history[-1].dev if history else {}
        loss, (rate, left) = totals.loss(), clock.pace(share)
        self.observer(Progress("training", epoch, self.epochs, share, rate, left, loss, dev, steps))
        if self._log.due():
            skipped, seconds = float(care.skipped), clock.seconds()
            within = {"loss": loss, "tokens_per_second": rate, "skipped": skipped, "seconds": seconds}
            self._write({"epoch": epoch, **within}, steps)

    def end_epoch(self, epoch: Epoch, steps: int) -> None:
        """An epoch has ended and is scored."""
        self._write(of_epoch(epoch), steps)

    def _write(self, numbers: dict[str, float], steps: int) -> None:
        for logger in self.loggers:
            logger.log_metrics(numbers, steps)
