"""Permits: files that exist while a run is wanted, so that any worker that sees the run folders can be stopped."""

import contextlib
import itertools
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from structpred.training.meters import Every

LOOK = 0.5
"""Seconds between a worker's looks at its permit."""
_FOLDERS = ".driving-*"
_LOCK = "lock"


@dataclass(frozen=True)
class Permits:
    """The permits that one driver has issued.

    Attributes:
        folder: where they are; it is gone once the driver has ended.
    """

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def issue(self) -> Path:
        """A new permit; whoever holds its path may go on for as long as the file exists."""
        permit = self.folder / f"{next(self._numbers)}"
        permit.touch()
        return permit


@contextmanager
def permits(root: Path) -> Iterator[Permits]:
    """Issue permits below ``root`` for the time of a block, at the end of which all of them are withdrawn.

    A driver that was killed leaves its permits behind. The next one removes them, which stops the workers that the
    killed one had on other machines.
    """
    missing = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    _remove_those_of_the_dead(root)
    folder = root / f".driving-{uuid.uuid4().hex}"
    folder.mkdir()
    lock = FileLock(folder / _LOCK, thread_local=False)  # the OS releases it even on kill -9
    lock.acquire()
    try:
        yield Permits(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)  # where an open file cannot be removed
        if missing:
            with contextlib.suppress(OSError):  # there are runs in it
                root.rmdir()


def _remove_those_of_the_dead(root: Path) -> None:
    for path in root.glob(f"{_FOLDERS}/{_LOCK}"):
        with contextlib.suppress(OSError):  # a Timeout is one too: its driver is alive
            with FileLock(path).acquire(timeout=0):
                shutil.rmtree(path.parent, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def expiry(permit: Path) -> Callable[[], bool]:
    """A function that returns True once the permit has been withdrawn; it looks at most twice a second."""
    look, gone = Every(LOOK), False

    def withdrawn() -> bool:
        nonlocal gone
        gone = gone or (look.due() and not permit.exists())
        return gone

    return withdrawn
