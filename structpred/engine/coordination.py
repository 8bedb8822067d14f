"""Files by which a driver and its workers coordinate: permits of the driver, progress of the runs.

A run is wanted as long as its permit exists, so any worker that sees the run folders can be stopped on any machine.
"""

import contextlib
import itertools
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

from structpred.errors import RunError
from structpred.results import Measure, stored
from structpred.runs import Folder
from structpred.training.meters import Every
from structpred.training.monitoring import Progress

LOOK = 0.5
"""Seconds between a worker's checks of its permit."""
_FOLDERS = ".driving-*"
_LOCK = "lock"


@dataclass(frozen=True)
class Permits:
    """The permits that one driver has issued.

    Attributes:
        folder: their folder, which is removed when the driver ends.
    """

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def issue(self) -> Path:
        """A new permit; a run may continue for as long as this file exists."""
        permit = self.folder / f"{next(self._numbers)}"
        permit.touch()
        return permit


@contextmanager
def permits(root: Path) -> Iterator[Permits]:
    """Issue permits below ``root`` within the block; its end withdraws them all.

    A killed driver leaves its permits behind. The next driver removes them, which stops the killed driver's workers on
    other machines.

    Raises:
        RunError: nothing can be written there.
    """
    missing = not root.exists()
    folder = root / f".driving-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"{root}: no run can be trained there ({error.strerror}); name another root") from error
    _remove_abandoned(root)
    lock = FileLock(folder / _LOCK, thread_local=False)  # the OS releases it even on kill -9
    lock.acquire()
    try:
        yield Permits(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)  # for systems that cannot remove an open file
        if missing:
            with contextlib.suppress(OSError):  # it holds runs
                root.rmdir()


def _remove_abandoned(root: Path) -> None:
    for path in root.glob(f"{_FOLDERS}/{_LOCK}"):
        with contextlib.suppress(OSError):  # includes Timeout: its driver is alive
            with FileLock(path).acquire(timeout=0):
                shutil.rmtree(path.parent, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def expiry(permit: Path) -> Callable[[], bool]:
    """A function that returns True once the permit is withdrawn; it checks at most twice a second."""
    look, gone = Every(LOOK), False

    def withdrawn() -> bool:
        nonlocal gone
        gone = gone or (look.due() and not permit.exists())
        return gone

    return withdrawn


class ProgressFile:
    """An observer that writes a run's progress to its folder for other processes."""

    def __init__(self, folder: Folder) -> None:
        self.path = folder.progress
        self._written = 0.0

    def __call__(self, progress: Progress) -> None:
        """Write it, at most once a second."""
        now = time.monotonic()
        if now - self._written >= 1.0 or progress.phase in ("testing", "done"):
            self._written = now
            # Not `write_atomically`, whose fsync takes time; and a failure to write progress must not end the run.
            beside = self.path.with_name(".progress.unfinished")
            with contextlib.suppress(OSError):
                beside.write_text(json.dumps(asdict(progress)), encoding="utf-8")
                beside.replace(self.path)


def read_progress(folder: Folder) -> Progress | None:
    """The last progress that a run wrote, if any."""
    try:
        return Progress(**json.loads(folder.progress.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):  # not there yet, or written by another version
        return None


def read_epochs(folder: Folder, metric: Measure) -> dict[int, float]:
    """The dev metric after each epoch so far, from the run's log.

    Args:
        folder: the run's folder.
        metric: the metric.
    """
    try:
        lines = folder.log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError:  # not there yet
        return {}
    found: dict[int, float] = {}
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):  # half a line, or damaged
            entry = json.loads(line)
            if (value := stored(metric, entry, "dev/")) is not None:
                found[int(entry["epoch"])] = float(value)
    return found
