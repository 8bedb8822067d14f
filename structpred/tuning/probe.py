"""What a space searches, found by asking it once: names, ranges, a grid, and whether two spaces are the same."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from structpred.config import canonical, encode
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.tuning.search import MOST_TRIALS
from structpred.tuning.spaces import Space


class RecordingTrial:
    """A fake trial that records the search space and answers with midpoints.

    Attributes:
        asked: the distribution of each parameter, in the order of asking.
    """

    def __init__(self) -> None:
        self.asked: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The middle, on the scale that is asked for."""
        asked = self._ask(name, lambda: FloatDistribution(low, high, log=log, step=step))
        assert isinstance(asked, FloatDistribution)
        middle = math.exp((math.log(asked.low) + math.log(asked.high)) / 2) if log else (asked.low + asked.high) / 2
        return middle if step is None else asked.low + round((middle - asked.low) / step) * step

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The middle, on the scale that is asked for."""
        asked = self._ask(name, lambda: IntDistribution(low, high, log=log, step=step))
        assert isinstance(asked, IntDistribution)
        middle = math.exp((math.log(asked.low) + math.log(asked.high)) / 2) if log else (asked.low + asked.high) / 2
        return asked.low + round((middle - asked.low) / step) * step

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The first."""
        self._ask(name, lambda: CategoricalDistribution(choices))
        return next(iter(choices))

    def _ask(self, name: str, make: Callable[[], BaseDistribution]) -> BaseDistribution:
        try:
            made = make()
        except ValueError as error:
            raise ConfigError(f"the space asks for {name}, which cannot be: {error}") from None
        if self.asked.setdefault(name, made) != made:
            raise ConfigError(f"the space asks for {name} twice, with different ranges; give each its own name")
        return made


def probed(space: Space) -> tuple[Experiment, dict[str, BaseDistribution]]:
    """The experiment in the middle of a space, and what is searched.

    Raises:
        ConfigError: the space asks for nothing, returns no experiment, or fails.
    """
    trial = RecordingTrial()
    try:
        made = space(trial)
    except (AttributeError, TypeError) as error:
        raise ConfigError(
            f"the space failed with {type(error).__name__}: {error}; it takes a trial, asks suggest_float, suggest_int "
            "or suggest_categorical of it and returns an Experiment"
        ) from error
    if not isinstance(made, Experiment):
        raise ConfigError(f"a space must return an Experiment, but got {made!r:.80}")
    if not trial.asked:
        raise ConfigError("the space asks its trial for nothing, so there is nothing to tune; call trial.suggest_float")
    return made, trial.asked


def signature(space: Space) -> dict[str, str]:
    """A text for each parameter, and one for all that is not searched, as a run's identity sees it."""
    experiment, asked = probed(space)
    texts = {f"parameter {name}": described(each) for name, each in asked.items()}
    return texts | {"experiment": canonical(encode(replace(experiment, seed=0), versions=True))}


def described(distribution: BaseDistribution) -> str:
    """A range in words.

    >>> described(FloatDistribution(0.01, 0.5, log=True))
    'from 0.01 to 0.5 (log)'
    """
    if isinstance(distribution, CategoricalDistribution):
        return "one of " + ", ".join(map(repr, distribution.choices))
    if isinstance(distribution, FloatDistribution | IntDistribution):
        step = "" if distribution.step in (None, 1) else f" in steps of {distribution.step:g}"
        return f"from {distribution.low:g} to {distribution.high:g}{step}{' (log)' if distribution.log else ''}"
    return json.dumps(distribution_to_json(distribution))


def grid(space: Space, points: int) -> tuple[dict[str, Any], ...]:
    """Every combination of values, of ranges evenly spaced ones; the last parameter changes fastest."""
    _, asked = probed(space)
    values = [_values(distribution, points) for distribution in asked.values()]
    count = math.prod(map(len, values))
    if count > MOST_TRIALS:
        raise ConfigError(
            f"a grid may have {MOST_TRIALS:,} points, but {' · '.join(str(len(each)) for each in values)} values make "
            f"{count:,}; lower points, or search fewer fields"
        )
    return tuple(dict(zip(asked, each, strict=True)) for each in itertools.product(*values))


def _values(distribution: BaseDistribution, points: int) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    shares = [i / (points - 1) for i in range(points)]
    if distribution.log:
        values = [low * (high / low) ** share for share in shares]
    else:
        values = [low + (high - low) * share for share in shares]
    values = [float(f"{value:.12g}") for value in values]  # 0.1, not 0.09999999999999998, which is another run
    values[-1] = high  # not a rounding beyond
    if distribution.step is not None:
        step = distribution.step
        values = [min(low + round((value - low) / step) * step, high) for value in values]
    if isinstance(distribution, IntDistribution):
        return list(dict.fromkeys(round(value) for value in values))
    return list(dict.fromkeys(values))
