"""Exceptions for users' mistakes; the command line prints them as one line without a traceback."""

from pathlib import Path


class StructpredError(Exception):
    """A mistake that the user can fix: one sentence on what was expected, what came, where, and what to do."""


class ConfigError(StructpredError, ValueError):
    """An invalid value, name or combination in an experiment."""


class DataError(StructpredError, ValueError):
    """An unreadable file or example; the message starts with file and line."""


class AbsentError(DataError):
    """Published data that are neither on this machine nor available for download."""


class RunError(StructpredError, RuntimeError):
    """An unusable run folder, or training that cannot continue."""


class CodeError(RunError):
    """A component from outside the package raised an exception, which is the cause of this one."""


class Interrupted(RunError):
    """Training was asked to stop; its checkpoint is on disk."""

    def __init__(self) -> None:
        super().__init__("interrupted; the same command resumes from here")


class Busy(RunError):
    """Another process is training the run.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: another process is training this run; wait for it or stop it")
