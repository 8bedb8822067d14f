"""``structpred tune``."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

from rich.console import Console

from structpred.cli import assignments
from structpred.cli.commands import Tune
from structpred.config import components
from structpred.engine import cluster
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.files import folder_to_write
from structpred.imports import called, imported, sources_of
from structpred.report import best
from structpred.report.document import joined
from structpred.report.files import refuse_others
from structpred.tuning import Tuning
from structpred.tuning.search import Points, Trials, idle, probed
from structpred.tuning.spaces import Over, Range, Space, Suggest, Value, ready
from structpred.tuning.summary import conclusion
from structpred.tuning.tuner import FIRST_SEED, tune
from structpred.values import Interval, coerce

MAIN_JOB = "structpred.experiments.pronunciation_tuning"
CHOICES = "one-of:"
Many = Annotated[int, Interval(least=0, most=1_000_000)]
OPTIONS: dict[str, Any] = {"trials": Trials | None, "finalists": Many, "points": Points | None}
"""Limits of numeric options."""


def run(given: Tune, console: Console) -> None:
    """Search, show and write."""
    for option, kind in OPTIONS.items():
        coerce(getattr(given, option), kind, f"--{option}")
    folder_to_write(given.root, of_runs=True)
    refuse_others(given.report)
    space = _space(given)
    best.refuse_others(given.report, best.stems(space if isinstance(space, dict) else [given.study]))
    tuning = _tuned(given, space)
    tuning.show(console)
    console.print("Report: " + ", ".join(map(str, tuning.write(given.report))), soft_wrap=True)
    without = [result for result in tuning.studies.values() if result.best is None]
    if without:
        raise RunError(" ".join(sentence for result in without for sentence in conclusion(result)))


def _tuned(given: Tune, space: Space | dict[str, Space]) -> Tuning:
    spaces = space.values() if isinstance(space, dict) else [space]
    files = sources_of(type(part) for each in spaces for part in components(probed(each)[0]))
    with nullcontext() if given.cluster is None else cluster(given.cluster, files) as executor:
        return tune(
            space,
            trials=given.trials,
            timeout=given.timeout,
            seeds=range(FIRST_SEED, FIRST_SEED + given.seeds),
            finalists=given.finalists,
            more_seeds=given.more_seeds,
            sampler=given.sampler,
            points=given.points,
            pruner=given.pruner,
            draw=given.draw,
            name=given.study,
            storage=given.storage,
            root=given.root,
            workers=given.workers,
            device=given.device,
            executor=executor,
            lease=given.lease,
        )


def _space(given: Tune) -> Space | dict[str, Space]:
    modules = [word for word in given.words if "=" not in word]
    fixed = [word for word in given.words if "=" in word and searched(word) is None]
    ranges = [found for word in given.words if (found := searched(word)) is not None]
    ranges += [ready(name) for name in given.over or ()]
    if any(word.partition("=")[0] == "seed" for word in given.words):
        raise ConfigError("every trial is run under the study's seeds, so seed cannot be assigned; use --seeds")
    searched_too = [each.field for each in ranges if each.field in {word.partition("=")[0] for word in fixed}]
    if searched_too:
        raise ConfigError(f"{searched_too[0]} is both assigned and searched; leave one of them out")
    if len(modules) > 1 or (modules and ranges):
        raise ConfigError("expected one module with a space, or fields to search, but got both or several modules")
    if ranges:
        words = [word for word in given.words if "=" in word]
        words += [f"{ready(name).field}=LOW..HIGH of --over {name}" for name in given.over or ()]
        assignments.refuse_clashes(words)
        base = assignments.experiment(fixed)
        assignments.refuse_two_conventions(words, base)
        return Over(base, tuple(ranges))
    if fixed and not modules:
        raise ConfigError("no field is searched; write FIELD=LOW..HIGH, or name ready ranges with --over")
    return _with(load_spaces(modules[0] if modules else MAIN_JOB), fixed)


def load_spaces(name: str) -> Space | dict[str, Space]:
    """The function ``space(trial)`` of a module or file, or the spaces by name that its ``spaces()`` returns.

    Raises:
        ConfigError: the module does not exist, cannot be imported, or has neither.
    """
    module = imported(name)
    one: Space | None = getattr(module, "space", None)
    if callable(one):
        return one
    make = getattr(module, "spaces", None)
    if not callable(make):
        raise ConfigError(f"{name} must define space(trial), returning an Experiment, or spaces(), returning several")
    made = called(make, f"{name}: spaces()")
    if not isinstance(made, dict) or not made or not all(callable(each) for each in made.values()):
        raise ConfigError(f"{name}: spaces() must return a dict of names and functions, but got {made!r:.80}")
    return made


def searched(word: str) -> Range | None:
    """The range in a word; None for an assignment of a value.

    Examples:
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
    if not dots or "/" in text:  # a path may contain dots
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
    """A user's space with assignments applied to its experiments."""

    space: Space
    words: tuple[str, ...]

    def __call__(self, trial: Suggest) -> Experiment:
        """The experiment with the assignments applied."""
        return assignments.experiment(self.words, self.space(trial))


def _with(spaces: Space | dict[str, Space], words: Sequence[str]) -> Space | dict[str, Space]:
    if not words:
        return spaces
    if isinstance(spaces, dict):
        return {name: _assigned(space, tuple(words)) for name, space in spaces.items()}
    return _assigned(spaces, tuple(words))


def _assigned(space: Space, words: tuple[str, ...]) -> Assigned:
    made = Assigned(space, words)
    if searched_too := idle(space, made):
        raise ConfigError(
            f"the space searches {searched_too[0]}, which {joined(list(words))} would overwrite in every trial; leave "
            "one of them out"
        )
    return made
