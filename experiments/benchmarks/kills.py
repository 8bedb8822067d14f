"""Does a run that is killed a hundred times end as one that is not? Half the kills hit a write; and nothing is left.

Then the same of a comparison, killed twenty times in other ways; see `structpred.experiments.benchmarks.compare_kills`.
"""

import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from structpred.experiment import Experiment
from structpred.experiments.benchmarks.remains import differences, left_behind
from structpred.experiments.benchmarks.standalone import standalone
from structpred.experiments.benchmarks.timing import report, seconds
from structpred.models import Seq2Seq
from structpred.objectives import RML
from structpred.runs import Run, train
from structpred.tasks import Pronunciation
from structpred.training import Trainer

KILLS = 100
EXPERIMENT = Experiment(
    task=Pronunciation(size=600, held_out=50),
    model=Seq2Seq(embedding=16, hidden=32, dropout=0.2),
    objective=RML(),
    trainer=Trainer(epochs=60, batch_tokens=128),
)


def begin(root: Path) -> int:
    """Train in a process of its own, which this one can kill; returns its number."""
    child = os.fork()
    if child == 0:
        try:
            train(EXPERIMENT, root=root, device="cpu", checkpoint_every=0.05)
        finally:
            os._exit(0)
    return child


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
        """Let the run go on for so many seconds, and then until it writes; kill it; False where it ended before."""
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
    torch.set_num_threads(1)
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
        figures: dict[str, float | int | str] = {
            "kills": kills.kills,
            "kills_while_writing_a_checkpoint": kills.writes,
            "steps": Run.load(folder).result.steps,
            "undisturbed_seconds": took,
            "killed_seconds": time.monotonic() - began,
            **differences(quiet, disturbed),
            "files_left_behind": len(left_behind(disturbed)),
        }
    report(figures, "Kills")
    assert figures["tensors_equal_bit_for_bit"] == figures["tensors"]
    assert figures["results_equal"] == figures["runs"] == 1
    assert figures["files_left_behind"] == 0


if __name__ == "__main__":
    standalone(main)
