"""Commands on runs that are there, with their arguments: scores, predictions, reports, lists, and removal.

As in `structpred.cli.commands`, the module that does the work is imported only when a command runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rich.console import Console

from structpred.cli.arguments import imports_field, option, positional, root_field, words_field
from structpred.values import Count, Few, NotNegative, Positive


def _run() -> Any:
    return positional("The run's folder, or the beginning of its identity.", metavar="RUN")


def _with() -> Any:
    says = "Average with this run, as an ensemble; may be given several times."
    return option((), says, flag="with", metavar="RUN", again=True)


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

    resumes: ClassVar[bool] = False

    path: Path = _run()
    words: tuple[str, ...] = words_field(
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
    candidates: Count | None = option(None, "How many outputs --rerank-by chooses among; 32 by default.")
    imports: tuple[str, ...] = imports_field()

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

    resumes: ClassVar[bool] = False

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
    imports: tuple[str, ...] = imports_field()

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

    resumes: ClassVar[bool] = False

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
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Read and write."""
        from structpred.cli.comparing import render

        render(self, console)


@dataclass(frozen=True)
class Reproduce:
    """Train the runs of a stored comparison again and say whether their scores are the same.

    Settings are those in its results.json. Finished runs in --root are used again.

    Examples:
      structpred reproduce experiments/records/pronunciation
      structpred reproduce reports/comparison --seeds 0 --arms ML RML
    """

    resumes: ClassVar[bool] = True

    given: Path = positional("The results.json of a comparison, or the folder that holds it.", metavar="RESULTS")
    arms: tuple[str, ...] | None = option(None, "Only these arms.", metavar="ARM")
    seeds: tuple[int, ...] | None = option(None, "Only these seeds.", metavar="SEED")
    workers: Few | None = option(None, "Processes; one for each CPU by default.")
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where to train.")
    root: Path = option(Path("runs/reproduced"), "The folder of run folders.")
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Train and compare."""
        from structpred.cli.comparing import repeat

        repeat(self, console)


@dataclass(frozen=True)
class Runs:
    """List the runs in a folder: what was trained, how far it is, and its scores.

    Examples:
      structpred runs
      structpred runs --objective rml --state finished --sort test.PER
      structpred runs --task tsv --format csv
    """

    resumes: ClassVar[bool] = False

    root: Path = root_field()
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

    resumes: ClassVar[bool] = False

    path: Path = _run()

    def run(self, console: Console) -> None:
        """Print all of it."""
        from structpred.cli.listing import show_run

        show_run(self, console)


@dataclass(frozen=True)
class Diagnose:
    """Measure the gradients of many objectives on one batch: signal against noise, bias, direction.

    At the weights that a run began with and at those that it ended with; see docs/diagnosis.md. The run stays as it is.

    Examples:
      structpred diagnose runs/3f0c…
      structpred diagnose runs/3f0c… --objectives rml reinforce --draws 100
      structpred diagnose runs/3f0c… --batch 32 --edit-rate 0.02 --to reports/gradients
    """

    resumes: ClassVar[bool] = False

    path: Path = _run()
    objectives: tuple[str, ...] | None = option(
        None, "Only these objectives, by name; all that the model supports by default.", metavar="NAME"
    )
    batch: Count = option(8, "Training examples.")
    draws: int = option(24, "Independent gradients of each objective, at least 2.")
    seed: int = option(0, "Seed of the choice of examples and of all draws.")
    edit_rate: Positive = option(0.1, "Edits a symbol of the payoff around references.")
    threads: Few = option(1, "CPU threads.")
    to: Path | None = option(
        None, "The folder to write; by default the one in reports/diagnosis that is called like the run."
    )
    imports: tuple[str, ...] = imports_field()

    def run(self, console: Console) -> None:
        """Compute, show and write."""
        from structpred.cli.diagnosing import run

        run(self, console)


@dataclass(frozen=True)
class Clean:
    """Remove run folders; shows them with their sizes and asks first. Other folders are left alone.

    Examples:
      structpred clean
      structpred clean --older-than 30
      structpred clean --unfinished --yes
    """

    resumes: ClassVar[bool] = False

    root: Path = root_field()
    older_than: NotNegative = option(0.0, "Only runs untouched for this many days.")
    unfinished: bool = option(False, "Only runs that were not finished.")
    yes: bool = option(False, "Do not ask.")

    def run(self, console: Console) -> None:
        """Show, ask, remove."""
        from structpred.cli.runs import clean

        clean(self, console)
