"""All commands with their arguments. The module that does the work is imported only when a command runs.

Importing PyTorch takes seconds, and help does not need it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

from rich.console import Console

from structpred.cli.arguments import (
    HELP,
    Command,
    description_of,
    help_of,
    imports_field,
    option,
    parsed,
    positional,
    root_field,
    words_field,
)
from structpred.cli.run_commands import Clean, Diagnose, Evaluate, MakeReport, Predict, Reproduce, Runs, Show
from structpred.errors import ConfigError
from structpred.registry import nearest
from structpred.values import Few, Positive

VERSION = "--version"
Device = Literal["auto", "cpu", "cuda"]


def _cluster() -> Any:
    return option(
        None,
        "Train on this dask cluster, such as tcp://10.0.0.1:8786, or on slurm; its workers must see the same --root.",
        metavar="ADDRESS",
    )


def _device() -> Any:
    return option("auto", "Where to train.")


@dataclass(frozen=True)
class Compare:
    """Run several objectives under several seeds and report which is better.

    Examples:
      structpred compare
      structpred compare --dry-run task.size=500
      structpred compare my_arms.py --seeds 10 --baseline ML --margin PER=0.3
      structpred compare my_arms.py --until decided --max-seeds 20
      structpred compare --objectives maximum-likelihood rml task=tsv task.train=train.tsv task.dev=dev.tsv
    """

    resumes: ClassVar[bool] = True

    words: tuple[str, ...] = words_field(
        "A module or .py file with experiments() or panels() (the main job by default), and assignments to every arm."
    )
    objectives: tuple[str, ...] | None = option(
        None, "Arms by objective name, each with its defaults, instead of a module.", metavar="NAME"
    )
    seeds: Few | None = option(
        None, "Seeds 0, 1, … for every arm; as many as its panel says by default, or 5 where it does not."
    )
    baseline: str | None = option(None, "The arm that others are compared with; the first by default.", metavar="ARM")
    until: Literal["decided"] | None = option(
        None, "Add seeds one at a time until every pair has a verdict on the first metric, by the anytime-valid test."
    )
    max_seeds: Few | None = option(None, "With --until, the most seeds in all; 20 by default.")
    margin: tuple[str, ...] = option(
        (),
        "Differences of a metric up to this count as none, such as PER=0.3 (0.5 by default); can be repeated.",
        metavar="METRIC=VALUE",
        again=True,
    )
    all_pairs: bool = option(False, "Compare every two arms, not only each with the baseline.")
    group: tuple[str, ...] = option(
        (),
        "Compare these arms with a baseline of their own; may be given several times.",
        metavar="BASELINE=ARM,ARM",
        again=True,
    )
    workers: Few | None = option(None, "Processes; one for each CPU by default.")
    cluster: str | None = _cluster()
    device: Device = _device()
    root: Path = root_field()
    report: Path = option(Path("reports/comparison"), "Where report.md, report.html and results.json go.")
    examples: Literal["licensed", "all", "none"] = option(
        "licensed",
        "Test examples that the report shows: where the task says that they may be given away, in any case, or none.",
    )
    ensembles: bool = option(False, "Also score the ensemble of each arm's seeds, in a column of its own.")
    dry_run: bool = option(False, "Show what would run and how long it should take, and stop.")
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Plan, run, show and write."""
        from structpred.cli.comparing import run

        run(self, console)


@dataclass(frozen=True)
class Train:
    """Train one experiment; a finished run is used again, an interrupted one resumes.

    Examples:
      structpred train
      structpred train objective=rml objective.payoff.temperature.rescaled=0.8
      structpred train task=tsv task.train=train.tsv task.dev=dev.tsv trainer.epochs=40 seed=1
      structpred train --start runs/3f0c… objective=rml optimiser.lr=0.0005
    """

    resumes: ClassVar[bool] = True

    words: tuple[str, ...] = words_field(
        "Assignments: task=NAME, model=NAME, objective=NAME, and fields by dotted name; see `structpred describe NAME`."
    )
    start: Path | None = option(
        None,
        "Start from the weights of this finished run, with its settings and its seed where nothing else is assigned.",
        metavar="RUN",
    )
    device: Device = _device()
    devices: Few = option(1, "Devices on each machine, with a process each; they share the batch of a step.")
    nodes: Few = option(
        1, "Machines; start the same command on each by torchrun or SLURM, with a --root that all of them see."
    )
    threads: Few = option(
        1, "CPU threads; more rarely pays on small models, and hurts when other processes are running."
    )
    logger: Literal["tensorboard"] | None = option(
        None, "Log also for TensorBoard, into the run's folder; see it by tensorboard --logdir runs."
    )
    root: Path = root_field()
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Train and print the scores and the folder."""
        from structpred.cli.runs import train_one

        train_one(self, console)


@dataclass(frozen=True)
class Tune:
    """Search for the best values of some fields on dev; the same command resumes where it was stopped.

    Examples:
      structpred tune
      structpred tune objective=rml --over edit-rate --trials 30 --workers 2
      structpred tune objective=label-smoothing objective.epsilon=0.01..0.4:log optimiser.lr=0.001..0.01:log
      structpred tune my_space.py --sampler grid --points 7 --storage postgresql://tuner@host/studies
    """

    resumes: ClassVar[bool] = True

    words: tuple[str, ...] = words_field(
        "A module or .py file with space(trial) or spaces(), or assignments; FIELD=LOW..HIGH, FIELD=LOW..HIGH:log and "
        "FIELD=one-of:A,B are searched."
    )
    over: tuple[str, ...] | None = option(
        None,
        "Ready ranges: edit-rate, rescaled, smoothing, sharpness, learning-rate, dropout, or the field of one.",
        metavar="NAME",
    )
    trials: int | None = option(
        None, "Trials in all, over all restarts; 20 by default, or as many as a grid has points."
    )
    timeout: Positive | None = option(
        None, "Start no trial once trials have been running for this many seconds in all, pauses left out."
    )
    seeds: Few = option(1, "Every trial is run under this many seeds; they begin at 100, those of a comparison at 0.")
    finalists: int = option(3, "This many of the best trials are run under more seeds in the end.")
    more_seeds: Few = option(3, "More seeds for each of them.")
    sampler: Literal["tpe", "random", "grid"] = option("tpe", "How values are proposed.")
    points: int | None = option(None, "Values of each range in a grid; 10 by default.")
    pruner: Literal["median", "hyperband", "none"] = option(
        "median", "What stops trials early, by the dev metric after each epoch of the first seed; none stops no trial."
    )
    draw: int = option(0, "Seed of the sampler.")
    study: str = option("tuning", "The study's name in the storage.", metavar="NAME")
    storage: str | None = option(
        None,
        "A journal file, or the URL of a database or a gRPC proxy; tuning.journal among the runs by default.",
        metavar="PLACE",
    )
    workers: Few = option(1, "Trials at once, each in a process of its own.")
    cluster: str | None = _cluster()
    lease: Positive = option(
        60.0,
        "Seconds of silence after which another command that drives a study in a database counts as dead; with a "
        "journal or SQLite it need not be waited for.",
    )
    device: Device = _device()
    root: Path = root_field()
    report: Path = option(Path("reports/tuning"), "Where the report and the best experiment go.")
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Search, show and write."""
        from structpred.cli.tuning import run

        run(self, console)


@dataclass(frozen=True)
class List:
    """List every task, model, objective, reward and payoff that is installed, with the names to use.

    Examples:
      structpred list
      structpred list objective
      structpred list --grid
    """

    resumes: ClassVar[bool] = False

    family: str | None = positional("Only this family; all by default.", metavar="[FAMILY]", default=None)
    grid: bool = option(
        False,
        "Which objective works on which model under which reward, exactly or by sampling, and why the rest cannot.",
    )
    markdown: bool = option(False, "The grid as Markdown, for a document.")
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Print a table."""
        from structpred.cli.catalogue import show_list

        show_list(self, console)


@dataclass(frozen=True)
class Describe:
    """Explain one task, model, objective, reward or payoff: what it computes, its fields and their defaults.

    Examples:
      structpred describe rml
      structpred describe edit-distance
      structpred describe trainer
    """

    resumes: ClassVar[bool] = False

    name: str = positional(
        "A name from `structpred list`, or that of a class or of settings such as trainer, in whatever case.",
        metavar="NAME",
    )
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Print every family's class of that name."""
        from structpred.cli.catalogue import describe

        describe(self, console)


COMMANDS: dict[str, type[Command]] = {
    "compare": Compare,
    "train": Train,
    "tune": Tune,
    "evaluate": Evaluate,
    "predict": Predict,
    "report": MakeReport,
    "reproduce": Reproduce,
    "runs": Runs,
    "show": Show,
    "diagnose": Diagnose,
    "list": List,
    "describe": Describe,
    "clean": Clean,
}


def parse(arguments: Sequence[str]) -> Command | None:
    """The command to run, or None after printing help.

    Raises:
        ConfigError: a command or option does not exist, or an option cannot take its value.
    """
    if not arguments:
        raise ConfigError(f"expected a command, one of {', '.join(COMMANDS)}; see structpred --help")
    name, *words = arguments
    if name in HELP:
        print(overview())
        return None
    if name == VERSION:
        print(f"structpred {metadata.version('structpred')}")
        return None
    if name not in COMMANDS:
        if name.startswith("-"):
            raise ConfigError(
                f"expected a command before {name!r}, one of {', '.join(COMMANDS)}; see structpred --help"
            )
        raise ConfigError(f"there is no command {name!r}; {nearest(name, [*COMMANDS, HELP[1], VERSION])}")
    if any(word in HELP for word in words):
        print(help_of(name, COMMANDS[name]))
        return None
    return parsed(name, COMMANDS[name], words)


def overview() -> str:
    """The text of ``structpred --help``."""
    lines = ["structpred: which training objective should a structured-prediction model use?", "", "Commands:"]
    parts = {name: description_of(cls) for name, cls in COMMANDS.items()}
    lines += [f"  {name:<10}{description.splitlines()[0]}" for name, (description, _) in parts.items()]
    lines += ["", "Examples:"]
    lines += [examples[0] for _, examples in parts.values()]
    return "\n".join([*lines, "", "More on each: structpred COMMAND --help"])
