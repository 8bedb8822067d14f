"""How far a run has come, read from its folder by another process."""

import contextlib
import json
import time
from dataclasses import asdict

from structpred.runs import Folder
from structpred.training.monitoring import Progress


class ProgressFile:
    """An observer that leaves a run's progress in its folder, for whoever watches from another process."""

    def __init__(self, folder: Folder) -> None:
        self.path = folder.progress
        self._written = 0.0

    def __call__(self, progress: Progress) -> None:
        """Write it, at most once a second."""
        now = time.monotonic()
        if now - self._written >= 1.0 or progress.phase in ("testing", "done"):
            self._written = now
            # No `write_atomically`: waiting for the disk costs time. Nor need a run end because this cannot be written.
            beside = self.path.with_name(".progress.unfinished")
            with contextlib.suppress(OSError):
                beside.write_text(json.dumps(asdict(progress)), encoding="utf-8")
                beside.replace(self.path)


def read_progress(folder: Folder) -> Progress | None:
    """The progress a run last wrote, if any."""
    try:
        return Progress(**json.loads(folder.progress.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):  # not there yet, or left by another version
        return None


def read_epochs(folder: Folder, metric: str) -> dict[int, float]:
    """The dev metric after each epoch so far, from the run's log.

    Args:
        folder: the run's.
        metric: its name.
    """
    try:
        lines = folder.log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError:  # not there yet
        return {}
    found: dict[int, float] = {}
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):  # half a line, or damaged
            entry = json.loads(line)
            found[int(entry["epoch"])] = float(entry[f"dev/{metric}"])
    return found
