"""``structpred train``, and the table of scores."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from structpred.cli import assignments
from structpred.cli.places import Imports, Words, folder_to_write
from structpred.config import Few, coerce
from structpred.display import show_table, summary, watching
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.running import train
from structpred.runs import Run, named
from structpred.task import loaded
from structpred.training.progress import Observer, Progress, ignore
from structpred.training.ranks import in_first
from structpred.training.tensorboard import TensorBoard


@dataclass(frozen=True)
class Train:
    """Train one experiment; a finished run is used again, an interrupted one goes on.

    Examples:
      structpred train
      structpred train objective=rml objective.payoff.temperature.rescaled=0.8
      structpred train task=tsv task.train=train.tsv task.dev=dev.tsv trainer.epochs=40 seed=1
      structpred train --start runs/3f0c… objective=rml optimiser.lr=0.0005
    """

    words: Words = ()
    """Assignments: task=NAME, model=NAME, objective=NAME, and fields by dotted name; see `structpred describe NAME`."""

    start: Path | None = None
    """Start from the weights of this finished run, with its settings where nothing else is assigned."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""

    devices: int = 1
    """How many on each machine, with a process each; the batch of a step is shared out between them."""

    nodes: int = 1
    """How many machines; start the same command on each by torchrun or SLURM, with a --root that all of them see."""

    threads: int = 1
    """Processor threads; more rarely pays on small models, and hurts when other processes are running."""

    logger: Literal["tensorboard"] | None = None
    """Log also for TensorBoard, into the run's folder; see it by tensorboard --logdir runs."""

    root: Path = Path("runs")
    """The folder of run folders."""

    imports: Imports = ()
    """Import this module or .py file first, for components of your own; may be given several times."""

    def run(self, console: Console) -> None:
        """Train and print the scores and the folder."""
        for option in ("threads", "devices", "nodes"):
            coerce(getattr(self, option), Few, f"--{option}")
        folder_to_write(self.root)
        torch.set_num_threads(self.threads)
        experiment = assignments.experiment(self.words, None if self.start is None else self._continued(self.start))
        if self.devices * self.nodes > 1 and not in_first():
            self._train(experiment, ignore)
            return
        errors, phases = Console(stderr=True, highlight=False, markup=False), set()
        with watching(errors, "training") as observer:

            def follow(progress: Progress) -> None:
                phases.add(progress.phase)
                observer(progress)

            run = self._train(experiment, follow)
        if "testing" in phases:  # it was trained just now
            errors.print(summary(run.result), soft_wrap=True)
        show_scores(run.result.scores, console)
        console.print(f"Run: {run.folder.path}", soft_wrap=True)

    def _train(self, experiment: Experiment, observer: Observer) -> Run:
        return train(
            experiment,
            root=self.root,
            device=self.device,
            devices=self.devices,
            nodes=self.nodes,
            observer=observer,
            loggers=() if self.logger is None else (TensorBoard,),
        )

    def _continued(self, path: Path) -> Experiment:
        """The experiment of a finished run, starting from that run.

        Raises:
            ConfigError: the run is in another folder or out of date, or what it decides is assigned.
        """
        for word in self.words:
            if word.partition("=")[0].partition(".")[0] in ("task", "model", "seed", "start"):
                raise ConfigError(f"task, model and seed are those of --start, but got {word!r}; leave it out")
        run = Run.load(named(path if len(path.parts) > 1 or path.is_dir() else self.root / path).path)
        path = run.folder.path
        if path.resolve().parent != self.root.resolve():
            raise ConfigError(f"the run to start from must be in {self.root}, but got {path}; add --root {path.parent}")
        if run.experiment.identity(loaded(run.experiment.task).digest) != run.result.identity:
            raise ConfigError(f"{path}: its data or its components have changed since this run; train it again first")
        return replace(run.experiment, start=run.experiment)


def show_scores(found: dict[str, dict[str, float]], console: Console) -> None:
    """Print metrics by split, in percent."""
    names = list(next(iter(found.values())))
    rows = [(split, *(f"{values[name]:.2f}" for name in names)) for split, values in found.items()]
    show_table(console, ("split", *names), rows)
