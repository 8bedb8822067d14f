"""How every benchmark is run, timed and reported: on one thread, with one line of JSON at the end."""

import inspect
import json
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from scipy import stats

from structpred.cli.arguments import Parser, few
from structpred.errors import AbsentError, StructpredError

Figures = dict[str, float | int | str]

DEFAULT_THREADS = torch.get_num_threads()
"""PyTorch's own choice on this machine."""

SKIPPED, REFUSED = 77, 2
"""Exit statuses: this machine lacks something (77, as with GNU Automake), and a mistake that somebody can correct."""


class MissingPeer(StructpredError):
    """A program that a benchmark measures beside ours is not installed."""


def standalone(main: Callable[[], Figures | None]) -> None:
    """Run a benchmark on one thread and report the figures that it returns; where it cannot run here, say so and exit.

    Raises:
        SystemExit: with `SKIPPED` where a peer or data are missing, with `REFUSED` after another mistake, as a message.
    """
    torch.set_num_threads(1)
    try:
        if figures := main():
            report(figures, inspect.getdoc(inspect.getmodule(main)))
    except (MissingPeer, AbsentError) as error:
        print(f"skipped: {error}", file=sys.stderr)
        sys.exit(SKIPPED)
    except StructpredError as error:
        print(f"structpred: {error}", file=sys.stderr)
        sys.exit(REFUSED)


def report(figures: Mapping[str, float | int | str], title: str | None = "") -> None:
    """A table under the first line of the title, and as the last line one JSON object with threads and figures."""
    figures = {"threads": torch.get_num_threads(), **figures}
    table = Table("figure", "value", title=(title or "").partition("\n")[0])
    for name, value in figures.items():
        table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else str(value))
    Console().print(table)
    print(json.dumps(figures, ensure_ascii=False))  # the bare line that scripts read


def without_options() -> None:
    """Refuse arguments of this process, which would be ignored; ``--help`` shows that there are none."""
    _options("Measure; there is nothing to choose.").read()


def training_threads(default: int = 2) -> int:
    """The number after ``--threads``, which is set; tiny numbers are flushed to zero, as is usual in training."""
    options = _options("Measure training.")
    options.add_argument("--threads", type=few, default=default)
    torch.set_num_threads(threads := options.read().threads)
    torch.set_flush_denormal(True)
    return int(threads)


def _options(about: str) -> Parser:
    return Parser(f"python -m structpred.experiments.benchmarks.{Path(sys.argv[0]).stem}", about)


@dataclass(frozen=True)
class Medians:
    """Median wall-clock seconds of two functions that took turns."""

    first: float
    second: float

    @property
    def ratio(self) -> float:
        """How many times faster the first is."""
        return self.second / self.first


@dataclass(frozen=True)
class Median:
    """The median of some turns and its 95 % interval, which assumes nothing about their distribution."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, turns: Sequence[float]) -> "Median":
        """From at least six turns; with fewer there is no such interval."""
        ordered = sorted(turns)
        rank = int(stats.binom.ppf(0.025, len(ordered), 0.5))  # fewer heads in that many throws: once in forty times
        return cls(statistics.median(ordered), ordered[rank - 1], ordered[-rank])

    def figures(self, name: str) -> Figures:
        """The median under a name, and its interval beside it."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass
class Stopwatch:
    """Adds up the time spent while it runs.

    Attributes:
        wall: wall-clock seconds.
        cpu: CPU-seconds of this process, all threads together, on which other work on the machine has less influence.
    """

    wall: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time what is inside, whether it ends or fails."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.process_time() - cpu


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def paired(first: Callable[[], object], second: Callable[[], object], repeats: int = 7) -> Medians:
    """Medians over ``repeats`` turns after one that is thrown away.

    Taking turns in one process lets other work on the machine fall on both alike.
    """
    turns = [(seconds(first), seconds(second)) for _ in range(repeats + 1)][1:]
    return Medians(*(statistics.median(column) for column in zip(*turns, strict=True)))


def children_cpu() -> float:
    """CPU-seconds of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class TooLong(BaseException):
    """Something takes more time than it may."""


@contextmanager
def limited(seconds: float, timer: int = signal.ITIMER_PROF) -> Iterator[None]:
    """Stop what takes more CPU-seconds, or by ``signal.ITIMER_REAL`` more wall-clock seconds.

    Raises:
        TooLong: it did.
    """

    def stop(*_: object) -> None:
        raise TooLong

    sent = signal.SIGPROF if timer == signal.ITIMER_PROF else signal.SIGALRM
    before = signal.signal(sent, stop)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(sent, before)
