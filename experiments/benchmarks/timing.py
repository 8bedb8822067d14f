"""How benchmarks are timed and reported."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

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


def report(figures: Figures, title: str = "") -> None:
    """A table of the figures, and as the last line one JSON object with them."""
    table = Table("figure", "value", title=title)
    for name, value in figures.items():
        table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else str(value))
    Console().print(table)
    print(json.dumps(dict(figures), ensure_ascii=False))  # the bare line that scripts read
