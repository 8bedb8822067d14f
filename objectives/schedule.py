"""Objectives that change over training."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from structpred.config import Config
from structpred.errors import ConfigError
from structpred.objective import Objective, StepContext
from structpred.objectives.combined import Combined, only_number_of_updates
from structpred.registry import objectives
from structpred.values import Interval


@dataclass(frozen=True, kw_only=True)
class Point(Config):
    """A point in training, given as either a step or a share.

    A run that starts from another one counts only its own steps.

    Attributes:
        step: optimiser steps taken before it.
        share: fraction of training done before it, 0 to 1.

    Raises:
        ConfigError: neither or both are given, or the value is out of range.
    """

    exactly_one_of: ClassVar[tuple[str, ...]] = ("step", "share")

    step: Annotated[int, Interval(least=0)] | None = None
    share: Annotated[float, Interval(least=0, most=1)] | None = None

    @property
    def place(self) -> float:
        """Its value, in its own unit."""
        if self.step is not None:
            return float(self.step)
        assert self.share is not None, "Point holds exactly one of the two"
        return self.share

    def of(self, context: StepContext) -> float:
        """The progress of training, in the unit of this point."""
        return float(context.step if self.step is not None else context.share)


def moved(context: StepContext, start: Point, end: Point) -> float:
    """The fraction of the way from start to end that has been covered, linearly: 0 before, 1 after."""
    way = (start.of(context) - start.place) / (end.place - start.place)
    return min(max(way, 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class _FirstAndSecond(Combined):
    """Two objectives, one after the other.

    Attributes:
        first, second: the two objectives, with diagnostics named ``"first/…"`` and ``"second/…"``.
    """

    first: Objective
    second: Objective

    def check(self) -> None:
        """Refuse noise on the inputs and several updates on a batch, which the other objective would have too."""
        noisy = [type(each).__name__ for each in (self.first, self.second) if each.corrupts]
        if noisy:
            raise ConfigError(
                f"{type(self).__name__} cannot take {noisy[0]}: its noise on the inputs cannot change during training; "
                "use two experiments, the second with start= the first"
            )
        advice = "use two experiments, the second with start= the first"
        only_number_of_updates(f"a {type(self).__name__}", (self.first, self.second), advice)

    def members(self) -> dict[str, Objective]:
        """Both objectives by name."""
        return {"first": self.first, "second": self.second}


@objectives.register("switch")
@dataclass(frozen=True, kw_only=True)
class Switch(_FirstAndSecond):
    """One objective up to a point in training, then another, as in minimum risk after a warm-up by likelihood.

    The optimiser keeps its state. `Experiment.start` is the alternative that begins the second part from the best
    weights of the first, with a fresh optimiser and a schedule of its own.

    Attributes:
        at: the first step with ``second``: ``Point(step=100)`` gives ``first`` a hundred steps.
    """

    at: Point

    def weights(self, context: StepContext) -> tuple[float, ...]:
        """1 for the current objective and 0 for the other."""
        return (0.0, 1.0) if self.at.of(context) >= self.at.place else (1.0, 0.0)


@objectives.register("anneal")
@dataclass(frozen=True, kw_only=True)
class Anneal(_FirstAndSecond):
    """(1 − s) L_first + s L_second with s rising linearly from 0 at ``start`` to 1 at ``end``.

    Attributes:
        start, end: the points between which the weight rises; both as steps or both as shares.
    """

    start: Point
    end: Point

    def check(self) -> None:
        """Refuse an end that is not after the start."""
        super().check()
        if (self.start.step is None) != (self.end.step is None):
            raise ConfigError(
                "Anneal needs start and end in the same unit, but got a step and a share; give two steps or two shares"
            )
        if self.end.place <= self.start.place:
            raise ConfigError(
                f"Anneal.end must be after its start, but got {self.end.place:g} after {self.start.place:g}; "
                "use Switch for an immediate change"
            )

    def weights(self, context: StepContext) -> tuple[float, ...]:
        """1 − s and s."""
        second = moved(context, self.start, self.end)
        return 1 - second, second
