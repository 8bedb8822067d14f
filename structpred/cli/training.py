"""``structpred train``, and the table of scores."""

from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from structpred.cli import assignments
from structpred.cli.commands import Train
from structpred.cli.places import folder_to_write
from structpred.display import show_table, summary, watching
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.runs import Run, named, train
from structpred.task import loaded
from structpred.training.distributed import in_first
from structpred.training.monitoring import Observer, Progress, ignore
from structpred.training.tensorboard import TensorBoard


def run(given: Train, console: Console) -> None:
    """Train and print the scores and the folder."""
    folder_to_write(given.root)
    torch.set_num_threads(given.threads)
    experiment = assignments.experiment(given.words, None if given.start is None else _continued(given, given.start))
    if given.devices * given.nodes > 1 and not in_first():
        _train(given, experiment, ignore)
        return
    errors, phases = Console(stderr=True, highlight=False, markup=False), set()
    with watching(errors, "training") as observer:

        def follow(progress: Progress) -> None:
            phases.add(progress.phase)
            observer(progress)

        finished = _train(given, experiment, follow)
    if "testing" in phases:  # it was trained just now
        errors.print(summary(finished.result), soft_wrap=True)
    wanted = [metric.name for metric in experiment.reported]
    shown = {split: {name: each[name] for name in wanted} for split, each in finished.result.scores.items()}
    show_scores(shown, console)
    console.print(f"Run: {finished.folder.path}", soft_wrap=True)


def _train(given: Train, experiment: Experiment, observer: Observer) -> Run:
    return train(
        experiment,
        root=given.root,
        device=given.device,
        devices=given.devices,
        nodes=given.nodes,
        observer=observer,
        loggers=() if given.logger is None else (TensorBoard,),
    )


def _continued(given: Train, path: Path) -> Experiment:
    """The experiment of a finished run, starting from that run.

    Raises:
        ConfigError: the run is in another folder or out of date, or what it decides is assigned.
    """
    for word in given.words:
        if word.partition("=")[0].partition(".")[0] in ("task", "model", "seed", "start"):
            raise ConfigError(f"task, model and seed are those of --start, but got {word!r}; leave it out")
    start = Run.load(named(path if len(path.parts) > 1 or path.is_dir() else given.root / path).path)
    path = start.folder.path
    if path.resolve().parent != given.root.resolve():
        raise ConfigError(f"the run to start from must be in {given.root}, but got {path}; add --root {path.parent}")
    if start.experiment.identity(loaded(start.experiment.task).digest) != start.result.identity:
        raise ConfigError(f"{path}: its data or its components have changed since this run; train it again first")
    return replace(start.experiment, start=start.experiment)


def show_scores(found: dict[str, dict[str, float]], console: Console) -> None:
    """Print metrics by split, in percent."""
    names = list(next(iter(found.values())))
    rows = [(split, *(f"{values[name]:.2f}" for name in names)) for split, values in found.items()]
    show_table(console, ("split", *names), rows)
