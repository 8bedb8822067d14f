"""``structpred compare``."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from structpred.cli import assignments
from structpred.cli.places import Imports, Words, folder_to_write
from structpred.cli.sources import load_panels
from structpred.comparison.cluster import cluster
from structpred.comparison.estimate import jobs
from structpred.comparison.panels import Panel, PanelsReport, planned
from structpred.comparison.plan import Plan, unfinished
from structpred.comparison.report import PICTURE, Report, refuse_others
from structpred.comparison.runner import compare_panels, costs
from structpred.config import Few, coerce, components
from structpred.display import duration, show_table
from structpred.errors import ConfigError
from structpred.forecast import Forecast
from structpred.imports import sources_of

MAIN_JOB = "structpred.experiments.five_objectives"


@dataclass(frozen=True)
class Compare:
    """Run several objectives under several seeds and report which is better.

    Examples:
      structpred compare
      structpred compare --dry-run task.size=500
      structpred compare my_arms.py --seeds 10 --baseline ML
      structpred compare --objectives maximum-likelihood rml task=tsv task.train=train.tsv task.dev=dev.tsv
    """

    words: Words = ()
    """A module or .py file with experiments() or panels() (the main job by default), and assignments to every arm."""

    objectives: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME [NAME ...]")] = None
    """Arms by objective name, each with its defaults, instead of a module."""

    seeds: int | None = None
    """Seeds 0, 1, … for every arm; as many as its panel says by default, else 5."""

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
        coerce(self.seeds, Few | None, "--seeds")
        coerce(self.workers, Few | None, "--workers")
        if self.cluster is not None and self.workers is not None:
            raise ConfigError("--cluster has workers of its own, so --workers cannot be given with it; leave one out")
        panels = self._panels()
        for path in (self.root, self.report):
            folder_to_write(path)
        refuse_others(self.report, *(() if "" in panels else (PICTURE,)))
        if self.dry_run:
            show_plan(list(planned(panels, self.root).values()), self.root, self.workers, self.device, console)
            return
        report = self._compared(panels)
        report.show(console)
        written = report.write(self.report)
        console.print("Report: " + ", ".join(map(str, written)), soft_wrap=True)

    def _compared(self, panels: Mapping[str, Panel]) -> Report | PanelsReport:
        parts = (part for panel in panels.values() for arm in panel.arms.values() for part in components(arm))
        files = sources_of(map(type, parts))
        with nullcontext() if self.cluster is None else cluster(self.cluster, files) as executor:
            reports = compare_panels(
                panels, root=self.root, workers=self.workers, device=self.device, executor=executor
            )
        return reports.reports.get("", reports)

    def _panels(self) -> dict[str, Panel]:
        """The comparisons to make; one without a name unless a module has several."""
        words = [word for word in self.words if "=" in word]
        modules = [word for word in self.words if "=" not in word]
        if any(word.partition("=")[0] == "seed" for word in words):
            raise ConfigError("every arm is run under every seed, so seed cannot be assigned; use --seeds")
        if len(modules) > (1 if self.objectives is None else 0):
            given = " and ".join([*modules, *(self.objectives or ())])
            raise ConfigError(f"expected one module of arms, or --objectives, but got {given}")
        if self.objectives is None:
            panels = load_panels(modules[0] if modules else MAIN_JOB)
            panels = {name: replace(panel, arms=assignments.arms(words, panel.arms)) for name, panel in panels.items()}
        elif not self.objectives:
            raise ConfigError("--objectives takes one name or more, but got none; see structpred list objective")
        else:
            arms = {name: assignments.experiment([f"objective={name}", *words]) for name in self.objectives}
            panels = {"": Panel(arms=arms)}
        return {name: self._asked(panel) for name, panel in panels.items()}

    def _asked(self, panel: Panel) -> Panel:
        """A panel with the seeds and the baseline of the command line, where they are given."""
        seeds = panel.seeds if self.seeds is None else range(self.seeds)
        return replace(panel, seeds=seeds, baseline=self.baseline or panel.baseline)


def show_plan(plans: Sequence[Plan], root: Path, workers: int | None, device: str, console: Console) -> None:
    """Print what a comparison would run, and how long it should take."""
    cost = costs(plans, root=root, workers=workers, device=device)
    todo = unfinished(plans)
    every = list(dict.fromkeys((*(run for plan in plans for run in plan.runs), *todo)))
    states = ("finished", "to be resumed", "to be run")
    rows = []
    for label in dict.fromkeys(run.label for run in every):
        found = [run.state for run in every if run.label == label]
        takes = f"about {duration(cost[label].seconds)}" if label in cost else "not known"
        rows.append((label, *(str(found.count(state)) for state in states), takes))
    show_table(console, ("arm", *states, "one run takes"), rows)
    if not todo:
        console.print(f"All {len(every)} runs are finished; only the report is left to write")
        return
    processes = min(workers or os.cpu_count() or 1, len(todo))
    left = Forecast(jobs(todo), processes, cost).left()
    takes = "in a time that no rehearsal could tell," if left is None else f"about {duration(left)}"
    noun = "process" if processes == 1 else "processes"
    total = len(todo) + sum(run.folder.finished for run in every)
    console.print(f"{len(todo)} of {total} runs to do, {takes} on {processes} {noun}")
