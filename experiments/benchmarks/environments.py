"""How many symbols a second does a Gymnasium environment take from 256 agents at once, on one thread?

Agents act at random, by actions drawn beforehand; every step pays its increment of the edit distance and hands out
masks. The speed under Gymnasium's ``RecordEpisodeStatistics`` is given as well.
"""

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from structpred.environments import SequencePredictionVectorEnv
from structpred.experiments.benchmarks.measuring import Figures, Stopwatch, standalone, without_options
from structpred.metrics import Metric, SymbolErrorRate
from structpred.rewards import EditDistance
from structpred.task import Example, Splits, Task
from structpred.vocabulary import Symbols

EPISODES, STEPS, TURNS = 256, 400, 7

REGISTERING = """
import time
import gymnasium
start = time.perf_counter()
import structpred.environments
print(1000 * (time.perf_counter() - start))
import sys
assert "torch" not in sys.modules
"""


@dataclass(frozen=True, kw_only=True)
class RandomStrings(Task):
    """References of random labels, as sources too; every label occurs.

    Attributes:
        labels: V.
        longest: labels of the longest reference.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(),)

    labels: int = 40
    longest: int = 8

    def load(self) -> Splits:
        """All labels in order, cut into pieces, and then random strings of every length."""
        generator = np.random.default_rng(0)
        rows = np.array_split(np.arange(self.labels), -(-self.labels // self.longest))
        lengths = generator.integers(1, self.longest, 2000, endpoint=True)
        rows += [generator.integers(0, self.labels, length) for length in lengths]
        outputs = [tuple(str(label) for label in row) for row in rows]
        examples = tuple(Example(output, (output,), f"string {i}") for i, output in enumerate(outputs))
        return Splits(examples, examples[:1], examples[:1], f"random strings {self.labels} {self.longest}")

    def parse(self, text: str) -> Symbols:
        """Labels between spaces."""
        return tuple(text.split())

    def render(self, output: Symbols) -> str:
        """Labels between spaces."""
        return " ".join(output)


def environment(task: Task) -> SequencePredictionVectorEnv:
    """Agents that decide themselves when their outputs end."""
    return SequencePredictionVectorEnv(task, EditDistance(), num_envs=EPISODES, paid="increments", fixed_length=False)


def speeds(*environments: VectorEnv, turns: int = TURNS, steps: int = STEPS) -> list[tuple[float, float]]:
    """Symbols a second in each environment, by the clock and by the CPU-time of the process: medians of turns."""
    spaces = [int(env.single_action_space.n) for env in environments]  # type: ignore[attr-defined]  # all are Discrete
    actions = [np.random.default_rng(0).integers(0, choices, (steps, EPISODES)) for choices in spaces]
    counts = list(map(symbols, environments, actions))
    watches = [list(map(turn, environments, actions)) for _ in range(turns)]
    medians = [
        [statistics.median(getattr(watch, name) for watch in own) for name in ("wall", "cpu")]
        for own in zip(*watches, strict=True)
    ]
    return [(count / wall, count / cpu) for count, (wall, cpu) in zip(counts, medians, strict=True)]


def symbols(env: VectorEnv, actions: np.ndarray) -> int:
    """How many actions are taken: those after the end of an episode begin the next, and are ignored."""
    env.reset(seed=0)
    overs = [np.logical_or(*env.step(row)[2:4]) for row in actions]
    return actions.size - int(sum(over.sum() for over in overs[:-1]))


def turn(env: VectorEnv, actions: np.ndarray) -> Stopwatch:
    """The same again by the watch."""
    env.reset(seed=0)
    watch = Stopwatch()
    with watch.running():
        for row in actions:
            env.step(row)
    return watch


def registering(turns: int = TURNS) -> float:
    """Median milliseconds that registering adds to the import of Gymnasium."""
    command = [sys.executable, "-c", REGISTERING]
    printed = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(turns)]
    return statistics.median(map(float, printed))


def main() -> Figures:
    """Measure a small vocabulary, a large one, and the import."""
    without_options()
    small, large = RandomStrings(), RandomStrings(labels=7856, longest=25)
    measured = speeds(environment(small), RecordEpisodeStatistics(environment(small)), environment(large))
    figures: Figures = {"episodes": EPISODES}
    names = ("40_labels_length_8", "40_labels_length_8_recorded", "7856_labels_length_25")
    for name, (wall, cpu) in zip(names, measured, strict=True):
        figures |= {f"symbols_per_second_{name}": wall, f"symbols_per_core_second_{name}": cpu}
    return figures | {"milliseconds_of_registering": registering(), "load_average": os.getloadavg()[0]}


if __name__ == "__main__":
    standalone(main)
