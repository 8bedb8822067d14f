"""How a study is searched: its budget, sampler and pruner, and the space that a function asks for."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Annotated, Any, Literal

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from structpred.blame import error_message
from structpred.config import Config, canonical, encode
from structpred.errors import ConfigError, StructpredError
from structpred.experiment import Experiment
from structpred.seeds import stream
from structpred.text import refuse_unseen
from structpred.tuning.spaces import Space, Suggest
from structpred.values import Few, Interval, Positive

MOST_TRIALS = 100_000
"""Every look at a study reads all of its trials."""
Trials = Annotated[int, Interval(least=1, most=MOST_TRIALS)]
Points = Annotated[int, Interval(least=2, most=1000)]
POINTS = 10
"""Values of each range of a grid by default."""


@dataclass(frozen=True, kw_only=True)
class Search(Config):
    """The budget and the rules of a study; see `structpred.tune`.

    Attributes:
        trials: number of trials in all, over all workers and restarts; those that failed or were pruned count.
        timeout: no trial starts once trials have been running for this many seconds in all.
        seeds: every trial is run under each of them, and the mean of the scores is optimised.
        sampler: ``"tpe"``, ``"random"`` or ``"grid"``.
        points: values of each range under ``"grid"``, both ends included.
        pruner: ``"median"`` or ``"hyperband"``, which judge the dev metric after each epoch of the first seed, or
            ``"none"``, under which every trial is trained to its end under all seeds.
        finalists: how many of the best trials are run under more seeds in the end.
        more_seeds: how many more seeds.
        draw: seed of the sampler.
    """

    trials: Trials = 20
    timeout: Positive | None = None
    seeds: tuple[int, ...] = (100,)
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    points: Points = POINTS
    pruner: Literal["median", "hyperband", "none"] = "median"
    finalists: Annotated[int, Interval(least=0, most=1000)] = 3
    more_seeds: Few = 3
    draw: int = 0

    def check(self) -> None:
        """Refuse an empty list of seeds, and a seed that occurs twice."""
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"tuning needs at least one seed, each once, but got {list(self.seeds)}")

    @property
    def way(self) -> str:
        """How values are proposed and trials stopped, in words."""
        return f"sampler {self.sampler}, pruner {self.pruner}"

    @property
    def later_seeds(self) -> tuple[int, ...]:
        """The seeds that finalists are run under besides `seeds`."""
        first = max(self.seeds) + 1
        return tuple(range(first, first + self.more_seeds)) if self.finalists else ()


def sampler_for(search: Search, slot: int) -> BaseSampler:
    """A fresh sampler for the trial of one slot, seeded by the slot.

    A restart therefore never draws again what was drawn before, and one worker alone proposes the same trials each
    time. Under ``"grid"`` the parameters come with the trials, and the sampler draws only what they lack.
    """
    seed = stream(search.draw, "sampler", slot) % 2**32
    return TPESampler(seed=seed) if search.sampler == "tpe" else RandomSampler(seed)


def pruner_for(search: Search, epochs: int) -> BasePruner:
    """The pruner of a study whose trials take ``epochs`` epochs."""
    if search.pruner == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4), n_min_trials=3)
    if search.pruner == "hyperband":
        return HyperbandPruner(min_resource=max(1, epochs // 9), max_resource=epochs)
    return NopPruner()


Numeric = FloatDistribution | IntDistribution
Distribution = Numeric | CategoricalDistribution


class CheckedTrial:
    """A trial that a space may only ask for what a study can keep and report: each name with one range throughout.

    Args:
        trial: answers.
        asked: the distribution of each parameter that trials of the study have asked for; those of this one are added.
    """

    def __init__(self, trial: Suggest, asked: dict[str, Distribution]) -> None:
        self.trial, self.asked = trial, asked

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number between two others."""
        if not math.isfinite(low) or not math.isfinite(high):
            raise ConfigError(f"the space asks for {name} from {low} to {high}; both ends must be finite")
        self._check(name, lambda: FloatDistribution(low, high, log=log, step=step))
        return self.trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number between two others."""
        for end in (low, high, step):
            if not isinstance(end, Integral):
                raise ConfigError(
                    f"the space asks for {name}, a whole number, by {end!r:.80}, which is none; call suggest_float"
                )
        self._check(name, lambda: IntDistribution(low, high, log=log, step=step))
        return self.trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of several values."""
        for choice in choices:
            if choice is not None and not isinstance(choice, bool | int | float | str):
                raise ConfigError(
                    f"the space asks for {name} with the choice {choice!r:.80}, which a study cannot keep; offer "
                    "texts, numbers, True, False or None, and make the object from what comes back"
                )
        if len(set(choices)) < len(choices):
            raise ConfigError(f"the space asks for {name}: expected each choice once, but got {list(choices)}")
        self._check(name, lambda: CategoricalDistribution(choices))
        return self.trial.suggest_categorical(name, choices)

    def _check(self, name: str, make: Callable[[], Distribution]) -> None:
        refuse_unseen(name, "the name of a parameter")
        try:
            made = make()
        except ValueError as error:
            raise ConfigError(f"the space asks for {name}, which cannot be: {error}") from None
        known = self.asked.setdefault(name, made)
        if known != made:
            raise ConfigError(
                f"the space asks for {name} twice, with different ranges, {described(known)} and {described(made)}; "
                "give each its own name"
            )


@dataclass(frozen=True)
class Midpoints:
    """A fake trial that answers with midpoints, or the first of several choices, where no other value is given."""

    given: Mapping[str, Any] = field(default_factory=dict)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The middle of the range, on its own scale."""
        return float(self.given.get(name, _middle(FloatDistribution(low, high, log=log, step=step))))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The middle of the range, on its own scale."""
        return int(self.given.get(name, _middle(IntDistribution(low, high, log=log, step=step))))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The first choice."""
        return self.given.get(name, choices[0])


def made(space: Space, trial: Suggest) -> Experiment:
    """The experiment of a space for a trial.

    Raises:
        ConfigError: the space returns something else.
    """
    experiment = space(trial)
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"a space must return an Experiment, but got {experiment!r:.80}")
    return experiment


def _middle(distribution: Distribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    low, high, step = distribution.low, distribution.high, distribution.step
    middle = math.exp((math.log(low) + math.log(high)) / 2) if distribution.log else (low + high) / 2
    return middle if step is None else low + round((middle - low) / step) * step


def probed(space: Space) -> tuple[Experiment, dict[str, Distribution]]:
    """The experiment in the middle of a space, and the distributions that it searches.

    Raises:
        ConfigError: the space asks for nothing, returns no experiment, or fails.
    """
    trial = CheckedTrial(Midpoints(), {})
    try:
        experiment = made(space, trial)
    except StructpredError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the space failed with {error_message(error)}; it takes a trial, asks suggest_float, suggest_int or "
            "suggest_categorical of it and returns an Experiment"
        ) from error
    if not trial.asked:
        raise ConfigError("the space asks its trial for nothing, so there is nothing to tune; call trial.suggest_float")
    return experiment, trial.asked


def idle(space: Space, other: Space) -> list[str]:
    """The parameters that change the experiments of one space, but none of another one that asks for the same."""
    _, asked = probed(space)
    names = []
    for name, distribution in asked.items():
        ends = _values(distribution, 2)
        try:
            one, another = ({apart_from_seed(each(Midpoints({name: end}))) for end in ends} for each in (space, other))
        except (Exception, SystemExit):  # noqa: BLE001 - a user's code, whose trials will say it
            continue
        if len(one) > len(another) == 1:
            names.append(name)
    return names


def signature(experiment: Experiment, asked: Mapping[str, Distribution]) -> dict[str, str]:
    """What tells two searches apart, of what `probed` finds: a text for each parameter, and one for all the rest."""
    texts = {f"parameter {name}": described(distribution) for name, distribution in asked.items()}
    return texts | {"experiment": apart_from_seed(experiment)}


def apart_from_seed(experiment: Experiment) -> str:
    """All that an experiment is but its seed, with versions and digests of code, as text."""
    return canonical(encode(replace(experiment, seed=0), versions=True))


def described(distribution: Distribution) -> str:
    """A distribution in words.

    Examples:
        >>> described(FloatDistribution(0.01, 0.5, log=True))
        'from 0.01 to 0.5 (log)'
    """
    if isinstance(distribution, CategoricalDistribution):
        return "one of " + ", ".join(map(repr, distribution.choices))
    step = "" if distribution.step in (None, 1) else f" in steps of {distribution.step:g}"
    return f"from {distribution.low:g} to {distribution.high:g}{step}{' (log)' if distribution.log else ''}"


def grid(space: Space, points: int) -> tuple[dict[str, Any], ...]:
    """Every combination of values, evenly spaced ones for ranges; the last parameter changes fastest."""
    _, asked = probed(space)
    values = [_values(distribution, points) for distribution in asked.values()]
    count = math.prod(map(len, values))
    if count > MOST_TRIALS:
        raise ConfigError(
            f"a grid may have {MOST_TRIALS:,} points, but {' · '.join(str(len(each)) for each in values)} values make "
            f"{count:,}; lower points, or search fewer fields"
        )
    return tuple(dict(zip(asked, each, strict=True)) for each in itertools.product(*values))


def _values(distribution: Distribution, points: int) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    spaced = np.geomspace(low, high, points) if distribution.log else np.linspace(low, high, points)
    # 0.1, not 0.09999999999999998, which would be another run; and the ends themselves, not a rounding beyond them
    values = [low, *(float(f"{value:.12g}") for value in spaced[1:-1]), high][-points:]
    if step is not None:
        values = [min(low + round((value - low) / step) * step, high) for value in values]
    whole = isinstance(distribution, IntDistribution)
    return list(dict.fromkeys(round(value) if whole else value for value in values))
