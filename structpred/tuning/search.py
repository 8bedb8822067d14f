"""How a study is run: how many trials, under which seeds, proposed and stopped how."""

from dataclasses import dataclass
from typing import Annotated, Literal

from structpred.config import Config, Few, Interval, Positive
from structpred.errors import ConfigError

MOST_TRIALS = 100_000
"""Every look at a study reads all of its trials."""
Trials = Annotated[int, Interval(least=1, most=MOST_TRIALS)]
Points = Annotated[int, Interval(least=2, most=1000)]


@dataclass(frozen=True, kw_only=True)
class Search(Config):
    """The budget and the rules of a study; see `structpred.tune`.

    Attributes:
        trials: how many in all, over all workers and restarts; those that failed or were pruned count.
        timeout: no trial starts once workers have been at work for so many seconds in all.
        seeds: every trial is run under each of them, and the mean of the scores is optimised.
        sampler: ``"tpe"``, ``"random"`` or ``"grid"``.
        points: values of each range under ``"grid"``, both ends included.
        pruner: ``"median"``, ``"hyperband"`` or ``"none"``; looks at the dev metric after each epoch of the first seed.
        finalists: so many of the best trials are run under more seeds in the end.
        more_seeds: how many more.
        draw: seed of the sampler.
    """

    trials: Trials = 20
    timeout: Positive | None = None
    seeds: tuple[int, ...] = (100,)
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    points: Points = 10
    pruner: Literal["median", "hyperband", "none"] = "median"
    finalists: Annotated[int, Interval(least=0, most=1000)] = 3
    more_seeds: Few = 3
    draw: int = 0

    def check(self) -> None:
        """Refuse no seed, and a seed twice."""
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"tuning needs one seed or more, each once, but got {list(self.seeds)}")

    def runs(self, trials: int) -> int:
        """Entries of a study of so many trials: these, and its finalists under more seeds."""
        return trials + min(self.finalists, trials) * self.more_seeds

    @property
    def later_seeds(self) -> tuple[int, ...]:
        """What finalists are run under beside `seeds`."""
        first = max(self.seeds) + 1
        return tuple(range(first, first + self.more_seeds)) if self.finalists else ()
