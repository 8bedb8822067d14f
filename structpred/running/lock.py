"""One process at a time in a run's folder."""

import contextlib
import shutil
from collections.abc import Iterator

from filelock import FileLock, Timeout

from structpred.errors import Busy
from structpred.runs import Folder


@contextlib.contextmanager
def alone(folder: Folder) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when the process ends, however it ends.

    A folder in which nothing is worth going on from, or looking at, is removed when the block fails.

    Raises:
        Busy: another process holds it.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(folder.path) from None
    for half_written in folder.path.glob(".*.unfinished"):  # by a process that was killed
        half_written.unlink()
    try:
        yield
    except BaseException:
        if not (folder.checkpoint.exists() or folder.finished or folder.not_finite.exists()):
            shutil.rmtree(folder.path)
        raise
    finally:
        lock.release()
