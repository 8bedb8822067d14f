"""What kills leave behind: helpers of `structpred.experiments.benchmarks.kills` and `compare_kills`."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from structpred.experiment import Experiment
from structpred.experiments.benchmarks.measuring import Figures, report
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.results import RunResult
from structpred.runs import Run
from structpred.runs.folder import Files
from structpred.tasks import Pronunciation
from structpred.training import Trainer

BASE = Experiment(
    task=Pronunciation(size=600, held_out=50),
    model=Seq2Seq(embedding=16, hidden=32, dropout=0.2),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=20, batch_tokens=128),
)

LEFT = (".*", "checkpoint*", "traceback.txt", "not_finite.json")
"""Files that a finished run does not need: half-written ones and locks begin with a dot."""


def left_behind(root: Path) -> list[Path]:
    """What no finished run needs, in the folder of run folders and in theirs."""
    return [path for pattern in LEFT for path in (*root.glob(pattern), *root.glob(f"*/{pattern}"))]


def differences(expected: Path, got: Path) -> Figures:
    """How many runs and tensors there are in one folder of runs, and how many are the same in another.

    A result is the same where scores, steps, best epoch and history are, apart from times. Every file of both is
    compared with its checksum on the way.
    """
    names = sorted(path.name for path in expected.iterdir())
    assert sorted(path.name for path in got.iterdir()) == names, "other folders than those of the runs"
    pairs = [(Run.load(expected / name), Run.load(got / name)) for name in names]
    for pair in pairs:
        for run in pair:
            Files(run.folder.path).verify()
    tensors = [(value, other.weights()[name]) for one, other in pairs for name, value in one.weights().items()]
    return {
        "runs": len(pairs),
        "results_equal": sum(_timeless(one.result) == _timeless(other.result) for one, other in pairs),
        "tensors": len(tensors),
        "tensors_equal_bit_for_bit": sum(torch.equal(one, other) for one, other in tensors),
    }


def _timeless(result: RunResult) -> RunResult:
    history = tuple(replace(epoch, seconds=0.0) for epoch in result.history)
    return replace(result, seconds=0.0, cpu_seconds=0.0, tokens_per_second=0.0, history=history)


def forked(work: Callable[[], object], *, group: bool = False) -> int:
    """Do it in a process that this one can kill, with a group of its own where asked; returns its number."""
    child = os.fork()
    if child == 0:
        if group:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # workers that lose their driver say so
        try:
            work()
        finally:
            os._exit(0)
    return child


def judged(quiet: Path, killed: Path, figures: Figures) -> None:
    """Report the figures, with what the kills changed and left behind.

    Raises:
        AssertionError: that is something.
    """
    figures |= differences(quiet, killed) | {"files_left_behind": len(left_behind(killed))}
    report(figures, "What was killed beside what was left alone")
    assert figures["tensors_equal_bit_for_bit"] == figures["tensors"]
    assert figures["results_equal"] == figures["runs"]
    assert figures["files_left_behind"] == figures.get("processes_left_behind", 0) == 0


def of_group(group: int) -> dict[int, int]:
    """The processes of a group that are still at work, and the parent of each (Linux)."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, its_group = status.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
        except OSError:  # it has ended in the meantime
            continue
        if int(its_group) == group and state != "Z":
            found[int(status.parent.name)] = int(parent)
    return found


def workers_of(group: int) -> list[int]:
    """The worker processes of the command that leads a group: the children of its fork server."""
    members = of_group(group)
    return [process for process, parent in members.items() if parent in members and parent != group]


def outlived(groups: list[int], patience: float = 60.0) -> list[int]:
    """The processes of these groups that have not ended by themselves after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while left := [process for group in groups for process in of_group(group)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left
