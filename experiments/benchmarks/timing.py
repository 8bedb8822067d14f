"""How benchmarks are timed and reported."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from scipy import stats

Figures = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Medians:
    """Median wall-clock seconds of two functions that took turns."""

    first: float
    second: float

    @property
    def ratio(self) -> float:
        """How many times faster the first is."""
        return self.second / self.first


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def paired(first: Callable[[], object], second: Callable[[], object], repeats: int = 7) -> Medians:
    """Medians over ``repeats`` turns after one that is thrown away.

    Taking turns in one process lets whatever else the machine does fall on both alike.
    """
    turns = [(seconds(first), seconds(second)) for _ in range(repeats + 1)][1:]
    return Medians(*(statistics.median(column) for column in zip(*turns, strict=True)))


@dataclass
class Stopwatch:
    """Adds up what is spent while it runs.

    Attributes:
        wall: seconds by the clock on the wall.
        cpu: seconds of this process on a processor, all threads together: what others do on the machine counts less.
    """

    wall: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time what is inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.process_time() - cpu


@dataclass(frozen=True)
class Median:
    """The median of some turns and its 95 % interval, which assumes nothing of how they are distributed."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, turns: Sequence[float]) -> "Median":
        """From six turns at least; with fewer there is no such interval."""
        ordered = sorted(turns)
        rank = int(stats.binom.ppf(0.025, len(ordered), 0.5))  # fewer heads in so many throws: once in forty times
        return cls(statistics.median(ordered), ordered[rank - 1], ordered[-rank])


def report(figures: Figures, title: str = "") -> None:
    """A table of the figures, and as the last line one JSON object with them."""
    table = Table("figure", "value", title=title)
    for name, value in figures.items():
        table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else str(value))
    Console().print(table)
    print(json.dumps(dict(figures), ensure_ascii=False))  # the bare line that scripts read
