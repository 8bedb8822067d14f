"""``structpred train``, and the table of scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from structpred.cli import assignments
from structpred.cli.places import Words, folder_to_write
from structpred.config import Count, coerce
from structpred.display import show_table, watching
from structpred.train import train


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

    threads: int = 1
    """Processor threads; more rarely pays on small models, and hurts when other processes are running."""

    root: Path = Path("runs")
    """The folder of run folders."""

    def run(self, console: Console) -> None:
        """Train and print the scores and the folder."""
        coerce(self.threads, Count, "--threads")
        folder_to_write(self.root)
        torch.set_num_threads(self.threads)
        experiment = assignments.experiment(self.words)
        with watching(Console(stderr=True, highlight=False, markup=False), "training") as observer:
            run = train(experiment, root=self.root, device=self.device, observer=observer)
        show_scores(run.result.scores, console)
        console.print(f"Run: {run.folder.path}", soft_wrap=True)


def show_scores(found: dict[str, dict[str, float]], console: Console) -> None:
    """Print metrics by split, in percent."""
    names = list(next(iter(found.values())))
    rows = [(split, *(f"{values[name]:.2f}" for name in names)) for split, values in found.items()]
    show_table(console, ("split", *names), rows)
