"""The commands that train, compare and use runs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from structpred.cli import assignments
from structpred.cli.sources import load_arms
from structpred.comparison.plan import Plan
from structpred.comparison.runner import compare
from structpred.config import Interval, coerce
from structpred.decoding import Decoding
from structpred.display import duration, watching
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.files import write_atomically
from structpred.reading import lines_of, read_lines
from structpred.runs import Run
from structpred.train import train

Words = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[FIELD=VALUE ...]")]
MAIN_JOB = "structpred.experiments.pronunciation"


@dataclass(frozen=True)
class Compare:
    """Run several objectives under several seeds and report which is better.

    Examples:
      structpred compare
      structpred compare my_arms.py --seeds 5
      structpred compare --objectives maximum-likelihood rml task=tsv task.train=train.tsv task.dev=dev.tsv
      structpred compare trainer.epochs=5 --dry-run
    """

    words: Words = ()
    """A module or .py file with experiments() (the main job by default), and assignments made to every arm."""

    objectives: tuple[str, ...] = ()
    """Arms by objective name, each with its defaults, instead of a module."""

    seeds: int = 5
    """Seeds 0, 1, … for every arm."""

    baseline: str | None = None
    """The arm that others are compared with; the first by default."""

    workers: int | None = None
    """Processes; one a processor by default."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""

    root: Path = Path("runs")
    """The folder of run folders."""

    report: Path = Path("reports/comparison")
    """Where report.md, report.html and results.json go."""

    dry_run: bool = False
    """Show what would run and how long it should take, and stop."""

    def run(self, console: Console) -> None:
        """Plan, run, show and write."""
        coerce(self.seeds, Annotated[int, Interval(least=1)], "--seeds")
        arms = self._arms()
        if self.dry_run:
            show_plan(Plan.of(arms, range(self.seeds), self.baseline, self.root), self.workers, console)
            return
        report = compare(
            arms,
            seeds=range(self.seeds),
            baseline=self.baseline,
            root=self.root,
            workers=self.workers,
            device=self.device,
        )
        report.show(console)
        written = report.write(self.report)
        console.print("Report: " + ", ".join(map(str, written)), soft_wrap=True)

    def _arms(self) -> dict[str, Experiment]:
        # --objectives takes all the words after it, so assignments may stand among its names.
        names = [word for word in self.objectives if "=" not in word]
        words = [word for word in self.words + self.objectives if "=" in word]
        modules = [word for word in self.words if "=" not in word]
        if len(modules) > (0 if names else 1):
            raise ConfigError(f"expected one module of arms or --objectives, but got {' and '.join(modules + names)}")
        if names:
            return {name: assignments.experiment([f"objective={name}", *words]) for name in names}
        return assignments.arms(words, load_arms(modules[0] if modules else MAIN_JOB))


def show_plan(plan: Plan, workers: int | None, console: Console) -> None:
    """Print what a comparison would run, and how long it should take."""
    seconds = plan.seconds()
    table = Table("arm", *(f"seed {seed}" for seed in plan.seeds), "a run")
    for arm in plan.arms:
        states = [run.state for run in plan.runs if run.arm == arm]
        table.add_row(arm, *states, duration(seconds[arm]))
    console.print(table)
    processes = min(workers or os.cpu_count() or 1, max(len(plan.unfinished), 1))
    left = sum(seconds[run.arm] for run in plan.unfinished) / processes
    console.print(
        f"{len(plan.unfinished)} of {len(plan.runs)} runs to do, about {duration(left)} on {processes} processes"
    )


@dataclass(frozen=True)
class Train:
    """Train one experiment; a finished run is used again, an interrupted one goes on.

    Examples:
      structpred train
      structpred train objective=rml objective.payoff.temperature.rescaled=0.8
      structpred train task=tsv task.train=train.tsv task.dev=dev.tsv trainer.epochs=40 seed=1
    """

    words: Words = ()
    """Assignments: task=NAME, model=NAME, objective=NAME, and fields by dotted name; see `structpred describe NAME`."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""

    threads: Annotated[int, Interval(least=1)] = 1
    """Processor threads; more rarely pays on small models, and hurts when other processes are running."""

    root: Path = Path("runs")
    """The folder of run folders."""

    def run(self, console: Console) -> None:
        """Train and print the scores and the folder."""
        torch.set_num_threads(self.threads)
        experiment = assignments.experiment(self.words)
        with watching(Console(stderr=True), "training") as observer:
            run = train(experiment, root=self.root, device=self.device, observer=observer)
        show_scores(run.result.scores, console)
        console.print(f"Run: {run.folder.path}", soft_wrap=True)


@dataclass(frozen=True)
class Evaluate:
    """Score a run again, also on other data or with another search.

    Examples:
      structpred evaluate runs/3f0c…
      structpred evaluate runs/3f0c… --beam 10 --split test
      structpred evaluate runs/3f0c… --split test task.test=other.tsv
    """

    path: Annotated[Path, tyro.conf.Positional]
    """The run's folder."""

    words: Words = ()
    """Assignments to the task, such as task.test=other.tsv."""

    split: Literal["train", "dev", "test"] = "test"
    """Which part."""

    beam: int | None = None
    """Width of the beam; the run's own by default."""

    def run(self, console: Console) -> None:
        """Predict, score and print."""
        run = Run.load(self.path)
        task = assignments.experiment(self.words, run.experiment).task
        decoding = run.experiment.decoding if self.beam is None else Decoding(beam=self.beam)
        found = run.evaluate(getattr(task.load(), self.split), decoding=decoding)
        show_scores({self.split: found}, console)
        for metric in task.metrics:
            console.print(metric.signature, soft_wrap=True)


@dataclass(frozen=True)
class Predict:
    """Outputs for inputs, one a line, from a file or the standard input.

    Examples:
      structpred predict runs/3f0c… words.txt
      echo newcomer | structpred predict runs/3f0c… --n-best 3
    """

    path: Annotated[Path, tyro.conf.Positional]
    """The run's folder."""

    file: Annotated[Path | None, tyro.conf.Positional] = None
    """Inputs, one a line; the standard input by default."""

    n_best: int | None = None
    """Print the best outputs of each input with log-probabilities: input, output and log p, tab-separated."""

    beam: int | None = None
    """Width of the beam; the run's own by default."""

    keep_unknown: bool = False
    """Read symbols unknown from training as unknown instead of refusing them."""

    output: Path | None = None
    """Write here instead of to the standard output."""

    def run(self, console: Console) -> None:
        """Read everything, predict everything, then write."""
        del console
        run = Run.load(self.path)
        lines = read_lines(self.file) if self.file else lines_of(sys.stdin.buffer.read(), "standard input")
        text = "".join(f"{line}\n" for line in self._predict(run, lines))
        if self.output:
            write_atomically(self.output, text)
        else:
            sys.stdout.write(text)

    def _predict(self, run: Run, lines: list[tuple[str, str]]) -> list[str]:
        texts, where = [text for text, _ in lines], [place for _, place in lines]
        if self.n_best is None:
            decoding = None if self.beam is None else Decoding(beam=self.beam)
            return run.predict(texts, decoding=decoding, keep_unknown=self.keep_unknown, where=where)
        k = Decoding(beam=self.n_best).beam
        render = run.experiment.task.render
        lists = run.n_best(texts, k, keep_unknown=self.keep_unknown, where=where)
        return [
            f"{text}\t{render(each.output)}\t{each.log_prob:.4f}"
            for text, hypotheses in zip(texts, lists, strict=True)
            for each in hypotheses
        ]


def show_scores(found: dict[str, dict[str, float]], console: Console) -> None:
    """Print metrics by split, in percent."""
    names = list(next(iter(found.values())))
    table = Table("", *names)
    for split, values in found.items():
        table.add_row(split, *(f"{values[name]:.2f}" for name in names))
    console.print(table)
