"""Progress displays: live bars on a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from structpred.forecast import Forecast
from structpred.results import RunResult
from structpred.text import counted
from structpred.training.memory import in_units
from structpred.training.monitoring import Observer, Progress

_DOTS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """Seconds in readable units.

    Examples:
        >>> duration(42), duration(600), duration(5400)
        ('42 s', '10 min', '1 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def scores(dev: dict[str, float]) -> str:
    """Metrics on one line.

    Examples:
        >>> scores({"PER": 2.345, "WER": 9.1})
        'PER 2.35  WER 9.10'
    """
    return "  ".join(f"{name} {value:.2f}" for name, value in dev.items())


def sparkline(values: list[float]) -> str:
    """A line of block characters from low to high.

    Examples:
        >>> sparkline([3.0, 2.0, 1.0])
        '█▄▁'
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(_DOTS) - 1) / (high - low) if high > low else 0.0
    return "".join(_DOTS[int((value - low) * scale)] for value in values)


def summary(result: RunResult) -> str:
    """A one-line summary of a finished run."""
    parts = [
        f"{result.steps:,} steps in {duration(result.seconds)}",
        f"{result.tokens_per_second:,.0f} tokens/s",
        f"best epoch {result.best_epoch} of {len(result.history)}",
        f"{result.skipped:,} steps skipped, because they were not finite" if result.skipped else "",
    ]
    return " · ".join(filter(None, parts))


def show_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere tab-separated lines for other programs."""
    if not console.is_terminal:
        for row in (columns, *rows):
            console.file.write("\t".join(row) + "\n")  # rich would turn the tabs into spaces
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def bars(console: Console) -> Bars:
    """Progress bars with percentage, time taken and details, one line each, cut at the terminal's width."""
    return Bars(
        TextColumn("{task.description}", style="bold", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16),
        TextColumn("{task.percentage:>3.0f} %", markup=False, table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        _Details(),
        console=console,
        transient=True,
    )


class _Details(ProgressColumn):
    """The only column that may shrink on a narrow terminal; its text never wraps."""

    def render(self, task: Task) -> Text:
        """The text of `details` for the run."""
        return Text(task.fields["details"], no_wrap=True, overflow="ellipsis")


def details(progress: Progress) -> str:
    """Phase, epoch, time left, dev metrics, loss and rate on one line; a narrow terminal cuts it at the end."""
    before, training, _ = progress.phase.partition("training")
    if not training:
        return f"{progress.phase}{_memory(progress.memory)}"
    parts = [
        f"{before}epoch {progress.epoch}/{progress.epochs}, step {progress.step:,}",
        f"{duration(progress.seconds_left)} left" if progress.done > 0.01 else "time left not known yet",
        f"dev {scores(progress.dev)}" if progress.dev else "",
        f"loss {progress.loss:.3f}",
        f"{progress.rate:,.0f} tokens/s",
    ]
    return " · ".join(filter(None, parts))


def _memory(number: int) -> str:
    return f" · weights, gradients and optimiser need {in_units(number)}, without activations" if number else ""


def _alive(console: Console) -> bool:
    """True if bars can be redrawn in place."""
    return console.is_terminal and not console.is_dumb_terminal


@contextmanager
def watching(console: Console, name: str) -> Iterator[Observer]:
    """Within the block, an observer that shows one run."""
    if not _alive(console):
        yield _Lines(console, name)
        return
    with bars(console) as shown:
        yield _Live(shown, shown.add_task(name, total=1.0, details="preparing"))


class Overview:
    """Shows many runs: a bar for all of them and one for each run under way; plain lines without a terminal.

    Args:
        console: where to show them.
        finished: the number of runs finished before.
        total: the number of all runs.
        forecast: forecasts the time left; by default it takes all runs to be similar.
    """

    def __init__(self, console: Console, finished: int, total: int, forecast: Forecast | None = None) -> None:
        self.bars, self.finished, self.total = bars(console), finished, total
        self.overall = self.bars.add_task(counted(total, "run"), total=total, completed=finished, details="starting")
        self.forecast = forecast or Forecast.alike(total - finished)
        self.tasks: dict[str, TaskID] = {}
        self.parts: dict[str, float] = {}

    def __enter__(self) -> "Overview":
        if _alive(self.bars.console):  # elsewhere bars would end with an empty line
            self.bars.start()
        return self

    def __exit__(self, *details: object) -> None:
        if _alive(self.bars.console):
            self.bars.stop()

    def update(self, under_way: Mapping[str, Progress]) -> None:
        """Show the progress of the runs under way."""
        self.forecast.update(under_way)
        for name, progress in under_way.items():
            if name not in self.tasks:
                self.tasks[name] = self.bars.add_task(name, total=1.0, details="")
            self.parts[name] = progress.done
            self.bars.update(self.tasks[name], completed=progress.done, details=details(progress))
        self._update_overall()

    def end(self, name: str, line: str, *, seconds: float | None = None) -> None:
        """Show that a run has ended; ``seconds`` is its whole duration if it is known and the run succeeded."""
        self.finished += 1
        self.forecast.end(name, seconds)
        if name in self.tasks:
            self.bars.remove_task(self.tasks.pop(name))
        self.parts.pop(name, None)
        self._update_overall()
        left = f", {self.left()}" if self.left() and self.finished < self.total else ""
        self.bars.console.print(Text(f"{line} ({self.finished} of {self.total}{left})"), soft_wrap=True)

    def left(self) -> str:
        """The time left as a message; empty without a basis for a forecast."""
        seconds = self.forecast.left()
        return "" if seconds is None else f"about {duration(seconds)} left"

    def _update_overall(self) -> None:
        done = self.finished + sum(self.parts.values())
        self.bars.update(self.overall, completed=done, details=self.left() or "starting")


class _Live:
    """One bar, with a sparkline of the first dev metric."""

    def __init__(self, shown: Bars, task: TaskID) -> None:
        self.shown, self.task = shown, task
        self.seen: dict[int, float] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.dev:
            self.seen[progress.epoch] = next(iter(progress.dev.values()))
        line = f"{details(progress)}  {sparkline(list(self.seen.values())[-20:])}"
        self.shown.update(self.task, completed=progress.done, details=line)


class _Lines:
    """One line for each epoch and phase."""

    def __init__(self, console: Console, name: str) -> None:
        self.console, self.name = console, name
        self.last: tuple[str, int, int] | None = None

    def __call__(self, progress: Progress) -> None:
        here = (progress.phase, progress.epoch, progress.memory)
        if here != self.last:
            self.last = here
            self.console.print(Text(f"{self.name}: {details(progress)}"), soft_wrap=True)
