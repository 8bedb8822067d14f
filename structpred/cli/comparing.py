"""``structpred compare``."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from structpred.cli import assignments
from structpred.cli.places import Imports, Words, folder_to_write
from structpred.cli.sources import load_arms
from structpred.comparison.cluster import cluster
from structpred.comparison.plan import Plan, PlannedRun
from structpred.comparison.report import refuse_others
from structpred.comparison.runner import compare
from structpred.config import Few, coerce, components
from structpred.display import duration, show_table
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.imports import sources_of

MAIN_JOB = "structpred.experiments.pronunciation"


@dataclass(frozen=True)
class Compare:
    """Run several objectives under several seeds and report which is better.

    Examples:
      structpred compare
      structpred compare --dry-run trainer.epochs=5
      structpred compare my_arms.py --seeds 10 --baseline ML
      structpred compare --objectives maximum-likelihood rml task=tsv task.train=train.tsv task.dev=dev.tsv
    """

    words: Words = ()
    """A module or .py file with experiments() (the main job by default), and assignments made to every arm."""

    objectives: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME [NAME ...]")] = None
    """Arms by objective name, each with its defaults, instead of a module."""

    seeds: int = 5
    """Seeds 0, 1, … for every arm."""

    baseline: str | None = None
    """The arm that others are compared with; the first by default."""

    workers: int | None = None
    """Processes; one a processor by default."""

    cluster: str | None = None
    """Train on the workers of this dask cluster instead, such as tcp://10.0.0.1:8786; they must see the same --root."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""

    root: Path = Path("runs")
    """The folder of run folders."""

    report: Path = Path("reports/comparison")
    """Where report.md, report.html and results.json go."""

    dry_run: bool = False
    """Show what would run and how long it should take, and stop."""

    imports: Imports = ()
    """Import this module or .py file first, for components of your own; may be given several times."""

    def run(self, console: Console) -> None:
        """Plan, run, show and write."""
        coerce(self.seeds, Few, "--seeds")
        coerce(self.workers, Few | None, "--workers")
        if self.cluster is not None and self.workers is not None:
            raise ConfigError("--cluster has workers of its own, so --workers cannot be given with it; leave one out")
        arms, seeds = self._arms(), range(self.seeds)
        for path in (self.root, self.report):
            folder_to_write(path)
        refuse_others(self.report)
        if self.dry_run:
            show_plan(Plan.of(arms, seeds, self.baseline, self.root), self.workers, self.device, console)
            return
        files = sources_of(type(part) for arm in arms.values() for part in components(arm))
        with nullcontext() if self.cluster is None else cluster(self.cluster, files) as executor:
            report = compare(
                arms,
                seeds=seeds,
                baseline=self.baseline,
                root=self.root,
                workers=self.workers,
                device=self.device,
                executor=executor,
            )
        report.show(console)
        written = report.write(self.report)
        console.print("Report: " + ", ".join(map(str, written)), soft_wrap=True)

    def _arms(self) -> dict[str, Experiment]:
        words = [word for word in self.words if "=" in word]
        modules = [word for word in self.words if "=" not in word]
        if any(word.partition("=")[0] == "seed" for word in words):
            raise ConfigError("every arm is run under every seed, so seed cannot be assigned; use --seeds")
        if len(modules) > (1 if self.objectives is None else 0):
            given = " and ".join([*modules, *(self.objectives or ())])
            raise ConfigError(f"expected one module of arms, or --objectives, but got {given}")
        if self.objectives is None:
            return assignments.arms(words, load_arms(modules[0] if modules else MAIN_JOB))
        if not self.objectives:
            raise ConfigError("--objectives takes one name or more, but got none; see structpred list objective")
        return {name: assignments.experiment([f"objective={name}", *words]) for name in self.objectives}


def show_plan(plan: Plan, workers: int | None, device: str, console: Console) -> None:
    """Print what a comparison would run, and how long it should take."""
    seconds = plan.seconds(device)
    todo = plan.unfinished
    states = ("finished", "to be resumed", "to be run")
    rows = []
    for arm in seconds:
        found = [run.state for run in dict.fromkeys((*plan.runs, *todo)) if run.arm == arm]
        rows.append((arm, *(str(found.count(state)) for state in states), f"about {duration(seconds[arm])}"))
    show_table(console, ("arm", *states, "one run takes"), rows)
    if not todo:
        console.print(f"All {len(plan.runs)} runs are finished; only the report is left to write")
        return
    processes = min(workers or os.cpu_count() or 1, len(todo))
    left = max(sum(seconds[run.arm] for run in todo) / processes, _longest(todo, seconds))
    noun = "process" if processes == 1 else "processes"
    total = len(todo) + sum(run.folder.finished for run in plan.runs)
    console.print(f"{len(todo)} of {total} runs to do, about {duration(left)} on {processes} {noun}")


def _longest(todo: Sequence[PlannedRun], seconds: Mapping[str, float]) -> float:
    """Seconds of the longest chain of runs that have to follow one another."""
    by_folder = {run.folder: run for run in todo}

    def chain(run: PlannedRun) -> float:
        before = None if run.ready or run.start is None else by_folder.get(run.start)
        return seconds[run.arm] + (0.0 if before is None else chain(before))

    return max(map(chain, todo))
