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
from functools import partial
from pathlib import Path

from rich.console import Console

from structpred.comparison.runner import compare
from structpred.experiments.benchmarks.measuring import Figures, seconds, standalone, without_options
from structpred.experiments.benchmarks.remains import BASE, forked, judged, outlived, workers_of
from structpred.objectives import RML

KILLS = 20
SEEDS = range(2)
WAYS = ("the comparison", "one of its workers, which is replaced, and then the comparison", "all at once")
ARMS = {"ML": BASE, "RML": replace(BASE, objective=RML())}


def begin(root: Path) -> int:
    """Compare in a process, and a group of processes, of its own; returns the number of both."""
    console = Console(stderr=True)
    return forked(partial(compare, ARMS, seeds=SEEDS, root=root, workers=2, device="cpu", console=console), group=True)


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
    without_options()
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
        figures: Figures = {
            "kills": KILLS,
            "runs_unfinished_after_the_last_kill": unfinished,
            "undisturbed_seconds": took,
            "killed_seconds": time.monotonic() - began,
            "processes_left_behind": len(outlived([*groups, last])),
        }
        judged(quiet, disturbed, figures)


if __name__ == "__main__":
    standalone(main)
