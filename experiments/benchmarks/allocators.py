"""How much of a training step on a CPU goes into memory that is asked for anew, and how much with jemalloc?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``, where jemalloc is installed
(``apt-get install libjemalloc2``)::

    python -m structpred.experiments.benchmarks.allocators

The C library gives large tensors back to the system at once, which clears their pages before it lends them again;
jemalloc can be told to keep them. Each process takes the same steps of the Transformer of `transformer` on random
batches of 64 captions, by one thread, in bf16 where the CPU has instructions for it. The allocators take turns, a
process each. CPU-seconds and their ratio are medians over turns; the share is that of the system in CPU-seconds, and
memory the most that a process had.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import asdict, dataclass

import torch

from structpred.experiments.benchmarks.captions import captions
from structpred.experiments.benchmarks.measuring import Figures, Median, MissingPeer, standalone, without_options
from structpred.experiments.benchmarks.transformer import MODEL
from structpred.experiments.benchmarks.translation import WARM_UP, plan_of, stepper
from structpred.training.data import EncodedData
from structpred.training.distributed import cpu_has_bf16

TURNS, STEPS = 6, 12
KEEPING = "oversize_threshold:0,narenas:1,dirty_decay_ms:-1,muzzy_decay_ms:-1"
"""What makes jemalloc keep all memory that it was ever lent."""

CHILD = "from structpred.experiments.benchmarks.allocators import print_steps; print_steps()"


@dataclass(frozen=True)
class Steps:
    """What some steps took.

    Attributes:
        user: CPU-seconds of the program.
        system: CPU-seconds of the operating system on its behalf.
        memory: the most memory that the process had, in GB.
    """

    user: float
    system: float
    memory: float

    @property
    def cpu(self) -> float:
        """CPU-seconds."""
        return self.user + self.system


def print_steps() -> None:
    """Take the steps in this process, and print what they took as one line of JSON."""
    torch.set_num_threads(1)
    prepared = EncodedData.of(captions(), MODEL)
    plan, ours = plan_of(prepared, sort=False), stepper(prepared, "bf16" if cpu_has_bf16() else "fp32", MODEL)
    for position in range(WARM_UP + STEPS):
        if position == WARM_UP:
            before = resource.getrusage(resource.RUSAGE_SELF)
        ours.train_step(plan, position, position, 0.0)
    now = resource.getrusage(resource.RUSAGE_SELF)
    took = Steps(now.ru_utime - before.ru_utime, now.ru_stime - before.ru_stime, now.ru_maxrss / 2**20)
    print(json.dumps(asdict(took)))


def in_child(library: str | None) -> Steps:
    """The steps in a process of their own, which has this allocator if one is given."""
    chosen = {} if library is None else {"LD_PRELOAD": library, "MALLOC_CONF": KEEPING}
    child = subprocess.run([sys.executable, "-c", CHILD], env=os.environ | chosen, stdout=subprocess.PIPE, check=True)
    return Steps(**json.loads(child.stdout.splitlines()[-1]))


def main() -> Figures:
    """Let both allocators take turns."""
    without_options()
    if (library := find_library("jemalloc")) is None:
        raise MissingPeer("jemalloc is not installed; apt-get install libjemalloc2")
    captions()  # so that missing data are told here
    turns = [(in_child(None), in_child(library)) for _ in range(TURNS)]
    figures: Figures = {"precision": "bf16" if cpu_has_bf16() else "fp32"}
    for name, took in zip(("c_library", "jemalloc"), zip(*turns, strict=True), strict=True):
        figures |= {
            f"{name}_cpu_seconds_a_step": statistics.median(each.cpu for each in took) / STEPS,
            f"{name}_system_share": statistics.median(each.system / each.cpu for each in took),
            f"{name}_gigabytes": statistics.median(each.memory for each in took),
        }
    return figures | Median.of([one.cpu / other.cpu for one, other in turns]).figures("jemalloc_faster")


if __name__ == "__main__":
    standalone(main)
