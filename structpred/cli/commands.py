"""All commands with their arguments. The module that does the work is imported only when a command runs.

Importing PyTorch takes seconds, and help does not need it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from structpred.cli.arguments import HELP, Command, description_of, help_of, option, parsed, positional
from structpred.config import Count, Few, Positive
from structpred.errors import ConfigError
from structpred.registry import nearest

VERSION = "--version"
Device = Literal["auto", "cpu", "cuda"]


def _words(says: str) -> Any:
    return positional(says, metavar="[FIELD=VALUE ...]", default=())


def _run() -> Any:
    return positional("The run's folder, or the beginning of its identity.", metavar="RUN")


def _with() -> Any:
    says = "Average with this run, as an ensemble; may be given several times."
    return option((), says, flag="with", metavar="RUN", again=True)


def _root() -> Any:
    return option(Path("runs"), "The folder of run folders.")


def _cluster() -> Any:
    return option(
        None,
        "Train on this dask cluster, such as tcp://10.0.0.1:8786, or on slurm; its workers must see the same --root.",
        metavar="ADDRESS",
    )


def _device() -> Any:
    return option("auto", "Where to train.")


def _imports() -> Any:
    says = "Import this module or .py file first, for components of your own; may be given several times."
    return option((), says, flag="import", metavar="MODULE", again=True)


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

    words: tuple[str, ...] = _words(
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
        "The largest difference of a metric that counts as none, such as PER=0.3 (0.5 by default); for each metric.",
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
    root: Path = _root()
    report: Path = option(Path("reports/comparison"), "Where report.md, report.html and results.json go.")
    examples: Literal["licensed", "all", "none"] = option(
        "licensed",
        "Test examples that the report shows: where the task says that they may be given away, in any case, or none.",
    )
    ensembles: bool = option(False, "Also score the ensemble of each arm's seeds, in a column of its own.")
    dry_run: bool = option(False, "Show what would run and how long it should take, and stop.")
    imports: tuple[str, ...] = _imports()

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

    words: tuple[str, ...] = _words(
        "Assignments: task=NAME, model=NAME, objective=NAME, and fields by dotted name; see `structpred describe NAME`."
    )
    start: Path | None = option(
        None,
        "Start from the weights of this finished run, with its settings where nothing else is assigned.",
        metavar="RUN",
    )
    device: Device = _device()
    devices: Few = option(
        1, "How many on each machine, with a process each; the batch of a step is shared out between them."
    )
    nodes: Few = option(
        1, "How many machines; start the same command on each by torchrun or SLURM, with a --root that all of them see."
    )
    threads: Few = option(
        1, "CPU threads; more rarely pays on small models, and hurts when other processes are running."
    )
    logger: Literal["tensorboard"] | None = option(
        None, "Log also for TensorBoard, into the run's folder; see it by tensorboard --logdir runs."
    )
    root: Path = _root()
    imports: tuple[str, ...] = _imports()

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

    words: tuple[str, ...] = _words(
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
    more_seeds: Few = option(3, "How many more.")
    sampler: Literal["tpe", "random", "grid"] = option("tpe", "Who proposes values.")
    points: int = option(10, "Values of each range in a grid.")
    pruner: Literal["median", "hyperband", "none"] = option(
        "median", "Who stops trials early, by the dev metric after each epoch of the first seed."
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
    root: Path = _root()
    report: Path = option(Path("reports/tuning"), "Where the report and the best experiment go.")
    imports: tuple[str, ...] = _imports()

    def run(self, console: Console) -> None:
        """Search, show and write."""
        from structpred.cli.tuning import run

        run(self, console)


@dataclass(frozen=True)
class Evaluate:
    """Score a run again, also on other data, with another search, or together with other runs.

    Examples:
      structpred evaluate runs/3f0c…
      structpred evaluate runs/3f0c… --beam 10 --split dev
      structpred evaluate runs/3f0c… decoding.length_penalty=1 decoding.least_length_ratio=0.5
      structpred evaluate runs/3f0c… decoding.reward=edit-distance decoding.num_candidates=50
      structpred evaluate runs/3f0c… --with runs/81aa… --with runs/9e02…
      structpred evaluate runs/3f0c… task.test=other.tsv
    """

    path: Path = _run()
    words: tuple[str, ...] = _words(
        "Assignments to the task, such as task.test=other.tsv, to the decoding, such as decoding.length_penalty=1, and "
        "metrics=NAME."
    )
    split: Literal["train", "dev", "test"] = option("test", "Which part.")
    beam: Count | None = option(None, "Width of the beam, as decoding.beam; the run's own by default.")
    others: tuple[Path, ...] = _with()
    rerank: Path | None = option(
        None,
        "Choose among the most probable outputs by the probability that this run gives them.",
        flag="rerank-by",
        metavar="RUN",
    )
    candidates: Count = option(32, "How many outputs --rerank-by chooses among.")
    imports: tuple[str, ...] = _imports()

    def run(self, console: Console) -> None:
        """Predict, score and print."""
        from structpred.cli.runs import evaluate

        evaluate(self, console)


@dataclass(frozen=True)
class Predict:
    """Outputs for inputs, one a line, from a file or the standard input.

    An input that cannot be read gets an empty line, or no row of an n-best list; the standard error says why, and the
    exit status is 2.

    Examples:
      structpred predict runs/3f0c… words.txt
      structpred predict runs/3f0c… words.txt --output outputs.txt
      structpred predict runs/3f0c… words.txt --with runs/81aa… --decoding reward=edit-distance
      echo newcomer | structpred predict runs/3f0c… --n-best 3
    """

    path: Path = _run()
    file: Path | None = positional("Inputs, one a line; the standard input by default.", metavar="[FILE]", default=None)
    n_best: Count | None = option(
        None,
        "Print the best outputs of each input with log-probabilities: input, output and log p, tab-separated; a tab or "
        "a backslash in a text is written as \\t or \\\\.",
    )
    beam: Count | None = option(None, "Width of the beam, as --decoding beam=…; the run's own by default.")
    decoding: tuple[str, ...] = option(
        (),
        "Another search, such as length_penalty=1 or reward=edit-distance; see structpred describe decoding.",
        metavar="FIELD=VALUE",
        again=True,
    )
    others: tuple[Path, ...] = _with()
    keep_unknown: bool = option(False, "Read symbols unknown from training as unknown instead of refusing them.")
    strict: bool = option(False, "Stop at the first input that cannot be read, and write nothing.")
    output: Path | None = option(None, "Write here instead of to the standard output.")
    imports: tuple[str, ...] = _imports()

    def run(self, console: Console) -> None:
        """Read everything, predict everything, then write."""
        from structpred.cli.runs import write_predictions

        del console
        write_predictions(self)


@dataclass(frozen=True)
class MakeReport:
    """Write a report without training: of finished runs, or anew from the results.json of an earlier report.

    Runs that differ in nothing but the seed are one arm; arms are named after what differs between them.

    Examples:
      structpred report runs/3f0c… runs/81aa… runs/9e02… runs/c4d1…
      structpred report reports/comparison/results.json --to elsewhere
      structpred report experiments/records/five_objectives --figures pdf tex
    """

    given: tuple[Path, ...] = positional(
        "Finished runs, by their folders or the beginnings of their identities; or one results.json, or the folder "
        "that holds it.",
        metavar="RUN|RESULTS",
    )
    to: Path | None = option(
        None,
        "The folder to write; by default reports/runs for runs, and for results the one in reports that is called like "
        "their folder.",
    )
    baseline: str | None = option(
        None, "The arm that the others are compared with; for runs only, maximum likelihood by default, else the first."
    )
    examples: Literal["licensed", "all", "none"] | None = option(
        None, "As for compare: test examples that the report shows; for runs only, licensed by default."
    )
    figures: tuple[Literal["pdf", "svg", "tex"], ...] | None = option(
        None, "Files for papers: every figure as pdf or svg, the table of test scores as tex."
    )
    imports: tuple[str, ...] = _imports()

    def run(self, console: Console) -> None:
        """Read and write."""
        from structpred.cli.comparing import render

        render(self, console)


@dataclass(frozen=True)
class Runs:
    """List the runs in a folder: what was trained, how far it is, and its scores.

    Examples:
      structpred runs
      structpred runs --objective rml --state finished --sort test.PER
      structpred runs --task tsv --format csv
    """

    root: Path = _root()
    task: str | None = option(None, "Only runs of this task, by its name in structpred list.")
    model: str | None = option(None, "Only runs of this model.")
    objective: str | None = option(None, "Only runs of this objective.")
    seed: int | None = option(None, "Only runs of this seed.")
    state: Literal["finished", "unfinished", "damaged"] | None = option(None, "Only runs in this state.")
    sort: str = option(
        "age",
        "Sort by run, task, model, objective, seed, state, age or a score such as test.PER; the youngest or lowest "
        "come first, and runs without the value last.",
        metavar="FIELD",
    )
    reverse: bool = option(False, "The oldest or highest first.")
    format: Literal["table", "json", "csv"] = option("table", "How to print them; json and csv are for scripts.")

    def run(self, console: Console) -> None:
        """Print one line a run."""
        from structpred.cli.listing import show_runs

        show_runs(self, console)


@dataclass(frozen=True)
class Show:
    """Show one run: its experiment as assignments, its scores and history, its files, and how it was made.

    Examples:
      structpred show runs/3f0c…
      structpred show 3f0c
    """

    path: Path = _run()

    def run(self, console: Console) -> None:
        """Print all of it."""
        from structpred.cli.listing import show_run

        show_run(self, console)


@dataclass(frozen=True)
class List:
    """List every task, model, objective, reward and payoff that is installed, with the names to use.

    Examples:
      structpred list
      structpred list objective
      structpred list --grid
    """

    family: str | None = positional("Only this family; all by default.", metavar="[FAMILY]", default=None)
    grid: bool = option(
        False,
        "Which objective works on which model under which reward, exactly or by sampling, and why the rest cannot.",
    )
    markdown: bool = option(False, "The grid as Markdown, for a document.")
    imports: tuple[str, ...] = _imports()

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

    name: str = positional(
        "A name from `structpred list`, or that of a class or of settings such as trainer, in whatever case.",
        metavar="NAME",
    )
    imports: tuple[str, ...] = _imports()

    def run(self, console: Console) -> None:
        """Print every family's class of that name."""
        from structpred.cli.catalogue import describe

        describe(self, console)


@dataclass(frozen=True)
class Clean:
    """Remove run folders; shows them with their sizes and asks first. Other folders are left alone.

    Examples:
      structpred clean
      structpred clean --older-than 30
      structpred clean --unfinished --yes
    """

    root: Path = _root()
    older_than: float = option(0.0, "Only runs untouched for this many days.")
    unfinished: bool = option(False, "Only runs that were not finished.")
    yes: bool = option(False, "Do not ask.")

    def run(self, console: Console) -> None:
        """Show, ask, remove."""
        from structpred.cli.runs import clean

        clean(self, console)


COMMANDS: dict[str, type[Command]] = {
    "compare": Compare,
    "train": Train,
    "tune": Tune,
    "evaluate": Evaluate,
    "predict": Predict,
    "report": MakeReport,
    "runs": Runs,
    "show": Show,
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
