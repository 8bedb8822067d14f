"""``structpred tune``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from structpred.cli import assignments
from structpred.cli.places import Imports, Words, folder_to_write
from structpred.cli.sources import load_spaces
from structpred.comparison.report import refuse_others
from structpred.config import Few, Interval, Positive, coerce
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.tuning import best
from structpred.tuning.search import Points, Trials
from structpred.tuning.sentences import conclusion
from structpred.tuning.spaces import Over, Range, Space, Suggest, Value, ready
from structpred.tuning.tuner import FIRST_SEED, tune

MAIN_JOB = "structpred.experiments.pronunciation_tuning"
CHOICES = "one-of:"
Many = Annotated[int, Interval(least=0, most=1_000_000)]
OPTIONS: dict[str, Any] = {
    "trials": Trials | None,
    "timeout": Positive | None,
    "seeds": Few,
    "finalists": Many,
    "more_seeds": Few,
    "points": Points,
    "draw": int,
    "workers": Few,
    "lease": Positive,
}
"""What the numbers of options may be."""


@dataclass(frozen=True)
class Tune:
    """Search for the best values of some fields on dev; the same command goes on, and several share the trials.

    Examples:
      structpred tune
      structpred tune objective=rml --over edit-rate --trials 30 --workers 2
      structpred tune objective=label-smoothing objective.epsilon=0.01..0.4:log optimiser.lr=0.001..0.01:log
      structpred tune my_space.py --sampler grid --points 7 --storage postgresql://tuner@host/studies
    """

    words: Words = ()
    """A module or .py file with space(trial) or spaces(), or assignments; FIELD=LOW..HIGH, FIELD=LOW..HIGH:log and
    FIELD=one-of:A,B are searched."""

    over: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME [NAME ...]")] = None
    """Ready ranges: edit-rate, rescaled, smoothing, sharpness, learning-rate, dropout, or the field of one."""

    trials: int | None = None
    """Trials in all, over all workers and restarts; 20 by default, or as many as a grid has points."""

    timeout: float | None = None
    """Start no trial once workers have been at work for so many seconds in all, pauses left out."""

    seeds: int = 1
    """Every trial is run under so many seeds; they begin at 100, those of a comparison at 0."""

    finalists: int = 3
    """So many of the best trials are run under more seeds in the end."""

    more_seeds: int = 3
    """How many more."""

    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """Who proposes values."""

    points: int = 10
    """Values of each range in a grid."""

    pruner: Literal["median", "hyperband", "none"] = "median"
    """Who stops trials early, by the dev metric after each epoch of the first seed."""

    draw: int = 0
    """Seed of the sampler."""

    study: str = "tuning"
    """The study's name in the storage."""

    storage: str | None = None
    """A journal file, or the URL of a database or a gRPC proxy; tuning.journal among the runs by default."""

    workers: int = 1
    """Processes."""

    lease: float = 60.0
    """Seconds of silence after which another machine's worker counts as dead and its trial is put back."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""

    root: Path = Path("runs")
    """The folder of run folders."""

    report: Path = Path("reports/tuning")
    """Where the report and the best experiment go."""

    imports: Imports = ()
    """Import this module or .py file first, for components of your own; may be given several times."""

    def run(self, console: Console) -> None:
        """Search, show and write."""
        for option, kind in OPTIONS.items():
            coerce(getattr(self, option), kind, f"--{option.replace('_', '-')}")
        for path in (self.root, self.report):
            folder_to_write(path)
        refuse_others(self.report)
        space = self._space()
        best.refuse_others(self.report, best.stems(space if isinstance(space, dict) else [self.study]))
        tuning = tune(
            space,
            trials=self.trials,
            timeout=self.timeout,
            seeds=range(FIRST_SEED, FIRST_SEED + self.seeds),
            finalists=self.finalists,
            more_seeds=self.more_seeds,
            sampler=self.sampler,
            points=self.points,
            pruner=self.pruner,
            draw=self.draw,
            name=self.study,
            storage=self.storage,
            root=self.root,
            workers=self.workers,
            device=self.device,
            lease=self.lease,
        )
        tuning.show(console)
        console.print("Report: " + ", ".join(map(str, tuning.write(self.report))), soft_wrap=True)
        without = [result for result in tuning.studies.values() if result.best is None]
        if without:
            raise RunError(" ".join(sentence for result in without for sentence in conclusion(result)))

    def _space(self) -> Space | dict[str, Space]:
        modules = [word for word in self.words if "=" not in word]
        fixed = [word for word in self.words if "=" in word and searched(word) is None]
        ranges = [found for word in self.words if (found := searched(word)) is not None]
        ranges += [ready(name) for name in self.over or ()]
        if any(word.partition("=")[0] == "seed" for word in self.words):
            raise ConfigError("every trial is run under the study's seeds, so seed cannot be assigned; use --seeds")
        searched_too = [each.field for each in ranges if each.field in {word.partition("=")[0] for word in fixed}]
        if searched_too:
            raise ConfigError(f"{searched_too[0]} is both assigned and searched; leave one of them out")
        if len(modules) > 1 or (modules and ranges):
            raise ConfigError("expected one module with a space, or fields to search, but got both or several modules")
        if ranges:
            words = [word for word in self.words if "=" in word]
            words += [f"{ready(name).field}=LOW..HIGH of --over {name}" for name in self.over or ()]
            assignments.refuse_clashes(words)
            base = assignments.experiment(fixed)
            assignments.refuse_two_conventions(words, base)
            return Over(base, tuple(ranges))
        if fixed and not modules:
            raise ConfigError("no field is searched; write FIELD=LOW..HIGH, or name ready ranges with --over")
        return _with(load_spaces(modules[0] if modules else MAIN_JOB), fixed)


def searched(word: str) -> Range | None:
    """The range that a word asks for; None for one that assigns a value.

    >>> searched("optimiser.lr=0.001..0.01:log")
    Range(field='optimiser.lr', low=0.001, high=0.01, log=True, choices=())
    """
    field, equals, text = word.partition("=")
    if not equals:
        return None
    if text.startswith(CHOICES):
        return Range(field=field, choices=tuple(map(_value, text.removeprefix(CHOICES).split(","))))
    ends, colon, scale = text.partition(":")
    low, dots, high = ends.partition("..")
    if not dots or "/" in text:  # a path may hold dots
        return None
    numbers = [_value(each) for each in (low, high)]
    if (colon and scale != "log") or not all(isinstance(each, int | float) for each in numbers):
        raise ConfigError(f"expected {field}=LOW..HIGH or {field}=LOW..HIGH:log with two numbers, but got {word!r}")
    one, other = numbers
    assert isinstance(one, int | float)
    assert isinstance(other, int | float)
    return Range(field=field, low=one, high=other, log=bool(colon))


def _value(text: str) -> Value:
    """A number, true, false or null, else the text itself."""
    value = assignments.value_of(text)
    return text if isinstance(value, list | dict) else value


@dataclass(frozen=True)
class Assigned:
    """Somebody's space with assignments made to its experiments."""

    space: Space
    words: tuple[str, ...]

    def __call__(self, trial: Suggest) -> Experiment:
        """The experiment with the assignments."""
        return assignments.experiment(self.words, self.space(trial))


def _with(spaces: Space | dict[str, Space], words: Sequence[str]) -> Space | dict[str, Space]:
    if not words:
        return spaces
    if isinstance(spaces, dict):
        return {name: Assigned(space, tuple(words)) for name, space in spaces.items()}
    return Assigned(spaces, tuple(words))
