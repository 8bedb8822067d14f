"""Does a comparison that is killed twenty times end as one that is not, and is nothing left behind?

Its own process is killed, or one of its workers before it, or all of them at once, and the same comparison is begun
again at once.
"""

import itertools
import os
import random
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from structpred.comparison.runner import compare
from structpred.experiment import Experiment
from structpred.experiments.benchmarks.remains import differences, left_behind, outlived, workers_of
from structpred.experiments.benchmarks.standalone import standalone
from structpred.experiments.benchmarks.timing import report, seconds
from structpred.models import Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.tasks import Pronunciation
from structpred.training import Trainer

KILLS = 20
SEEDS = range(2)
WAYS = ("the comparison", "one of its workers, which is replaced, and then the comparison", "all at once")
BASE = Experiment(
    task=Pronunciation(size=600, held_out=50),
    model=Seq2Seq(embedding=16, hidden=32, dropout=0.2),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=20, batch_tokens=128),
)
ARMS = {"ML": BASE, "RML": replace(BASE, objective=RML())}


def begin(root: Path) -> int:
    """Compare in a process, and a group of processes, of its own; returns the number of both."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # workers that lose their comparison say so
        try:
            compare(ARMS, seeds=SEEDS, root=root, workers=2, device="cpu", console=Console(stderr=True))
        finally:
            os._exit(0)
    return child


def kill(child: int, way: str, pause: float) -> None:
    """Kill, and wait for the comparison's own process to be gone."""
    workers = workers_of(child)
    if way == WAYS[1] and workers:
        os.kill(workers[0], signal.SIGKILL)
        time.sleep(pause)
    if way == "all at once":
        os.killpg(child, signal.SIGKILL)
    else:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def main() -> None:
    """Compare once undisturbed, once under fire, and compare all of it bit for bit."""
    torch.set_num_threads(1)
    moments, ways = random.Random(0), itertools.cycle(WAYS)
    with tempfile.TemporaryDirectory() as place:
        quiet, disturbed = Path(place, "undisturbed"), Path(place, "killed")
        disturbed.mkdir()  # the first kill may come before anything is written
        took = seconds(lambda: os.waitpid(begin(quiet), 0))
        groups: list[int] = []
        began = time.monotonic()
        for way in itertools.islice(ways, KILLS):
            child = begin(disturbed)
            groups.append(child)
            time.sleep(moments.uniform(0.0, took / 5))
            kill(child, way, moments.uniform(0.0, took / 5))
        unfinished = sum(not (path / "result.json").exists() for path in disturbed.glob("[!.]*"))
        last = begin(disturbed)
        os.waitpid(last, 0)
        figures: dict[str, float | int | str] = {
            "kills": KILLS,
            "runs_unfinished_after_the_last_kill": unfinished,
            "undisturbed_seconds": took,
            "killed_seconds": time.monotonic() - began,
            **differences(quiet, disturbed),
            "files_left_behind": len(left_behind(disturbed)),
            "processes_left_behind": len(outlived([*groups, last])),
        }
    report(figures, "Kills of a comparison")
    assert figures["tensors_equal_bit_for_bit"] == figures["tensors"]
    assert figures["results_equal"] == figures["runs"]
    assert figures["files_left_behind"] == figures["processes_left_behind"] == 0


if __name__ == "__main__":
    standalone(main)
