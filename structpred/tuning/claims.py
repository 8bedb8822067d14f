"""One driver per study: a file lock where studies are kept in a file, else a claim in the attributes of the study."""

import contextlib
import hashlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage

from structpred.errors import Interrupted
from structpred.tuning.storage import file_of

CLAIM = "driver"
"""The attribute of a study: ``{"id": …, "who": …, "beat": …}``; None once its driver has ended."""
POLL, SETTLE = 0.5, 1.0
"""Seconds between looks at a study that another command drives; and those after which a claim is read back."""
RENEWALS = 6
"""A claim is renewed this often in the time of silence after which another driver takes it over."""


@contextmanager
def claimed(
    place: str,
    storage: BaseStorage,
    studies: Sequence[optuna.Study],
    silence: float,
    *,
    waiting: Callable[[str], None],
    stopping: Callable[[], bool],
) -> Iterator[Callable[[], bool]]:
    """Be the only driver of some studies for the time of a block; waits while another command drives one of them.

    Args:
        place: where they are kept.
        storage: the same, opened.
        studies: the studies.
        silence: seconds without a renewal after which the driver of a study in a database counts as dead; the lock of a
            file is released by the OS at once.
        waiting: given a sentence, once for each study that has to be waited for.
        stopping: asked while waiting.

    Yields:
        A function that returns True once another driver has taken one of the studies over.

    Raises:
        Interrupted: ``stopping`` returned True.
    """
    file = file_of(place)
    with ExitStack() as held:
        claims = []
        for study in sorted(studies, key=lambda each: each.study_name):  # in one order, or two would wait in a circle
            notice = _Notice(waiting, stopping, f"another command drives the study {study.study_name!r} in")
            if file is not None:
                held.enter_context(_locked(file, study.study_name, notice))
            else:
                claim = Claim(study, silence)
                claim.acquire(notice)
                held.callback(claim.release)
                claims.append(claim)
        held.enter_context(_renewing(claims, silence / RENEWALS, storage))
        yield lambda: any(claim.lost for claim in claims)


class _Notice:
    """Says once why a command waits, and sleeps until the next look."""

    def __init__(self, waiting: Callable[[str], None], stopping: Callable[[], bool], what: str) -> None:
        self._waiting, self._stopping, self._what = waiting, stopping, what
        self._said = False

    def wait(self, where: str) -> None:
        """Wait a moment."""
        if not self._said:
            self._said = True
            self._waiting(
                f"{self._what} {where}; waiting until it has ended: a study has one driver at a time. Ctrl-C stops "
                "this one; to use more machines, give the other one a cluster"
            )
        if self._stopping():
            raise Interrupted
        time.sleep(POLL)


@contextmanager
def _locked(file: Path, name: str, notice: _Notice) -> Iterator[None]:
    """Hold the lock of a study in a file; the OS releases it even on kill -9."""
    path = file.with_name(f".{file.name}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.lock")
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            notice.wait(str(file))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps an open file
            path.unlink()
        lock.release()


class Claim:
    """A claim on a study in a database, which has no locks that outlive a transaction.

    Attributes:
        lost: another driver has taken the study over, because this one was silent for too long.
    """

    def __init__(self, study: optuna.Study, silence: float) -> None:
        self.study, self.silence, self.lost = study, silence, False
        self._id, self._beat = uuid.uuid4().hex, 0

    def acquire(self, notice: _Notice) -> None:
        """Wait until nobody else has it, or its holder has been silent by this process's own clock."""
        seen, since = self._stored(), time.monotonic()
        while True:
            stored = self._stored()
            if stored != seen:
                seen, since = stored, time.monotonic()
            if not stored or time.monotonic() - since > self.silence:
                self._write()
                time.sleep(SETTLE)  # of two who write at once the last one has it
                if self._mine():
                    return
            notice.wait(f"process {(stored or {}).get('who', 'unknown')}, the same storage")

    def renew(self) -> None:
        """Show that this driver is alive; a storage that cannot be reached for a while is tried again the next time."""
        with contextlib.suppress(OptunaError, OSError):
            if self._mine():
                self._write()
            else:
                self.lost = True

    def release(self) -> None:
        """Let the next driver have it."""
        with contextlib.suppress(OptunaError, OSError):
            if self._mine():
                self.study.set_user_attr(CLAIM, None)

    def _write(self) -> None:
        self._beat += 1
        who = f"{os.getpid()} on {platform.node()}"
        self.study.set_user_attr(CLAIM, {"id": self._id, "who": who, "beat": self._beat})

    def _stored(self) -> dict[str, object] | None:
        stored: dict[str, object] | None = self.study.user_attrs.get(CLAIM)
        return stored

    def _mine(self) -> bool:
        return (self._stored() or {}).get("id") == self._id


@contextmanager
def _renewing(claims: Sequence[Claim], every: float, storage: BaseStorage) -> Iterator[None]:
    """Renew claims in the background: reading data may take longer than a claim lasts."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(every):
            for claim in claims:
                claim.renew()
        storage.remove_session()  # this thread's connection

    thread = threading.Thread(target=renew, daemon=True)
    if claims:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if claims:
            thread.join()
