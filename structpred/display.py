"""Progress for people: live bars on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from structpred.training.progress import Observer, Progress

_DOTS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42), duration(600), duration(5400)
    ('42 s', '10 min', '1 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def scores(dev: dict[str, float]) -> str:
    """Metrics on one line.

    >>> scores({"PER": 2.345, "WER": 9.1})
    'PER 2.35  WER 9.10'
    """
    return "  ".join(f"{name} {value:.2f}" for name, value in dev.items())


def sparkline(values: list[float]) -> str:
    """A line of blocks, low to high.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▄▁'
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(_DOTS) - 1) / (high - low) if high > low else 0.0
    return "".join(_DOTS[int((value - low) * scale)] for value in values)


def bars(console: Console) -> Bars:
    """Bars with what is done, the time taken and a line of details."""
    return Bars(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[details]}"),
        console=console,
        transient=True,
    )


def details(progress: Progress) -> str:
    """Phase, epoch, rate, time left, loss and dev metrics on one line."""
    if progress.phase != "training":
        return progress.phase
    parts = [
        f"epoch {progress.epoch}/{progress.epochs}",
        f"{progress.rate:,.0f} tokens/s",
        f"{duration(progress.seconds_left)} left" if progress.done > 0.01 else "time left not known yet",
        f"loss {progress.loss:.3f}",
    ]
    return " · ".join(parts + ([f"dev {scores(progress.dev)}"] if progress.dev else []))


@contextmanager
def watching(console: Console, name: str) -> Iterator[Observer]:
    """An observer of one run, for the time of a block."""
    if not console.is_terminal:
        yield _Lines(console, name)
        return
    with bars(console) as shown:
        yield _Live(shown, shown.add_task(name, total=1.0, details="preparing"))


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
    """One line an epoch and a phase."""

    def __init__(self, console: Console, name: str) -> None:
        self.console, self.name = console, name
        self.last: tuple[str, int] | None = None

    def __call__(self, progress: Progress) -> None:
        here = (progress.phase, progress.epoch)
        if here != self.last:
            self.last = here
            self.console.print(Text(f"{self.name}: {details(progress)}"), soft_wrap=True)
