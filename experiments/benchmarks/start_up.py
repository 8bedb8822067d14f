"""How long does Python take to import structpred, and each command to print its help? Aims: 0.3 and 0.5 CPU-seconds.

CPU-seconds of whole processes, as the system counts them, so that what else the machine does counts less; the median of
nine. Measured beside them are processes that import nothing, PyTorch, and what reading runs, comparing and training
take. The last line is one JSON object.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence

from structpred.cli.commands import COMMANDS
from structpred.experiments.benchmarks.measuring import Figures, children_cpu, report, standalone, without_options

TURNS = 9
IMPORT, HELP = 0.3, 0.5
"""CPU-seconds that importing the package and a command's help may take."""

READING = "import structpred.runs, structpred.objectives, structpred.tasks"
TRAINING = "from structpred.training.distributed import DistributedContext; DistributedContext().fabric('fp32')"
"""Lightning Fabric is imported where it is first used, and brings PyTorch's compiler along."""


def cpu_seconds(arguments: Sequence[str]) -> float:
    """CPU-seconds of one Python process, from its start to its end."""
    before = children_cpu()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return children_cpu() - before


def median(arguments: Sequence[str]) -> float:
    """The median of `TURNS` processes after one that fills the caches of the disk."""
    return statistics.median([cpu_seconds(arguments) for _ in range(TURNS + 1)][1:])


def main() -> None:
    """Measure every command and compare with the aims."""
    without_options()
    commands = {name: median(["-m", "structpred", name, "--help"]) for name in COMMANDS}
    slowest = max(commands, key=lambda name: commands[name])
    package = median(["-c", "import structpred"])
    figures: Figures = {
        "python_alone": median(["-c", "pass"]),
        "import_structpred": package,
        "help": median(["-m", "structpred", "--help"]),
        "version": median(["-m", "structpred", "--version"]),
        "help_of_the_slowest_command": commands[slowest],
        "slowest_command": slowest,
        "import_torch": median(["-c", "import torch"]),
        "ready_to_read_runs": median(["-c", READING]),
        "ready_to_compare": median(["-c", f"{READING}, structpred.comparison.runner"]),
        "ready_to_train": median(["-c", f"{READING}; {TRAINING}"]),
    }
    report(figures, __doc__)
    assert package < IMPORT
    assert commands[slowest] < HELP


if __name__ == "__main__":
    standalone(main)
