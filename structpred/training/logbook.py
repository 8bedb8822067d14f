"""What a run logs as it goes: lines of JSON in its folder, and whatever else is given."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from structpred.files import naming, write_atomically
from structpred.protocols import Checkable
from structpred.results import Epoch


@runtime_checkable
class Logger(Checkable, Protocol):
    """Takes numbers by name; every logger of Lightning Fabric does, such as its ``TensorBoardLogger``."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Write numbers down as those after so many steps; the engine's loggers do not agree on a type for them."""


@runtime_checkable
class Ends(Checkable, Protocol):
    """A logger that is to be told of the end; those of Lightning Fabric are, and then write what they still hold."""

    def finalize(self, status: str) -> None:
        """Write what is not written yet; the status is ``"success"`` or ``"failed"``."""


GivenLogger = Logger | Callable[[Path], Logger]
"""A logger, or what makes one of a run's folder, which has its name only once the data are read."""


@contextlib.contextmanager
def opened(loggers: Sequence[GivenLogger], folder: Path) -> Iterator[tuple[Logger, ...]]:
    """Loggers of the run in a folder, for the time of a block."""
    made = tuple(each(folder) if callable(each) else each for each in loggers)
    status = "failed"
    try:
        yield made
        status = "success"
    finally:
        for each in made:
            if isinstance(each, Ends):
                each.finalize(status)


class Logbook:
    """One JSON object a line, each of them with ``"step"``; a number that is not finite is null.

    Args:
        path: the file; lines are added to what is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int, epochs: int) -> None:
        """Forget what was logged after so many steps and ended epochs, and half a line: training goes on from there.

        An epoch may have all its steps and not have ended: its end will be logged again.
        """
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and _happened(line, step, epochs)]
            write_atomically(self.path, "".join(kept))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a line."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        with naming(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **finite}, ensure_ascii=False) + "\n")


def of_epoch(epoch: Epoch) -> dict[str, float]:
    """An epoch's numbers by name."""
    dev = {f"dev/{name}": value for name, value in epoch.dev.items()}
    diagnostics = {f"diagnostic/{name}": value for name, value in epoch.diagnostics.items()}
    return {"epoch": epoch.epoch, "loss": epoch.loss, "seconds": epoch.seconds, **dev, **diagnostics}


def _happened(line: str, step: int, epochs: int) -> bool:
    """True for what was logged by then; False for later lines, and for what is no line of a log (a damaged disk)."""
    try:
        said = json.loads(line)
        return bool(said["step"] <= step) and not _ends_after(said, epochs)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _ends_after(said: Mapping[str, float], epochs: int) -> bool:
    """True for a line of `of_epoch` for a later epoch than the given one; within an epoch dev is not scored."""
    return said["epoch"] > epochs and any(name.startswith("dev/") for name in said)
