"""Objectives that change over training."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from structpred.config import Config, Interval
from structpred.errors import ConfigError
from structpred.objective import Objective, StepContext
from structpred.objectives.combined import Combined
from structpred.registry import objectives


@dataclass(frozen=True, kw_only=True)
class Point(Config):
    """A point in training, as exactly one of two.

    A run that starts from another one counts its own steps only.

    Attributes:
        step: optimiser steps taken before it.
        share: share of the training done before it, 0 to 1.

    Raises:
        ConfigError: none or both are given, or one is outside its limits.
    """

    exactly_one_of: ClassVar[tuple[str, ...]] = ("step", "share")

    step: Annotated[int, Interval(least=0)] | None = None
    share: Annotated[float, Interval(least=0, most=1)] | None = None

    @property
    def place(self) -> float:
        """Where it is, in its own unit."""
        if self.step is not None:
            return float(self.step)
        assert self.share is not None, "Point holds exactly one of the two"
        return self.share

    def of(self, context: StepContext) -> float:
        """How far training has got, in the unit of this point."""
        return float(context.step if self.step is not None else context.share)


def moved(context: StepContext, start: Point, end: Point) -> float:
    """How much of the way from start to end has been gone, linearly: 0 before it, 1 after it."""
    way = (start.of(context) - start.place) / (end.place - start.place)
    return min(max(way, 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class _FirstAndSecond(Combined):
    """Two objectives that follow one another.

    Attributes:
        first, second: the two, whose diagnostics are called ``"first/…"`` and ``"second/…"``.
    """

    first: Objective
    second: Objective

    def check(self) -> None:
        """Refuse noise on the inputs, which would be there before and after its time."""
        noisy = [type(each).__name__ for each in (self.first, self.second) if each.corrupts]
        if noisy:
            raise ConfigError(
                f"{type(self).__name__} cannot take {noisy[0]}: the noise that it puts on the inputs knows no time; "
                "use two experiments, the second with start= the first"
            )

    def members(self) -> dict[str, Objective]:
        """The two."""
        return {"first": self.first, "second": self.second}


@objectives.register("switch")
@dataclass(frozen=True, kw_only=True)
class Switch(_FirstAndSecond):
    """One objective up to a point in training, then another, as in minimum risk after a warm-up by likelihood.

    The optimiser keeps its state. `Experiment.start` is the alternative that begins the second part from the best
    weights of the first, with a fresh optimiser and a schedule of its own.

    Attributes:
        at: the first step that ``second`` is minimised in: ``Point(step=100)`` leaves ``first`` a hundred steps.
    """

    at: Point

    def weights(self, context: StepContext) -> tuple[float, ...]:
        """All for the one or for the other."""
        return (0.0, 1.0) if self.at.of(context) >= self.at.place else (1.0, 0.0)


@objectives.register("anneal")
@dataclass(frozen=True, kw_only=True)
class Anneal(_FirstAndSecond):
    """(1 − s) L_first + s L_second with s rising linearly from 0 at ``start`` to 1 at ``end``.

    Attributes:
        start, end: the points between which the weight moves; both in steps or both in shares.
    """

    start: Point
    end: Point

    def check(self) -> None:
        """Refuse an end that is not after the start."""
        super().check()
        if (self.start.step is None) != (self.end.step is None):
            raise ConfigError("Anneal needs start and end in one unit, but got a step and a share; give two of a kind")
        if self.end.place <= self.start.place:
            raise ConfigError(
                f"Anneal.end must be after its start, but got {self.end.place:g} after {self.start.place:g}; "
                "use Switch to change at once"
            )

    def weights(self, context: StepContext) -> tuple[float, ...]:
        """1 − s and s."""
        second = moved(context, self.start, self.end)
        return 1 - second, second
