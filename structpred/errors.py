"""The exceptions for a user's mistakes; the command line prints them as one line, without a traceback."""

from pathlib import Path


class StructpredError(Exception):
    """A mistake somebody can mend: one sentence with what was expected, what came, where, and what to do."""


class ConfigError(StructpredError, ValueError):
    """A value, a name or a combination that an experiment cannot have."""


class DataError(StructpredError, ValueError):
    """A file or an example that cannot be read; the message starts with the file and the line."""


class AbsentError(DataError):
    """Published data that are not on this machine and cannot be downloaded."""


class RunError(StructpredError, RuntimeError):
    """A run folder that cannot be used, or training that cannot go on."""


class CodeError(RunError):
    """A component from outside the package raised an exception, which is the cause of this one."""


class Interrupted(RunError):
    """Training was asked to stop; its checkpoint is on disk."""

    def __init__(self) -> None:
        super().__init__("interrupted; the same command goes on from here")


class Busy(RunError):
    """Another process is training the run.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: another process is training this run; wait for it or stop it")
