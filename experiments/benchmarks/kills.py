"""Does a run that is killed a hundred times end as one that is not? Half the kills hit a write; and nothing is left.

Then the same of a comparison, killed twenty times in other ways; see `structpred.experiments.benchmarks.compare_kills`.
"""

import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from structpred.experiments.benchmarks.measuring import Figures, seconds, standalone, without_options
from structpred.experiments.benchmarks.remains import BASE, forked, judged
from structpred.objectives import RML
from structpred.runs import Run, train

KILLS = 100
EXPERIMENT = replace(BASE, objective=RML(), trainer=replace(BASE.trainer, epochs=60))


def begin(root: Path) -> int:
    """Train in a process of its own; returns its number."""
    return forked(partial(train, EXPERIMENT, root=root, device="cpu", checkpoint_every=0.05))


def ended(child: int) -> bool:
    """True once the process is no more."""
    return os.waitpid(child, os.WNOHANG) != (0, 0)


@dataclass
class Kills:
    """What was done to the run in a folder."""

    root: Path
    kills: int = 0
    writes: int = 0

    def again(self, wait: float, *, in_a_write: bool) -> bool:
        """Resume the run for ``wait`` seconds, on request until it writes; kill it; False where it ended before."""
        before = self.half_written()
        child = begin(self.root)
        end = time.monotonic() + wait
        while time.monotonic() < end or (in_a_write and not self.half_written() - before):
            if ended(child):
                return False
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.kills += 1
        self.writes += bool(self.half_written() - before)
        return True

    def half_written(self) -> set[Path]:
        """Checkpoints being written, or left by a writer that was killed."""
        return set(self.root.glob("*/.checkpoint.pt.*.unfinished"))


def main() -> None:
    """Train once undisturbed, once under fire, and compare bit for bit."""
    without_options()
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        quiet, disturbed = Path(place, "undisturbed"), Path(place, "killed")
        took = seconds(lambda: os.waitpid(begin(quiet), 0))
        kills = Kills(disturbed)
        began = time.monotonic()
        while kills.kills < KILLS and kills.again(moments.uniform(0.0, took / KILLS), in_a_write=bool(kills.kills % 2)):
            pass
        os.waitpid(begin(disturbed), 0)
        (folder,) = disturbed.iterdir()
        figures: Figures = {
            "kills": kills.kills,
            "kills_while_writing_a_checkpoint": kills.writes,
            "steps": Run.load(folder).result.steps,
            "undisturbed_seconds": took,
            "killed_seconds": time.monotonic() - began,
        }
        judged(quiet, disturbed, figures)


if __name__ == "__main__":
    standalone(main)
