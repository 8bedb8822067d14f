"""Who is at a trial: a lease in its attributes, renewed while it runs, and the signs that its holder is dead."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import OptunaError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

LEASE = "lease"
"""The attribute: ``{"place": …, "pid": …, "born": …, "beat": …, "at": …}``."""


def place() -> str | None:
    """This machine, or the part of it whose processes see each other; None where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"  # containers do not see each other's processes
    except OSError:
        return None


def born(pid: int) -> str | None:
    """When a process began, in the system's own unit, as its number may be another's later; None once it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()  # the name before may hold anything
    return None if fields[0] in "ZX" else fields[19]


class Lease:
    """A lease on a running trial.

    Attributes:
        lost: set once somebody else has taken the trial away, because this process was silent for too long.
    """

    def __init__(self, storage: BaseStorage, trial: int, seconds: float) -> None:
        self.storage, self.trial = storage, trial
        self.interval = seconds / 4
        self.lost = threading.Event()
        self._ended = threading.Event()
        self._holder = {"place": place(), "pid": os.getpid(), "born": born(os.getpid())}
        self._beat = 0

    def renew(self) -> None:
        """One more beat; a storage that cannot be reached for a while is tried again at the next."""
        self._beat += 1
        try:
            self.storage.set_trial_user_attr(self.trial, LEASE, {**self._holder, "beat": self._beat, "at": time.time()})
        except UpdateFinishedTrialError:
            self.lost.set()
        except (OptunaError, OSError):
            pass

    @contextmanager
    def held(self) -> Iterator["Lease"]:
        """Renew in the background for the time of a block."""
        self.renew()
        thread = threading.Thread(target=self._renew_on, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _renew_on(self) -> None:
        while not self._ended.wait(self.interval) and not self.lost.is_set():
            self.renew()


@dataclass
class Seen:
    """A beat, and when this process first saw it."""

    beat: object
    since: float


class Watch:
    """Tells whose lease has run out, by this process's own clock: those of machines differ.

    Args:
        seconds: silence after which a holder counts as dead; one on this machine that has ended is dead at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._seen: dict[int, Seen] = {}

    def dead(self, trial: FrozenTrial) -> bool:
        """True for a running trial whose holder is no more."""
        lease = trial.user_attrs.get(LEASE) or {}
        here = place()
        if here is not None and lease.get("place") == here and born(lease["pid"]) != lease["born"]:
            return True
        now = time.monotonic()
        seen = self._seen.get(trial._trial_id)
        if seen is None or seen.beat != lease.get("beat"):
            self._seen[trial._trial_id] = Seen(lease.get("beat"), now)
            return False
        return now - seen.since > self.seconds
